"""What every source and every sink must do. A connector's tests inherit these and say how to make one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from connectors.base import DEAD, Sink, Source
from schemas import TOPICS, rows

DAY = 86_400_000
T0 = 1_772_409_600_000  # 2026-03-02 00:00 UTC
HEART, STEPS, MUSIC = "device.heart_rate", "device.activity", "device.music"


def beat(at: int, bpm: float = 84.0, user: str = "p01", **envelope: Any) -> dict[str, Any]:
    value = {"bpm": bpm, "quality": "LOCKED"}
    return {"user": user, "event_time": at - 1200, "ingest_time": at, "tz_offset_min": 60, **envelope, "value": value}


def walk(at: int, steps: int = 12, user: str = "p01") -> dict[str, Any]:
    return {
        "user": user,
        "event_time": at,
        "ingest_time": at,
        "tz_offset_min": 0,
        "value": {"steps": steps, "period_s": 60.0},
    }


def three_days() -> dict[str, list[dict[str, Any]]]:
    """Two topics over three days, written in no order, with equal arrival times."""
    beats = [
        beat(T0 + d * DAY + i * 600_000, 60 + i % 40, user)
        for d in (2, 0, 1)
        for user in ("p02", "p01")
        for i in range(100)
    ]
    return {HEART: beats, STEPS: [walk(T0 + i * 900_000, i) for i in reversed(range(250))]}


class SourceContract(ABC):
    """A source of the records it is given, each topic in the given order."""

    @abstractmethod
    def source(self, records: dict[str, list[dict[str, Any]]], **settings: Any) -> Source: ...

    def test_every_record_is_read_once_in_arrival_order_however_it_is_sliced(self) -> None:
        given = three_days()
        want = {
            t: sorted(r, key=lambda x: x["ingest_time"]) for t, r in given.items()
        }  # stable: equal times as written
        for max_rows in (1, 90, 10**9):
            with self.source(given) as source:
                got: dict[str, list[Any]] = {t: [] for t in given}
                for after, until in source.plan(max_rows):
                    for topic, table in source.read(after, until).items():
                        got[topic] += rows.to_dicts(topic, table)
            assert got == want

    def test_slices_join_and_cover_the_log(self) -> None:
        with self.source(three_days()) as source:
            for max_rows in (1, 50, 100, 10**9):
                plan = source.plan(max_rows)
                assert plan[0][0] == source.first - 1
                assert plan[-1][1] == source.last
                assert all(a < b for a, b in plan)
                assert [b for _, b in plan[:-1]] == [a for a, _ in plan[1:]]

    def test_slices_hold_about_what_was_asked_for(self) -> None:
        with self.source(three_days()) as source:
            sizes = [sum(map(len, source.read(*s).values())) for s in source.plan(100)]
        assert sum(sizes) == 850
        assert max(sizes) <= 110, "a heavy day is split"

    def test_tables_have_the_schema_of_the_topic_and_a_position(self) -> None:
        with self.source(three_days()) as source:
            for topic, table in source.read(source.first - 1, source.last).items():
                assert table.schema.names == [*TOPICS[topic].table_schema.names, "_file", "_line"]
                assert table.drop_columns(["_file", "_line"]).schema == TOPICS[topic].table_schema
                files = set(table["_file"].to_pylist())
                assert all(source.files[f].startswith(topic) for f in files)

    def test_counts_and_ends_are_those_of_the_log(self) -> None:
        with self.source(three_days()) as source:
            assert source.records_in == Counter({HEART: 600, STEPS: 250})
            assert (source.first, source.last) == (T0, T0 + 2 * DAY + 99 * 600_000)

    def test_bounds_are_inclusive_and_what_lies_beyond_is_not_counted(self) -> None:
        given = {HEART: [beat(T0 + i) for i in range(10)]}
        with self.source(given, start=T0 + 3, end=T0 + 6) as source:
            assert (source.first, source.last, source.records_in[HEART]) == (T0 + 3, T0 + 6, 4)

    def test_a_record_that_does_not_fit_is_counted_and_told_and_the_rest_is_read(self) -> None:
        bad = beat(T0 + 5, user="p02") | {"value": {"bpm": "canary", "quality": "LOCKED"}}
        with self.source({HEART: [beat(T0), bad, beat(T0 + 9)]}) as source:
            dead = source.dead(source.first - 1, source.last)
            good = source.read(source.first - 1, source.last)[HEART]
            assert source.records_in[HEART] == 3
        assert dead.schema == DEAD
        (row,) = dead.to_pylist()
        told = {k: row[k] for k in ("topic", "reason", "field", "user", "event_time", "ingest_time")}
        assert told == {
            "topic": HEART, "reason": "SCHEMA", "field": "bpm", "user": "p02", "event_time": T0 + 5 - 1200, "ingest_time": T0 + 5,
        }  # fmt: skip
        assert good["ingest_time"].to_pylist() == [T0, T0 + 9]

    def test_each_dead_record_belongs_to_one_slice(self) -> None:
        wrong = [beat(T0 + i * DAY, 500.0) for i in range(3)]
        with self.source({HEART: [beat(T0), beat(T0 + 2 * DAY), *wrong]}) as source:
            told = [d["ingest_time"] for s in source.plan(1) for d in source.dead(*s).to_pylist()]
        assert told == [T0, T0 + DAY, T0 + 2 * DAY]

    def test_a_lost_record_with_a_wild_clock_does_not_move_the_end_of_the_log(self) -> None:
        with self.source({HEART: [beat(T0), beat(T0 + 1), beat(4_000_000_000_000, 500.0)]}) as source:
            assert source.last == T0 + 1
            assert len(source.dead(T0 - 1, T0 + 1)) == 1


class SinkContract(ABC):
    """A sink whose records can be read again."""

    @abstractmethod
    def sink(self) -> Sink: ...

    @abstractmethod
    def written(self) -> dict[str, Any]:
        """What lies in the place the last sink wrote to, by topic, in any form that compares."""

    def outputs(self) -> dict[str, pa.Table]:
        given = three_days()
        made = {t: sorted(r, key=lambda x: x["ingest_time"]) for t, r in given.items()}
        for i, r in enumerate(made[STEPS]):
            r["event_id"] = f"{(i * 7919) % 250:08x}-0000-5000-8000-000000000000"
        return {t: rows.from_dicts(t, r)[0] for t, r in made.items()}

    @pytest.mark.parametrize("cuts", [[], [T0 + DAY], [T0 + i * 3_600_000 for i in range(70)]])
    def test_what_is_written_does_not_depend_on_the_slicing(self, cuts: list[int]) -> None:
        results = []
        for edges in ([], cuts):
            with_ends = [0, *edges, 10**14]
            sink = self.sink()
            for after, until in pairwise(with_ends):
                for topic, table in self.outputs().items():
                    at = table["ingest_time"].to_numpy()
                    part = table.filter(pa.array((at > after) & (at <= until)))
                    half = len(part) // 2
                    sink.write(topic, [part.slice(half), part.slice(0, half)] if topic == STEPS else [part])
            assert sink.counts == Counter({HEART: 600, STEPS: 250})
            sink.close()
            results.append(self.written())
        assert results[0] == results[1]

    def test_nothing_to_write_leaves_nothing(self) -> None:
        sink = self.sink()
        sink.write(HEART, [])
        sink.write(HEART, [rows.empty(HEART)])
        sink.close()
        assert (sink.counts, self.written()) == (Counter(), {})
