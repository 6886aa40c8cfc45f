"""monitoring.status of one person: which modalities are observed, one record a change (support.md 9)."""

from __future__ import annotations

from typing import Any

from pipelines.context.columns import Columns
from pipelines.context.completeness import Completeness, Observed
from pipelines.context.consent import CARE, SELF
from pipelines.gate.desk import Desk
from pipelines.support import inbox


class Monitor:
    """How complete the data are, as known by the log's clock, and what is still to be said of it."""

    def __init__(self) -> None:
        self.completeness = Completeness()
        self.told = 0  # instant (ms) up to which completeness has been judged
        self.waiting: list[list[Any]] = []  # [due, value] of what ingest found and is to be said
        self._columns: dict[str, Columns] = {}
        self._heard: list[dict[str, Any]] = []

    def feed(self, columns: dict[str, Columns], found: list[tuple[int, dict[str, Any]]]) -> None:
        """Rows of a run, and (due ms, value) of what ingest has to say."""
        self._columns = columns
        self._heard = inbox.status_records(columns)
        self.waiting += [[due, value] for due, value in found]

    def advance(self, until: int, desk: Desk) -> None:
        """Judge what arrived since the last call; say what changed."""
        if until <= self.told:
            return
        seen = {
            m: part
            for m, o in inbox.observed(self._columns).items()
            if len((part := _between(o, self.told, until)).event_ms)
        }
        now = [h for h in self._heard if self.told < h["ingest_time"] <= until]
        for change in self.completeness.advance(until, seen, now, lambda m: desk.consents.intervals(CARE, SELF, m)):
            _say(change.time, change.value, desk)
        self.told = until

    def finish(self, until: int, desk: Desk) -> None:
        """End of a run: judge the rest, say what ingest found; nothing of the run is kept."""
        self.advance(until, desk)
        for due, value in [s for s in self.waiting if s[0] <= until]:
            _say(due, value, desk)
        self.waiting = [s for s in self.waiting if s[0] > until]
        self._columns, self._heard = {}, []

    def emptied(self, now: int) -> Monitor:
        """Nothing is known any more of what was before `now` (ms); the rest of the run is still to come."""
        fresh = Monitor()
        fresh.told, fresh._columns, fresh._heard = now, self._columns, self._heard
        return fresh

    def state(self) -> dict[str, Any]:
        return {"completeness": self.completeness.state(), "told": self.told, "waiting": self.waiting}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Monitor:
        out = Monitor()
        out.completeness = Completeness.from_state(state["completeness"])
        out.told, out.waiting = int(state["told"]), list(state["waiting"])
        return out


def _say(due: int, value: dict[str, Any], desk: Desk) -> None:
    clock, desk.now = desk.now, due
    desk.emit("monitoring.status", due, value, value["modality"], value["since_time"])
    desk.now = clock


def _between(o: Observed, after: int, until: int) -> Observed:
    part = slice(
        int(o.arrival_ms.searchsorted(after, side="right")), int(o.arrival_ms.searchsorted(until, side="right"))
    )
    return Observed(o.event_ms[part], o.arrival_ms[part])
