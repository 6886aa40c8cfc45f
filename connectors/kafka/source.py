"""A range of Kafka topics as a source: `kafka://host:port?from=T&to=T` (contracts.md 3)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import NotALog
from connectors.kafka.codec import READ, Decoder
from connectors.kafka.fetch import Fetcher
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import Part
from connectors.kafka.registry import Registry
from connectors.spool import DAY_MS
from connectors.spooled import SpooledSource

SCHEME = "kafka://"
PATIENCE_S = 60.0


class KafkaSource(SpooledSource):
    """What the input topics hold when this is made, read once into a spool.

    Parameters
    ----------
    start, end
        Only records whose timestamp t has start <= t <= end (ms). The timestamp of a record is the log's clock.
    topics
        Default: all input topics that exist.

    Raises
    ------
    NotALog
        No broker, none of the topics, no record, or a broker that stops answering for a minute.
    """

    def __init__(
        self, options: KafkaOptions, *, start: int | None = None, end: int | None = None,
        topics: Iterable[str] = READ, progress: Callable[[float], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.start, self.end = start, end
        self.first: int | None = None
        self.last: int | None = None
        self.bytes = 0
        self.records_in: Counter[str] = Counter()
        self.users: set[str] = set()
        self._begin: int | None = None
        self._decoder = Decoder(Registry(options.registry) if options.registry else None)
        fetcher = Fetcher(options, topics)
        try:
            self.files = [f"{topic}/{number}" for topic, number in fetcher.reach]
            self._numbers: dict[Part, int] = {part: i for i, part in enumerate(fetcher.reach)}
            self._read(fetcher, progress or (lambda share: None))
            self._finish(options)
        except BaseException:
            self._spool.close()
            raise
        finally:
            fetcher.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, fetcher: Fetcher, progress: Callable[[float], None]) -> None:
        ends = fetcher.ends(wait_s=PATIENCE_S)
        if ends is None:
            raise NotALog(f"Kafka at {fetcher.options.brokers}: no answer")
        starts = {p: r.position for p, r in fetcher.reach.items()}
        if self.start is not None and starts:
            for part, offset in fetcher.offsets_at(self.start).items():
                fetcher.seek(part, offset)
                starts[part] = offset
        todo = sum(max(ends[p] - starts[p], 0) for p in ends) or 1
        left, heard = {p for p in ends if starts[p] < ends[p]}, time.monotonic()
        while left:
            fetcher.pause(set(fetcher.reach) - left)
            got = fetcher.poll(1.0)
            for part, records in got.items():
                inside = [r for r in records if r.offset < ends[part]]
                if inside and part in left:
                    self._take(part, inside)
            if got:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE_S:
                raise NotALog(f"Kafka at {fetcher.options.brokers}: stopped answering")
            at = fetcher.positions(ends) or {}
            left = {p for p in left if max(at.get(p, 0), fetcher.reach[p].position) < ends[p]}
            done = sum(min(fetcher.reach[p].position, ends[p]) - starts[p] for p in ends)
            progress(min(1.0, max(0, done) / todo))

    def _take(self, part: Part, records: list[object]) -> None:
        topic, number = part
        file = self._numbers[part]
        table, letters = self._decoder.read(topic, number, records, file)
        for x in letters:
            self._graves.add(
                topic, x.reason, file, x.offset, field=x.field, user=x.user, event_time=x.event_time, ingest_time=x.ingest_time
            )
        arrival = table["ingest_time"].to_numpy()
        self._graves.settle(file, table["_line"].to_numpy(), arrival)
        if not len(table):
            return
        self._begin = min([int(arrival.min()), *([] if self._begin is None else [self._begin])])
        inside = np.ones(len(table), np.bool_)
        if self.start is not None:
            inside &= arrival >= self.start
        if self.end is not None:
            inside &= arrival <= self.end
        table = table if inside.all() else table.filter(pa.array(inside))
        if not len(table):
            return
        arrival = table["ingest_time"].to_numpy()
        self.records_in[topic] += len(table)
        self.users.update(pc.unique(table["user"]).to_pylist())
        self.first = min([int(arrival.min()), *([] if self.first is None else [self.first])])
        self.last = max([int(arrival.max()), *([] if self.last is None else [self.last])])
        self._spool.add(topic, table)

    def _finish(self, options: KafkaOptions) -> None:
        dead = self._graves.close(self._begin if self._begin is not None else self.start or 0, self.start, self.end)
        if self.first is None and not dead:
            raise NotALog(f"Kafka at {options.brokers}: no records of any input topic in the range")
        self.records_in += dead
        if self.first is None:
            at = self._graves.table["ingest_time"].to_numpy()
            self.first, self.last = int(at[0]), int(at[-1])
        assert self.last is not None
        self._graves.clip(self.first, self.last)

    @property
    def places(self) -> list[str]:
        return [str(number) for _, number in self._numbers]

    # -- asking -------------------------------------------------------------------------------------------------------

    def plan(self, max_rows: int = 250_000) -> list[tuple[int, int]]:
        if self.first is None or self.last is None:
            return []
        cuts = [c for c in self._cuts(max_rows) if self.first - 1 < c < self.last]
        edges = [self.first - 1, *cuts, self.last]
        return list(pairwise(edges))

    def _cuts(self, max_rows: int) -> Iterator[int]:
        held, last = 0, -1
        for day in self._spool.days():
            n = self._spool.rows[day]
            if held and held + n > max_rows and day * DAY_MS - 1 > last:
                last = day * DAY_MS - 1
                yield last
                held = 0
            held += n
            if n > max_rows:
                arrival = self._spool.arrivals(day)
                parts = -(-n // max_rows)
                for i in range(1, parts):
                    at = int(arrival[n * i // parts])
                    if at > last:
                        last = at
                        yield at


def parse_url(url: str, options: KafkaOptions) -> tuple[KafkaOptions, str | None, str | None]:
    """`kafka://host:port[,host:port][?from=T&to=T]` → options, from, to (as text).

    Raises
    ------
    NotALog
        No broker in it, or an unknown parameter.
    """
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    unknown = sorted(set(asked) - {"from", "to"})
    if not parts.netloc or unknown or parts.path.strip("/"):
        raise NotALog(f"{SCHEME}HOST:PORT?from=T&to=T is expected" + (f"; unknown: {unknown[0]}" if unknown else ""))
    made = replace(options, brokers=parts.netloc)
    return made, asked.get("from", [None])[0], asked.get("to", [None])[0]
