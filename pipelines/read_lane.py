"""Reading lanes of Kafka topics in an unbounded job: lane → (person, parcel), for ever.

Where a lane stands is the restriction of a splittable step: the checkpoint has it, Kafka is only told.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp

from connectors.kafka.codec import READ as ALL_READ
from connectors.kafka.codec import Decoder, Letter
from connectors.kafka.lane_client import KafkaLaneClient
from connectors.kafka.lanes import NEVER, Lane, Ready
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import Part
from connectors.kafka.registry import Registry
from pipelines import keeper, parcel
from pipelines.content_log import PACK
from pipelines.ingest import Pseudonyms
from pipelines.ingest.machine import FEW
from pipelines.publish import encoder_of, letters
from pipelines.report import OPS
from pipelines.stream_options import Stream

READ = tuple(t for t in ALL_READ if t != PACK)
LETTERS = "letters"


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
        self.decoder, self.encoder = decoder_of(self.stream.kafka), encoder_of(self.stream.kafka, self.stream.form)
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
            ready = lane.pull(50)
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
            client, number, of, topics, offsets.at, hold_ms=s.hold_ms, patience_ms=s.patience_ms, clock=offsets.clock,
            gather=parcel.BY_THE_MINUTE, gather_s=s.gather_s, few=FEW,
            most=s.most // 2,
        )  # fmt: skip

    def _outputs(self, element: str, ready: Ready) -> Iterator[Any]:
        tables, dead = self._decoded(ready.records)
        for message in letters(dead, self.encoder) if dead else ():
            yield beam.pvalue.TaggedOutput(LETTERS, message)
        if element == PACK:
            if PACK in tables:
                yield OPS, parcel.Parcel(ready.clock, ready.live, {PACK: tables[PACK]}).dump()
            return
        needs, _ = self._decoded(ready.needs)  # dead letters are told when their turn comes
        yield from keeper.parcels_of(needs, self.pseudonyms, ready.clock, ready.live, look=True)
        parcels = keeper.parcels_of(tables, self.pseudonyms, ready.clock, ready.live)
        yield from sorted(parcels, key=lambda p: not parcel.label(p[1]).urgent)  # who decides something goes first

    def _decoded(self, records: dict[Part, list[Any]]) -> tuple[dict[str, Any], list[Letter]]:
        """Topic → rows, and what can't be read."""
        tables: dict[str, list[Any]] = {}
        dead: list[Letter] = []
        for (topic, partition), found in sorted(records.items()):
            table, bad = self.decoder.read(topic, partition, found, partition)
            dead += bad
            if len(table):
                tables.setdefault(topic, []).append(table)
        return {topic: parts[0] if len(parts) == 1 else concat(parts) for topic, parts in tables.items()}, dead


def _at(output: Any, clock: int) -> Any:
    """An element stands where the lane's clock stood before it: never behind the watermark."""
    at = MIN_TIMESTAMP if clock <= NEVER else Timestamp(micros=clock * 1000)
    if isinstance(output, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(output.tag, TimestampedValue(output.value, at))
    return TimestampedValue(output, at)


def concat(tables: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(tables)


class _Commit:
    """Offsets are committed once a checkpoint has them: for lag monitors, never read back."""

    def __init__(self, lane: Lane, offsets: dict[Part, int]) -> None:
        self.lane, self.offsets = lane, offsets

    def __call__(self) -> None:
        self.lane.to_commit = self.offsets


def decoder_of(options: KafkaOptions) -> Decoder:
    return Decoder(Registry(options.registry) if options.registry else None)
