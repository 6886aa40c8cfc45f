"""The unbounded graph: lanes of Kafka topics → parcels by person → the same machine as in replay → Kafka (design 5).

    Lanes ─► ReadLane ─► (person, parcel) ─► RunPerson (state, one timer) ─► Publish
                 └─► dead letters ─────────────────────────────────────────► PublishLetters

For engines that keep state and fire event-time timers on unbounded input: Flink (live), Dataflow, Prism (tests, without
durability). The watermark is the log's clock: arrival time, never event time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder, Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp

from connectors.kafka.codec import READ as ALL_READ
from connectors.kafka.codec import Decoder, Letter
from connectors.kafka.lane_client import KafkaLaneClient
from connectors.kafka.lanes import HOLD_MS, NEVER, PATIENCE_MS, Lane, Part, Ready
from connectors.kafka.options import KafkaOptions
from connectors.kafka.registry import Registry
from connectors.kafka.sink import Message
from pipelines import keeper, parcel
from pipelines.content_log import PACK, ContentLog
from pipelines.grouping import by_person
from pipelines.ingest import Pseudonyms
from pipelines.keeper import Keeper, Mark
from pipelines.publish import Producer, encoder_of, letters, outgoing
from pipelines.report import OPS
from pipelines.settings import Settings
from schemas import rows, signing

READ = tuple(t for t in ALL_READ if t != PACK)
LETTERS = "letters"


@dataclass(frozen=True)
class Stream:
    """What the workers need to know; travels to them with the graph.

    Parameters
    ----------
    kafka
        How to reach the brokers.
    group
        Consumer group for committed offsets (information only) and transactional names.
    form
        Of the values written: `avro` or `json`.
    lanes
        How many lanes; a common divisor of the partition counts.
    hold_ms, patience_ms
        See `connectors.kafka.lanes`.
    budget_s
        How long one reading of a lane keeps its bundle open.
    most
        Records of one reading at most.
    """

    kafka: KafkaOptions
    settings: Settings = field(default_factory=Settings)
    group: str = "kairos"
    form: str = "avro"
    lanes: int = 1
    hold_ms: int = HOLD_MS
    patience_ms: int = PATIENCE_MS
    budget_s: float = 0.2
    most: int = 50_000


def build(pipeline: beam.Pipeline, stream: Stream) -> None:
    """Put the graph into a pipeline. Labels are part of the state's address: they never change."""
    elements = [f"{lane}/{stream.lanes}" for lane in range(stream.lanes)] + [PACK]
    lanes = pipeline | "Lanes" >> beam.Create(elements, reshuffle=False) | "Spread" >> beam.Reshuffle()
    read = lanes | "ReadLane" >> beam.ParDo(ReadLane(stream)).with_outputs(LETTERS, main="parcels")
    people = read.parcels | "ByPerson" >> beam.Map(_keyed).with_output_types(tuple[str, bytes])
    said = people | "RunPerson" >> beam.ParDo(RunPerson(stream))
    said | "Publish" >> beam.ParDo(Publish(stream))
    read[LETTERS] | "PublishLetters" >> beam.ParDo(Publish(stream))


def _keyed(element: tuple[str, bytes]) -> tuple[str, bytes]:
    return element


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offsets:
    """Where a lane stands: partition → next offset, and the log's clock. `done` closes a part that has been handed on."""

    at: dict[Part, int] = field(default_factory=dict)
    clock: int = NEVER
    done: bool = False

    def dump(self) -> bytes:
        found = {f"{topic}/{p}": offset for (topic, p), offset in sorted(self.at.items())}
        return json.dumps({"version": 1, "at": found, "clock": self.clock, "done": self.done}).encode()

    @staticmethod
    def load(data: bytes) -> Offsets:
        read = json.loads(data)
        if read.get("version") != 1:
            raise ValueError("offsets of a lane: unknown version")
        at = {(k.rsplit("/", 1)[0], int(k.rsplit("/", 1)[1])): int(v) for k, v in read["at"].items()}
        return Offsets(at, int(read["clock"]), bool(read["done"]))


