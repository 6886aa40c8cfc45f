"""What transport and devices do to a log: order, repetition, delay, zones, loss. Pure; the input is not changed.

Each takes a log (records by topic, as `simulator.scenarios.build` makes it) and gives a new one in order of arrival.
The same seed gives the same result, whatever the order of the records.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from simulator.life import DAY, MINUTE
from simulator.rows import CONTROL, Log, Record, in_arrival_order

HOUR = 60 * MINUTE
SENSORS = ("device.activity", "device.heart_rate", "device.status", "raw.app_usage", "raw.location")
INSTANTS = ("valid_from", "valid_to", "effective_from")  # in control records
STREAMS = {"shuffle": 1, "duplicate": 2, "drop": 3}


def shuffle_arrival(
    log: Log, seed: int, within_h: float = 24.0, since: int | None = None, until: int | None = None
) -> Log:
    """Every record arrives up to `within_h` hours after it happened, at random; control records stay.

    With `since` and `until` only what happened in [since, until), ms.

    No record becomes later than that, so nothing falls out of the joins' allowed lateness (topics.md 2.4).
    """
    out: Log = {}
    for topic, records in log.items():
        rng = _rng(seed, "shuffle", topic)
        if topic in CONTROL:
            out[topic] = list(records)
            continue
        delays = (rng.random(len(records)) * within_h * HOUR).astype(np.int64).tolist()
        pairs = zip(_fixed(records), delays, strict=True)
        out[topic] = [
            {**r, "ingest_time": r["event_time"] + delay} if _inside(r, since, until) else r for r, delay in pairs
        ]
    return in_arrival_order(out)


def duplicate(
    log: Log, seed: int, times: tuple[int, int] = (1, 3), within_h: float = 1.0, since: int | None = None
) -> Log:
    """Every record is sent `times` times (from, to, inclusive): copies with the same event_id arrive later.

    With `since` only what happened from then on (ms).
    """
    out: Log = {}
    for topic, records in log.items():
        rng = _rng(seed, "duplicate", topic)
        copies = rng.integers(times[0], times[1] + 1, len(records)).tolist()
        grown = list(records)  # what arrived first stays where it was, also among records of one instant
        for record, n in zip(_fixed(records), copies, strict=True):
            for _ in range(n - 1 if _inside(record, since, None) else 0):
                grown.append({**record, "ingest_time": record["ingest_time"] + 1 + int(rng.random() * within_h * HOUR)})
        out[topic] = grown
    return in_arrival_order(out)


def delay(
    log: Log,
    topics: Collection[str],
    hours: float,
    source_id: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> Log:
    """Records of these topics arrive `hours` later: of one device, or what happened in [since, until) ms, if given."""
    late = round(hours * HOUR)

    def move(record: Record) -> Record:
        if (source_id is not None and record.get("source_id") != source_id) or not _inside(record, since, until):
            return record
        return {**record, "ingest_time": record["ingest_time"] + late}

    return _map(log, lambda topic, r: move(r) if topic in topics else r)


def watch_late(log: Log, hours: float = 6.0, since: int | None = None, until: int | None = None) -> Log:
    """All that the watch measured and reported (in [since, until), ms) arrives hours later."""
    return delay(log, ("device.heart_rate", "device.activity", "device.status"), hours, "watch-1", since, until)


def zone(log: Log, offset_min: int) -> Log:
    """The same local times in another time zone; records about no person stay."""

    def move(topic: str, record: Record) -> Record:
        return _shifted(record, offset_min, topic in CONTROL)

    return _map(log, move)


def summer_time(log: Log, date_ms: int, before_min: int = 60, after_min: int = 120) -> Log:
    """A change of the clocks in the middle of the log, local times kept.

    Parameters
    ----------
    date_ms
        Local midnight (ms, as if local time were UTC) of the day of the change: forward at 02:00, or back at 03:00.
        Going forward, the records of the hour that does not exist are left out; going back, the hour that comes twice
        has records only once.
    """
    forward = after_min > before_min
    step = abs(after_min - before_min) * MINUTE
    change = date_ms + 2 * HOUR + (0 if forward else step)
    out: Log = {}
    for topic, records in log.items():
        moved = []
        for record in records:
            local = record["event_time"] + record["tz_offset_min"] * MINUTE
            if forward and change <= local < change + step and topic not in CONTROL:
                continue
            moved.append(_shifted(record, before_min if local < change else after_min, topic in CONTROL))
        out[topic] = moved
    return in_arrival_order(out)


def to_first_day(log: Log, first_day: str, from_day: str = "2026-04-13") -> Log:
    """The whole story moved in the calendar, by the days from `from_day` to `first_day` (ISO dates).

    Whole weeks keep the weekdays. Instants inside control records move with it; so does the validity of the
    content.
    """
    by = (dt.date.fromisoformat(first_day) - dt.date.fromisoformat(from_day)).days * DAY

    def move(topic: str, record: Record) -> Record:
        moved = {**record, "event_time": record["event_time"] + by, "ingest_time": record["ingest_time"] + by}
        if topic in CONTROL:
            moved["value"] = _moved_instants(record["value"], by)
        return moved

    return _map(log, move)


def drop(
    log: Log,
    seed: int,
    fraction: float,
    by: str = "row",
    topics: Collection[str] = SENSORS,
    since: int | None = None,
    until: int | None = None,
) -> Log:
    """Lose a share of the sensors' records.

    Parameters
    ----------
    fraction
        0-1, of rows, minutes, days or topics.
    by
        `row` each row for itself; `minute` whole minutes of all topics; `moving` activity rows of minutes with steps;
        `day` whole local days (midnight to midnight) of all topics; `modality` whole topics.
    topics
        What may be lost; control and risk-bearing records are not among the default.
    since, until
        Only records with event_time in [since, until), ms.

    Raises
    ------
    ValueError
        `by` is none of these, or `fraction` outside 0-1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError("the fraction to drop must lie between 0 and 1")
    if by not in ("row", "minute", "moving", "day", "modality"):
        raise ValueError(f"cannot drop by {by!r}: row, minute, moving, day or modality")
    gone_topics = _gone_topics(sorted(t for t in topics if t in log), seed, fraction) if by == "modality" else set()
    out: Log = {}
    for topic, records in log.items():
        if topic not in topics or (by == "moving" and topic != "device.activity"):
            out[topic] = list(records)
            continue
        rng = _rng(seed, "drop", topic)
        ordered = _fixed(records)
        if by == "modality":
            lost = [topic in gone_topics] * len(ordered)
        elif by == "minute":
            lost = [_chance(seed, r["event_time"] // MINUTE) < fraction for r in ordered]
        elif by == "day":
            lost = [_chance(seed, (r["event_time"] + r["tz_offset_min"] * MINUTE) // DAY) < fraction for r in ordered]
        else:
            lost = (rng.random(len(ordered)) < fraction).tolist()
            if by == "moving":
                lost = [gone and r["value"]["steps"] > 0 for gone, r in zip(lost, ordered, strict=True)]
        out[topic] = [r for r, gone in zip(ordered, lost, strict=True) if not (gone and _inside(r, since, until))]
    return in_arrival_order({topic: records for topic, records in out.items() if records})


def merge(logs: Iterable[Log]) -> Log:
    """Several logs as one; records that all of them hold (the content's) are kept once."""
    out: Log = {}
    seen: set[tuple[str, str]] = set()
    for log in logs:
        mine: set[tuple[str, str]] = set()
        for topic, records in log.items():
            for record in records:
                if record["user"].startswith("_"):
                    key = (topic, record["event_id"])
                    if key in seen:
                        continue
                    mine.add(key)
                out.setdefault(topic, []).append(record)
        seen |= mine
    return in_arrival_order(out)


def _rng(seed: int, name: str, topic: str) -> np.random.Generator:
    return np.random.default_rng([seed, STREAMS[name], *topic.encode()])


def _chance(seed: int, number: int) -> float:
    """A share in [0, 1) that depends on the seed and one number only (splitmix64)."""
    mask = 2**64 - 1
    x = (number + (seed + 1) * 0x9E3779B97F4A7C15) & mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    return float((x ^ (x >> 31)) >> 11) / 2**53


def _gone_topics(topics: list[str], seed: int, fraction: float) -> set[str]:
    count = int(np.ceil(fraction * len(topics)))
    return set(np.random.default_rng([seed, STREAMS["drop"]]).permutation(topics)[:count].tolist())


def _fixed(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda r: (r["user"], r["event_time"], r["event_id"], r["ingest_time"]))


def _inside(record: Record, since: int | None, until: int | None) -> bool:
    return (since is None or record["event_time"] >= since) and (until is None or record["event_time"] < until)


def _map(log: Log, change: Callable[[str, Record], Record]) -> Log:
    return in_arrival_order({topic: [change(topic, r) for r in records] for topic, records in log.items()})


def _shifted(record: Record, offset: int, is_control: bool) -> Record:
    """The record at the same local time under another offset; instants inside control records move with it."""
    if record["user"].startswith("_"):
        return record
    by = (record["tz_offset_min"] - offset) * MINUTE
    if not by:
        return record
    moved = {
        **record,
        "event_time": record["event_time"] + by,
        "ingest_time": record["ingest_time"] + by,
        "tz_offset_min": offset,
    }
    if is_control:
        moved["value"] = _moved_instants(record["value"], by)
    return moved


def _moved_instants(value: dict[str, Any], by: int) -> dict[str, Any]:
    out = {k: v + by if k in INSTANTS else v for k, v in value.items()}
    if "context_note" in out:
        out["context_note"] = [_moved_instants(note, by) for note in out["context_note"]]
    return out
