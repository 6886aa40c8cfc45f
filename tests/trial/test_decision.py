"""The decision record: availability, draw and outcome as the trial protocol asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.trial import draw
from pipelines.trial.decision import REASONS, Situation, decision, decision_id, outcome, outcome_due

FREE = Situation(
    research=True, driving=False, recent_prompt=False, budget_left=3, quiet=False, open_case=False, modalities_ok=True,
    receptive=True,
)  # fmt: skip


def decide(situation: Situation = FREE, dp_kind: str = "L1", signal: str = "s1") -> dict[str, Any]:
    return decision(
        "p01",
        situation,
        dp_kind=dp_kind,
        dp_index=4,
        trigger=(signal,),
        features={"hour_sin": 0.5, "mood_last": None, "bad": float("nan"), "away": 1},
        study_key="kairos-demo",
        items={"CLASSIC": "breath_1", "ADAPTIVE": "walk_2"},
    )


def test_an_available_point_is_drawn_with_the_logged_probabilities() -> None:
    value = decide()
    assert value["avail"]
    assert value["arms"] == draw.FIRST_PERIOD
    assert value["u"] == draw.u("kairos-demo", "p01", value["decision_id"], value["policy_version"])
    assert value["action"] == draw.choose(value["arms"], value["u"])
    assert value.get("item_id") == {"NOTHING": None, "CLASSIC": "breath_1", "ADAPTIVE": "walk_2"}[value["action"]]
    assert value["features"] == {"away": 1.0, "hour_sin": 0.5}
    assert value["budget_left"] == 3.0


def test_every_arm_is_met() -> None:
    assert {decide(signal=f"s{i}")["action"] for i in range(40)} == set(draw.ARMS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"research": False}, "NO_RESEARCH_CONSENT"),
        ({"driving": True}, "DRIVING"),
        ({"recent_prompt": True}, "RECENT_PROMPT"),
        ({"budget_left": 0.9}, "BUDGET"),
        ({"budget_left": float("nan")}, "BUDGET"),
        ({"quiet": True}, "QUIET_HOURS"),
        ({"open_case": True}, "OPEN_CASE"),
        ({"modalities_ok": False}, "MODALITY_MISSING"),
        ({"receptive": False}, "NOT_RECEPTIVE"),
        ({"driving": None}, "MODALITY_MISSING"),
        ({"receptive": None}, "MODALITY_MISSING"),
    ],
)
def test_each_failed_condition_makes_the_point_unavailable(change: dict[str, Any], reason: str) -> None:
    value = decide(replace(FREE, **change))
    assert value["reasons_unavailable"] == [reason]
    assert (value["avail"], value["arms"], value["action"]) == (False, {}, "NOTHING")
    assert "u" not in value
    assert "item_id" not in value


def test_all_failed_conditions_are_listed_in_the_order_of_the_topic() -> None:
    none = Situation(False, True, True, 0, True, True, False, False)
    assert none.reasons() == list(REASONS)


def test_the_id_is_that_of_person_kind_and_trigger() -> None:
    assert decide()["decision_id"] == decision_id("p01", "L1", "s1")
    assert len({decision_id("p01", "L1", "s1"), decision_id("p02", "L1", "s1"), decision_id("p01", "W1", "s1")}) == 3


def test_an_outcome_repeats_the_decision_and_adds_what_came_of_it() -> None:
    value = decide()
    came = outcome(value, proximal=4, time=99)
    assert came == {
        **value, "stage": "OUTCOME", "outcome_kind": "HR_RETURN", "proximal_outcome": 4.0, "outcome_time": 99,
    }  # fmt: skip
    missing = outcome(value, missing="SENSOR_MISSING")
    assert missing["outcome_missing_reason"] == "SENSOR_MISSING"
    assert "proximal_outcome" not in missing


@pytest.mark.parametrize("given", [{}, {"proximal": 1.0}, {"proximal": 1.0, "time": 1, "missing": "LOG_END"}])
def test_an_outcome_is_either_there_or_missing_for_a_reason(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="an outcome has"):
        outcome(decide(), **given)


def test_outcomes_are_awaited_as_long_as_their_kind_asks() -> None:
    due = {kind: outcome_due(kind, 0) // 60_000 for kind in ("SCHEDULED", "W1", "L1", "PLAY_REMINDER")}
    assert due == {"SCHEDULED": 120, "W1": 120, "L1": 60, "PLAY_REMINDER": 10}
