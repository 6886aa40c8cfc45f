"""Rows of a run that have arrived, waiting for the tick of the log's clock at which they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.support.evidence import MINUTE_MS

SETTLE_MIN = 2  # a minute is said two minutes after its end
KINDS = {"hr": 2, "act": 4, "fix": 2, "worn": 1}  # queue → how many columns it has

Ints = npt.NDArray[np.int64]


@dataclass
class Queue:
    """Rows in order of arrival: ms of arrival and event, and the columns of their kind."""

    arrival: Ints
    event: Ints
    columns: tuple[npt.NDArray[Any], ...]
    sources: list[str] | None = None
    at: int = 0

    def take(self, until: int) -> slice:
        """The rows that arrived by `until` and have not been taken yet."""
        hi = int(np.searchsorted(self.arrival, until, side="right"))
        part = slice(self.at, hi)
        self.at = hi
        return part


class Arrivals:
    """The queues of a run, and the ticks at which something is known later than its minute is said."""

    def __init__(self) -> None:
        none = np.zeros(0, np.int64)
        self.queues = {name: Queue(none, none, (none,) * n) for name, n in KINDS.items()}
        self.late_ticks: Ints = none

    def feed(self, queues: dict[str, Queue]) -> None:
        """Hand over the rows of a run, each queue in order of arrival."""
        self.queues.update(queues)
        late_ticks = [self._late(name, queue) for name, queue in queues.items()]
        self.late_ticks = np.unique(np.concatenate(late_ticks)) if late_ticks else np.zeros(0, np.int64)

    @staticmethod
    def _late(name: str, queue: Queue) -> Ints:
        said = (queue.event // MINUTE_MS + 1 + SETTLE_MIN) * MINUTE_MS
        tick = -(-queue.arrival // MINUTE_MS) * MINUTE_MS
        late = tick > said
        if name == "act" and len(queue.columns) > 1:
            late |= queue.columns[1] > 60  # spread over minutes: the earlier ones come late
        return np.asarray(tick[late])

    def take(self, name: str, until: int) -> tuple[Queue, slice] | None:
        """The queue and the rows of it that arrived by `until`; None if there are none."""
        queue = self.queues[name]
        part = queue.take(until)
        return (queue, part) if part.start < part.stop else None

    def skip(self, until: int) -> None:
        for queue in self.queues.values():
            queue.take(until)

    def next_late(self, after: int) -> int | None:
        """The next tick (ms) after `after` at which something late is known."""
        i = int(np.searchsorted(self.late_ticks, after, side="right"))
        return int(self.late_ticks[i]) if i < len(self.late_ticks) else None