class OffsetsCoder(Coder):  # type: ignore[misc]
    """Offsets as JSON: readable in a checkpoint, and versioned."""

    def encode(self, value: Offsets) -> bytes:
        return value.dump()

    def decode(self, encoded: bytes) -> Offsets:
        return Offsets.load(encoded)

    def is_deterministic(self) -> bool:
        return True


class OffsetsTracker(RestrictionTracker):  # type: ignore[misc]
    """An unbounded claim: it moves on, and splits only where it stands."""

    def __init__(self, offsets: Offsets) -> None:
        self._offsets = offsets

    def current_restriction(self) -> Offsets:
        return self._offsets

    def try_claim(self, position: Offsets) -> bool:
        if self._offsets.done:
            return False
        self._offsets = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Offsets, Offsets] | None:
        if fraction_of_remainder != 0 or self._offsets.done:
            return None
        rest = self._offsets
        self._offsets = Offsets(rest.at, rest.clock, done=True)
        return self._offsets, rest

    def check_done(self) -> bool:
        if not self._offsets.done:
            raise ValueError("a lane never ends by itself")
        return True

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(completed=1, remaining=0 if self._offsets.done else 1)

    def is_bounded(self) -> bool:
        return False


class OffsetsProvider(RestrictionProvider):  # type: ignore[misc]
    """A new lane begins at the beginning of its topics: a person's state needs her history, as replay does."""

    def initial_restriction(self, element: str) -> Offsets:
        return Offsets()

    def create_tracker(self, restriction: Offsets) -> OffsetsTracker:
        return OffsetsTracker(restriction)

    def restriction_size(self, element: str, restriction: Offsets) -> int:
        return 1

    def restriction_coder(self) -> OffsetsCoder:
        return OffsetsCoder()

    def truncate(self, element: str, restriction: Offsets) -> None:
        return None


OFFSETS = beam.DoFn.RestrictionParam(OffsetsProvider())
CLOCK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())
_lanes: dict[tuple[str, str], Lane] = {}  # of this process: a lane keeps its connections from bundle to bundle
_lock = threading.Lock()


