"""Rows of a slice as the person's rooms take them: columns in arrival order, and low-rate records one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.context.columns import Columns, Ints
from pipelines.context.completeness import Observed, spread
from pipelines.context.devices import WORN_CODES
from pipelines.support import places
from pipelines.support.arrivals import Queue
from pipelines.support.minutes import LATE_MS
from schemas import rows

BY_RECORD = (
    "chat.inbound", "clinical.ack", "clinical.consent", "clinical.profile", "delivery.receipt", "device.content_flag",
    "device.search_flag", "erasure.request", "selfreport", "therapy.event",
)  # fmt: skip
WORN_BY = ("WATCH", "STRAP")


def records(tables: dict[str, pa.Table]) -> list[tuple[int, str, int, dict[str, Any]]]:
    """(arrival, topic, number, record) of the low-rate topics in the order of the log."""
    out = []
    for topic in BY_RECORD:
        if topic in tables:
            out += [(int(r["ingest_time"]), topic, i, r) for i, r in enumerate(rows.to_dicts(topic, tables[topic]))]
    return sorted(out, key=lambda e: e[:3])


def queues(cols: dict[str, Columns]) -> dict[str, Queue]:
    """What the minutes take; rows more than 24 h late decide nothing any more (topics.md 2.4)."""
    out = {}
    hr = cols.get("device.heart_rate")
    if hr is not None:
        bpm = hr.numbers("bpm", np.nan)
        out["hr"] = _queue(hr, bpm, hr.among("quality", "LOCKED", "STRAP") & (bpm >= 30) & (bpm <= 220))
    act = cols.get("device.activity")
    if act is not None:
        steps, period = act.numbers("steps", 0).astype(np.int64), act.numbers("period_s", 60)
        intensity = act.numbers("intensity", -1).astype(np.int64)
        short = bool((period < 60).any())
        sources = act.table["source_id"].fill_null("").to_pylist() if short else None
        out["act"] = _queue(act, steps, period, intensity, act.among("activity", "VEHICLE"), sources=sources)
    fix = cols.get("device.location")
    if fix is not None:
        names = fix.value.field("place").dictionary_encode()
        codes = np.array([places.CODES[n] for n in names.dictionary.to_pylist()], np.int8)[names.indices.to_numpy()]
        out["fix"] = _queue(fix, codes, fix.numbers("accuracy_m", np.inf))
    status = cols.get("device.status")
    if status is not None:
        mine = status.among("device", *WORN_BY)
        worn = np.array([WORN_CODES[w] for w in status.value.field("worn").to_pylist()], np.int64)
        late = status.arrival - status.event > LATE_MS
        keep = mine & ~late
        out["worn"] = Queue(status.arrival[keep], status.event[keep], (worn[keep],))
    return out


def _queue(c: Columns, *values: npt.NDArray[Any], sources: list[str] | None = None) -> Queue:
    late = c.arrival - c.event > LATE_MS
    if not late.any():
        return Queue(c.arrival, c.event, tuple(values), sources)
    keep = ~late
    kept = [s for s, k in zip(sources, keep, strict=True) if k] if sources is not None else None
    return Queue(c.arrival[keep], c.event[keep], tuple(v[keep] for v in values), kept)


def left(queues_: dict[str, Queue]) -> dict[str, Queue]:
    """What arrived after the last tick of a run: it waits for the first of the next, as it would without a cut."""
    out = {}
    for name, q in queues_.items():
        rest = slice(q.at, len(q.arrival))
        if rest.start < rest.stop:
            sources = q.sources[rest] if q.sources is not None else None
            out[name] = Queue(q.arrival[rest], q.event[rest], tuple(c[rest] for c in q.columns), sources)
        q.at = rest.stop
    return out


def joined(first: dict[str, Queue], then: dict[str, Queue]) -> dict[str, Queue]:
    """The queues of two runs, one after the other."""
    out = {**first, **then}
    for name in first.keys() & then.keys():
        a, b = first[name], then[name]
        sources = None
        if a.sources is not None or b.sources is not None:
            sources = [s for q in (a, b) for s in (q.sources or [""] * len(q.arrival))]
        out[name] = Queue(
            np.concatenate([a.arrival, b.arrival]),
            np.concatenate([a.event, b.event]),
            tuple(np.concatenate([x, y]) for x, y in zip(a.columns, b.columns, strict=True)),
            sources,
        )
    return out


def waiting_out(waiting: dict[str, Queue]) -> tuple[dict[str, list[str] | None], dict[str, npt.NDArray[Any]]]:
    """(meta, arrays) of waiting rows, for packing."""
    arrays = {}
    for name, q in waiting.items():
        for i, column in enumerate((q.arrival, q.event, *q.columns)):
            arrays[f"wait_{name}_{i:02}"] = column
    return {name: q.sources for name, q in waiting.items()}, arrays


def waiting_in(meta: dict[str, list[str] | None], arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Queue]:
    """What `waiting_out` wrote."""
    out = {}
    for name, sources in meta.items():
        columns = [arrays[key] for key in sorted(arrays) if key.startswith(f"wait_{name}_")]
        out[name] = Queue(columns[0], columns[1], tuple(columns[2:]), sources)
    return out


def observed(cols: dict[str, Columns]) -> dict[str, Observed]:
    """Modality → rows, for completeness."""
    out = {}
    for topic, modality in (
        ("device.heart_rate", "HEART_RATE"),
        ("device.location", "LOCATION"),
        ("device.phone_usage", "PHONE_USAGE"),
    ):
        if topic in cols:
            out[modality] = Observed(cols[topic].event, cols[topic].arrival)
    if "device.activity" in cols:
        c = cols["device.activity"]
        out["ACTIVITY"] = spread(c.event, c.arrival, c.numbers("period_s", 60))
    return out


def sums(cols: dict[str, Columns]) -> list[tuple[Ints, Ints, str, Ints]]:
    """(arrival, event, name of the day sum, amount) of what is only counted by day; times in ms, amounts in thousandths."""
    out: list[tuple[Ints, Ints, str, Ints]] = []

    def put(c: Columns, where: npt.NDArray[np.bool_], name: str, amount: npt.NDArray[np.float64] | None = None) -> None:
        if where.any():
            n = (
                np.ones(int(where.sum()), np.int64)
                if amount is None
                else np.rint(amount[where] * 1000).astype(np.int64)
            )
            out.append((c.arrival[where], c.event[where], name, n))

    usage = cols.get("device.phone_usage")
    if usage is not None:
        seconds, ended = usage.numbers("duration_s", 0), usage.among("event", "BG")
        put(usage, ended, "phone", seconds)
        put(usage, ended & usage.among("category", "GAME"), "game", seconds)
        put(usage, usage.among("event", "UNLOCK"), "unlocks")
        put(usage, usage.among("event", "FG") & usage.among("category", "BROWSER"), "browse")
        put(usage, np.ones(len(usage.event), np.bool_), "n_phone")
    music = cols.get("device.music")
    if music is not None:
        put(music, music.among("state", "PAUSE", "STOP"), "music", music.numbers("duration_s", 0))
        put(music, np.ones(len(music.event), np.bool_), "n_music")
    wellness = cols.get("device.wellness")
    if wellness is not None:
        amount = wellness.numbers("amount", 0)
        for kind, name in (("IN_BED", "bed"), ("SLEEP", "sleep"), ("FLUID", "fluid"), ("MEDICATION", "medication")):
            put(wellness, wellness.among("kind", kind), name, amount)
            put(wellness, wellness.among("kind", kind), f"n_{name}")
    status = cols.get("device.status")
    if status is not None:
        put(status, status.among("device", "PHONE"), "beat")
    return out


def watch_signs(cols: dict[str, Columns]) -> list[tuple[Ints, Ints]]:
    """(arrival, latest event so far) of what a watch sent."""
    out = []
    for topic in ("device.heart_rate", "device.activity"):
        if topic in cols:
            out.append((cols[topic].arrival, np.maximum.accumulate(cols[topic].event)))
    return out


def latest(signs: list[tuple[Ints, Ints]], until: int) -> int | None:
    """Latest event time that had arrived by `until`."""
    found = [int(event[i - 1]) for arrival, event in signs if (i := int(np.searchsorted(arrival, until, side="right")))]
    return max(found, default=None)


def next_arrival(signs: list[tuple[Ints, Ints]], after: int) -> int | None:
    """First arrival after `after` (ms)."""
    found = [
        int(arrival[i])
        for arrival, _ in signs
        if (i := int(np.searchsorted(arrival, after, side="right"))) < len(arrival)
    ]
    return min(found, default=None)


def offset(cols: dict[str, Columns], until: int) -> tuple[int, int] | None:
    """(event time, tz offset in minutes) of the record latest by event time among those that had arrived by `until`."""
    best: tuple[int, int] | None = None
    for topic in sorted(cols):
        c = cols[topic]
        hi = int(np.searchsorted(c.arrival, until, side="right"))
        if hi:
            i = int(np.argmax(c.event[:hi]))
            found = (int(c.event[i]), c.table["tz_offset_min"][i].as_py())
            best = found if best is None or found > best else best
    return best


def status_records(cols: dict[str, Columns]) -> list[dict[str, Any]]:
    """`device.status` in contract form, in arrival order."""
    return rows.to_dicts("device.status", cols["device.status"].table) if "device.status" in cols else []
