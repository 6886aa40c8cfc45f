"""Output folders as a sink."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.base import NotALog
from connectors.log_sink import ROW_GROUP, LogSink
from connectors.log_source import LogSource
from schemas import rows
from tests.connectors.contract import HEART, T0, SinkContract, beat


class _Folders(SinkContract):
    fmt: str

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folders = (tmp_path / str(i) for i in itertools.count())

    def sink(self) -> LogSink:
        self.last = next(self.folders)
        return LogSink(self.last, self.fmt)

    def written(self) -> dict[str, Any]:
        return {p.relative_to(self.last).as_posix(): p.read_bytes() for p in self.last.rglob("*") if p.is_file()}


class TestJsonl(_Folders):
    fmt = "jsonl"


class TestParquet(_Folders):
    fmt = "parquet"


def beats(n: int, first: int = 0) -> pa.Table:
    return rows.from_dicts(
        HEART, [beat(T0 + i, 60 + i % 90, event_id=f"{i * 7 % 10:x}") for i in range(first, first + n)]
    )[0]


def test_row_groups_are_full_however_small_the_slices(tmp_path: Path) -> None:
    table = beats(1_000)
    for name, step in (("a", 1_000), ("b", 333)):
        sink = LogSink(tmp_path / name, "parquet")
        for k in range(140):
            later = table.set_column(2, "ingest_time", pa.array(np.arange(1_000) + T0 + k * 1_000))
            for i in range(0, 1_000, step):
                sink.write(HEART, [later.slice(i, step)])
        sink.close()
    a, b = (tmp_path / n / HEART / "part-00000.parquet" for n in "ab")
    assert a.read_bytes() == b.read_bytes()
    meta = pq.ParquetFile(a).metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [
        *[ROW_GROUP] * 4,
        140_000 - 4 * ROW_GROUP,
    ]


@pytest.mark.parametrize("fmt", ["jsonl", "parquet"])
def test_what_is_written_is_a_log(tmp_path: Path, fmt: str) -> None:
    table = beats(50)
    sink = LogSink(tmp_path / "out", fmt)
    sink.write(HEART, [table])
    sink.close()
    with LogSource([tmp_path / "out"]) as source:
        assert source.read(T0 - 1, T0 + 50)[HEART].drop_columns(["_file", "_line"]).equals(table)


def test_equal_times_are_ordered_by_id_and_rows_without_id_keep_their_order(tmp_path: Path) -> None:
    ids = ["b", None, "a", None]
    made = [beat(T0, 60 + i, **({} if e is None else {"event_id": e})) for i, e in enumerate(ids)]
    sink = LogSink(tmp_path / "out")
    sink.write(HEART, [rows.from_dicts(HEART, made)[0]])
    sink.close()
    text = (tmp_path / "out" / HEART / "part-00000.jsonl").read_text().splitlines()
    assert [line.split('"bpm":')[1][:2] for line in text] == ["62", "60", "61", "63"]


@pytest.mark.parametrize("fmt", ["jsonl", "parquet"])
def test_a_folder_with_records_is_not_written_into_unless_it_goes_on(tmp_path: Path, fmt: str) -> None:
    for first, append in ((0, False), (5, True)):
        sink = LogSink(tmp_path / "out", fmt, append=append)
        sink.write(HEART, [beats(5, first)])
        sink.close()
    with pytest.raises(NotALog):
        LogSink(tmp_path / "out", fmt)
    with LogSource([tmp_path / "out"]) as source:
        assert source.records_in[HEART] == 10


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(NotALog):
        LogSink(tmp_path / "out")