class ReadLane(beam.DoFn):  # type: ignore[misc]
    """Lane → (person, parcel), for ever; the watermark is the lane's clock."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def setup(self) -> None:
        self.pseudonyms = Pseudonyms(self.stream.settings.pseudonym_key)
        self.decoder, self.encoder = _decoder(self.stream.kafka), encoder_of(self.stream.kafka, self.stream.form)
        self.read = Metrics.counter("lanes", "records")
        self.broken = Metrics.counter("lanes", "order_break")

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: str,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,  # before the tracker: Beam hands them over by position
        tracker: Any = OFFSETS,
        watermark: Any = CLOCK,
    ) -> Iterator[Any]:
        lane = self._lane(element, tracker.current_restriction())
        end = time.monotonic() + self.stream.budget_s
        taken = 0
        while True:
            before = lane.clock
            ready = lane.pull(50, self.stream.most - taken)
            if not tracker.try_claim(Offsets(ready.offsets, ready.clock)):
                return
            for output in self._outputs(element, ready):
                yield _at(output, before)
            if ready.clock > NEVER:
                told = Timestamp(micros=ready.clock * 1000)
                watermark.set_watermark(max(watermark.current_watermark() or MIN_TIMESTAMP, told))
            taken += sum(map(len, ready.records.values()))
            if (ready.live and taken) or time.monotonic() >= end or taken >= self.stream.most:
                break  # live, what came goes on at once
        self.read.inc(taken)
        if lane.offsets != lane.committed:  # also when idle: the last commit may have been lost
            finalizer.register(_Commit(lane, dict(lane.offsets)))
        if lane.stuck:
            lane.close()  # the next bundle reads on from the claimed offsets with a new client
        else:
            with _lock:
                _lanes[self.stream.group, element] = lane
        tracker.defer_remainder(Duration.of(0 if taken else 0.05))

    def _lane(self, element: str, offsets: Offsets) -> Lane:
        """The lane as the last bundle left it, or one that starts where the engine says."""
        with _lock:
            kept = _lanes.pop((self.stream.group, element), None)
        if kept is not None:
            if kept.offsets == offsets.at and kept.clock == offsets.clock:
                return kept
            kept.close()
        client = KafkaLaneClient(self.stream.kafka, self.stream.group)
        number, of = (0, 1) if element == PACK else map(int, element.split("/"))
        topics = (PACK,) if element == PACK else READ
        s = self.stream
        return Lane(
            client, number, of, topics, offsets.at, hold_ms=s.hold_ms, patience_ms=s.patience_ms, clock=offsets.clock
        )

    def _outputs(self, element: str, ready: Ready) -> Iterator[Any]:
        tables: dict[str, Any] = {}
        for (topic, partition), records in sorted(ready.records.items()):
            table, dead = self.decoder.read(topic, partition, records, partition)
            for message in letters(dead, self.encoder) if dead else ():
                yield beam.pvalue.TaggedOutput(LETTERS, message)
            if len(table):
                tables.setdefault(topic, []).append(table)
        if element == PACK:
            for table in tables.get(PACK, []):
                yield OPS, parcel.Parcel(ready.clock, ready.live, {PACK: table}).dump()
            return
        whole = {topic: parts[0] if len(parts) == 1 else _concat(parts) for topic, parts in tables.items()}
        yield from keeper.parcels_of(by_person(whole, self.pseudonyms).items(), ready.clock, ready.live)


def _at(output: Any, clock: int) -> Any:
    """An element stands where the lane's clock stood before it: never behind the watermark."""
    at = MIN_TIMESTAMP if clock <= NEVER else Timestamp(micros=clock * 1000)
    if isinstance(output, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(output.tag, TimestampedValue(output.value, at))
    return TimestampedValue(output, at)


def _concat(tables: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(tables)


class _Commit:
    """Offsets are committed once a checkpoint has them: for lag monitors, never read back."""

    def __init__(self, lane: Lane, offsets: dict[Part, int]) -> None:
        self.lane, self.offsets = lane, offsets

    def __call__(self) -> None:
        self.lane.to_commit = self.offsets


# -- persons ----------------------------------------------------------------------------------------------------------

_keepers: dict[str, Keeper] = {}
MARK = beam.DoFn.StateParam(ReadModifyWriteStateSpec("mark", BytesCoder()))
MACHINE = beam.DoFn.StateParam(ReadModifyWriteStateSpec("machine", BytesCoder()))
WAITING = beam.DoFn.StateParam(BagStateSpec("waiting", BytesCoder()))
_DUE = TimerSpec("due", TimeDomain.WATERMARK)  # the machine's own next instant
_TURN = TimerSpec("turn", TimeDomain.WATERMARK)  # waiting rows are taken
DUE, TURN = beam.DoFn.TimerParam(_DUE), beam.DoFn.TimerParam(_TURN)


class RunPerson(beam.DoFn):  # type: ignore[misc]
    """(person, parcel) → output records; state = the machine's bytes, waiting parcels, and a small mark."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def setup(self) -> None:
        with _lock:
            if self.stream.group not in _keepers:
                content = ContentLog(self.stream.settings, _PackReader(self.stream))
                _keepers[self.stream.group] = Keeper(content)
            self.keeper = _keepers[self.stream.group]
        self.encoder = encoder_of(self.stream.kafka, self.stream.form)
        self.steps = Metrics.counter("persons", "steps")

    def process(
        self,
        element: tuple[str, bytes],
        mark_state: Any = MARK,
        machine: Any = MACHINE,
        waiting: Any = WAITING,
        due: Any = DUE,
        turn: Any = TURN,
    ) -> Iterator[Message]:
        user, data = element
        if user == OPS:
            yield from self._packs(data)
            return
        until = self.keeper.may_wait(user, parcel.label(data))
        if until is not None:  # blind writes: a read would wait for the engine
            waiting.add(data)
            turn.set(_stamp(until))
            return
        yield from self._run(user, [data], keeper.NEVER, mark_state, machine, waiting, due, turn)

    @on_timer(_DUE)  # type: ignore[untyped-decorator]
    def on_due(
        self,
        user: Any = beam.DoFn.KeyParam,
        fired: Any = beam.DoFn.TimestampParam,
        mark_state: Any = MARK,
        machine: Any = MACHINE,
        waiting: Any = WAITING,
        due: Any = DUE,
        turn: Any = TURN,
    ) -> Iterator[Message]:
        yield from self._run(user, [], fired.micros // 1000, mark_state, machine, waiting, due, turn)

    @on_timer(_TURN)  # type: ignore[untyped-decorator]
    def on_turn(
        self,
        user: Any = beam.DoFn.KeyParam,
        fired: Any = beam.DoFn.TimestampParam,
        mark_state: Any = MARK,
        machine: Any = MACHINE,
        waiting: Any = WAITING,
        due: Any = DUE,
        turn: Any = TURN,
    ) -> Iterator[Message]:
        yield from self._run(user, [], fired.micros // 1000, mark_state, machine, waiting, due, turn)

    def _run(
        self, user: str, came: list[bytes], until: int, mark_state: Any, machine: Any, waiting: Any, due: Any, turn: Any
    ) -> Iterator[Message]:
        mark, held = Mark.load(mark_state.read()), list(waiting.read())
        if not came and not held and until <= mark.clock:
            return  # another timer or a parcel was quicker
        done, states = self.keeper.run(user, mark, machine.read, held + came, until)
        self.steps.inc(len(done))
        machine.write(states)
        mark_state.write(mark.dump())
        if held:
            waiting.clear()
        turn.clear()
        wanted = self.keeper.due(user, mark, int(time.time() * 1000))
        if wanted is None:
            due.clear()
        else:
            due.set(_stamp(wanted))
        for stepped in done:
            yield from outgoing(stepped, self.encoder)

    def _packs(self, data: bytes) -> Iterator[Message]:
        """Unsigned packs are dead letters; the good ones every worker reads by itself (`ContentLog`)."""
        table = parcel.unpack([data])[PACK]
        places = zip(table["_file"].to_pylist(), table["_line"].to_pylist(), strict=True)
        for record, (partition, offset) in zip(rows.to_dicts(PACK, table), places, strict=True):
            if not signing.verify(record["value"], self.stream.settings.trusted_keys):
                times = int(record["event_time"]), int(record["ingest_time"])
                dead = Letter(PACK, "UNSIGNED", "signature", None, *times, partition, offset)
                yield from letters([dead], self.encoder)


class _PackReader:
    """`ContentLog`'s way to the topic of packs."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self._decoder = stream, _decoder(stream.kafka)
        self._lane: Lane | None = None
        self._own = threading.Lock()

    def __call__(self) -> tuple[Any, int]:
        with self._own:
            if self._lane is None:
                client = KafkaLaneClient(self.stream.kafka, self.stream.group + "-packs")
                self._lane = Lane(client, 0, 1, (PACK,), {}, hold_ms=self.stream.hold_ms)
            if not self._lane.offsets:
                return None, int(time.time() * 1000) - self.stream.hold_ms
            ready = self._lane.pull(20, 10_000)
            found = [self._decoder.read(PACK, p, records, p)[0] for (_, p), records in sorted(ready.records.items())]
            return (_concat(found) if found else None), ready.clock


def _decoder(options: KafkaOptions) -> Decoder:
    return Decoder(Registry(options.registry) if options.registry else None)


def _stamp(ms: int) -> Timestamp:
    return Timestamp(micros=ms * 1000)


# -- out --------------------------------------------------------------------------------------------------------------


class Publish(beam.DoFn):  # type: ignore[misc]
    """Output records → Kafka. A bundle ends when the broker has them; a repeated one writes the same ids again."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def setup(self) -> None:
        self.producer = Producer(self.stream.kafka)
        self.written = Metrics.counter("publish", "records")

    def process(self, record: Message) -> None:
        self.producer.send(record)

    def finish_bundle(self) -> None:
        self.written.inc(self.producer.flush())

    def teardown(self) -> None:
        self.producer.close()
