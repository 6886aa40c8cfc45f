"""What comes from Kafka within a slice of a live run: rows by topic, dead letters told once, where the reading stands. No Beam here."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import Any, TypeAlias

import pyarrow as pa

from connectors.base import NotALog
from connectors.kafka.codec import Decoder
from connectors.kafka.fetch import Fetcher
from connectors.kafka.prioritised import Prioritised
from connectors.kafka.reader import Part
from pipelines.ingest import Pseudonyms
from pipelines.ledger import part_name
from pipelines.live_options import LiveOptions
from pipelines.monitoring import metrics
from pipelines.outgoing import letter

Came: TypeAlias = tuple[dict[str, list[pa.Table]], list[dict[str, Any]]]  # rows by topic, dead letters


class TooManyDeadError(NotALog):
    """Most records of a topic can't be read: a bad deploy, on which the run stops instead of rerouting everything."""


class Intake:
    """Reads a slice after another.

    Parameters
    ----------
    told
        Partition → dead letters before this offset have been told by the run before.

    Attributes
    ----------
    parts
        `_file` of a row → its partition.
    number
        Of the last read.
    """

    def __init__(
        self, fetcher: Prioritised, decoder: Decoder, live: LiveOptions, pseudonyms: Pseudonyms, told: dict[str, int]
    ) -> None:
        self.fetcher, self.live, self.parts, self.number = fetcher, live, list[Part](), 0
        self._decoder, self._pseudonyms, self._told = decoder, pseudonyms, told
        self._before = dict(told)  # partition → where the run before this one had read to; those we have not come to yet
        self._on = not told  # whether `goes_on` has said yes
        self._reads: OrderedDict[int, dict[Part, int]] = OrderedDict()  # number of a read → where each partition stood before it
        self._dead: Counter[str] = Counter()
        self._all: Counter[str] = Counter()

    def read(self, most_s: float, held: int, clock: int | None, *, wait: bool) -> Came:
        """What comes within `most_s`.

        Parameters
        ----------
        held, clock
            How many rows are held, and the log's clock (ms): partitions far ahead of it wait when it is too many.
        wait
            Also while nothing comes.
        """
        self.number += 1
        self.fetcher.refresh()
        self._throttle(held, clock)
        self._reads[self.number] = {p: r.position for p, r in self.fetcher.reach.items()}
        polled: dict[Part, list[Any]] = {}  # decoded together: a batch of few records costs about as much as one of a hundred
        end, rows = time.monotonic() + most_s, 0
        while (left := end - time.monotonic()) > 0 and rows < self.live.slice_rows:
            rows += _gather(polled, self.fetcher.poll(left))
            if not wait and not rows:
                break
        came: Came = {}, []
        self._take(came, polled)
        return came

    def goes_on(self, idle: set[Part], stalled: set[Part]) -> bool:
        """Whether everything has been read again that had been read before a restart: rows that waited are in memory once more.

        Until then nobody's machine may run: the log's clock has passed rows of theirs, and these would come from behind it. Once
        said it stays so.

        Parameters
        ----------
        idle
            Partitions that have nothing more to give: what was read before is gone, or the topic is another one now.
        stalled
            Those that do not give it; they are not waited for, but what was told of them is not told again.
        """
        if self._before:
            left = {part_name(p): r.position for p, r in self.fetcher.reach.items() if p not in idle}
            self._before = {p: o for p, o in self._before.items() if left.get(p, o) < o}
        self._on = self._on or not self._before.keys() - {part_name(p) for p in stalled}
        return self._on

    def close_up(self, came: Came, fetcher: Fetcher | Prioritised, most_s: float) -> set[Part]:
        """Read what came up to the instant at which the ends were asked for: then none of before is missing in these partitions."""
        end = time.monotonic() + most_s
        polled: dict[Part, list[Any]] = {}
        while len(idle := fetcher.caught_up()) < len(fetcher.reach) and (left := end - time.monotonic()) > 0:
            _gather(polled, fetcher.poll(left))
        self._take(came, polled)
        return idle

    def stand(self, oldest: int) -> tuple[dict[str, int], dict[str, int]]:
        """Partition → where it has been read to, and from where a run after this one must read.

        Parameters
        ----------
        oldest
            Number of the read that brought the oldest row that waits.
        """
        while self._reads and next(iter(self._reads)) < oldest:
            self._reads.popitem(last=False)
        at = {p: r.position for p, r in self.fetcher.reach.items()}
        begins = reversed(self._reads.values()) if oldest <= self.number else ()
        offsets = at | {p: o for read in begins for p, o in read.items()}  # of each partition the earliest
        # a run that goes on reads again from before what the run before it told
        self._told = {name: max(o, self._before.get(name, 0)) for name, o in ((part_name(p), o) for p, o in at.items())}
        return self._told, {part_name(p): o for p, o in offsets.items()}

    # -- inside -------------------------------------------------------------------------------------------------------

    def _throttle(self, held: int, clock: int | None) -> None:
        ahead: set[Part] = set()
        if held > self.live.waiting_rows and clock and self._on:
            limit = clock + int(self.live.max_hold_s * 1000)
            ahead = {p for p, r in self.fetcher.reach.items() if r.seen is not None and r.seen > limit}
            if len(ahead) == len(self.fetcher.reach):
                ahead = set()
        self.fetcher.pause(ahead)

    def _take(self, came: Came, polled: dict[Part, list[Any]]) -> None:
        """Records as they were polled into `came`."""
        tables, letters = came
        for part, records in polled.items():
            if part not in self.parts:
                self.parts.append(part)
            table, bad = self._decoder.read(part[0], part[1], records, self.parts.index(part))
            metrics.RECORDS_IN.labels(part[0]).inc(len(records))
            told = self._told.get(part_name(part), -1)
            new = [x for x in bad if x.offset >= told]
            self._limit(part[0], len(records), len(bad))
            letters += [letter(x, self._pseudonyms.of(x.user) if x.user is not None else None) for x in new]
            for x in new:
                metrics.DEAD_LETTERS.labels(x.reason).inc()
            if len(table):
                tables.setdefault(part[0], []).append(table)

    def _limit(self, topic: str, n: int, dead: int) -> None:
        self._all[topic] += n
        self._dead[topic] += dead
        if self._dead[topic] > max(self.live.dead_rows, self.live.dead_share * self._all[topic]):
            raise TooManyDeadError(
                f"{topic}: {self._dead[topic]} of {self._all[topic]} records can't be read; stopped before they are passed over"
            )
        if self._all[topic] > 20 * self.live.dead_rows:  # the past counts less
            self._all[topic] //= 2
            self._dead[topic] //= 2


def _gather(into: dict[Part, list[Any]], polled: dict[Part, list[Any]]) -> int:
    """Records of one poll to those of the polls before; how many they are."""
    for part, records in polled.items():
        into.setdefault(part, []).extend(records)
    return sum(map(len, polled.values()))
