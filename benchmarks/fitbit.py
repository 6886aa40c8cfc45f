"""Public Fitbit recordings as log folders, with the faults of transport. Read where they lie; nothing of them is committed.

`covid_fitbit` (Mishra et al. 2020, Nature Biomedical Engineering) and `fitbit_2016` (Furberg et al., Zenodo 53894, CC0).
Their stamps are wearers' local clocks without a zone: taken as UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.live_feed import consent
from schemas import TOPICS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
COVID = ("A36HR6Y", "A3OU183", "AJ7TSV9", "AS2MVDL", "AURCTAK")
FITBIT = ("2026352035", "2347167796", "4388161847", "6117666160")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """Rows of one topic of one person: instants in ms, values."""

    user: str
    topic: str
    time: Ints
    value: npt.NDArray[np.float64]


def available() -> bool:
    """Whether the recordings lie beside the project."""
    return (SHARED / "covid_fitbit").is_dir() and (SHARED / "fitbit_2016").is_dir()


def streams(users: tuple[str, ...] = COVID + FITBIT) -> Iterator[Stream]:
    """Heart rate and steps of these people."""
    for user in users:
        if user in COVID:
            yield _stream(
                user, "device.heart_rate", pq.read_table(SHARED / "covid_fitbit" / f"{user}_hr.parquet"), "heartrate"
            )
            yield _stream(
                user, "device.activity", pq.read_table(SHARED / "covid_fitbit" / f"{user}_steps.parquet"), "steps"
            )
        else:
            yield _stream(
                user, "device.heart_rate", pq.read_table(SHARED / "fitbit_2016" / f"hr_{user}.parquet"), "heartrate"
            )
            steps = pq.read_table(SHARED / "fitbit_2016" / "minute_steps.parquet")
            yield _stream(user, "device.activity", steps.filter(pc.equal(steps["user"], int(user))), "steps")


def _stream(user: str, topic: str, table: pa.Table, column: str) -> Stream:
    time = table["ts"].cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy()
    return Stream(user, topic, time, table[column].cast(pa.float64()).to_numpy())


def write_log(
    folder: Path,
    users: tuple[str, ...] = COVID + FITBIT,
    *,
    named: bool = False,
    late_h: float = 0.0,
    times: tuple[int, int] = (1, 1),
    days: int | None = None,
    seed: int = 1,
) -> int:
    """Write a log folder; the number of records in it.

    Parameters
    ----------
    named
        Records carry source_id and seq, so that copies can be told.
    late_h
        Each arrives up to so many hours after it happened, at random.
    times
        Each is sent between so many times.
    days
        Only what lies before `end_of` so many days.
    """
    rng = np.random.default_rng(seed)
    n = 0
    for whole in streams(users):
        s = whole if days is None else _before(whole, end_of(whole.user, days))
        number = np.arange(len(s.time))
        if times != (1, 1):
            number = np.repeat(number, rng.integers(times[0], times[1] + 1, len(number)))
            number = number[rng.permutation(len(number))] if late_h else number
        late = (rng.random(len(number)) * late_h * HOUR_MS).astype(np.int64)
        table = _table(s, number, s.time[number] + late, named)
        if late_h:
            table = table.take(pa.array(np.argsort(table["ingest_time"].to_numpy(), kind="stable")))
        (folder / s.topic).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / s.topic / f"{s.user}.parquet")
        n += len(table)
    return n


def write_answers(folder: Path, users: tuple[str, ...] = COVID, hours: tuple[int, ...] = (9, 12, 15, 18, 21)) -> int:
    """Add made-up answers at these hours of each day: stressed where the pulse of the ten minutes before stood high.

    So the personal recogniser has something to learn and its gate opens; how many were written. The answers are no data.
    """
    n = 0
    for s in streams(users):
        if s.topic != "device.heart_rate":
            continue
        high = float(np.quantile(s.value, 0.75))
        rows = []
        for day in range(int(s.time.min()) // DAY_MS, int(s.time.max()) // DAY_MS + 1):
            for hour in hours:
                at = day * DAY_MS + hour * HOUR_MS
                pulse = s.value[slice(*np.searchsorted(s.time, [at - HOUR_MS // 6, at]))]
                if len(pulse):
                    stress = 8.0 if np.median(pulse) > high else 2.0
                    rows.append({"user": s.user, "event_time": at, "ingest_time": at,
                                 "value": {"instrument": "STRESS", "items": {"1": stress}, "total": stress}})  # fmt: skip
        (folder / "selfreport").mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(r) + "\n" for r in rows)
        (folder / "selfreport" / f"{s.user}.jsonl").write_text(lines, encoding="utf-8")
        n += len(rows)
    return n


def write_consents(folder: Path, users: tuple[str, ...] = COVID) -> int:
    """Add made-up consents to messages of one's own, a minute before the first reading: a live run takes nothing without."""
    first: dict[str, int] = {}
    for s in streams(users):
        first[s.user] = min(int(s.time.min()), first.get(s.user, int(s.time.min())))
    lines = ""
    for user, at in sorted(first.items()):
        record = {"user": user, "event_time": at - 60_000, "ingest_time": at - 60_000, "tz_offset_min": 0,
                  "event_id": f"c-{user}", "value": consent(user, at)}  # fmt: skip
        lines += json.dumps(record) + "\n"
    (folder / "clinical.consent").mkdir(parents=True, exist_ok=True)
    (folder / "clinical.consent" / "people.jsonl").write_text(lines, encoding="utf-8")
    return len(first)


def end_of(user: str, days: int) -> int:
    """The whole hour (ms) so many days after the first heart rate of a person."""
    first = next(streams((user,))).time.min()
    return (int(first) // HOUR_MS + 24 * days) * HOUR_MS


def _before(s: Stream, end: int) -> Stream:
    keep = s.time < end
    return Stream(s.user, s.topic, s.time[keep], s.value[keep])


def as_table(s: Stream) -> pa.Table:
    """The rows of a stream in the form of their topic, arrived when they happened."""
    return _table(s, np.arange(len(s.time)), s.time, False)


def _table(s: Stream, number: Ints, arrival: Ints, named: bool) -> pa.Table:
    topic, n = TOPICS[s.topic], len(number)
    value = s.value[number]
    if s.topic == "device.heart_rate":
        fields = {"bpm": pa.array(value), "quality": pa.array(["LOCKED"] * n)}
    else:
        fields = {"steps": pa.array(value.astype(np.int32)), "period_s": pa.array(np.full(n, 60.0))}
    parts = [fields[f.name].cast(f.type) if f.name in fields else pa.nulls(n, f.type) for f in topic.value_type]
    columns = {
        "user": pa.array([s.user] * n), "event_time": pa.array(s.time[number]), "ingest_time": pa.array(arrival),
        "tz_offset_min": pa.array(np.zeros(n, np.int32)), "source_id": pa.array(["fitbit"] * n),
        "seq": pa.array(number, pa.int64()) if named else pa.nulls(n, pa.int64()), "event_id": pa.nulls(n, pa.string()),
        "value": pa.StructArray.from_arrays(parts, fields=list(topic.value_type)),
    }  # fmt: skip
    return pa.table([columns[f.name] for f in topic.table_schema], schema=topic.table_schema)
