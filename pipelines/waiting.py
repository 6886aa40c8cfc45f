"""Rows that have been read and wait, by person: for the log's clock to pass them, or for their person's turn. No Beam here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from connectors.kafka.reader import Part
from connectors.spool import in_order
from pipelines.ingest.machine import RISK_BEARING
from pipelines.ledger import Kept
from pipelines.parcel import BY_THE_MINUTE

MINUTE_MS = 60_000
RISKY = RISK_BEARING | {"selfreport"}
FRESH_MS = 3_600_000  # a risk-bearing row that came within this when it is read: somebody is in need now
BACKLOG_MS = 120_000  # behind by more than this is a backlog
STRIDE_MS = 6 * 3_600_000
STRIDE_ROWS = 4_000
LONGEST_ROWS = 8_000  # of one step: about half a second
SOON_ROWS = 1_000  # a machine with more than these to take does not answer at once
MANY_NEEDS = 1_000
MANY_PARTS = 64  # rows of a person come one by one; each is a view that keeps the whole batch it came with


@dataclass
class Waiting:
    """What waits of one person.

    Parameters
    ----------
    since
        Number of the read that brought the oldest of it.
    first, urgent, risky
        Earliest arrival (ms) of all, of what can't wait for the minute, of what no backlog may hold; None = nothing such.
    needs
        Arrivals (ms) of what bears risk and had come within `FRESH_MS` when it was read: somebody is in need now. They do not age
        while they wait.
    risky_at
        When the first risk-bearing row was read (monotonic seconds).
    """

    since: int
    tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    rows: int = 0
    first: int | None = None
    urgent: int | None = None
    risky: int | None = None
    needs: list[int] = field(default_factory=list)
    risky_at: float | None = None

    def add(self, topic: str, table: pa.Table, at: float, now: int = 0) -> None:
        """Rows of one topic, read at `at` (monotonic seconds) = `now` (ms)."""
        parts = self.tables.setdefault(topic, [])
        parts.append(table)
        if len(parts) > MANY_PARTS:
            parts[:] = [_whole(parts)]
        self.rows += len(table)
        low = int(table["ingest_time"].to_numpy().min())
        self.first = _least(self.first, low)
        if topic not in BY_THE_MINUTE:
            self.urgent = _least(self.urgent, low)
        if topic in RISKY:
            self.risky = _least(self.risky, low)
            arrival = table["ingest_time"].to_numpy()
            self.needs = [*self.needs, *arrival[arrival >= now - FRESH_MS].tolist()][-MANY_NEEDS:]
            self.risky_at = at if self.risky_at is None else self.risky_at

    def due(self, kept: Kept | None) -> int | None:
        """When the person must be run (ms of the log's clock)."""
        if kept is None:
            return self.first
        times = [kept.due, self.urgent]
        if self.first is not None:
            times.append((max(self.first, kept.clock) // MINUTE_MS + 1) * MINUTE_MS)
        return min((t for t in times if t is not None), default=None)

    def stride(self, until: int) -> int:
        """Up to where (ms, at most `until`) these rows are taken in one step, so that no step takes long."""
        if self.rows <= LONGEST_ROWS:
            return until
        arrivals = np.concatenate([t["ingest_time"].to_numpy() for parts in self.tables.values() for t in parts])
        return min(until, int(np.partition(arrivals, LONGEST_ROWS)[LONGEST_ROWS]))

    def take(self, until: int) -> dict[str, pa.Table]:
        """Rows that arrived up to `until`, in arrival order, by topic; the rest goes on waiting."""
        ready: dict[str, pa.Table] = {}
        left: dict[str, list[pa.Table]] = {}
        for topic, parts in sorted(self.tables.items()):
            table = _whole(parts)
            arrival = table["ingest_time"].to_numpy()
            inside = arrival <= until
            if inside.all():
                ready[topic] = in_order(table)
                continue
            left[topic] = [table.filter(pa.array(~inside))]
            if inside.any():
                ready[topic] = in_order(table.filter(pa.array(inside)))
        at, since, needs = self.risky_at, self.since, self.needs
        self.__init__(since)  # type: ignore[misc]
        for topic, parts in left.items():
            self.add(topic, parts[0], at or 0.0)
        self.needs = [n for n in needs if n > until]
        return ready

    def up_to(self, until: int, topics: frozenset[str]) -> dict[str, pa.Table]:
        """Rows of some topics that arrived up to `until`, in arrival order; all go on waiting."""
        out = {}
        for topic in sorted(topics & self.tables.keys()):
            table = in_order(_whole(self.tables[topic]))
            if n := int(np.searchsorted(table["ingest_time"].to_numpy(), until, side="right")):
                out[topic] = table.slice(0, n)
        return out


def _whole(parts: list[pa.Table]) -> pa.Table:
    """One table in one piece: filtering 300 pieces of one row costs twenty times as much as putting them together first."""
    return pa.concat_tables(parts).combine_chunks() if len(parts) > 1 else parts[0]


@dataclass
class Gate:
    """What of the rows that come is new, and what comes from behind the hold.

    Parameters
    ----------
    breaks
        Rows that came from behind their person's clock, by topic.
    """

    breaks: Counter[str] = field(default_factory=Counter)

    def admit(self, topic: str, table: pa.Table, kept: Kept | None, parts: list[Part]) -> pa.Table:
        """Rows that the person has not taken yet; those from behind the clock arrive one ms after it.

        Parameters
        ----------
        parts
            `_file` → partition.
        """
        if kept is None:
            return table
        arrival = table["ingest_time"].to_numpy()
        behind = arrival <= kept.clock
        if not behind.any():
            return table
        last = np.array([kept.seen.get(p, -1) for p in parts], np.int64)
        taken = behind & (table["_line"].to_numpy() <= last[table["_file"].to_numpy()])
        if taken.any():
            table = table.filter(pa.array(~taken))
            arrival, behind = arrival[~taken], behind[~taken]
        if behind.any():
            self.breaks[topic] += int(behind.sum())
            place = table.schema.get_field_index("ingest_time")
            moved = pa.array(np.maximum(arrival, kept.clock + 1))
            table = table.set_column(place, table.schema.field(place), moved)
        return table


def earliest(tables: dict[str, pa.Table], default: int) -> int:
    """First arrival (ms) of rows in arrival order; `default` if there are none."""
    return min((int(t["ingest_time"][0].as_py()) for t in tables.values()), default=default)


def within(tables: dict[str, pa.Table], after: int, until: int) -> dict[str, pa.Table]:
    """Rows that arrived in (after, until], of rows in arrival order; topics without any are left out."""
    out = {}
    for topic, table in tables.items():
        arrival = table["ingest_time"].to_numpy()
        low, high = np.searchsorted(arrival, [after, until], side="right")
        if high > low:
            out[topic] = table.slice(int(low), int(high - low))
    return out


def is_ready(waiting: Waiting, kept: Kept | None, until: int, backlog: bool) -> bool:
    """Whether a person's machine is to be run up to `until`.

    While a backlog is worked off machines run in strides of hours or thousands of rows: nothing shows of it, and a step costs
    more than its rows. What bears risk is taken as soon as the clock has passed it.
    """
    if kept is not None and until <= kept.clock:
        return False
    due = waiting.due(kept)
    if due is None or due > until:
        return False
    if not backlog:
        return True
    if waiting.risky is not None and waiting.risky <= until:
        return True
    begin = kept.clock if kept is not None else due
    return waiting.rows >= STRIDE_ROWS or until >= begin + STRIDE_MS


def oldest(waiting: Iterable[Waiting], newest: int) -> int:
    """Number of the read that brought the oldest row that waits; `newest` + 1 if none does."""
    return min((w.since for w in waiting if w.rows), default=newest + 1)


def _least(a: int | None, b: int) -> int:
    return b if a is None or b < a else a



