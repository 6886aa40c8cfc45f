"""Rows of a log by the UTC day of their arrival, in one temporary file.

Memory stays that of a slice, whatever the order of files.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa

from schemas import TOPICS

DAY_MS = 86_400_000
PLACE = [("_file", pa.int32()), ("_line", pa.int64())]


def spool_schema(topic: str) -> pa.Schema:
    """Columns between a source and ingest."""
    schema = TOPICS[topic].table_schema
    return pa.schema([*schema, *PLACE])


class Spool:
    """Arrow record batches in a temporary file, with an index by day and topic."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="kairos-")  # noqa: SIM115 (closed by close)
        self._index: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        self._schemas: dict[str, pa.Schema] = {}
        self.rows: Counter[int] = Counter()
        self._at = 0

    def add(self, topic: str, table: pa.Table) -> None:
        """Take rows (with `_file`, `_line`) in any order of arrival."""
        if not len(table):
            return
        days = table["ingest_time"].to_numpy() // DAY_MS
        if days[0] == days[-1] and (days == days[0]).all():
            self._put(int(days[0]), topic, table)
            return
        if (days[1:] < days[:-1]).any():
            order = np.argsort(days, kind="stable")
            table, days = table.take(pa.array(order)), days[order]
        edges = np.flatnonzero(np.concatenate(([True], days[1:] != days[:-1], [True])))
        for lo, hi in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            self._put(int(days[lo]), topic, table.slice(lo, hi - lo))

    def _put(self, day: int, topic: str, table: pa.Table) -> None:
        self._schemas.setdefault(topic, table.schema)
        for batch in table.combine_chunks().to_batches():
            data = batch.serialize()
            self._file.write(data)
            self._index[day][topic].append((self._at, data.size))
            self._at += data.size
        self.rows[day] += len(table)

    def days(self) -> list[int]:
        return sorted(self._index)

    def read(self, after: int, until: int, *, ordered: bool = True) -> dict[str, pa.Table]:
        """Rows with `after` < ingest_time <= `until` by topic, in arrival order (ingest_time, file, line) or as they lie."""
        parts: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        for day in range((after + 1) // DAY_MS, until // DAY_MS + 1) if until - after < 4000 * DAY_MS else self.days():
            for topic, pieces in self._index.get(day, {}).items():
                parts[topic] += [self._batch(topic, at, size) for at, size in pieces]
        out = {}
        for topic, batches in sorted(parts.items()):
            table = _between(pa.Table.from_batches(batches, schema=self._schemas[topic]), after, until)
            if len(table):
                out[topic] = in_order(table) if ordered else table
        return out

    def arrivals(self, day: int) -> np.ndarray:
        """Sorted ingest_times of a day."""
        found = [
            self._batch(topic, at, size).column("ingest_time").to_numpy()
            for topic, pieces in self._index.get(day, {}).items()
            for at, size in pieces
        ]
        return np.sort(np.concatenate(found))

    def _batch(self, topic: str, at: int, size: int) -> pa.RecordBatch:
        self._file.flush()
        self._file.seek(at)
        return pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), self._schemas[topic])

    def close(self) -> None:
        self._file.close()


def _between(table: pa.Table, after: int, until: int) -> pa.Table:
    arrival = table["ingest_time"].to_numpy()
    inside = (arrival > after) & (arrival <= until)
    return table if inside.all() else table.filter(pa.array(inside))


def in_order(table: pa.Table) -> pa.Table:
    """By ingest_time, file, line."""
    arrival = table["ingest_time"].to_numpy()
    file, line = table["_file"].to_numpy(), table["_line"].to_numpy()
    same = arrival[1:] == arrival[:-1]
    earlier = (file[1:] < file[:-1]) | ((file[1:] == file[:-1]) & (line[1:] < line[:-1]))
    if not ((arrival[1:] < arrival[:-1]) | (same & earlier)).any():
        return table
    return table.take(pa.array(np.lexsort((line, file, arrival))))
