"""Log folders as a source: `<log>/<topic>/**/*.jsonl[.gz]` and `*.parquet` (contracts.md 2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors import jsonl
from connectors.base import DEAD, NotALog, Source
from connectors.spool import DAY_MS, Spool
from schemas import TOPICS, rows
from schemas.topics import YEAR_2100

READ = frozenset({"PRIVATE", "IN", "MID"})  # what a replay wrote itself is not its input
PLAIN = re.compile(r"[a-z][a-z0-9_.]{0,63}")
PARQUET_ROWS = 65_536
ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


class _Dead(NamedTuple):
    topic: str
    reason: str
    field: str | None
    user: str | None
    event_time: int | None
    ingest_time: int | None
    file: int
    line: int


class LogSource(Source):
    """One or several log folders, read once into a spool.

    Parameters
    ----------
    paths
        Log folders.
    start, end
        Only records with start <= ingest_time <= end (ms); None = no bound. Others are not counted.
    progress
        Called with the share read, 0-1.

    Raises
    ------
    NotALog
        A path that does not exist, is no folder, or holds no record of any topic.
    """

    def __init__(
        self, paths: list[Path], *, start: int | None = None, end: int | None = None, progress: Callable[[float], None] | None = None
    ) -> None:
        self.start, self.end = start, end
        self.first: int | None = None
        self.last: int | None = None
        self.records_in: Counter[str] = Counter()
        self.files: list[str] = []
        self._spool = Spool()
        self._dead: list[_Dead] = []
        self._good: list[tuple[int, int, int]] = []  # (file, line, ingest_time) near records that can't be placed
        found = [entry for path in paths for entry in _files(path)]
        total, done = sum(size for _, _, _, size in found) or 1, 0
        try:
            for topic, path, name, size in found:
                self.files.append(name)
                self._read(topic, path, len(self.files) - 1)
                done += size
                if progress is not None:
                    progress(done / total)
        except BaseException:
            self._spool.close()
            raise
        if not self.records_in and not found:
            raise NotALog(f"{', '.join(str(p) for p in paths)}: not a log folder (no <topic>/*.jsonl, *.jsonl.gz or *.parquet in it)")
        self._place_dead()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, topic: str | None, path: Path, file: int) -> None:
        if topic is None or topic not in TOPICS:
            self._unknown(topic or "(unknown)", path, file)
        elif path.suffix == ".parquet":
            self._parquet(topic, path, file)
        else:
            for chunk in jsonl.read(path):
                self._bury(topic, "UNPARSABLE", chunk.unparsable, file)
                table, defects = rows.from_dicts(topic, chunk.records)
                gone = {d.index for d in defects}
                lines = [n for i, n in enumerate(chunk.lines) if i not in gone] if gone else chunk.lines
                for d in defects:
                    self._defect(topic, d, chunk.records[d.index], file, chunk.lines[d.index])
                self._keep(topic, table, file, np.array(lines, np.int64))

    def _parquet(self, topic: str, path: Path, file: int) -> None:
        try:
            opened = pq.ParquetFile(path)
        except (pa.ArrowException, OSError):
            self._bury(topic, "UNPARSABLE", [0], file)
            return
        line = 1
        batches = opened.iter_batches(batch_size=PARQUET_ROWS)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError):
                self._bury(topic, "UNPARSABLE", [line], file)
                return
            if batch is None:
                return
            given = pa.Table.from_batches([batch])
            table, defects = rows.conform(topic, given)
            keep = np.ones(len(given), np.bool_)
            for d in defects:
                keep[d.index] = False
                self._defect(topic, d, _envelope(given, d.index), file, line + d.index)
            self._keep(topic, table, file, np.flatnonzero(keep) + line)
            line += len(given)

    def _unknown(self, topic: str, path: Path, file: int) -> None:
        name = topic if PLAIN.fullmatch(topic) else "(unknown)"
        if path.suffix == ".parquet":
            try:
                n = pq.ParquetFile(path).metadata.num_rows
            except (pa.ArrowException, OSError):
                n = 1
            self._bury(name, "UNKNOWN_TOPIC", range(1, n + 1), file)
            return
        for chunk in jsonl.read(path):
            self._bury(name, "UNKNOWN_TOPIC", sorted([*chunk.lines, *chunk.unparsable]), file)

    # -- keeping ------------------------------------------------------------------------------------------------------

    def _keep(self, topic: str, table: pa.Table, file: int, lines: Any) -> None:
        if not len(table):
            return
        arrival = table["ingest_time"].to_numpy()
        inside = np.ones(len(table), np.bool_)
        if self.start is not None:
            inside &= arrival >= self.start
        if self.end is not None:
            inside &= arrival <= self.end
        if not inside.all():
            table, lines, arrival = table.filter(pa.array(inside)), lines[inside], arrival[inside]
            if not len(table):
                return
        self.records_in[topic] += len(table)
        first, last = int(arrival.min()), int(arrival.max())
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        if self._dead and self._dead[-1].file == file or len(self._good) < 2 or self._good[-1][0] != file:
            self._good.append((file, int(lines[0]), int(arrival[0])))
        self._good.append((file, int(lines[-1]), int(arrival[-1])))
        columns = {"_file": pa.array(np.full(len(table), file, np.int32)), "_line": pa.array(lines, pa.int64())}
        for name, column in columns.items():
            table = table.append_column(name, column)
        self._spool.add(topic, table)

    def _bury(self, topic: str, reason: str, lines: Any, file: int) -> None:
        self._dead += [_Dead(topic, reason, None, None, None, None, file, int(n)) for n in lines]

    def _defect(self, topic: str, defect: rows.Defect, record: Any, file: int, line: int) -> None:
        """What can be told of a record that does not fit: its person and times, where these are sound."""
        given = record if isinstance(record, dict) else {}
        user = given.get("user")
        known = user if isinstance(user, str) and user and not user.startswith("_") else None
        event, arrival = _instant(given.get("event_time")), _instant(given.get("ingest_time"))
        if given.get("ingest_time") is None:
            arrival = event
        self._dead.append(_Dead(topic, defect.reason, defect.field, known, event, arrival, file, line))

    def _place_dead(self) -> None:
        """A record without a readable time stands where the good one before it stood, else the next, else the log's first."""
        placed = []
        marks = sorted(self._good)
        keys = [(f, n) for f, n, _ in marks]
        for d in self._dead:
            at = d.ingest_time
            if at is None:
                i = int(np.searchsorted([f for f, _ in keys], d.file)) if keys else 0
                mine = [m for m in marks[i:] if m[0] == d.file]
                before = [m[2] for m in mine if m[1] < d.line]
                at = before[-1] if before else mine[0][2] if mine else self.first
            if at is None:
                at = self.start or 0
            if (self.start is not None and at < self.start) or (self.end is not None and at > self.end):
                if d.ingest_time is not None:
                    continue
                at = min(max(at, self.start or at), self.end or at)
            placed.append(d._replace(ingest_time=at))
            self.records_in[d.topic] += 1
        self._dead = []
        if placed and self.first is None:
            self.first = min(d.ingest_time or 0 for d in placed)
            self.last = max(d.ingest_time or 0 for d in placed)
        columns = list(zip(*placed, strict=True)) if placed else [[] for _ in DEAD]
        self._buried = pa.table([pa.array(list(c), f.type) for c, f in zip(columns, DEAD, strict=True)], schema=DEAD)
        if placed and self.first is not None and self.last is not None:  # nothing is lost beyond the ends of the log
            at = np.clip(self._buried["ingest_time"].to_numpy(), self.first, self.last)
            self._buried = self._buried.set_column(5, "ingest_time", pa.array(at, pa.int64()))

    # -- asking -------------------------------------------------------------------------------------------------------

    def plan(self, max_rows: int = 250_000) -> list[tuple[int, int]]:
        if self.first is None or self.last is None:
            return []
        out: list[tuple[int, int]] = []
        after, held = self.first - 1, 0
        for day in self._spool.days():
            n = self._spool.rows[day]
            if held and held + n > max_rows:
                out.append((after, day * DAY_MS - 1))
                after, held = day * DAY_MS - 1, 0
            if n > max_rows:
                for cut in self._cuts(day, max_rows):
                    if after < cut < min(self.last, (day + 1) * DAY_MS - 1):
                        out.append((after, cut))
                        after = cut
                held = max_rows
            else:
                held += n
        if after < self.last:
            out.append((after, self.last))
        return out

    def _cuts(self, day: int, max_rows: int) -> Iterator[int]:
        arrival = self._spool.arrivals(day)
        for i in range(max_rows, len(arrival), max_rows):
            yield int(arrival[i])

    def read(self, after: int, until: int, *, ordered: bool = True) -> dict[str, pa.Table]:
        return self._spool.read(after, until, ordered=ordered)

    def dead(self, after: int, until: int) -> pa.Table:
        at = self._buried["ingest_time"].to_numpy()
        return self._buried.filter(pa.array((at > after) & (at <= until)))

    def close(self) -> None:
        self._spool.close()


def _files(log: Path) -> list[tuple[str | None, Path, str, int]]:
    """(topic, path, name for positions, bytes) of a log folder, sorted by name; OUT and STATE topics are skipped."""
    if not log.is_dir():
        raise NotALog(f"{log}: {'not a folder' if log.exists() else 'no such folder'}")
    found = []
    for path in sorted(p for p in log.rglob("*") if p.is_file() and p.name.endswith(ENDINGS)):
        name = path.relative_to(log)
        topic = name.parts[0] if len(name.parts) > 1 else None
        if topic is None:
            continue
        if topic in TOPICS and TOPICS[topic].klass not in READ:
            continue
        found.append((topic, path, name.as_posix(), path.stat().st_size))
    if not found:
        raise NotALog(f"{log}: not a log folder (no <topic>/*.jsonl, *.jsonl.gz or *.parquet in it)")
    return found


def _instant(x: Any) -> int | None:
    return x if type(x) is int and 0 <= x <= YEAR_2100 else None


def _envelope(table: pa.Table, i: int) -> dict[str, Any]:
    return {c: table[c][i].as_py() for c in ("user", "event_time", "ingest_time") if c in table.column_names}
