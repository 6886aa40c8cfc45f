"""Rows of a log by the UTC day of their arrival, in one temporary file.

Memory stays that of a slice, whatever the order of files.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection

import numpy as np
import pyarrow as pa

from connectors.base import Whose
from schemas import TOPICS

DAY_MS = 86_400_000
PLACE = [("_file", pa.int32()), ("_line", pa.int64())]


def spool_schema(topic: str) -> pa.Schema:
    """Columns between a source and ingest."""
    schema = TOPICS[topic].table_schema
    return pa.schema([*schema, *PLACE])


class Spool:
    """Arrow record batches in a temporary file, with an index by span of arrival and topic.

    Parameters
    ----------
    span_ms
        A day, or less where more rows a day are to be read in parts.
    """

    def __init__(self, span_ms: int = DAY_MS) -> None:
        self.span_ms = span_ms
        self._file = tempfile.TemporaryFile(prefix="kairos-")  # noqa: SIM115 (closed by close)
        self._index: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        self._schemas: dict[str, pa.Schema] = {}
        self.rows: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self._at = 0

    def add(self, topic: str, table: pa.Table) -> None:
        """Take rows in any order of arrival."""
        if not len(table):
            return
        days = table["ingest_time"].to_numpy() // self.span_ms
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
            self.bytes[day] += data.size
        self.rows[day] += len(table)

    def days(self) -> list[int]:
        return sorted(self._index)

    def read(
        self, after: int, until: int, *, ordered: bool = True, topics: Collection[str] | None = None, whose: Whose | None = None
    ) -> dict[str, pa.Table]:
        """Rows with `after` < ingest_time <= `until` by topic, in arrival order (ingest_time, file, line) or as they lie.

        Parameters
        ----------
        topics, whose
            Only these topics, only the rows of these users.
        """
        parts: dict[str, list[pa.RecordBatch]] = defaultdict(list)
        span = self.span_ms
        first, last = (after + 1) // span, until // span
        for day in range(first, last + 1) if last - first < 4000 else [d for d in self.days() if first <= d <= last]:
            for topic, pieces in self._index.get(day, {}).items():
                if topics is None or topic in topics:
                    parts[topic] += [self._batch(topic, at, size, whose) for at, size in pieces]
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

    def _batch(self, topic: str, at: int, size: int, whose: Whose | None = None) -> pa.RecordBatch:
        self._file.flush()
        self._file.seek(at)
        batch = pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), self._schemas[topic])
        return batch if whose is None else _of(batch, whose)

    def close(self) -> None:
        self._file.close()


def _of(batch: pa.RecordBatch, whose: Whose) -> pa.RecordBatch:
    """The rows of these users; most batches are of one user or few."""
    users = batch.column("user").dictionary_encode()
    mine = np.array([whose(user) for user in users.dictionary.to_pylist()], np.bool_)
    if mine.all():
        return batch
    return batch.filter(pa.array(mine[users.indices.to_numpy()])) if mine.any() else batch.slice(0, 0)


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
