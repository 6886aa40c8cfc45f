"""Whose machine runs in a slice of a live run, up to when, and in which order. No Beam, no Kafka here."""

from __future__ import annotations

import heapq

import pyarrow as pa

from pipelines.carrier import Work
from pipelines.ledger import Kept
from pipelines.live_options import LiveOptions
from pipelines.waiting import BACKLOG_MS, SOON_ROWS, STRIDE_MS, Waiting, is_ready

BACKLOG_WORK = 5  # so many times longer run the machines of a slice while a backlog is worked off: a slice costs something itself


class Turns:
    """What waits of everybody, and when everybody is due.

    Parameters
    ----------
    people
        Pseudonym → up to where the machine has been run; kept up to date by `ran`.
    end
        Where the log's clock stops (ms); None = never.

    Attributes
    ----------
    pressed
        Whether machines were left for the next slice.
    """

    def __init__(self, live: LiveOptions, people: dict[str, Kept], end: int | None = None) -> None:
        self.live, self.people, self.end = live, people, end
        self.waiting: dict[str, Waiting] = {}
        self.pressed = False
        self._due = [(k.due, u) for u, k in people.items() if k.due is not None]
        heapq.heapify(self._due)

    def add(self, user: str, topic: str, table: pa.Table, at: float, now: int, read: int) -> None:
        """Rows of somebody, read at `at` (monotonic seconds) = `now` (ms) by the `read`-th read."""
        waiting = self.waiting.setdefault(user, Waiting(read))
        if not waiting.rows:
            waiting.since = read
        waiting.add(topic, table, at, now)

    @property
    def rows(self) -> int:
        """How many rows wait."""
        return sum(w.rows for w in self.waiting.values())

    # -- a slice ------------------------------------------------------------------------------------------------------

    def choose(self, until: int, now: int) -> list[Work]:
        """Who is run up to `until`; who is in need comes first, then what is urgent, then the rest by when it is due."""
        backlog = self.backlog(until, now)
        chosen: list[tuple[int, int, str]] = []
        for user, waiting in self.waiting.items():
            kept = self.people.get(user)
            if waiting.rows and (is_ready(waiting, kept, until, backlog) or self._is_last(waiting, kept, until)):
                chosen.append((_rank(waiting, until), waiting.due(kept) or 0, user))
        chosen += self._quiet(until, backlog, {c[2] for c in chosen})
        chosen.sort()
        most = max(self.live.people, sum(c[0] == 0 for c in chosen))
        self.pressed = False
        self.put_off({c[2] for c in chosen[most:]})
        return [Work(user, self._target(user, until), must=rank == 0) for rank, _, user in chosen[:most]]

    def _target(self, user: str, until: int) -> int:
        waiting = self.waiting.get(user)
        return until if waiting is None else waiting.stride(until)

    def _is_last(self, waiting: Waiting, kept: Kept | None, until: int) -> bool:
        """Whether the clock stops here, before the minute for which these rows wait."""
        over = self.end is not None and until >= self.end and (kept is None or kept.clock < until)
        return over and waiting.first is not None and waiting.first <= until

    def _quiet(self, until: int, backlog: bool, named: set[str]) -> list[tuple[int, int, str]]:
        """Those for whom nothing waits, and whose time has come."""
        out = []
        while self._due and self._due[0][0] <= until:
            due, user = heapq.heappop(self._due)
            kept = self.people[user]
            if kept.due != due or user in named:
                continue
            if backlog and until < kept.clock + STRIDE_MS:
                heapq.heappush(self._due, (due, user))
                break
            if kept.clock < until:
                out.append((2, due, user))
                named.add(user)
        return out

    def backlog(self, until: int, now: int) -> bool:
        """Whether the log's clock is far behind."""
        return until < now - BACKLOG_MS and not (self.end is not None and until >= self.end)

    def work_s(self, until: int, now: int) -> float:
        """How long machines may run in this slice: at the full minute everybody is due, and who is in need must not wait for them."""
        long = self.backlog(until, now) and not any(w.needs for w in self.waiting.values())
        return self.live.work_s * (BACKLOG_WORK if long else 1)

    def put_off(self, users: set[str]) -> None:
        """Their machines run in a later slice."""
        self.pressed = self.pressed or bool(users)
        for user in sorted(users):
            if (kept := self.people.get(user)) is not None and kept.due is not None:
                heapq.heappush(self._due, (kept.due, user))

    def ran(self, work: Work) -> Kept:
        """Somebody's machine has been run; what is to be kept of it."""
        before = self.people.get(work.user)
        seen = dict(before.seen) if before is not None else {}
        for part, offset in work.seen.items():
            seen[part] = max(offset, seen.get(part, -1))
        kept = Kept(max(work.until, before.clock if before is not None else 0), work.due, seen)
        self.people[work.user] = kept
        if work.due is not None:
            heapq.heappush(self._due, (work.due, work.user))
        if (left := self.waiting.get(work.user)) is not None and not left.rows:
            del self.waiting[work.user]
        return kept

    def left(self, until: int) -> bool:
        """Whether anybody still has to be run up to `until`."""
        return any(k.due is not None and k.due <= until for k in self.people.values()) or any(
            w.rows and w.first is not None and w.first <= until for w in self.waiting.values()
        )


def _rank(waiting: Waiting, until: int) -> int:
    """0 for those in need whose machine answers at once; 1 for what bears risk; 2 for the rest."""
    if waiting.risky is None or waiting.risky > until:
        return 2
    return 0 if waiting.needs and waiting.rows <= SOON_ROWS else 1
