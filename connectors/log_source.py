"""Log folders as a source: `<log>/<topic>/**/*.jsonl[.gz]` and `*.parquet` (contracts.md 2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors import jsonl, parquet
from connectors.base import NotALog
from connectors.spool import DAY_MS
from connectors.spooled import SpooledSource
from schemas import TOPICS, rows
from schemas.topics import YEAR_2100

READ = frozenset({"PRIVATE", "IN", "MID"})  # what a replay wrote itself is not its input
PLAIN = re.compile(r"[a-z][a-z0-9_.]{0,63}")
UNNAMED = "(unknown)"
ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


class _File(NamedTuple):
    topic: str
    path: Path
    name: str  # for positions
    size: int


class LogSource(SpooledSource):
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
        self,
        paths: list[Path],
        *,
        start: int | None = None,
        end: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self.start, self.end = start, end
        self.first: int | None = None
        self.last: int | None = None
        self.records_in: Counter[str] = Counter()
        found = [file for path in paths for file in _files(path)]
        self.files = [f.name for f in found]
        self.bytes = sum(f.size for f in found)
        self.users: set[str] = set()
        self._begin: int | None = None  # of the whole log, also before `start`
        try:
            done = 0
            for number, file in enumerate(found):
                self._read(file, number)
                done += file.size
                if progress is not None:
                    progress(done / (self.bytes or 1))
            self._finish(paths)
        except BaseException:
            self._spool.close()
            raise

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, file: _File, number: int) -> None:
        if file.topic not in TOPICS:
            self._unknown(file, number)
        elif file.path.suffix == ".parquet":
            self._parquet(file, number)
        else:
            self._jsonl(file, number)

    def _jsonl(self, file: _File, number: int) -> None:
        for piece in jsonl.read(file.path):
            if self._columns(file.topic, piece, number):
                continue
            for part in jsonl.smaller(piece) if piece.data is not None and file.topic in rows.AS_COLUMNS else (piece,):
                if not self._columns(file.topic, part, number):
                    self._one_by_one(file.topic, jsonl.parse(part), number)

    def _columns(self, topic: str, piece: jsonl.Piece, number: int) -> bool:
        """Take a piece as columns, if it can be taken so."""
        if piece.data is None or len(piece.data) > jsonl.LONGEST_LINE:
            return False
        read = rows.from_lines(topic, piece.data)
        if read is None:
            return False
        table, defects = read
        lines = np.arange(piece.line, piece.line + len(table) + len(defects))
        for d, envelope in defects:
            self._bury(topic, d, envelope, number, piece.line + d.index)
        self._keep(topic, table, number, np.delete(lines, [d.index for d, _ in defects]))
        return True

    def _one_by_one(self, topic: str, chunk: jsonl.Chunk, number: int) -> None:
        for line in chunk.unparsable:
            self._graves.add(topic, "UNPARSABLE", number, line)
        table, defects = rows.from_dicts(topic, chunk.records)
        keep = np.ones(len(chunk.lines), np.bool_)
        for d in defects:
            keep[d.index] = False
            self._bury(topic, d, chunk.records[d.index], number, chunk.lines[d.index])
        self._keep(topic, table, number, np.array(chunk.lines, np.int64)[keep])

    def _parquet(self, file: _File, number: int) -> None:
        for line, given in parquet.read(file.path):
            if given is None:
                self._graves.add(file.topic, "UNPARSABLE", number, line)
                self._graves.settle(number, np.empty(0, np.int64), np.empty(0, np.int64))
                return
            table, defects = rows.conform(file.topic, given)
            keep = np.ones(len(given), np.bool_)
            for d in defects:
                keep[d.index] = False
                self._bury(file.topic, d, _envelope(given, d.index), number, line + d.index)
            self._keep(file.topic, table, number, np.flatnonzero(keep) + line)

    def _unknown(self, file: _File, number: int) -> None:
        name = file.topic if PLAIN.fullmatch(file.topic) else UNNAMED
        if file.path.suffix == ".parquet":
            lines: Iterator[int] = iter(range(1, parquet.count(file.path) + 1) or [0])
        else:
            chunks = (jsonl.parse(piece) for piece in jsonl.read(file.path))
            lines = (n for chunk in chunks for n in sorted([*chunk.lines, *chunk.unparsable]))
        for line in lines:
            self._graves.add(name, "UNKNOWN_TOPIC", number, line)
        self._graves.settle(number, np.empty(0, np.int64), np.empty(0, np.int64))

    # -- keeping ------------------------------------------------------------------------------------------------------

    def _keep(self, topic: str, table: pa.Table, file: int, lines: npt.NDArray[np.int64]) -> None:
        arrival = table["ingest_time"].to_numpy()
        self._graves.settle(file, lines, arrival)
        if not len(table):
            return
        begin = int(arrival.min())
        self._begin = begin if self._begin is None else min(self._begin, begin)
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
        self.users.update(pc.unique(table["user"]).to_pylist())
        first, last = int(arrival.min()), int(arrival.max())
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        table = table.append_column("_file", pa.array(np.full(len(table), file, np.int32)))
        self._spool.add(topic, table.append_column("_line", pa.array(lines, pa.int64())))

    def _bury(self, topic: str, defect: rows.Defect, record: dict[str, Any], file: int, line: int) -> None:
        """What can be told of a record that does not fit: its person and times, where these are sound."""
        user = record.get("user")
        known = user if isinstance(user, str) and user and not user.startswith("_") else None
        event, arrival = _instant(record.get("event_time")), _instant(record.get("ingest_time"))
        if record.get("ingest_time") is None:
            arrival = event
        self._graves.add(
            topic, defect.reason, file, line, field=defect.field, user=known, event_time=event, ingest_time=arrival
        )

    def _finish(self, paths: list[Path]) -> None:
        begin = self._begin if self._begin is not None else self.start or 0
        dead = self._graves.close(begin, self.start, self.end)
        if self._begin is None and not dead:
            raise NotALog(f"{', '.join(map(str, paths))}: no records in it")
        self.records_in += dead
        if self.first is None and dead:
            at = self._graves.table["ingest_time"].to_numpy()
            self.first, self.last = int(at[0]), int(at[-1])
        if self.first is not None and self.last is not None:
            self._graves.clip(self.first, self.last)

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
            held += n
            if n > max_rows:
                for cut in self._cuts(day, max_rows):
                    if after < cut < min(self.last, (day + 1) * DAY_MS - 1):
                        out.append((after, cut))
                        after = cut
        if after < self.last:
            out.append((after, self.last))
        return out

    def _cuts(self, day: int, max_rows: int) -> Iterator[int]:
        """Instants that part a heavy day evenly."""
        arrival = self._spool.arrivals(day)
        parts = -(-len(arrival) // max_rows)
        for part in range(1, parts):
            yield int(arrival[len(arrival) * part // parts])


def _files(log: Path) -> list[_File]:
    """Files of a log folder, sorted by name; OUT and STATE topics are skipped."""
    if not log.is_dir():
        raise NotALog(f"{log}: {'not a folder' if log.exists() else 'no such folder'}")
    inside = sorted(p for p in log.rglob("*") if p.name.endswith(ENDINGS) and p.is_file())
    named = [(p, p.relative_to(log)) for p in inside]
    found = [
        _File(name.parts[0], path, name.as_posix(), path.stat().st_size)
        for path, name in named
        if len(name.parts) > 1 and (name.parts[0] not in TOPICS or TOPICS[name.parts[0]].klass in READ)
    ]
    if not found:
        raise NotALog(f"{log}: not a log folder (no <topic>/*.jsonl, *.jsonl.gz or *.parquet of an input topic in it)")
    return found


def _instant(x: Any) -> int | None:
    return x if type(x) is int and 0 <= x <= YEAR_2100 else None


def _envelope(table: pa.Table, i: int) -> dict[str, Any]:
    """Person and times of a row as they stand there, if each has one column."""
    names = table.column_names
    return {c: table[c][i].as_py() for c in ("user", "event_time", "ingest_time") if names.count(c) == 1}
