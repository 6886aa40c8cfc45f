"""Minutes of real people sum up, by person and clock hour, to exactly what was recorded, whatever the transport did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import fitbit
from pipelines.graph import replay
from pipelines.settings import Settings

pytestmark = pytest.mark.skipif(
    not fitbit.available(), reason="../shared/data is not beside the project: real recordings can't be read"
)
ALL = fitbit.COVID + fitbit.FITBIT
FEW = ("2347167796", "AURCTAK")  # every five seconds, and every minute
HOUR = 3_600_000


def hours_of(out: list[Path]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """(person, hour) → counts and sums of the minutes, each by its highest revision."""
    parts = [pq.read_table(f) for folder in out for f in sorted((folder / "features.minute").glob("*.parquet"))]
    rows = pa.concat_tables(parts)
    table = pa.table({"user": rows["user"], **{n: pc.struct_field(rows["value"], n) for n in (
        "start_time", "revision", "hr_n", "hr_sum_bpm", "hr_min_bpm", "hr_max_bpm", "activity_n", "steps")}})  # fmt: skip
    newest = (
        table.group_by(["user", "start_time"])
        .aggregate([("revision", "max")])
        .rename_columns(["user", "start_time", "revision"])
    )
    table = table.join(newest, ["user", "start_time", "revision"], join_type="inner")
    hour = pc.divide(table["start_time"], HOUR)
    sums = table.append_column("hour", hour).group_by(["user", "hour"]).aggregate(
        [("hr_n", "sum"), ("hr_sum_bpm", "sum"), ("hr_min_bpm", "min"), ("hr_max_bpm", "max"), ("activity_n", "sum"), ("steps", "sum")]
    )  # fmt: skip
    return {
        (r["user"], r["hour"]): (
            r["hr_n_sum"],
            r["hr_sum_bpm_sum"] or 0,
            r["hr_min_bpm_min"],
            r["hr_max_bpm_max"],
            r["activity_n_sum"],
            r["steps_sum"] or 0,
        )
        for r in sums.to_pylist()
    }


def golden(users: tuple[str, ...], days: int | None = None) -> dict[tuple[str, int], tuple[Any, ...]]:
    table = pq.read_table(fitbit.SHARED / "reference" / "hourly_golden.parquet")
    hour = pc.divide(table["hour"].cast(pa.int64()), HOUR)
    ends = {u: 2**60 if days is None else fitbit.end_of(u, days) for u in users}
    out = {}
    for r in table.set_column(2, "hour", hour).to_pylist():
        if r["user"] in users and r["hour"] * HOUR < ends[r["user"]]:
            low, high = (r["hr_min"], r["hr_max"]) if r["n_hr"] else (None, None)
            out[r["user"], r["hour"]] = (r["n_hr"], r["hr_sum"], low, high, r["n_step_rows"], r["steps_sum"])
    return out


def run(log: Path, out: Path, **how: Any) -> dict[str, Any]:
    """Replay to three minutes after the last arrival, so that the last minute has been said too (topics.md 2.6)."""
    how.setdefault("end", last_arrival(log) + 3 * 60_000)
    return replay([log], out, fmt="parquet", settings=Settings(study_data=True), **how)


def last_arrival(log: Path) -> int:
    return max(pc.max(pq.read_table(f, columns=["ingest_time"])["ingest_time"]).as_py() for f in log.rglob("*.parquet"))


def test_all_nine_people_in_order(tmp_path: Path) -> None:
    n = fitbit.write_log(tmp_path / "log")
    report = run(tmp_path / "log", tmp_path / "out")
    assert report["dlq"] == {}
    assert sum(report["processed"].values()) == n
    assert hours_of([tmp_path / "out"]) == golden(fitbit.COVID + fitbit.FITBIT)


@pytest.mark.parametrize(("users", "days"), [(FEW, 4), pytest.param(ALL, None, marks=pytest.mark.soak)])
def test_each_row_up_to_a_day_late(tmp_path: Path, users: tuple[str, ...], days: int | None) -> None:
    fitbit.write_log(tmp_path / "log", users, named=True, late_h=23.9, days=days)
    report = run(tmp_path / "log", tmp_path / "out")
    assert report["dlq"] == {}
    assert hours_of([tmp_path / "out"]) == golden(users, days)


@pytest.mark.parametrize(("users", "days"), [(FEW, 3), pytest.param(ALL, None, marks=pytest.mark.soak)])
def test_each_row_sent_one_to_three_times_out_of_order(
    tmp_path: Path, users: tuple[str, ...], days: int | None
) -> None:
    n = fitbit.write_log(tmp_path / "log", users, named=True, late_h=6.0, times=(1, 3), days=days)
    report = run(tmp_path / "log", tmp_path / "out")
    assert sum(report["duplicates"].values()) + sum(report["processed"].values()) == n
    assert hours_of([tmp_path / "out"]) == golden(users, days)


@pytest.mark.parametrize(("users", "days"), [(FEW, 8), pytest.param(ALL, None, marks=pytest.mark.soak)])
def test_stopped_in_the_middle_and_taken_up_again(tmp_path: Path, users: tuple[str, ...], days: int | None) -> None:
    fitbit.write_log(tmp_path / "log", users, days=days)
    times = next(iter(fitbit.streams(users[:1]))).time
    middle = int(times.min()) + 3 * fitbit.DAY_MS + 12_345_017
    run(tmp_path / "log", tmp_path / "one", end=middle, state_dir=tmp_path / "state")
    run(tmp_path / "log", tmp_path / "two", state_dir=tmp_path / "state")
    assert hours_of([tmp_path / "one", tmp_path / "two"]) == golden(users, days)
