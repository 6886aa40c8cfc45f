"""What transport does to a log: nothing is invented, nothing is lost that was not to be lost."""

from __future__ import annotations

import itertools
from functools import cache

import pytest

from simulator import transforms
from simulator.rows import CONTROL, Log
from simulator.scenarios import build

HOUR = 3_600_000
MARCH_29 = 1_774_742_400_000  # 2026-03-29 00:00, European summer time begins at 02:00


@cache
def small() -> Log:
    return build("g1", first_day="05-19", last_day="05-20")


def ids(log: Log) -> dict[str, list[str]]:
    return {topic: sorted(r["event_id"] for r in records) for topic, records in log.items()}


def in_order(log: Log) -> bool:
    arrivals = [[r["ingest_time"] for r in records] for records in log.values()]
    return all(times == sorted(times) for times in arrivals)


def test_shuffling_keeps_every_record_within_the_lateness_and_control_records_fixed() -> None:
    shuffled = transforms.shuffle_arrival(small(), seed=1)
    assert ids(shuffled) == ids(small())
    assert in_order(shuffled)
    for topic, records in shuffled.items():
        if topic in CONTROL:
            assert records == small()[topic]
        else:
            assert all(0 <= r["ingest_time"] - r["event_time"] <= 24 * HOUR for r in records)
    order = [r["event_time"] for r in shuffled["device.heart_rate"]]
    assert order != sorted(order)


def test_duplicating_sends_each_record_one_to_three_times() -> None:
    doubled = ids(transforms.duplicate(small(), seed=1))
    for topic, names in ids(small()).items():
        counts = [doubled[topic].count(name) for name in names[:200]]
        assert set(counts) <= {1, 2, 3}
        assert set(doubled[topic]) == set(names)


def test_the_watch_alone_is_six_hours_late() -> None:
    late = transforms.watch_late(small())
    for topic, records in late.items():
        for r in records:
            if topic.startswith(("device", "raw")):
                assert r["ingest_time"] - r["event_time"] == 2_000 + (6 * HOUR if r["source_id"] == "watch-1" else 0)


def test_another_zone_keeps_local_times() -> None:
    there = transforms.zone(small(), -300)
    for topic, records in small().items():
        for a, b in zip(records, there[topic], strict=True):
            if not a["user"].startswith("_"):
                assert b["tz_offset_min"] == -300
                assert a["event_time"] + 120 * 60_000 == b["event_time"] - 300 * 60_000


def test_summer_time_begins_in_the_middle_of_the_log() -> None:
    log = transforms.to_first_day(build("base", last_day="04-16"), "2026-03-28")
    moved = transforms.summer_time(log, MARCH_29)
    offsets = [(r["event_time"], r["tz_offset_min"]) for r in moved["device.status"]]
    assert {tz for at, tz in offsets if at < MARCH_29 + HOUR} == {60}
    assert {tz for at, tz in offsets if at >= MARCH_29 + HOUR} == {120}
    times = sorted(at for at, _ in offsets)
    assert max(b - a for a, b in itertools.pairwise(times)) <= HOUR
    missing = len(log["raw.location"]) - len(moved["raw.location"])
    assert missing == 12


def test_moving_a_story_in_the_calendar_keeps_its_shape() -> None:
    moved = transforms.to_first_day(small(), "2026-10-20", from_day="2026-05-19")
    by = moved["raw.search"][0]["event_time"] - small()["raw.search"][0]["event_time"]
    assert by == 154 * 24 * HOUR
    consent, before = moved["clinical.consent"][0]["value"], small()["clinical.consent"][0]["value"]
    assert consent["valid_from"] == before["valid_from"] + by


@pytest.mark.parametrize("by", ["row", "minute", "moving", "day", "modality"])
def test_dropping_takes_sensor_rows_only(by: str) -> None:
    left = transforms.drop(small(), seed=2, fraction=0.5, by=by)
    assert sum(map(len, left.values())) < sum(map(len, small().values()))
    for topic, records in small().items():
        kept = set(ids(left).get(topic, []))
        assert kept <= {r["event_id"] for r in records}
        if topic not in transforms.SENSORS:
            assert left[topic] == records


def test_dropping_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        transforms.drop(small(), seed=1, fraction=1.5)
    with pytest.raises(ValueError, match="row, minute"):
        transforms.drop(small(), seed=1, fraction=0.5, by="week")


def test_merged_logs_hold_the_content_once() -> None:
    other = build("g10", first_day="05-19", last_day="05-20")
    merged = transforms.merge([small(), other])
    assert len(merged["content.pack"]) == 4
    assert len(merged["raw.search"]) == 3
    assert in_order(merged)


def test_transforms_leave_their_input_alone_and_repeat_themselves() -> None:
    before = ids(small())
    assert transforms.shuffle_arrival(small(), seed=5) == transforms.shuffle_arrival(small(), seed=5)
    assert transforms.duplicate(small(), seed=5) == transforms.duplicate(small(), seed=5)
    assert ids(small()) == before
