"""Reading co-partitioned topics in lanes: all records of a person, from all topics, in the order in which they arrived.

Every topic is keyed by person and partitioned by the same hash, so with `lanes` = a common divisor of the partition counts,
partition p of every topic belongs to lane p mod `lanes`, and a person lives in one lane. A lane knows up to which instant of
the log's clock it is complete (`Ready.clock`): no record of its people with an earlier time is still to come. Nobody behind it
needs to wait for anything else.

The rules of the clock (docs/decisions/0015):

- A partition is complete up to just before its newest record, or, if the broker says *now* that nothing is unread, up to now
  less the hold. A remembered end is worth nothing, and an error moves nothing.
- The end is the high watermark, not the last stable offset: an open transaction is unread data, not silence.
- A partition that has not been heard of for `patience_ms`, while the others have caught up with the present, no longer holds
  them up. What it gives later is released when it comes and counted as `order_break`. Time in which the lane was not read does
  not count.
- Somebody of whom a risk-bearing record of the last minutes waits for others is in need: what waits of theirs in the few topics
  that matter for it is shown (`Ready.needs`) once these are complete up to it, and goes on waiting for the clock
  (docs/decisions/0076).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import gcd
from typing import Any, Protocol

from connectors.kafka.reader import Part, Reader
from schemas import TOPICS

HOLD_MS = 2_000
PATIENCE_MS = 8_000  # with the hold and a bundle this stays below the 10 s of design 4
NEED_MS = 3_000  # the hold and a second: in the present the clock has come so far by then, and nobody need be shown
ASK_MS = 200
RELOOK_MS = 30_000
AHEAD = 40_000  # records of one partition that may wait for the others before it is paused
LIVE_MS = 60_000
RECENT_MS = 600_000
GAP_S = 1.0
STUCK_S = 20.0
NEVER = -(2**62)


class Consumer(Reader, Protocol):
    """What a lane needs of a Kafka client."""

    def ends(self, parts: list[Part]) -> dict[Part, int]:
        """High watermarks, asked of the broker now."""

    def begins(self, parts: list[Part]) -> dict[Part, int]: ...
    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """Partitions of the topics that exist, asked of the broker now."""


def lanes_of(counts: Iterable[int]) -> int:
    """Number of lanes of topics with these partition counts: their greatest common divisor.

    >>> lanes_of([12, 6, 12])
    6
    """
    return gcd(*counts) or 1


def parts_of(lane: int, lanes: int, partitions: Mapping[str, list[int]]) -> list[Part]:
    """Partitions of a lane.

    >>> parts_of(1, 2, {"device.heart_rate": [0, 1, 2, 3], "selfreport": [0, 1]})
    [('device.heart_rate', 1), ('device.heart_rate', 3), ('selfreport', 1)]
    """
    return [(topic, p) for topic, found in sorted(partitions.items()) for p in sorted(found) if p % lanes == lane]


@dataclass
class Ready:
    """Records that may go on.

    Parameters
    ----------
    records
        By partition, in the order of offsets.
    clock
        The lane is complete up to this instant (ms); `NEVER` before anything is known.
    live
        Whether the lane has caught up with the present.
    offsets
        Partition → the next offset to release; what a restart goes on from.
    needs
        Records of people in need that go on waiting, by partition.
    """

    records: dict[Part, list[Any]]
    clock: int
    live: bool
    offsets: dict[Part, int]
    needs: dict[Part, list[Any]] = field(default_factory=dict)


@dataclass
class _Partition:
    waiting: deque[tuple[Any, float]] = field(default_factory=deque)  # (record, when fetched)
    known: int = NEVER  # complete up to here
    heard: float = 0.0
    next: int = 0
    given: int = 0  # after the last record that the client handed out, and the markers behind it
    shown: int = 0  # before this everybody in need has been shown
    paused: bool = False


class Lane:
    """One lane being read.

    Parameters
    ----------
    offsets
        Where to go on; a partition that is not among them is read from its beginning.
    gather, gather_s
        Records of these topics decide nothing by themselves: if there are no others, they are released together, so often.
    few
        Topics of which somebody in need is shown what waits.
    most
        Records of one partition that are released at once, about: what follows is busy with them, and nothing is read meanwhile.
    wall
        Clock in seconds, for tests.
    """

    def __init__(
        self, consumer: Consumer, lane: int, lanes: int, topics: Iterable[str], offsets: Mapping[Part, int], *,
        hold_ms: int = HOLD_MS, patience_ms: int = PATIENCE_MS, clock: int = NEVER, wall: Callable[[], float] = time.time,
        gather: Collection[str] = (), gather_s: float = 0.0,
        few: Collection[str] = (), need_ms: int = NEED_MS, most: int = AHEAD,
    ) -> None:  # fmt: skip
        self.consumer, self.lane, self.lanes, self.topics = consumer, lane, lanes, sorted(topics)
        self.hold_ms, self.patience_ms, self.wall = hold_ms, patience_ms, wall
        self.gather, self.gather_s = frozenset(gather), gather_s
        self.few, self.need_ms, self.most = frozenset(few), need_ms, most
        self.clock = clock
        self.breaks: Counter[str] = Counter()
        self.to_commit: dict[Part, int] = {}  # set by whoever knows that these are safe; sent with the next pull
        self.committed: dict[Part, int] = {}
        self._parts: dict[Part, _Partition] = {}
        self._asked = self._looked = NEVER * 1.0
        self._quiet = False  # whether the last poll gave nothing
        self._more = False  # whether what may go on was more than may go on at once
        self._left = self._moved = wall()
        self._released = 0.0
        self._look(offsets)

    @property
    def offsets(self) -> dict[Part, int]:
        return {part: p.next for part, p in self._parts.items()}

    def pull(self, wait_ms: int) -> Ready:
        """Fetch for at most about `wait_ms`, or only what is there if more could be released, and release what is complete.

        An error of the broker is passed on; nothing has moved then.
        """
        self._commit()
        now = self.wall()
        self._excuse(now - self._left)
        if (now - self._looked) * 1000 >= RELOOK_MS:
            try:
                self._look({})
            except Exception:  # the broker is away: what is known stays, the next look is later
                self._looked = now
        got = self.consumer.poll(0 if self._more else wait_ms)
        self._quiet = not any(got.values())
        for part, records in got.items():
            self._take(part, records, self.wall())
        now = self.wall()
        if (now - self._asked) * 1000 >= ASK_MS:
            self._ask(now)
        self._balance()
        self._left = self.wall()
        return self._release(now)

    @property
    def stuck(self) -> bool:
        """The broker answers, but the clock has stood still: the client must be made anew (docs/flink.md)."""
        now = self.wall()
        return now - self._moved > STUCK_S and now - self._asked < STUCK_S / 4

    def close(self) -> None:
        self.consumer.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _look(self, offsets: Mapping[Part, int]) -> None:
        """Partitions that are new since the last look join the lane."""
        now = self.wall()
        found = parts_of(self.lane, self.lanes, self.consumer.partitions(self.topics))
        fresh = [p for p in found if p not in self._parts]
        if fresh:
            begins = self.consumer.begins([p for p in fresh if p not in offsets])
            self.consumer.assign(sorted({*self._parts, *fresh}))
            for part in fresh:
                first = offsets.get(part, begins.get(part, 0))
                self._parts[part] = _Partition(heard=now, next=first, given=first)
                self.consumer.seek(part, self._parts[part].next)
            for part, p in self._parts.items():
                if part not in fresh:  # assigning anew forgets positions and pauses
                    self.consumer.seek(part, p.waiting[-1][0].offset + 1 if p.waiting else p.next)
                    p.paused = False
        self._looked = now

    def _excuse(self, away_s: float) -> None:
        """Nobody could be heard while nobody listened (a long bundle, a busy machine)."""
        if away_s > GAP_S:
            for p in self._parts.values():
                p.heard += away_s
                if self.clock > self.wall() * 1000 - LIVE_MS:  # in a backlog somebody in need waits for nobody
                    p.waiting = deque((r, fetched + away_s) for r, fetched in p.waiting)

    def _commit(self) -> None:
        """Offsets for lag monitors; a client must be used by one thread only, so this waits for the next pull."""
        offsets, self.to_commit = self.to_commit, {}
        if offsets:
            try:
                self.consumer.commit(offsets)
                self.committed = offsets
            except Exception:  # information only
                return

    def _take(self, part: Part, records: list[Any], now: float) -> None:
        p = self._parts.get(part)
        if p is None or not records:
            return
        p.waiting.extend((r, now) for r in records)
        p.given = records[-1].offset + 1
        p.heard = now
        p.known = max(p.known, max(r.timestamp for r in records) - 1)

    def _ask(self, now: float) -> None:
        """Which partitions have nothing unread, by the broker's word of this moment."""
        quiet = [part for part, p in self._parts.items() if not p.paused]
        try:
            ends = self.consumer.ends(quiet)
        except Exception:  # an error moves nothing: the partitions just stay unheard of
            return
        for part, end in ends.items():
            p = self._parts[part]
            if self._quiet:  # past transaction markers too; ahead of what was handed out only while a poll still gives something
                p.given = max(p.given, self.consumer.position(part))
            if end <= p.given:
                p.known = max(p.known, int(now * 1000) - self.hold_ms)
                p.heard = now
        self._asked = now

    def _balance(self) -> None:
        """A partition that is far ahead of the others waits for them, so that memory stays bounded."""
        far = [part for part, p in self._parts.items() if not p.paused and len(p.waiting) > AHEAD]
        near = [part for part, p in self._parts.items() if p.paused and len(p.waiting) < AHEAD // 4]
        if far:
            self.consumer.pause(far)
        if near:
            self.consumer.resume(near)
        for part in far + near:
            self._parts[part].paused = not self._parts[part].paused

    def _complete(self, now: float, patient: float) -> int:
        """Up to where everybody has come; those that are silent are left out if the rest has caught up."""
        everybody = min((p.known for p in self._parts.values()), default=NEVER)
        heard = [p.known for p in self._parts.values() if p.paused or p.heard >= patient]
        rest = min(heard, default=NEVER)
        return rest if rest > now * 1000 - LIVE_MS else everybody

    def _cuts(self) -> list[int]:
        """Instants up to which each partition gives about as much as may be released at once, and never nothing."""
        much = [p.waiting for p in self._parts.values() if len(p.waiting) > self.most]
        return [max(w[0][0].timestamp, w[self.most][0].timestamp) for w in much]

    def _may_gather(self, now: float, clock: int) -> bool:
        """Whether what is complete may wait for more: the lane is in the present, and nobody decides anything by it yet."""
        if not 0 <= now - self._released < self.gather_s or clock <= now * 1000 - LIVE_MS:
            return False
        return not any(p.waiting for part, p in self._parts.items() if part[0] not in self.gather)

    def _release(self, now: float) -> Ready:
        complete = self._complete(now, now - self.patience_ms / 1000)
        clock = max(self.clock, min([complete, *self._cuts()]))
        gathers = self._may_gather(now, clock)
        self._more = clock < complete and not gathers
        if gathers:
            return Ready({}, self.clock, True, self.offsets)
        live = clock > now * 1000 - LIVE_MS
        needs = self._needs(now, clock, live)
        self._released = now
        out: dict[Part, list[Any]] = {}
        for part, p in self._parts.items():
            records = []
            while p.waiting and p.waiting[0][0].timestamp <= clock:
                record = p.waiting.popleft()[0]
                if record.timestamp <= self.clock:
                    self.breaks[part[0]] += 1
                records.append(record)
            if records:
                out[part] = records
            p.next = p.waiting[0][0].offset if p.waiting else p.given
        if clock > self.clock:
            self._moved = now
        self.clock = clock
        return Ready(out, clock, live, self.offsets, needs)

    def _needs(self, now: float, clock: int, live: bool) -> dict[Part, list[Any]]:
        """What waits of those in need; each risk-bearing record asks once.

        In the present what the clock has come to is released and decides at once. In a backlog it may wait for its person's turn
        then too, so it is shown.
        """
        few = {part: p for part, p in self._parts.items() if part[0] in self.few}
        horizon = min((p.known for p in few.values()), default=NEVER)
        patient = now - self.patience_ms / 1000
        since, after, before = now * 1000 - RECENT_MS, clock if live else NEVER, now - live * self.need_ms / 1000
        people: set[bytes] = set()
        for (topic, _), p in few.items():
            if p.waiting and TOPICS[topic].risk_bearing:
                ripe = [
                    r for r, fetched in _newest(p.waiting, since, p.shown)
                    if r.timestamp > after and ((r.timestamp <= horizon and fetched <= before) or fetched < patient)
                ]  # fmt: skip
                people |= {r.key for r in ripe}
                p.shown = max([p.shown, *(r.offset + 1 for r in ripe)])
        found = {part: [r for r, _ in p.waiting if r.key in people] for part, p in few.items()} if people else {}
        return {part: records for part, records in found.items() if records}


def _newest(waiting: deque[tuple[Any, float]], since: float, shown: int) -> Iterator[tuple[Any, float]]:
    """Records later than `since` (ms) from the offset `shown` on, from the newest back: a long backlog is not walked."""
    for record, fetched in reversed(waiting):
        if record.timestamp <= since or record.offset < shown:
            return
        yield record, fetched
