"""The golden scenarios g1-g11, g16 and g17: exactly the stated notifications, and nothing else (spec/scenarios.md)."""

from __future__ import annotations

import pytest

from simulator.scenarios import build
from tests.scenarios.conftest import Play
from tests.scenarios.harness import final_cases, play, problems, said, signals

STORIES = [*("g1", "g1_no_consent"), *(f"g{n}" for n in range(2, 12)), "g16", "g17"]


@pytest.mark.parametrize("name", STORIES)
def test_the_story_is_told_as_written(name: str, as_written: Play) -> None:
    assert problems(as_written(name), name) == []


def test_an_undisturbed_history_says_nothing_at_all(as_written: Play) -> None:
    told = as_written("base")
    assert told.outputs.get("notifications", []) == []
    assert told.outputs.get("case.file", []) == []


def test_g1_the_sentence_says_what_happened(as_written: Play) -> None:
    alert = next(r["value"] for r in said(as_written("g1"), "L3", audience="THERAPIST"))
    assert "Not a diagnosis" in alert["explanation"]
    assert alert["missing"] == []
    by_name = {c["name"]: c for c in alert["conditions"]}
    assert by_name["SEARCH_SEVERITY_2"]["threshold"] == 2
    assert set(alert["versions"]) >= {"rule", "profile", "consent", "content", "model"}


def test_g4_the_final_case_is_the_one_of_g1(as_written: Play, tmp_path_factory: pytest.TempPathFactory) -> None:
    late = play(build("g4", user="g1"), tmp_path_factory.mktemp("g4"))
    assert final_cases(late) == final_cases(as_written("g1"))


def test_g5_what_is_supporting_is_shown_but_was_not_needed(as_written: Play) -> None:
    note = said(as_written("g5"), "W2")[0]["value"]
    by_name = {c["name"]: c for c in note["conditions"]}
    for name in ("ACT_LOW_3_OF_5", "OUT_LOW_3_OF_5"):
        assert by_name[name]["amount"] >= 3
        assert by_name[name]["baseline_days"] >= 14


def test_g7_without_the_profile_there_is_no_withdrawal(as_written: Play) -> None:
    told = as_written("g7_without_profile_add")
    assert signals(told, "WITHDRAWAL", "ON") == []
    assert told.summary() == []


def test_g8_a_neutral_direction_removes_the_condition(as_written: Play) -> None:
    told = as_written("g8_direction_NEUTRAL")
    assert told.summary() == ["05-23 09:00:00 W1 USER"]
    met = {c["name"] for c in said(told, "W1")[0]["value"]["conditions"] if c["met"]}
    assert met >= {"ACT_LOW_3_OF_5", "OUT_LOW_3_OF_5"}
    assert not any(c["name"] == "GAMING_ABOVE_OWN" for c in said(told, "W1")[0]["value"]["conditions"])


def test_g8_playing_alone_is_no_withdrawal(as_written: Play) -> None:
    told = as_written("g8_only_game_factor")
    assert signals(told, "WITHDRAWAL", "ON") == []
    assert told.summary() == []


def test_g17_with_a_guardian_who_permits_it_is_g1(as_written: Play) -> None:
    told = as_written("g17_guardian_permits_from_start")
    found = problems(told, "g1")
    assert found == []
