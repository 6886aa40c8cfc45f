"""The stories again, with what transport, travel and operation do to them.

Histories are shorter here than as written, long enough for every rule to have its baseline.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from simulator import transforms
from simulator.rows import Log
from simulator.scenarios import build
from tests.scenarios.conftest import LONG, Play, span
from tests.scenarios.harness import (
    Clock,
    Told,
    archive_of,
    broken,
    differences,
    final_cases,
    play,
    problems,
    read_outputs,
    replay_folder,
    said,
)
from tests.scenarios.test_stories import STORIES

EVENINGS = [n for n in STORIES if n not in LONG]
WEEKS = [n for n in STORIES if n in LONG]
CLOCK = Clock()
ONLY_WHILE_TIMELY = ("L2 for the same trigger",)  # what comes late may raise L2 to L3, and L2 has been said

# What the watch's six hours change: the pulse is known at 20:57, outside contact hours, and the case is the same.
SIX_HOURS: dict[str, list[dict[str, Any]]] = {
    "g1": [
        {"at": "05-20 16:30", "tier": "L2", "audience": "USER", "missing": ["HEART_RATE"]},
        {"at": "05-20 20:57", "within_min": 4, "tier": "L3", "audience": "USER", "late": True},
        {"at": "05-21 08:00", "tier": "L3", "audience": "THERAPIST", "recipient_ref": "dr_a"},
    ],
    "g1_no_consent": [
        {"at": "05-20 16:30", "tier": "L2", "audience": "USER"},
        {"at": "05-20 20:57", "within_min": 4, "tier": "L3", "audience": "USER", "late": True},
    ],
    "g4": [
        {"at": "05-20 16:30", "tier": "L2", "audience": "USER"},
        {"at": "05-20 23:10", "tier": "L3", "audience": "USER", "late": True},
        {"at": "05-21 08:00", "tier": "L3", "audience": "THERAPIST"},
        {"case": {"tier": "L3", "same_case_id": True}},
    ],
    "g11": [
        {"at": "05-20 20:30", "tier": "L2", "audience": "USER"},
        {"at": "05-20 20:57", "within_min": 4, "tier": "L3", "audience": "USER", "late": True},
        {"audit": {"action": "QUEUED", "at": "05-20 20:57"}, "within_min": 4},
        {"audit": {"action": "CANCELLED_CONSENT", "at": "05-21 08:00"}},
    ],
}


def story(name: str, offset_min: int = 120) -> Log:
    return build(name, tz_offset_min=offset_min, **span(name))


def told_days(name: str) -> dict[str, int]:
    """[since, until) of the days that decide: that of the search, or the three that the morning of 05-23 looks at."""
    return {"since": CLOCK.at("05-20 04:00"), "until": CLOCK.at("05-23 04:00" if name in LONG else "05-21 04:00")}


def last_arrival(log: Log) -> int:
    return max(int(r["ingest_time"]) for rs in log.values() for r in rs)


def local_midnight(date: str) -> int:
    return (dt.date.fromisoformat(date) - dt.date(1970, 1, 1)).days * 86_400_000


@pytest.mark.parametrize("name", STORIES)
def test_every_record_sent_one_to_three_times_changes_nothing(name: str, shorter: Play, tmp_path: Path) -> None:
    once = shorter(name)
    again = transforms.duplicate(once.log, seed=7, since=once.clock.at("05-17 00:00"))
    end = last_arrival(once.log)
    told = play(again, tmp_path / "twice", end=end)
    assert problems(told, name) == []
    assert differences(told, once, but=["dlq"]) == []  # dead letters name the line of each copy
    repeated = sum(r["ingest_time"] <= end for rs in again.values() for r in rs) - sum(map(len, once.log.values()))
    counted = sum(told.report["duplicates"].values()) + sum(told.report["dlq"].values())
    assert counted - sum(once.report["dlq"].values()) - sum(once.report["duplicates"].values()) == repeated


@pytest.mark.parametrize("name", EVENINGS)
def test_shuffled_within_a_day_the_final_case_is_the_same(name: str, shorter: Play, tmp_path: Path) -> None:
    told = play(transforms.shuffle_arrival(shorter(name).log, 3, **told_days(name)), tmp_path / "shuffled")
    assert final_cases(told) == final_cases(shorter(name))
    assert broken(told, name, not_now=ONLY_WHILE_TIMELY) == []
    assert {r["value"]["tier"] for r in said(told)} <= {"L2", "L3", "RESOURCES", "DEVICE_REMINDER", "SAFEGUARD"}
    assert len(said(told, audience="THERAPIST")) <= 1
    for value in told.values("case.file"):
        assert value["tier_said"] >= value["tier"]


@pytest.mark.parametrize("name", WEEKS)
def test_shuffled_within_four_hours_the_morning_decides_the_same(name: str, shorter: Play, tmp_path: Path) -> None:
    log = transforms.shuffle_arrival(shorter(name).log, 3, within_h=4.0, **told_days(name))
    told = play(log, tmp_path / "shuffled")
    assert final_cases(told) == final_cases(shorter(name))
    mornings = [s for s in told.summary() if " W" in s]
    assert mornings == [s for s in shorter(name).summary() if " W" in s]
    assert broken(told, name) == []


@pytest.mark.parametrize("name", WEEKS)
def test_shuffled_within_a_day_no_withdrawal_is_made_up(name: str, shorter: Play, tmp_path: Path) -> None:
    told = play(transforms.shuffle_arrival(shorter(name).log, 3, **told_days(name)), tmp_path / "shuffled")
    assert final_cases(told).keys() <= final_cases(shorter(name)).keys()
    assert broken(told, name) == []


@pytest.mark.parametrize("name", STORIES)
def test_the_watch_six_hours_late_changes_when_not_what(name: str, shorter: Play, tmp_path: Path) -> None:
    told = play(transforms.watch_late(shorter(name).log, **told_days(name)), tmp_path / "late")
    assert problems(told, name, SIX_HOURS.get(name), not_now=ONLY_WHILE_TIMELY if name in SIX_HOURS else ()) == []
    assert final_cases(told) == final_cases(shorter(name))


@pytest.mark.soak
@pytest.mark.parametrize("name", ["g1", "g5"])
def test_a_whole_life_late_shuffled_and_sent_twice(name: str, as_written: Play, tmp_path: Path) -> None:
    whole = as_written(name)
    late = play(transforms.watch_late(whole.log), tmp_path / "late")
    assert problems(late, name, SIX_HOURS.get(name), not_now=ONLY_WHILE_TIMELY) == []
    assert final_cases(late) == final_cases(whole)
    within_h = 24.0 if name == "g1" else 4.0
    mixed = transforms.duplicate(transforms.shuffle_arrival(whole.log, 5, within_h), 5)
    told = play(mixed, tmp_path / "mixed")
    assert final_cases(told) == final_cases(whole)
    assert broken(told, name, not_now=ONLY_WHILE_TIMELY) == []


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("offset_min", [345])
def test_in_another_zone_the_local_times_are_the_same(name: str, offset_min: int, tmp_path: Path) -> None:
    told = play(story(name, offset_min), tmp_path / "zone", clock=Clock(offset_min))
    assert problems(told, name) == []


@pytest.mark.parametrize("name", STORIES)
def test_the_clocks_go_forward_in_the_history(name: str, tmp_path: Path) -> None:
    moved = transforms.to_first_day(story(name), "2026-02-23")  # seven weeks earlier: 29 March is 05-17 of the story
    told = play(transforms.summer_time(moved, local_midnight("2026-03-29")), tmp_path / "dst", clock=Clock(120, -49))
    assert problems(told, name) == []


@pytest.mark.parametrize("name", ["g1", "g5"])
def test_the_clocks_go_back_in_the_history(name: str, tmp_path: Path) -> None:
    moved = transforms.to_first_day(story(name), "2026-09-21")  # 23 weeks later: 25 October is 05-17 of the story
    winter = transforms.summer_time(moved, local_midnight("2026-10-25"), before_min=120, after_min=60)
    told = play(winter, tmp_path / "dst", clock=Clock(60, 161))
    assert problems(told, name) == []


@pytest.mark.parametrize("name", STORIES)
def test_restarted_three_times_nothing_shows(name: str, shorter: Play, tmp_path: Path) -> None:
    once = shorter(name)
    # in the middle of an episode, at the search itself, at the very instant of the morning's timer
    stops = [once.clock.at("05-20 14:57"), once.clock.at("05-20 16:30") + 2_000, once.clock.at("05-23 09:00")]
    stops = [t for t in stops if t < last_arrival(once.log)]
    told = play(once.log, tmp_path / "restarted", stops=stops)
    assert differences(told, once) == []
    for key in ("records_out", "dlq", "duplicates", "late", "people"):
        assert told.report[key] == once.report[key]


@pytest.mark.parametrize("name", [n for n in STORIES if n not in ("g16", "g17")])
def test_read_back_from_its_own_archive_the_story_is_the_same(name: str, shorter: Play, tmp_path: Path) -> None:
    once = shorter(name)
    folder = archive_of(once, tmp_path / "archive")
    report = replay_folder(folder, tmp_path / "out")
    told = Told(read_outputs(tmp_path / "out"), report, once.log, tmp_path / "out", once.clock)
    assert problems(told, name) == []
    for topic in ("notifications", "case.file", "risk.signal", "features.day"):
        assert told.outputs.get(topic) == once.outputs.get(topic), topic
