"""Replay: slices of the log through the bounded carrier, what it gives into a sink. Nothing shows of the slicing (design 5)."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.base import Source
from connectors.kafka.options import KafkaOptions
from connectors.log_sink import LogSink
from connectors.log_source import LogSource
from connectors.spool import Spool, in_order
from content.library import Library
from pipelines.carrier import Carrier
from pipelines.content_log import FOREVER, PACK, Packs
from pipelines.ingest.machine import record_ids
from pipelines.report import OPS, Dead, Report, write
from pipelines.settings import Settings
from pipelines.state_folder import Kept, StateFolder
from pipelines.waiting import within
from schemas import rows

Progress = Callable[[float], None]
GATHERED_MS = 600_000  # what the groups of a slice gave is put in order this long at a time
GATHERED_BYTES = 8 << 20  # or by so much: snapshots are few and heavy
READING = 0.3  # share of the progress bar that reading takes


def replay(
    logs: list[Path] | KafkaOptions,
    out: Path,
    *,
    start: int | None = None,
    end: int | None = None,
    fmt: str = "jsonl",
    state_dir: Path | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Bounded run of the whole graph over log folders.

    Parameters
    ----------
    logs
        Log folders, or a Kafka cluster whose input topics are read up to where they end now.
    start, end
        ms of the log's clock; both inclusive. None = the whole log.
    fmt
        `jsonl` or `parquet`.
    state_dir
        Continue where an earlier replay with the same folder stopped, and save the state at the end.
    progress
        Called with the share done, 0-1.

    Returns
    -------
    dict
        report.json (contracts.md 3), which is also written to `out`.

    Raises
    ------
    NotALog, SettingsError, StateError, ContentError
        Each with one clear line.
    """
    wall, cpu = time.monotonic(), time.process_time()
    settings = settings or Settings()
    library = Library.build(settings.locales, trusted_keys=settings.trusted_keys)
    folder = StateFolder(state_dir, settings)
    kept = folder.load()
    begin = start if kept is None else max(kept.clock + 1, start or 0)
    told = progress or _quiet
    with _source(logs, begin, end, lambda share: told(READING * share)) as source:
        sink = LogSink(out, fmt, append=kept is not None)
        run = _Replay(
            source, sink, Report(source.places, kept.report if kept is not None else None), settings, library, kept
        )
        clock = run.go(end, lambda share: told(READING + (1 - READING) * share))
        sink.close()
        records_in, first, last = source.records_in, source.first, source.last
    finished = run.report.finish(len(run.carrier.states), records_in, sink.counts, first, last, wall, cpu)
    folder.save(Kept(clock, run.carrier.states, run.packs.packs, finished))
    write(out / "report.json", finished)
    return finished


def _source(logs: list[Path] | KafkaOptions, start: int | None, end: int | None, progress: Progress) -> Source:
    if isinstance(logs, KafkaOptions):
        from connectors.kafka.source import KafkaSource

        return KafkaSource(logs, start=start, end=end, progress=progress)
    return LogSource(logs, start=start, end=end, progress=progress)


