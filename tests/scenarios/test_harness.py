"""The harness itself, on hand-made outputs: it finds what is there, what is missing and what is too much."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from simulator.rows import Record
from simulator.scenarios import names, needs, resolve
from tests.scenarios.harness import CHECKS, NEVER, Clock, Told, problems

CLOCK = Clock()


def record(when: str, value: dict[str, Any]) -> Record:
    at = CLOCK.at(when)
    return {
        "user": "g1",
        "event_time": at,
        "ingest_time": at + 2_000,
        "tz_offset_min": 120,
        "event_id": when,
        "value": value,
    }


def notification(when: str, tier: str, audience: str, **more: Any) -> Record:
    value = {
        "tier": tier,
        "audience": audience,
        "recipient_ref": "SELF" if audience == "USER" else "dr_a",
        "conditions": [{"name": n, "met": True} for n in ("HR_EPISODE", "AWAY_FROM_HOME", "SEARCH_SEVERITY_2")],
        "missing": [],
        "late": False,
        "params": {},
    }
    return record(when, value | more)


def as_told(tmp_path: Path) -> Told:
    signal = {
        "signal_id": "s",
        "revision": 0,
        "kind": "HR_EPISODE",
        "state": "ON",
        "start_time": CLOCK.at("05-20 14:51"),
    }
    case = {"case_id": "c", "revision": 0, "kind": "ACUTE", "tier": "L3", "state": "OPEN"}
    outputs = {
        "notifications": [notification("05-20 16:30", "L3", "USER"), notification("05-20 16:30", "L3", "THERAPIST")],
        "risk.signal": [record("05-20 15:00", signal)],
        "case.file": [record("05-20 16:30", case)],
    }
    return Told(outputs, {"records_out": {}}, {}, tmp_path, CLOCK)


def test_outputs_as_told_have_no_problem(tmp_path: Path) -> None:
    assert problems(as_told(tmp_path), "g1") == []


def test_a_missing_notification_is_found(tmp_path: Path) -> None:
    told = as_told(tmp_path)
    told.outputs["notifications"].pop()
    assert "THERAPIST" in problems(told, "g1")[0]


def test_one_too_many_is_found(tmp_path: Path) -> None:
    told = as_told(tmp_path)
    told.outputs["notifications"].append(notification("05-21 12:00", "EDUCATION", "USER"))
    assert problems(told, "g1") == ["not expected: 05-21 12:00:02 EDUCATION to USER"]


def test_what_was_said_before_the_story_does_not_count(tmp_path: Path) -> None:
    told = as_told(tmp_path)
    told.outputs["notifications"].insert(0, notification("05-19 23:00", "EDUCATION", "USER"))
    assert problems(told, "g1") == []


def test_the_wrong_minute_or_condition_is_found(tmp_path: Path) -> None:
    told = as_told(tmp_path)
    told.outputs["notifications"][0] = notification("05-20 16:32", "L3", "USER")
    assert problems(told, "g1")
    told = as_told(tmp_path)
    told.outputs["notifications"][1]["value"]["conditions"][0]["met"] = False
    assert problems(told, "g1")


def test_a_second_episode_is_found(tmp_path: Path) -> None:
    told = as_told(tmp_path)
    again = copy.deepcopy(told.outputs["risk.signal"][0])
    again["value"]["signal_id"] = "another"
    told.outputs["risk.signal"].append(again)
    assert problems(told, "g1") == ["2 signals HR_EPISODE ON, not 1"]


def test_a_leaked_query_is_found(tmp_path: Path) -> None:
    told = as_told(tmp_path)
    told.log["raw.search"] = [record("05-20 16:30", {"query": "zz-self"})]
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "part-00000.jsonl").write_text('{"value":{"note":"zz-self"}}')
    assert problems(told, "g1") == ["never: the query or a coordinate anywhere"]


def test_every_sentence_of_the_scenarios_is_understood() -> None:
    for name in names():
        if needs(name):
            continue
        story = resolve(name)
        assert set(story.never) <= set(NEVER), name
        assert all("tier" in e or set(e) & set(CHECKS) for e in story.expect), name
