"""Exposure: order of assessment, entry, steps up and down, resignation, pauses, what a lost signal holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.programs.stage import Stage


def graded(**fields: Any) -> Stage:
    return Stage(**fields).begin(stage="GRADED")


def trials(stage: Stage, suds: list[float | None], at: int = 160, **fields: Any) -> Stage:
    for i, s in enumerate(suds):
        stage.trial(f"t{at}-{i}", at + i * 130, at + 70 + i * 130, s, **fields)
    return stage


def test_assessment_is_balanced_random_with_its_probability_and_ends_by_itself() -> None:
    stage = trials(Stage().begin(), [30.0] * 24)
    found = stage.commands()
    assert [c["reason"] for c in found] == ["BALANCED_ORDER"] * 24 + ["LEAST_FEAR"]
    for factor in ("colour", "type", "size"):
        counts = Counter(c["params"][factor] for c in found[:24])
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len({c["params"]["item_id"] for c in found[:24]}) == 24
    assert all(0 < c["prob"] <= 1 for c in found)
    assert found[0]["prob"] == pytest.approx(1 / 48)
    assert {a["outcome"] for a in stage.said("therapy.attribution")} == {"HR", "SUDS"}


def test_two_good_trials_step_up_by_one_level() -> None:
    stage = trials(graded(), [40.0, 40.0])
    assert [(c["action"], c["params"]["level"]) for c in stage.commands()] == [
        ("SET_STIMULUS", "0"), ("SET_STIMULUS", "0"), ("STEP_UP", "1"),
    ]  # fmt: skip
    assert stage.last()["reason"] == "MASTERED"


def test_an_expectancy_that_was_violated_counts_as_good() -> None:
    stage = graded().trial("a", 160, 230, 70).event("EXPECTANCY_VIOLATED", 231, trial_id="a")
    stage.beats(258, 292, 66).beats(292, 365, 70)
    stage.event("TRIAL_START", 290, trial_id="b").event("EXPECTANCY_VIOLATED", 350, trial_id="b")
    assert stage.event("TRIAL_END", 360, trial_id="b", suds=60.0).last()["action"] == "STEP_UP"


@pytest.mark.parametrize("suds", [[41.0, 41.0], [40.0, 79.0], [40.0, None], [None, None]])
def test_from_forty_one_to_seventy_nine_and_on_unknown_distress_the_level_holds(suds: list[float | None]) -> None:
    assert {c["params"]["level"] for c in trials(graded(), suds).commands()} == {"0"}


def test_distress_of_eighty_steps_down_and_never_below_the_lowest() -> None:
    stage = trials(graded(), [30.0, 30.0, 85.0, 85.0])
    assert [c["action"] for c in stage.commands()[2:]] == ["STEP_UP", "STEP_DOWN", "SET_STIMULUS"]
    assert stage.last()["params"]["level"] == "0"


def test_without_heart_rate_the_level_holds_and_the_therapist_is_told() -> None:
    stage = graded().trial("a", 160, 230, 30)
    stage.event("TRIAL_START", 300, trial_id="b").event("TRIAL_END", 370, trial_id="b", suds=30.0)
    assert (stage.last()["action"], stage.last()["reason"]) == ("HOLD", "SIGNAL_LOST")
    assert [f["code"] for f in stage.said("therapy.flag")] == ["SENSOR_LOST"]
    stage.trial("c", 420, 490, 30)
    assert stage.last()["action"] == "STEP_UP"


def test_a_bare_lock_holds_until_it_is_taken_away() -> None:
    stage = graded().event("THERAPIST_LOCK", 130)
    trials(stage, [30.0, 30.0])
    assert (stage.last()["action"], stage.last()["reason"]) == ("HOLD", "THERAPIST")
    stage.event("THERAPIST_UNLOCK", 500).trial("z", 540, 610, 30)
    assert stage.last()["action"] == "STEP_UP"


def test_two_refusals_with_falling_approach_hold_and_flag_resignation() -> None:
    stage = graded().event("REFUSAL", 150, trial_id="a", distance_m=2.0).event("REFUSAL", 200, trial_id="b", distance_m=1.4)
    assert (stage.last()["action"], stage.last()["reason"]) == ("HOLD", "RESIGNATION")
    assert stage.said("therapy.flag")[0]["evidence"] == {"refusals": 2.0, "first_m": 2.0, "second_m": 1.4}
    assert stage.event("RESUME", 260).last()["action"] == "SET_STIMULUS"


@pytest.mark.parametrize("second", [2.0, 2.5])
def test_refusals_whose_approach_does_not_fall_are_no_resignation(second: float) -> None:
    stage = graded().event("REFUSAL", 150, trial_id="a", distance_m=2.0).event("REFUSAL", 200, trial_id="b", distance_m=second)
    assert stage.said("therapy.flag") == []


def test_after_a_pause_or_a_lost_connection_the_same_stimulus_is_said_again_and_no_step_twice() -> None:
    stage = trials(graded(), [30.0, 30.0])
    step = stage.last()
    stage.event("PAUSE", 450).event("RESUME", 500)
    assert stage.last()["action"] == "SET_STIMULUS"
    assert stage.last()["params"] == step["params"]


def test_no_trial_ends_twice_whoever_tells_it() -> None:
    stage = Stage().begin().trial("a", 160, 230, 30)
    n = len(stage.commands())
    stage.event("TRIAL_END", 230.2, trial_id="a", suds=30.0).event("TRIAL_START", 160, trial_id="a", arrives=240)
    assert len(stage.commands()) == n


def test_what_was_learnt_and_the_level_reached_are_there_in_the_next_session() -> None:
    stage = trials(graded(), [30.0, 30.0]).event("SESSION_END", 500)
    stage.session = "s2"
    stage.restart().event("SESSION_START", 1_000).event("BASELINE_START", 1_000).beats(1_000, 1_125, 66)
    stage.event("BASELINE_END", 1_120)
    assert (stage.last()["params"]["stage"], stage.last()["params"]["level"]) == ("GRADED", "1")


def test_consolidation_stays_within_what_is_mastered_and_meets_new_contexts() -> None:
    stage = trials(graded(), [30.0, 30.0, 30.0, 30.0]).event("RESUME", 800, stage="CONSOLIDATE")
    trials(stage, [30.0] * 10, at=850)
    found = [c["params"] for c in stage.commands() if c["params"].get("stage") == "CONSOLIDATE"]
    assert max(int(p["level"]) for p in found) <= 1
    assert len({p["item_id"] for p in found}) == len(found)


def test_the_summary_shows_each_trial_with_heart_rate_distress_and_the_reason() -> None:
    stage = trials(Stage().begin(), [30.0] * 7).event("SESSION_END", 1_100)
    value = stage.said("therapy.session_summary")[0]
    row = value["trial_view"][0]
    assert row["hr_change_bpm"] == pytest.approx(4, abs=0.1)
    assert (row["suds"], row["reason"], row["command_seq"]) == (30.0, "BALANCED_ORDER", 0)
    assert value["trials"] == 7
    assert value["resting_bpm"] == pytest.approx(66)
    assert stage.said("notifications") == []


def test_a_session_that_nobody_ends_is_over_after_an_hour_of_silence() -> None:
    stage = Stage().begin().at(120 + 3_602)
    assert len(stage.said("therapy.session_summary")) == 1
    assert stage.desk.timers.next_due() is None
