"""Writing log folders (contracts.md 2): `<out>/<topic>/part-00000.jsonl` or `.parquet`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.rows import Block, Log, Record, json_lines, table

FORMATS = ("jsonl", "parquet")
GROUP_ROWS = 65_536


class CannotWrite(ValueError):  # noqa: N818 - reads as the sentence it carries
    """The log cannot be written; one sentence says why."""


class LogWriter:
    """Writes records topic by topic, in the order given; memory is bounded by one row group a topic.

    Parameters
    ----------
    out
        The log folder; made if missing, must not hold records yet.
    fmt
        `jsonl` or `parquet`.

    Raises
    ------
    CannotWrite
        Unknown format, or the folder already holds records.
    """

    def __init__(self, out: Path, fmt: str = "jsonl") -> None:
        if fmt not in FORMATS:
            raise CannotWrite(f"a log folder is written as {' or '.join(FORMATS)}, not as {fmt!r}")
        if out.is_dir() and any(out.glob("*/part-*")):
            raise CannotWrite(f"{out} already holds records: give an empty or new folder")
        self.out, self.fmt = out, fmt
        self.counts: Counter[str] = Counter()
        self._files: dict[str, BinaryIO] = {}
        self._parquet: dict[str, Any] = {}
        self._waiting: dict[str, list[Any]] = {}

    def __enter__(self) -> LogWriter:
        self.out.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def block(self, block: Block, user: str) -> None:
        """Append the rows of a block."""
        if not len(block):
            return
        self.counts[block.topic] += len(block)
        if self.fmt == "jsonl":
            self._file(block.topic).write(json_lines(block, user))
        else:
            import schemas  # only Parquet needs them

            self._add(block.topic, table(block, user, schemas.topic(block.topic).table_schema))

    def records(self, topic: str, records: list[Record]) -> None:
        """Append record dicts.

        Raises
        ------
        CannotWrite
            Parquet only: a record that its topic's schema does not take.
        """
        if not records:
            return
        self.counts[topic] += len(records)
        if self.fmt == "jsonl":
            self._file(topic).writelines(orjson.dumps(record) + b"\n" for record in records)
            return
        from schemas.rows import from_dicts

        rows, defects = from_dicts(topic, records)
        if defects:
            raise CannotWrite(
                f"{topic}: record {defects[0].index} is no record ({defects[0].reason} {defects[0].field})"
            )
        self._add(topic, rows)

    def close(self) -> None:
        """Write what is waiting and close all files."""
        for file in self._files.values():
            file.close()
        for topic in list(self._waiting):
            self._flush(topic)
        for writer in self._parquet.values():
            writer.close()

    def _path(self, topic: str) -> Path:
        (self.out / topic).mkdir(parents=True, exist_ok=True)
        return self.out / topic / f"part-00000.{self.fmt}"

    def _file(self, topic: str) -> BinaryIO:
        if topic not in self._files:
            self._files[topic] = self._path(topic).open("wb")
        return self._files[topic]

    def _add(self, topic: str, rows: Any) -> None:
        waiting = self._waiting.setdefault(topic, [])
        waiting.append(rows)
        if sum(part.num_rows for part in waiting) >= GROUP_ROWS:
            self._flush(topic)

    def _flush(self, topic: str) -> None:
        waiting = self._waiting.pop(topic)
        rows = pa.concat_tables(waiting).combine_chunks()
        if topic not in self._parquet:
            self._parquet[topic] = pq.ParquetWriter(self._path(topic), rows.schema, compression="zstd")
        self._parquet[topic].write_table(rows, row_group_size=GROUP_ROWS)


def write_log(log: Log, out: Path, fmt: str = "jsonl") -> None:
    """Write a log of record dicts, each topic in its own order.

    Raises
    ------
    CannotWrite
        As `LogWriter`.
    """
    with LogWriter(out, fmt) as writer:
        for topic, records in sorted(log.items()):
            writer.records(topic, records)
