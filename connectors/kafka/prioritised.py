"""Two fetchers as one: topics of few records that somebody waits for are never behind the many of the others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from connectors.kafka.fetch import Fetcher, Reach
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import Part

TURN_S = 0.05  # the others are waited for no longer than this at a time


class Prioritised:
    """A fetcher of its own for what is read first, another for the rest; the face of `Fetcher`.

    A broker fills an answer partition by partition, two megabytes at a time: with a backlog on sixty partitions a record that has
    just come was seen after thirty answers. Connections of their own see it in the next.

    Parameters
    ----------
    first, rest
        Topics.
    start
        Part → first offset.

    Raises
    ------
    NotALog
        No broker answers, or it refuses us.
    """

    def __init__(self, options: KafkaOptions, first: Iterable[str], rest: Iterable[str], start: Mapping[Part, int]) -> None:
        self.first, self.rest = Fetcher(options, first, start), Fetcher(options, rest, start)
        self.both = (self.first, self.rest)

    @property
    def reach(self) -> dict[Part, Reach]:
        """How far each partition is read."""
        return {**self.first.reach, **self.rest.reach}

    @property
    def answers(self) -> bool:
        """Whether the broker answered the last `idle`."""
        return self.first.answers and self.rest.answers

    @property
    def lag(self) -> int:
        """Records that had not been read at the last `idle`."""
        return self.first.lag + self.rest.lag

    def expired(self) -> Counter[str]:
        """Offsets that retention deleted before they were read, by topic, since the last call."""
        out: Counter[str] = Counter()
        for fetcher in self.both:
            out += fetcher.expired
            fetcher.expired.clear()
        return out

    def poll(self, wait_s: float) -> dict[Part, list[Any]]:
        """Records of either, as soon as there are any; after at most `wait_s` seconds none."""
        end = time.monotonic() + wait_s
        while True:
            got = self.first.poll(0)
            left = max(0.0, end - time.monotonic())
            got |= self.rest.poll(0 if got else min(left, TURN_S))
            if got or left <= TURN_S:
                return got

    def idle(self) -> set[Part]:
        """Partitions of which everything there is now has been read. An error is never idleness."""
        return self.first.idle() | self.rest.idle()

    def stalled(self, after_s: float) -> set[Part]:
        """Partitions that have records and have given none for so long, although each has had its turn since."""
        return self.first.stalled(after_s) | self.rest.stalled(after_s) if self.answers else set()

    def caught_up(self) -> set[Part]:
        """Partitions of which everything has been read that was there when `idle` asked."""
        return self.first.caught_up() | self.rest.caught_up()

    def refresh(self) -> None:
        """Look for new partitions, if it is time to."""
        for fetcher in self.both:
            fetcher.refresh()

    def missing(self, topics: Iterable[str]) -> list[str]:
        """Those of these topics that do not exist."""
        return self.first.missing(topics)

    def pause(self, parts: set[Part]) -> None:
        """Read these of the rest no further until another call leaves them out; what is read first is never paused."""
        self.rest.pause(parts & self.rest.reach.keys())

    def close(self) -> None:
        for fetcher in self.both:
            fetcher.close()
