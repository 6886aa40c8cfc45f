"""The unbounded graph: lanes of Kafka topics → parcels by person → the same machine as in replay → Kafka (design 5).

    Lanes ─► ReadLane ─► (person, parcel) ─► RunPerson (state, one timer) ─► Publish
                 └─► dead letters ─────────────────────────────────────────► PublishLetters

For engines that keep state and fire event-time timers on unbounded input: Flink (live), Dataflow, Prism (tests, without
durability). The watermark is the log's clock: arrival time, never event time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from connectors.kafka.codec import Letter
from connectors.kafka.lane_client import KafkaLaneClient
from connectors.kafka.lanes import Lane
from connectors.kafka.options import AWAY_S
from connectors.kafka.sender import Message, sender_of
from pipelines import keeper, parcel
from pipelines.content_log import PACK, ContentLog
from pipelines.keeper import Keeper, Mark
from pipelines.publish import encoder_of, letters, outgoing
from pipelines.read_lane import LETTERS, ReadLane, concat, decoder_of
from pipelines.report import OPS
from pipelines.stream_options import Stream
from schemas import rows, signing


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


# -- persons ----------------------------------------------------------------------------------------------------------

_keepers: dict[str, Keeper] = {}  # of this process
_lock = threading.Lock()
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
        self.looked = Metrics.counter("persons", "looked_ahead")
        self.forgotten = Metrics.counter("persons", "forgotten")

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
        label = parcel.label(data)
        if label.look:
            yield from self._look(user, data, mark_state, machine, waiting)
            return
        until = self.keeper.may_wait(user, label)
        if until is not None:  # blind writes: a read would wait for the engine
            waiting.add(data)
            turn.set(_stamp(until))
            return
        yield from self._run(user, [data], keeper.NEVER, mark_state, machine, waiting, due, turn)

    @on_timer(_DUE)  # type: ignore[untyped-decorator]
    @on_timer(_TURN)  # type: ignore[untyped-decorator]
    def on_time(
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
            self.forgotten.inc(sum(stepped.came.forgotten.values()))
            yield from outgoing(stepped, self.encoder)

    def _look(self, user: str, data: bytes, mark_state: Any, machine: Any, waiting: Any) -> Iterator[Message]:
        """A crisis in a backlog: what can't wait is said now; the machine itself comes to it in its order."""
        mark = Mark.load(mark_state.read())
        said = self.keeper.look(user, mark, machine.read(), [*waiting.read(), data], int(time.time() * 1000))
        if said.records:
            self.looked.inc()
            mark_state.write(mark.dump())
            yield from outgoing(said, self.encoder)

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
        self.stream, self._decoder = stream, decoder_of(stream.kafka)
        self._lane: Lane | None = None
        self._own = threading.Lock()

    def __call__(self) -> tuple[Any, int]:
        with self._own:
            if self._lane is None:
                client = KafkaLaneClient(self.stream.kafka, self.stream.group + "-packs")
                self._lane = Lane(client, 0, 1, (PACK,), {}, hold_ms=self.stream.hold_ms)
            if not self._lane.offsets:
                return None, int(time.time() * 1000) - self.stream.hold_ms
            ready = self._lane.pull(20)
            found = [self._decoder.read(PACK, p, records, p)[0] for (_, p), records in sorted(ready.records.items())]
            return (concat(found) if found else None), ready.clock


def _stamp(ms: int) -> Timestamp:
    return Timestamp(micros=ms * 1000)


# -- out --------------------------------------------------------------------------------------------------------------


class Publish(beam.DoFn):  # type: ignore[misc]
    """Output records → Kafka. A bundle ends when the broker has them; a repeated one writes the same ids again."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def setup(self) -> None:
        self.sender = sender_of(self.stream.kafka, patience_s=AWAY_S, away=True)
        self.written = Metrics.counter("publish", "records")

    def process(self, record: Message) -> None:
        self.sender.send(record)

    def finish_bundle(self) -> None:
        self.written.inc(self.sender.flush())

    def teardown(self) -> None:
        self.sender.close(5)
