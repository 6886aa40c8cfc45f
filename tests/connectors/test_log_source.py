"""Log folders as a source, with everything that can be wrong with files."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import jsonl
from connectors.base import NotALog
from connectors.log_source import LogSource
from schemas import TOPICS, rows
from tests.connectors.contract import HEART, MUSIC, T0, SourceContract, beat

CANARY = b"canary-4417"


def lines(*records: Any) -> bytes:
    return b"".join(orjson.dumps(r) + b"\n" for r in records)


def put(log: Path, name: str, data: bytes) -> Path:
    path = log / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return log


def told(log: Path, **settings: Any) -> tuple[list[tuple[str, str, str | None]], int]:
    """([(position, reason, field)], number of rows read), after checking that the counts add up and nothing leaks."""
    with LogSource([log], **settings) as source:
        dead = source.dead(source.first - 1, source.last).to_pylist()
        good = sum(map(len, source.read(source.first - 1, source.last).values()))
        assert sum(source.records_in.values()) == len(dead) + good
        assert CANARY.decode() not in repr(dead)
        return [(f"{source.files[d['_file']]}:{d['_line']}", d["reason"], d["field"]) for d in dead], good


class _Folders(SourceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.logs = (tmp_path / str(i) for i in itertools.count())


class TestJsonl(_Folders):
    def source(self, records: dict[str, list[dict[str, Any]]], **settings: Any) -> LogSource:
        log = next(self.logs)
        for topic, all_ in records.items():
            put(log, f"{topic}/a.jsonl", lines(*all_))
        return LogSource([log], **settings)


class TestGzipInParts(_Folders):
    def source(self, records: dict[str, list[dict[str, Any]]], **settings: Any) -> LogSource:
        log = next(self.logs)
        for topic, all_ in records.items():
            half = len(all_) // 2
            put(log, f"{topic}/p01/a.jsonl.gz", gzip.compress(lines(*all_[:half])))
            put(log, f"{topic}/p01/b.jsonl", lines(*all_[half:]))
        return LogSource([log], **settings)


class TestParquet(_Folders):
    def source(self, records: dict[str, list[dict[str, Any]]], **settings: Any) -> LogSource:
        log = next(self.logs)
        for topic, all_ in records.items():
            good = {i: r for i, r in enumerate(all_) if rows.check(TOPICS[topic], r) is None}
            text = [i for i, r in enumerate(all_) if isinstance(r["value"].get("bpm"), str)]
            if text:  # a Parquet column has one type: the misfit stands in a file of its own
                kind = pa.struct([("bpm", pa.string()), ("quality", pa.string())])
                self.write(log / topic / "b.parquet", [all_[i] for i in text], kind)
                self.write(log / topic / "a.parquet", list(good.values()), TOPICS[topic].value_type)
            else:
                self.write(log / topic / "a.parquet", all_, TOPICS[topic].value_type)
        return LogSource([log], **settings)

    def write(self, path: Path, records: list[dict[str, Any]], kind: pa.DataType) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {k: [r.get(k) for r in records] for k in ("user", "event_time", "ingest_time", "tz_offset_min")}
        pq.write_table(pa.table({**columns, "value": pa.array([r["value"] for r in records], kind)}), path)


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_end_of_lines_and_files_may_be_written_in_any_way(tmp_path: Path) -> None:
    a, b, c = (lines(beat(T0 + i))[:-1] for i in range(3))
    put(tmp_path, "device.heart_rate/a.jsonl", a + b"\r\n\r\n\n  \n" + b + b"\n" + c)
    assert told(tmp_path) == ([], 3)


def test_positions_count_empty_lines(tmp_path: Path) -> None:
    put(tmp_path, "device.heart_rate/p/a.jsonl", b"\n\n" + lines(beat(T0)) + b"\r\nnope\n")
    assert told(tmp_path) == ([("device.heart_rate/p/a.jsonl:5", "UNPARSABLE", None)], 1)


@pytest.mark.parametrize("wrong", [
    b'{"user": "' + CANARY, b"[1]", b"3", b"null", b'"' + CANARY + b'"', b"{}{}", b'{"user":"\xff\xfe"}', b"\x00\x01",
    b'{"user":"p01","event_time":1,"value":{"bpm":NaN,"quality":"LOCKED"}}',
    b'{"user":"p01","event_time":1,"value":{"bpm":-Infinity,"quality":"LOCKED"}}',
    b'{"a":' * 3000 + b"1" + b"}" * 3000, b'\xef\xbb\xbf{"user":"p01"}',
], ids=range(12))  # fmt: skip
def test_a_line_that_is_no_json_object_is_unparsable(tmp_path: Path, wrong: bytes) -> None:
    put(tmp_path, "device.heart_rate/a.jsonl", lines(beat(T0)) + wrong + b"\n" + lines(beat(T0 + 1)))
    assert told(tmp_path) == ([("device.heart_rate/a.jsonl:2", "UNPARSABLE", None)], 2)


def test_two_records_on_a_line_are_no_record_even_where_the_number_of_lines_fits(tmp_path: Path) -> None:
    one = lines(beat(T0))[:-1]
    put(tmp_path, "device.heart_rate/a.jsonl", one + one + b"\n" + one[:30] + b"\n" + one[30:] + b"\n")
    found, good = told(tmp_path)
    assert ([p.rsplit(":", 1)[1] for p, *_ in found], good) == (["1", "2", "3"], 0)


@pytest.mark.parametrize("size", [jsonl.LONGEST_LINE + 1, 10 << 20, 25 << 20])
def test_a_line_of_many_megabytes_is_unparsable_and_the_next_is_read(tmp_path: Path, size: int) -> None:
    long = b'{"user":"' + b"x" * (size - 11) + b'"}'
    assert len(long) == size
    put(tmp_path, "device.heart_rate/a.jsonl", lines(beat(T0)) + long + b"\n" + lines(beat(T0 + 1)))
    put(tmp_path, "device.heart_rate/b.jsonl", long)
    found, good = told(tmp_path)
    assert [p for p, *_ in found] == ["device.heart_rate/a.jsonl:2", "device.heart_rate/b.jsonl:1"]
    assert good == 2


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9, 0.999])
def test_a_truncated_gzip_gives_what_it_holds_and_one_dead_letter(tmp_path: Path, keep: float) -> None:
    data = gzip.compress(lines(*(beat(T0 + i * 977, 60 + i % 91) for i in range(3_000))))
    cut = data[: int(len(data) * keep)]
    put(tmp_path, "device.heart_rate/a.jsonl.gz", cut)
    found, good = told(tmp_path)
    assert found == [(f"device.heart_rate/a.jsonl.gz:{good + 1}", "UNPARSABLE", None)]
    assert good > 3_000 * keep * 0.8 - 100, "all that was packed before the break"


def test_a_gzip_of_several_members_is_one_file(tmp_path: Path) -> None:
    put(
        tmp_path,
        "device.heart_rate/a.jsonl.gz",
        b"".join(gzip.compress(lines(beat(T0 + i))) for i in range(3)) + b"\0" * 9,
    )
    assert told(tmp_path) == ([], 3)


def test_what_is_no_gzip_is_one_dead_letter(tmp_path: Path) -> None:
    put(tmp_path, "device.heart_rate/a.jsonl.gz", lines(beat(T0)))
    put(tmp_path, "device.heart_rate/b.jsonl", lines(beat(T0)))
    assert told(tmp_path) == ([("device.heart_rate/a.jsonl.gz:1", "UNPARSABLE", None)], 1)


def parquet(log: Path, name: str, n: int) -> Path:
    table, _ = rows.from_dicts(HEART, [beat(T0 + i, 60 + i % 80) for i in range(n)])
    path = log / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=1_000)
    return path


def test_a_parquet_file_that_is_none_is_one_dead_letter_at_row_0(tmp_path: Path) -> None:
    whole = parquet(tmp_path, "device.heart_rate/a.parquet", 10).read_bytes()
    put(tmp_path, "device.heart_rate/b.parquet", whole[: len(whole) // 2])
    put(tmp_path, "device.heart_rate/c.parquet", b"")
    wrong = [(f"device.heart_rate/{n}.parquet:0", "UNPARSABLE", None) for n in "bc"]
    assert told(tmp_path) == (wrong, 10)


def test_a_damaged_page_ends_a_parquet_file(tmp_path: Path) -> None:
    path = parquet(tmp_path, "device.heart_rate/a.parquet", 90_000)
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 5_000] = b"\xff" * 5_000
    path.write_bytes(data)
    found, good = told(tmp_path)
    assert found == [(f"device.heart_rate/a.parquet:{good + 1}", "UNPARSABLE", None)]
    assert 0 < good < 90_000


def test_text_in_parquet_that_is_no_utf8_is_unparsable(tmp_path: Path) -> None:
    text = pa.array([b"p\xff"], pa.binary()).view(pa.string())
    value = pa.array([{"state": "PLAY"}])
    folder = tmp_path / MUSIC
    folder.mkdir()
    pq.write_table(pa.table({"user": text, "event_time": [T0], "value": value}), folder / "a.parquet")
    assert told(tmp_path) == ([(f"{MUSIC}/a.parquet:1", "UNPARSABLE", None)], 0)


def test_a_parquet_file_without_rows_is_fine(tmp_path: Path) -> None:
    parquet(tmp_path, "device.heart_rate/a.parquet", 0)
    parquet(tmp_path, "device.heart_rate/b.parquet", 2)
    assert told(tmp_path) == ([], 2)


# -- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "topic"), [
    ("device.mood_ring", "device.mood_ring"), ("Heart Rate", "(unknown)"), ("canary-4417@example.org", "(unknown)"),
])  # fmt: skip
def test_every_record_of_an_unknown_topic_is_a_dead_letter(tmp_path: Path, folder: str, topic: str) -> None:
    put(tmp_path, f"{folder}/a.jsonl", lines(beat(T0), beat(T0 + 1)) + b"nope\n")
    parquet(tmp_path, f"{folder}/b.parquet", 2)
    parquet(tmp_path, "device.heart_rate/a.parquet", 1)
    with LogSource([tmp_path]) as source:
        dead = source.dead(source.first - 1, source.last)
        assert source.records_in == {topic: 5, HEART: 1}
        assert set(dead["topic"].to_pylist()) == {topic}
        assert set(dead["reason"].to_pylist()) == {"UNKNOWN_TOPIC"}
        assert set(dead["ingest_time"].to_pylist()) == {T0}


def test_what_a_replay_wrote_is_not_its_input(tmp_path: Path) -> None:
    put(tmp_path, "notifications/part-00000.jsonl", lines(beat(T0)))
    put(tmp_path, "device.heart_rate/a.jsonl", lines(beat(T0)))
    put(tmp_path, "report.json", b"{}")
    assert told(tmp_path) == ([], 1)


def test_several_logs_are_read_as_one(tmp_path: Path) -> None:
    put(tmp_path / "a", "device.heart_rate/a.jsonl", lines(beat(T0)))
    put(tmp_path / "b", "device.heart_rate/a.jsonl", lines(beat(T0, user="p02")))
    with LogSource([tmp_path / "a", tmp_path / "b"]) as source:
        assert source.read(T0 - 1, T0)[HEART]["user"].to_pylist() == ["p01", "p02"]


@pytest.mark.parametrize("make", [
    lambda p: p / "nowhere", lambda p: p, lambda p: put(p, "notes.txt", b"x") / "notes.txt",
    lambda p: put(p, "readings.jsonl", b"{}\n"), lambda p: put(p, "notifications/a.jsonl", b"{}\n"),
    lambda p: put(p, "device.heart_rate/a.jsonl", b"\n\r\n"), lambda p: put(p, "device.heart_rate/a.jsonl", b""),
], ids=["missing", "empty", "a file", "no topic", "outputs only", "blank lines", "empty file"])  # fmt: skip
def test_what_holds_no_records_is_not_a_log_in_one_line(tmp_path: Path, make: Any) -> None:
    with pytest.raises(NotALog) as caught:
        LogSource([make(tmp_path)])
    assert "\n" not in str(caught.value)


def test_progress_goes_up_to_1(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path, f"device.heart_rate/{i}.jsonl", lines(beat(T0 + i)))
    seen: list[float] = []
    LogSource([tmp_path], progress=seen.append).close()
    assert seen == pytest.approx([1 / 3, 2 / 3, 1])


# -- the place of what has no time ------------------------------------------------------------------------------------


def places(log: Path, **settings: Any) -> list[int]:
    with LogSource([log], **settings) as source:
        if source.first is None:
            return []
        dead = source.dead(source.first - 1, source.last)
        return [d["ingest_time"] - T0 for d in sorted(dead.to_pylist(), key=lambda d: (d["_file"], d["_line"]))]


def test_a_record_without_a_time_stands_where_the_good_one_before_it_arrived(tmp_path: Path) -> None:
    put(
        tmp_path,
        "device.heart_rate/a.jsonl",
        b"x\n" + lines(*(beat(T0 + i) for i in range(5, 9))) + b"x\n" + lines(beat(T0 + 30)) + b"x\n",
    )
    put(tmp_path, "device.heart_rate/b.jsonl", b"x\n")
    put(
        tmp_path,
        "device.music/c.jsonl",
        lines({"user": "p01", "event_time": T0 + 2, "value": {"state": "PLAY"}}) + b"x\n",
    )
    assert places(tmp_path) == [5, 8, 30, 2, 2]


def test_the_place_does_not_depend_on_how_files_are_cut_into_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [lines(beat(T0 + i)) if i % 7 else b"nope\n" for i in range(400)]
    put(tmp_path, "device.heart_rate/a.jsonl", b"".join(records))
    whole = places(tmp_path)
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 700)
    monkeypatch.setattr(jsonl, "PART_BYTES", 100)
    assert places(tmp_path) == whole == [1, *range(6, 399, 7)][: len(whole)]


def test_parts_of_a_log_bury_each_dead_record_once(tmp_path: Path) -> None:
    put(
        tmp_path,
        "device.heart_rate/a.jsonl",
        b"".join(lines(beat(T0 + i)) + b"x\n" for i in range(10)) + lines(beat(T0 + 4, 999.0)),
    )
    parts = places(tmp_path, end=T0 + 4) + places(tmp_path, start=T0 + 5)
    assert sorted(parts) == sorted(places(tmp_path))
