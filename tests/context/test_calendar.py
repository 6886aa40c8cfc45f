"""Local days over daylight saving and travel, and the hours of the care team."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.context.calendar import (
    HOUR_MS,
    MINUTE_MS,
    Day,
    DayClock,
    contact_deadline,
    in_contact_hours,
    in_quiet_hours,
    next_contact_start,
    quiet_end,
)
from pipelines.context.profile import Profile


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def run(clock: DayClock, until: int, offsets: list[tuple[int, int]], day_start: int = 240) -> list[Day]:
    """Advance to `until`; `offsets` = (known from, minutes east). The days that were closed by then."""
    seen: dict[str, Day] = {}
    while clock.next_boundary <= until:
        known = [o for t, o in offsets if t <= clock.next_boundary]
        clock.advance(known[-1], day_start)
        for d in clock.days():
            seen[d.local_date] = d
    return [d for d in seen.values() if d.end_time <= until]


def test_a_day_runs_from_four_to_four_local() -> None:
    clock = DayClock.first(utc("2026-05-20T01:59"), 120)
    assert clock.today().local_date == "2026-05-19"
    assert clock.today().start_time == utc("2026-05-19T02:00")
    assert run(clock, utc("2026-05-21T02:00"), [(0, 120)])[-1] == Day(
        "2026-05-20", utc("2026-05-20T02:00"), utc("2026-05-21T02:00"), 120
    )
    assert clock.day_of(utc("2026-05-21T01:59")) == clock.days()[-2]
    assert clock.start("2026-05-20") == utc("2026-05-20T02:00")
    assert clock.today().at(9 * 60) == utc("2026-05-21T07:00")
    assert clock.day_of(utc("2026-05-18T12:00")) is None


def test_spring_forward_gives_a_day_of_23_hours() -> None:
    clock = DayClock.first(utc("2026-03-28T12:00"), 60)
    days = run(clock, utc("2026-03-30T03:00"), [(0, 60), (utc("2026-03-29T01:00"), 120)])
    assert [(d.local_date, (d.end_time - d.start_time) // HOUR_MS) for d in days] == [
        ("2026-03-28", 23),
        ("2026-03-29", 24),
    ]
    assert days[1].start_time == utc("2026-03-29T02:00")  # 04:00 summer time


def test_autumn_gives_a_day_of_25_hours() -> None:
    clock = DayClock.first(utc("2026-10-24T12:00"), 120)
    days = run(clock, utc("2026-10-26T04:00"), [(0, 120), (utc("2026-10-25T01:00"), 60)])
    assert [(d.local_date, (d.end_time - d.start_time) // HOUR_MS) for d in days] == [
        ("2026-10-24", 25),
        ("2026-10-25", 24),
    ]


def test_a_change_heard_of_late_takes_effect_at_the_next_day_start() -> None:
    clock = DayClock.first(utc("2026-03-28T12:00"), 60)
    days = run(clock, utc("2026-03-31T03:00"), [(0, 60), (utc("2026-03-29T05:00"), 120)])
    assert [(d.end_time - d.start_time) // HOUR_MS for d in days] == [24, 23, 24]


def test_flying_west_closes_the_day_after_24_hours_and_the_rest_belongs_to_no_day() -> None:
    clock = DayClock.first(utc("2026-05-20T12:00"), 120)
    days = run(clock, utc("2026-05-23T00:00"), [(0, 120), (utc("2026-05-20T20:00"), -420)])
    assert [(d.local_date, d.start_time, d.end_time) for d in days] == [
        ("2026-05-20", utc("2026-05-20T02:00"), utc("2026-05-21T02:00")),
        ("2026-05-21", utc("2026-05-21T11:00"), utc("2026-05-22T11:00")),
    ]
    assert clock.day_of(utc("2026-05-21T05:00")) is None
    assert clock.day_index(utc("2026-05-21T05:00")) is None
    assert clock.local_minute(utc("2026-05-21T05:00")) == 22 * 60


def test_flying_east_may_lose_a_date_but_never_repeats_one() -> None:
    clock = DayClock.first(utc("2026-05-20T12:00"), 0)
    days = run(clock, utc("2026-05-23T20:00"), [(0, 0), (utc("2026-05-20T20:00"), 540)])
    assert [(d.local_date, d.start_time) for d in days] == [
        ("2026-05-20", utc("2026-05-20T04:00")),
        ("2026-05-22", utc("2026-05-21T19:00")),
        ("2026-05-23", utc("2026-05-22T19:00")),
    ]


def test_a_night_shift_profile_moves_the_start_of_the_day() -> None:
    clock = DayClock.first(utc("2026-05-20T12:00"), 0)
    run(clock, utc("2026-05-21T04:00"), [(0, 0)], day_start=720)
    assert clock.day_of(utc("2026-05-21T05:00")) is None
    assert clock.next_boundary == utc("2026-05-21T12:00")
    assert clock.advance(0, 720) == Day("2026-05-21", utc("2026-05-21T12:00"), utc("2026-05-22T12:00"), 0)


def test_minutes_of_the_clock_on_the_wall() -> None:
    clock = DayClock.first(utc("2026-03-28T12:00"), 60)
    run(clock, utc("2026-03-29T12:00"), [(0, 60), (utc("2026-03-29T01:00"), 120)])
    times = np.array([utc("2026-03-28T12:00"), utc("2026-03-29T01:59"), utc("2026-03-29T02:00")], np.int64)
    assert clock.local_minutes(times).tolist() == [13 * 60, 2 * 60 + 59, 4 * 60]
    assert [clock.local_minute(int(t)) for t in times] == clock.local_minutes(times).tolist()
    assert clock.next_local(utc("2026-03-29T02:00"), 540) == utc("2026-03-29T07:00")
    assert clock.next_local(utc("2026-03-29T07:00"), 540) == utc("2026-03-29T07:00")


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-720, 840),
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from([0, 0, 60, -60, 30]), st.integers(-1560, 1560)),
            st.sampled_from([240, 240, 240, 0, 720, 1380]),
        ),
        min_size=5,
        max_size=60,
    ),
    st.integers(0, 20_000),
)
def test_S23_no_day_is_above_25_hours_and_no_date_comes_twice(  # noqa: N802
    offset: int, changes: list[tuple[int, int]], hours: int
) -> None:
    clock = DayClock.first(hours * HOUR_MS, offset)
    days: dict[int, Day] = {clock.today().start_time: clock.today()}
    dates = [clock.today().local_date]
    for change, day_start in changes:
        offset = max(-720, min(840, offset + change))
        before = clock.next_boundary
        clock = DayClock.from_state(json.loads(json.dumps(clock.state())))
        begun = clock.advance(offset, day_start)
        assert clock.next_boundary > before
        if begun is not None:
            assert begun.start_time == before
            assert begun == clock.today()
            dates.append(begun.local_date)
        days |= {d.start_time: d for d in clock.days()}
    assert dates == sorted(set(dates))
    closed = sorted(days.values(), key=lambda d: d.start_time)[:-1]
    assert all(23 * HOUR_MS <= d.end_time - d.start_time <= 25 * HOUR_MS for d in closed)
    for a, b in pairwise(closed):
        assert a.end_time <= b.start_time
    for d in clock.days()[:-1]:
        assert clock.day_of(d.start_time) == d
        assert clock.day_of(d.end_time - 1) == d
        assert clock.day_of(d.end_time) != d


# -- contact and quiet hours ------------------------------------------------------------------------------------------

OFFICE = Profile(hours=tuple((day, 480, 1080) for day in range(1, 6)))  # Mon-Fri 08-18
FRIDAY = "2026-05-22"


def test_the_care_team_is_reachable_in_its_hours_only() -> None:
    assert in_contact_hours(OFFICE, utc(f"{FRIDAY}T06:00"), 120)
    assert not in_contact_hours(OFFICE, utc(f"{FRIDAY}T16:00"), 120)
    assert not in_contact_hours(OFFICE, utc("2026-05-23T10:00"), 120)


def test_outside_hours_the_next_start_is_found_over_the_weekend() -> None:
    assert next_contact_start(OFFICE, utc(f"{FRIDAY}T18:30"), 120) == utc("2026-05-25T06:00")
    assert next_contact_start(OFFICE, utc(f"{FRIDAY}T10:30"), 120) == utc(f"{FRIDAY}T10:30")


def test_half_an_hour_to_acknowledge_is_counted_inside_contact_hours() -> None:
    assert contact_deadline(OFFICE, utc(f"{FRIDAY}T10:00"), 30, 120) == utc(f"{FRIDAY}T10:30")
    assert contact_deadline(OFFICE, utc(f"{FRIDAY}T15:50"), 30, 120) == utc("2026-05-25T06:20")
    weekly = Profile(hours=((3, 600, 610),))
    assert contact_deadline(weekly, utc("2026-05-20T09:00"), 25, 0) == utc("2026-06-03T10:05")


def test_a_profile_without_hours_is_always_reachable() -> None:
    t = utc("2026-05-24T02:00")
    assert in_contact_hours(Profile(), t, 0)
    assert next_contact_start(Profile(), t, 0) == t
    assert contact_deadline(Profile(), t, 30, 0) == t + 30 * MINUTE_MS


def test_quiet_hours_reach_over_midnight() -> None:
    p = Profile()
    local = {"21:59": False, "22:00": True, "03:00": True, "06:59": True, "07:00": False}
    assert {at: in_quiet_hours(p, utc(f"{FRIDAY}T{at}"), 0) for at in local} == local
    assert quiet_end(p, utc(f"{FRIDAY}T23:00"), 0) == utc("2026-05-23T07:00")
    assert quiet_end(p, utc(f"{FRIDAY}T03:00"), 0) == utc(f"{FRIDAY}T07:00")
    assert quiet_end(p, utc(f"{FRIDAY}T12:00"), 0) == utc(f"{FRIDAY}T12:00")
    assert not in_quiet_hours(Profile(quiet_from_min=60, quiet_to_min=60), utc(f"{FRIDAY}T01:00"), 0)
