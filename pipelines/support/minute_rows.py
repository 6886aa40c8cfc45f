"""Rows of `features.minute` as an Arrow table (topics.md 7)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.context.calendar import DayClock
from pipelines.support import places
from schemas import TOPICS, ids

TOPIC = "features.minute"
SEDENTARY = pa.array(["UNKNOWN", "NO", "YES"], pa.string())
PLACES = pa.array(list(places.NAMES), pa.string())
# modalities observed, by bits: 1 activity, 2 heart rate, 4 location
COMPLETE = pa.array(
    [[m for bit, m in ((1, "ACTIVITY"), (2, "HEART_RATE"), (4, "LOCATION")) if code & bit] for code in range(8)],
    pa.list_(pa.string()),
)


def minute_table(user: str, columns: dict[str, npt.NDArray[Any]], days: DayClock) -> pa.Table:
    """Envelope and value of the rows that `Minutes.take_rows` gave; event_time is the minute's start."""
    start, n = columns["start_time"], len(columns["start_time"])
    heart, active = columns["hr_n"] > 0, columns["activity_n"] > 0
    steps = columns["steps"]
    known = active | ~np.isnan(steps)
    code = known.astype(np.int8) + 2 * heart + 4 * columns["fixes"]
    fields = {
        "start_time": pa.array(start, pa.int64()),
        "revision": pa.array(columns["revision"], pa.int32()),
        "hr_bpm": _rounded(columns["hr_bpm"], 3),
        "hr_expected_bpm": _rounded(columns["hr_expected_bpm"], 3),
        "hr_residual_bpm": _rounded(columns["hr_residual_bpm"], 3),
        "sigma_bpm": _rounded(columns["sigma_bpm"], 3),
        "hr_n": pa.array(columns["hr_n"], pa.int32()),
        "activity_n": pa.array(columns["activity_n"], pa.int32()),
        "hr_sum_bpm": pa.array(columns["hr_sum_bpm"], mask=~heart),
        "hr_min_bpm": pa.array(columns["hr_min_bpm"], mask=~heart),
        "hr_max_bpm": pa.array(columns["hr_max_bpm"], mask=~heart),
        "steps": pa.array(np.nan_to_num(steps).astype(np.int32), mask=np.isnan(steps)),
        "intensity": pa.array(columns["intensity"], pa.int32(), mask=columns["intensity"] < 0),
        "sedentary": SEDENTARY.take(pa.array(columns["sedentary"] + 1)),
        "place": PLACES.take(pa.array(columns["place"])),
        "place_confirmed": pa.array(columns["place_confirmed"]),
        "complete": COMPLETE.take(pa.array(code)),
    }
    topic = TOPICS[TOPIC]
    kind = topic.value_type
    fields |= _states(columns["state"], kind)
    value = pa.StructArray.from_arrays([fields[f.name].cast(f.type) for f in kind], fields=list(kind))
    envelope = {
        "user": pa.array([user]).take(pa.array(np.zeros(n, np.int32))),
        "event_time": fields["start_time"],
        "ingest_time": pa.array(columns["ingest_time"], pa.int64()),
        "tz_offset_min": pa.array(_offsets(start, days), pa.int32()),
        "source_id": pa.nulls(n, pa.string()),
        "seq": pa.nulls(n, pa.int64()),
        "event_id": ids.output_ids(TOPIC, user, start, columns["revision"]),
        "value": value,
    }
    return pa.table([envelope[f.name] for f in topic.table_schema], schema=topic.table_schema)


def _states(found: npt.NDArray[np.object_], kind: pa.StructType) -> dict[str, pa.Array]:
    """The optional fields of the personal recogniser, null in nearly all rows."""
    at = {i: s for i, s in enumerate(found.tolist()) if s is not None}
    out = {}
    for name in ("state_prob", "state_context", "state_confidence"):
        type_ = kind.field(name).type
        given: list[Any] = [None] * len(found) if at else []
        for i, s in at.items():
            given[i] = list(s[name].items()) if name == "state_prob" else s[name]
        out[name] = pa.array(given, type_) if at else pa.nulls(len(found), type_)
    return out


def _rounded(values: npt.NDArray[np.float64], digits: int) -> pa.Array:
    unknown = np.isnan(values)
    return pa.array(np.round(values, digits), pa.float64(), mask=unknown)


def _offsets(start: npt.NDArray[np.int64], days: DayClock) -> npt.NDArray[np.int32]:
    out = np.full(len(start), days.offset_at(int(start[0])), np.int32)
    for day in days.days():
        out[start >= day.start_time] = day.offset_min
    return out