class _Replay:
    """One replay: slices of the source through the carrier into the sink."""

    def __init__(
        self, source: Source, sink: LogSink, report: Report, settings: Settings, library: Library, kept: Kept | None
    ) -> None:
        self.source, self.sink, self.report, self.settings = source, sink, report, settings
        self.clock = kept.clock if kept is not None else None
        self.packs = Packs(settings, kept.packs if kept is not None else (), library)
        self.unsigned: list[Dead] = []
        self.gathered: Spool | None = None
        self.carrier = Carrier(self.packs.at(FOREVER), dict(kept.people) if kept is not None else {})

    def go(self, end: int | None, progress: Progress) -> int:
        """Take the whole log; the log's clock at the end."""
        groups = -(-len(self.source.users) // self.settings.slice_people) or 1
        slices = self.source.plan(self.settings.slice_rows * groups)
        last = max([t for t in (end, self.source.last, self.clock) if t is not None])
        if not slices or slices[-1][1] < last:
            before = slices[-1][1] if slices else (self.clock if self.clock is not None else last - 1)
            slices.append((before, last))
        for i, (after, until) in enumerate(slices):
            packs = self.source.read(after, until, topics=(PACK,)).get(PACK)
            for a, b in self._cuts(packs, after, until):
                self.gathered = Spool(GATHERED_MS) if groups > 1 else None
                for group in range(groups):
                    self._slice(a, b, group, groups)
                    progress((i + (group + 1) / groups) / len(slices))
                self._merge(a)
        return last

    def _cuts(self, packs: pa.Table | None, after: int, until: int) -> Iterator[tuple[int, int]]:
        """Parts of a slice between content packs: what a pack says acts on what arrives after it."""
        if packs is not None and len(packs):
            packs = in_order(packs)
            arrivals = packs["ingest_time"].to_numpy()
            for at in sorted({int(t) for t in arrivals}):
                if at - 1 > after:
                    yield after, at - 1
                after = max(after, at - 1)
                self._take_packs(within({PACK: packs}, at - 1, at)[PACK])
        if until > after:
            yield after, until

    def _slice(self, after: int, until: int, group: int, groups: int) -> None:
        """One bounded run: a span of the log's clock, a group of people."""

        def whose(user: str) -> bool:
            return zlib.crc32(user.encode()) % groups == group

        of = self.carrier.pseudonyms.of
        tables = self.source.read(after, until, ordered=False, whose=None if groups == 1 else lambda user: whose(of(user)))
        tables.pop(PACK, None)
        done = self.carrier.take(tables, until, whose)
        for s in done:
            self.report.add(s)
        buried = [(s.user, s.came.dead) for s in done]
        unread = self.source.dead(after, until)
        if group == 0:
            buried.append((OPS, self.unsigned))
            self.unsigned = []
        self._put("dlq", [], self.report.letters(buried, unread if group == 0 else unread.slice(0, 0)))
        topics = sorted({t for s in done for t in (*s.tables, *s.records)})
        for topic in topics:
            self._put(
                topic,
                [s.tables[topic] for s in done if topic in s.tables],
                [r for s in done for r in s.records.get(topic, [])],
            )

    def _put(self, topic: str, tables: list[pa.Table], records: list[dict[str, Any]]) -> None:
        if records:
            table, defects = rows.from_dicts(topic, records)
            if defects:  # what we say must fit our own schemas: a defect of a deploy, not of a payload
                raise AssertionError(
                    f"output of {topic} does not fit its schema: {defects[0].reason} {defects[0].field}"
                )
            tables = [*tables, table]
        if not tables:
            return
        if self.gathered is None:
            self.sink.write(topic, tables)
        else:
            self.gathered.add(topic, pa.concat_tables(tables))

    def _merge(self, after: int) -> None:
        """What the groups gave of a span, in the order of the log's clock."""
        spool = self.gathered
        if spool is None:
            return
        spans, held = spool.days(), 0
        for i, span in enumerate(spans):
            held += spool.bytes[span]
            if held >= GATHERED_BYTES or i == len(spans) - 1:
                end = (span + 1) * spool.span_ms - 1
                for topic, table in spool.read(after, end, ordered=False).items():
                    self.sink.write(topic, [table])
                after, held = end, 0
        spool.close()
        self.gathered = None

    # -- content packs ------------------------------------------------------------------------------------------------

    def _take_packs(self, table: pa.Table) -> None:
        """Signed items of a log join the library and the lexicon."""
        names = record_ids(PACK, "", table)
        places = zip(table["_file"].to_pylist(), table["_line"].to_pylist(), strict=True)
        for record, name, (file, line) in zip(rows.to_dicts(PACK, table), names, places, strict=True):
            if name in self.packs.known:
                self.report.duplicates[PACK] += 1
            elif not self.packs.signed(record):
                self.unsigned.append(
                    (PACK, "UNSIGNED", "signature", record["event_time"], record["ingest_time"], file, line)
                )
            else:
                self.packs.add(record, name, int(record["ingest_time"]))
                self.report.processed[PACK] += 1
        self.carrier.shared = self.packs.at(FOREVER)


def _quiet(share: float) -> None:
    """Nobody watches."""
