"""An output folder as a sink: `DIR/<topic>/part-00000.jsonl` or `.parquet`. The bytes do not depend on the slicing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.base import NotALog, Sink
from schemas import TOPICS, rows

ROW_GROUP = 32_768
ROW_GROUP_OF = {"model.snapshot": 1_024}  # rows of several KB each
UUID_CHARS = 36
TURN_FIELDS = ("turn_index", "command_seq")  # what numbers the rows of one turn (chat.outbound) or session (therapy.command)


class LogSink(Sink):
    """A log folder that is being written.

    Parameters
    ----------
    fmt
        `jsonl` or `parquet`.
    append
        Go on in a folder that has records already (a replay that continues); Parquet then gets a further part.

    Raises
    ------
    NotALog
        The folder already holds records and `append` is false.
    """

    def __init__(self, folder: Path, fmt: str = "jsonl", *, append: bool = False) -> None:
        self.folder = folder
        self.fmt = fmt
        self.counts: Counter[str] = Counter()
        self._files: dict[str, BinaryIO] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._waiting: dict[str, list[pa.Table]] = {}
        if folder.exists() and not folder.is_dir():
            raise NotALog(f"{folder}: not a folder")
        if not append and folder.is_dir() and any(folder.glob("*/part-*")):
            raise NotALog(f"{folder}: already holds records; choose a new folder")
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, topic: str, tables: list[pa.Table]) -> None:
        if not any(map(len, tables)):
            return
        table = pa.concat_tables(tables) if len(tables) > 1 else tables[0]
        table = in_order(table)
        self.counts[topic] += len(table)
        if self.fmt == "jsonl":
            self._jsonl(topic).write(rows.to_json_lines(topic, table))
            return
        waiting = self._waiting.setdefault(topic, [])
        waiting.append(table)
        if sum(len(t) for t in waiting) >= _group(topic):
            self._drain(topic, last=False)

    def close(self) -> None:
        for topic in self._waiting:
            self._drain(topic, last=True)
        for writer in self._writers.values():
            writer.close()
        for file in self._files.values():
            file.close()
        self._files, self._writers, self._waiting = {}, {}, {}

    def _jsonl(self, topic: str) -> BinaryIO:
        if topic not in self._files:
            path = self.folder / topic / "part-00000.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[topic] = path.open("ab")
        return self._files[topic]

    def _drain(self, topic: str, *, last: bool) -> None:
        """Whole row groups go out; the rest waits for the next slice."""
        table = pa.concat_tables(self._waiting[topic]).combine_chunks()
        group = _group(topic)
        whole = len(table) if last else len(table) // group * group
        if whole:
            self._writer(topic).write_table(table.slice(0, whole), row_group_size=group)
        rest = table.slice(whole)
        # a copy, because a slice would keep all of the table in memory
        self._waiting[topic] = [rest.take(pa.array(np.arange(len(rest))))] if len(rest) else []

    def _writer(self, topic: str) -> pq.ParquetWriter:
        if topic not in self._writers:
            # words that repeat as dictionaries; statistics only of the clock, by which one searches
            words = ["user", "source_id", *(f"value.{f.name}" for f in TOPICS[topic].fields if f.kind == "enum")]
            folder = self.folder / topic
            folder.mkdir(parents=True, exist_ok=True)
            number = len(list(folder.glob("part-*.parquet")))
            path = folder / f"part-{number:05d}.parquet"
            schema = TOPICS[topic].table_schema
            self._writers[topic] = pq.ParquetWriter(
                path, schema, compression="zstd", use_dictionary=words, write_statistics=["event_time", "ingest_time"]
            )
        return self._writers[topic]


def _group(topic: str) -> int:
    return ROW_GROUP_OF.get(topic, ROW_GROUP)


def in_order(table: pa.Table) -> pa.Table:
    """By (ingest_time, event_id); rows without an id by user, and those of one user keep their order.

    What is said one after the other in one instant (replies of a turn, commands of a session) stands as it was said, before ids
    are looked at: a reader that shows rows as they come must not ask a question before its opening.
    """
    arrival = table["ingest_time"].to_numpy()
    ids = table["event_id"]
    if (said := _said(table)) is not None:
        keys = pa.table({"t": table["ingest_time"], "said": said, "id": ids, "user": table["user"]})
        return table.take(pc.sort_indices(keys, sort_keys=[(key, "ascending") for key in keys.column_names]))
    if ids.null_count == len(table):
        return _by_user(table, arrival)
    front = _uuid_front(ids.combine_chunks())
    if front is not None:
        order = np.lexsort((front, arrival))
        a, f = arrival[order], front[order]
        if not ((a[1:] == a[:-1]) & (f[1:] == f[:-1])).any():
            return table.take(pa.array(order))
    keys = pa.table({"t": table["ingest_time"], "id": ids, "user": table["user"]})
    return table.take(pc.sort_indices(keys, sort_keys=[(key, "ascending") for key in keys.column_names]))


def _said(table: pa.Table) -> pa.ChunkedArray | None:
    """The column that numbers what is said of one turn or session, if this topic has one."""
    if "value" not in table.column_names or not pa.types.is_struct(table["value"].type):
        return None
    for name in TURN_FIELDS:
        if table["value"].type.get_field_index(name) >= 0:
            return pc.struct_field(table["value"], name)
    return None


def _by_user(table: pa.Table, arrival: npt.NDArray[np.int64]) -> pa.Table:
    if (arrival[1:] > arrival[:-1]).all():
        return table
    user = table["user"].combine_chunks().dictionary_encode()
    rank = np.argsort(np.argsort(np.array(user.dictionary.to_pylist(), object)))
    order = np.lexsort((rank[user.indices.to_numpy()], arrival))
    return table if (order[1:] > order[:-1]).all() else table.take(pa.array(order))


def _uuid_front(ids: pa.Array) -> npt.NDArray[np.uint64] | None:
    """First eight characters of ids of equal length as numbers that sort as they do; None if they are not."""
    if ids.null_count or not len(ids):
        return None
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    if not (np.diff(offsets) == UUID_CHARS).all():
        return None
    text = np.frombuffer(ids.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(-1, UUID_CHARS)
    return np.ascontiguousarray(text[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
