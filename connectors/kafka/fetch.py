"""Reading partitions: assign, poll, ask for ends. The bounded reader, the live run and the archive use it.

Rules that were paid for (shared/jvm.md, the end of §3): whether a partition is idle is known only from the end offset asked for
at that moment, never from a remembered one; an error never lets a clock go on; partitions are looked for while running.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from connectors.base import NotALog
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import Part, reader_of

log = logging.getLogger("kairos.kafka")
ASKER = {"enable_auto_commit": False, "isolation_level": "read_committed", "metadata_max_age_ms": 30_000, "metrics_enabled": False}
WAIT_MS = 100  # longest a broker keeps a fetch waiting
SETTLED_S = 0.3  # three times the longest a broker keeps a fetch waiting
LOOK_S = 10.0  # how often new partitions are looked for


@dataclass
class Reach:
    """How far a partition is read.

    Parameters
    ----------
    position
        Next offset to be read.
    seen
        Largest timestamp read (ms), None = nothing yet.
    moved
        When (seconds of the monotonic clock) it last gave a record or was found to be at its end.
    given
        When (seconds of the monotonic clock) it last gave a record.
    polls
        Polls since then that gave none of it, whatever they gave of others: a broker gives partitions their turn.
    empty
        When (ms of the wall clock) it was last found to be at its end: what is there now and has not been read came after that.
    """

    position: int
    seen: int | None = None
    moved: float = 0.0
    given: float = -1e9
    polls: int = 0
    empty: int = 0


class Fetcher:
    """Reads records of topics, partition by partition, from given offsets on.

    Parameters
    ----------
    topics
        Names as we call them; those that do not exist are left out, and taken up when they do.
    start
        Part → first offset; others begin at their first record.
    clock
        Monotonic seconds.

    Raises
    ------
    NotALog
        No broker answers, or it refuses us.
    """

    def __init__(
        self, options: KafkaOptions, topics: Iterable[str], start: Mapping[Part, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.options, self.topics = options, sorted(topics)
        self._start, self._clock = dict(start or {}), clock
        self.reach: dict[Part, Reach] = {}
        self.expired: Counter[str] = Counter()  # offsets that retention deleted before they were read, by topic
        self._paused: set[Part] = set()
        self._ends: dict[Part, int] = {}  # as of the last `idle`
        self.answers, self.lag = False, 0  # at the last `idle`: whether the broker said; records not read yet
        self._looked = clock()
        try:
            self._asker = KafkaConsumer(**options.client(**ASKER))
            self._reader = reader_of(options, wait_ms=WAIT_MS)
            self.look()
        except (KafkaError, OSError) as error:
            raise NotALog(f"Kafka at {options.brokers}: {type(error).__name__}") from None

    # -- partitions ---------------------------------------------------------------------------------------------------

    def look(self) -> list[Part]:
        """Take up partitions that are new; they are read from their first record."""
        self._looked = self._clock()
        there = set(self._asker.topics())
        found = [
            (topic, number)
            for topic in self.topics
            if (name := self.options.name(topic)) in there
            for number in sorted(self._asker.partitions_for_topic(name) or ())
        ]
        new = [p for p in found if p not in self.reach]
        if new:
            starts = self._asker.beginning_offsets([self._tp(p) for p in new])
            for p in new:
                first = max(starts[self._tp(p)], self._start.get(p, 0))
                self._missed(p, self._start.get(p, first), first)
                self.reach[p] = Reach(first, moved=self._clock())
            self._reader.assign([*self.reach])
            for p, r in self.reach.items():
                self._reader.seek(p, r.position)
            self._reader.pause([*self._paused])
        return new

    def missing(self, topics: Iterable[str]) -> list[str]:
        """Those of these topics that do not exist."""
        there = set(self._asker.topics())
        return sorted(t for t in topics if self.options.name(t) not in there)

    def refresh(self) -> list[Part]:
        """`look`, if it is time to; what is new. A broker that does not answer is asked again later."""
        if self._clock() - self._looked < LOOK_S:
            return []
        try:
            return self.look()
        except (KafkaError, OSError):
            return []

    # -- records ------------------------------------------------------------------------------------------------------

    def poll(self, wait_s: float) -> dict[Part, list[Any]]:
        """Records that have been fetched, by partition, in order; after at most `wait_s` seconds none.

        A broker that does not answer gives none: the positions stay, the next call tries again. What the client may have taken
        in hand when it failed is read again.
        """
        try:
            got = self._reader.poll(max(0, int(wait_s * 1000)))
        except (KafkaError, OSError):
            for part, reach in self.reach.items():
                self._reader.seek(part, reach.position)
            return {}
        out: dict[Part, list[Any]] = {}
        for reach in self.reach.values():
            reach.polls += 1
        for part, records in got.items():
            if records and part in self.reach:
                reach = self.reach[part]
                if records[0].offset > reach.position:
                    self._gap(part, reach.position)
                reach.position = int(records[-1].offset) + 1
                newest = max(int(r.timestamp) for r in records)
                reach.seen = newest if reach.seen is None else max(reach.seen, newest)
                reach.moved, reach.given, reach.polls = self._clock(), self._clock(), 0
                out[part] = records
        return out

    def _gap(self, part: Part, wanted: int) -> None:
        """The next record is not the one expected: a marker or a compacted record, or the broker has deleted what was not read."""
        try:
            self._missed(part, wanted, int(self._asker.beginning_offsets([self._tp(part)])[self._tp(part)]))
        except (KafkaError, OSError):
            log.warning("%s/%d: records before the ones read now may have been deleted; the broker does not say", *part)

    def _missed(self, part: Part, wanted: int, first: int) -> None:
        if first > wanted:
            self.expired[part[0]] += first - wanted
            log.error(
                "%s/%d: %d offsets were deleted by retention before they were read: give the topic a longer one",
                *part, first - wanted,
            )  # fmt: skip

    def ends(self, parts: Iterable[Part] | None = None, wait_s: float = 2.0) -> dict[Part, int] | None:
        """End offsets as they are now; None if the broker does not say.

        The end is that of committed records: what an open transaction has written is not there yet.
        """
        wanted = [self._tp(p) for p in (self.reach if parts is None else parts)]
        if not wanted:
            return {}
        try:
            found = self._asker.end_offsets(wanted, timeout_ms=int(wait_s * 1000))
        except (KafkaError, OSError):
            return None
        return {(tp.topic[len(self.options.prefix) :], tp.partition): int(end) for tp, end in found.items()}

    def positions(self, ends: Mapping[Part, int]) -> dict[Part, int] | None:
        """Next offsets: after the last record we were given; None if not to be had.

        The reader's own position also passes over transaction markers. It is believed only of partitions that have given
        nothing for a while: then nothing of them is on its way to us.
        """
        at = {p: r.position for p, r in self.reach.items()}
        try:
            for p, r in self.reach.items():
                if r.position < ends.get(p, -1) and self._clock() - r.given > SETTLED_S:
                    at[p] = max(r.position, self._reader.position(p))
        except (KafkaError, OSError):
            return None
        return at

    def idle(self) -> set[Part]:
        """Partitions of which everything there is now has been read. An error is never idleness."""
        ends = self.ends()
        at = None if ends is None else self.positions(ends)
        self.answers = at is not None
        self._ends = ends or {}
        if ends is None or at is None:
            for reach in self.reach.values():  # nobody is heard: no partition stalls by itself
                reach.moved, reach.polls = self._clock(), 0
            return set()
        out = set()
        self.lag = sum(max(0, ends.get(p, 0) - max(at[p], r.position)) for p, r in self.reach.items())
        for part, reach in self.reach.items():
            if max(at[part], reach.position) >= ends.get(part, 1 << 62):
                if at[part] > reach.position + 2:  # more than a marker or two
                    self._gap(part, reach.position)
                reach.position = max(at[part], reach.position)
                reach.moved, reach.polls = self._clock(), 0
                out.add(part)
            elif part in self._paused:  # by us
                reach.moved, reach.polls = self._clock(), 0
        return out

    def stalled(self, after_s: float) -> set[Part]:
        """Partitions that have records and have given none for so long, although each has had its turn since.

        A partition that waits because we read others first, or because we are busy, does not stall.
        """
        limit = self._clock() - after_s
        return {p for p, r in self.reach.items() if self.answers and r.moved < limit and r.polls > len(self.reach)}

    def caught_up(self) -> set[Part]:
        """Partitions of which everything has been read that was there when `idle` asked; none where it was not answered."""
        return {p for p, r in self.reach.items() if p in self._ends and r.position >= self._ends[p]}

    def offsets_at(self, time_ms: int) -> dict[Part, int]:
        """First offset of each partition whose timestamp is at or after an instant; the end if there is none."""
        found = self._asker.offsets_for_times({self._tp(p): time_ms for p in self.reach})
        ends = self.ends() or {}
        return {p: (ends[p] if (o := found.get(self._tp(p))) is None else int(o.offset)) for p in self.reach}

    def seek(self, part: Part, offset: int) -> None:
        """Go on at an offset."""
        self.reach[part].position = offset
        self._reader.seek(part, offset)

    def pause(self, parts: set[Part]) -> None:
        """Read these no further until another call leaves them out."""
        off, on = [*parts - self._paused], [*self._paused - parts]
        if off:
            self._reader.pause(off)
        if on:
            self._reader.resume(on)
        self._paused = set(parts)

    def close(self) -> None:
        self._reader.close()
        self._asker.close()

    def _tp(self, part: Part) -> TopicPartition:
        return TopicPartition(self.options.name(part[0]), part[1])
