"""What the workers of an unbounded job need to know. No Beam here."""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.kafka.lanes import HOLD_MS, PATIENCE_MS
from connectors.kafka.options import KafkaOptions
from pipelines.settings import Settings


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
    gather_s
        How long rows that decide nothing by themselves may wait for more of them: fewer and larger parcels.
    budget_s
        How long one reading of a lane keeps its bundle open.
    most
        Records of one reading at most, about, and twice what is released of a partition at once: what follows is busy with them,
        and a lane is not read meanwhile (decision 0076 has the figures).
    """

    kafka: KafkaOptions
    settings: Settings = field(default_factory=Settings)
    group: str = "kairos"
    form: str = "avro"
    lanes: int = 1
    hold_ms: int = HOLD_MS
    patience_ms: int = PATIENCE_MS
    gather_s: float = 2.0
    budget_s: float = 0.2
    most: int = 3_000
