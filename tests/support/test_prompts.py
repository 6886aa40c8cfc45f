"""Check-ins by the micro-randomised trial: decided before said, and what is not said has its reason (trial.md; S17, S21)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipelines.support.evidence import MINUTE_MS
from pipelines.support.places import OTHER
from pipelines.support.prompts import Prompts
from pipelines.trial import draw
from tests.support.room import DAY, HOUR, MINUTE, NOON, WEDNESDAY, Room

Told = list[tuple[str, str | None]]


def out_and_about(at: int = NOON, research: bool = True, **more: Any) -> Room:
    """Somebody with watch and phone on, away from home for two hours."""
    room = Room(profile=more).consent()
    if research:
        room.consent("RESEARCH", "STUDY")
    sense(room, at)
    room.fixes([(t, OTHER) for t in range(at - 2 * HOUR, at + 9 * HOUR, 10 * MINUTE)])
    return room.at(at)


def sense(room: Room, at: int, steps: int = 0, vehicle: bool = False, intensity: int = 0) -> None:
    """Pulse and activity of the three hours before."""
    minutes = np.arange(at - 3 * HOUR, at, MINUTE_MS)
    n = len(minutes)
    grid = room.minutes.grid
    grid.add_heart_rate(minutes, np.full(n, 70.0), np.ones(n, np.bool_))
    grid.add_activity(
        minutes, np.full(n, steps), np.full(n, 60.0), np.full(n, intensity), np.full(n, vehicle), [""] * n
    )  # fmt: skip


def check_in(room: Room, start: int | None = None, end: int | None = None, open_case: bool = False) -> Room:
    """A pulse episode that began ten minutes ago and goes on."""
    room.pulse(room.desk.now - 10 * MINUTE if start is None else start, end)
    room.prompts.check_in(room.minutes.hr_episodes(room.desk.now), room.desk, room.minutes, open_case)
    return room


def only(room: Room) -> dict[str, Any]:
    (value,) = room.values("jitai.decision")
    return value


def many(n: int = 30) -> list[Room]:
    """The same situation on many days: the draw differs by the episode."""
    return [check_in(out_and_about(), start=NOON - 10 * MINUTE - i * 1_000) for i in range(n)]


def test_the_decision_stands_in_the_log_with_the_probabilities_it_was_drawn_from() -> None:
    value = only(check_in(out_and_about()))
    assert value["avail"]
    assert value["arms"] == {"NOTHING": 0.4, "CLASSIC": 0.3, "ADAPTIVE": 0.3}
    assert value["u"] == draw.u("kairos-demo", "p1", value["decision_id"], value["policy_version"])
    assert value["action"] == draw.choose(value["arms"], value["u"])
    assert value["budget_left"] == 2.0
    assert value["dp_index"] == 0


def test_every_arm_is_drawn_and_what_is_said_names_its_decision() -> None:
    rooms = many()
    actions = {only(r)["action"] for r in rooms}
    assert actions == set(draw.ARMS)
    for room in rooms:
        value = only(room)
        if value["action"] == "NOTHING":
            assert room.said() == []
            assert room.audits() == [("SUPPRESSED", "ARM_NOTHING")]
        else:
            (said,) = room.values("notifications")
            assert (said["tier"], said["decision_id"], said["template_id"]) == (
                "L1", value["decision_id"], value["item_id"],
            )  # fmt: skip
            assert said["expires_at"] == NOON + 30 * MINUTE
            assert [c["name"] for c in said["conditions"]] == ["HR_EPISODE", "AWAY_FROM_HOME"]


def test_an_episode_is_decided_once_also_after_a_restart() -> None:
    room = check_in(out_and_about())
    minutes = room.minutes
    room.restart().prompts.check_in(minutes.hr_episodes(NOON), room.desk, minutes, False)
    assert len(room.values("jitai.decision")) == 1


SUPPRESSED = [
    ("NO_RESEARCH_CONSENT", "NO_CONSENT"), ("BUDGET", "LIMIT_DAY"), ("RECENT_PROMPT", "LIMIT_GAP"), ("QUIET_HOURS", "QUIET_HOURS"),
    ("OPEN_CASE", "OPEN_CASE"), ("DRIVING", "NOT_RECEPTIVE"), ("NOT_RECEPTIVE", "NOT_RECEPTIVE"), ("MODALITY_MISSING", "NOT_RECEPTIVE"),
]  # fmt: skip


def hindered(reason: str) -> Room:
    room = out_and_about(WEDNESDAY + 22 * HOUR if reason == "QUIET_HOURS" else NOON, reason != "NO_RESEARCH_CONSENT")
    if reason == "BUDGET":
        for i in range(3):
            room.prompts.limiter.said("W1", NOON - (5 - i) * HOUR)
    elif reason == "RECENT_PROMPT":
        room.prompts.limiter.said("DEVICE_REMINDER", NOON - 59 * MINUTE)
    elif reason == "DRIVING":
        sense(room, NOON, vehicle=True)
    elif reason == "NOT_RECEPTIVE":
        sense(room, NOON, intensity=2)
    elif reason == "MODALITY_MISSING":
        room.minutes.grid.hr_n[:] = 0
    return check_in(room, open_case=reason == "OPEN_CASE")


@pytest.mark.parametrize(("reason", "audited"), SUPPRESSED)
def test_what_hinders_is_told_in_the_decision_and_in_the_audit(reason: str, audited: str) -> None:
    """S21: nobody is randomised who could not have been prompted, and nothing is held back silently."""
    room = hindered(reason)
    value = only(room)
    assert reason in value["reasons_unavailable"]
    assert (value["avail"], value["action"], value["arms"]) == (False, "NOTHING", {})
    assert "u" not in value
    assert room.said() == []
    assert room.audits() == [("SUPPRESSED", audited)]


def test_check_ins_are_three_hours_apart_though_an_hour_is_enough_for_other_prompts() -> None:
    room = out_and_about()
    room.prompts.limiter.said("L1", NOON - 2 * HOUR)
    assert only(check_in(room))["reasons_unavailable"] == ["RECENT_PROMPT"]
    later = out_and_about()
    later.prompts.limiter.said("L1", NOON - 3 * HOUR)
    assert only(check_in(later))["avail"]


def test_two_check_ins_a_day_are_enough() -> None:
    room = out_and_about()
    for ago in (7, 4):
        room.prompts.limiter.said("L1", NOON - ago * HOUR)
    assert only(check_in(room))["reasons_unavailable"] == ["BUDGET"]


def test_an_episode_that_ended_more_than_half_an_hour_ago_asks_nothing() -> None:
    assert only(check_in(out_and_about(), NOON - HOUR, NOON - 30 * MINUTE))["avail"]
    over = check_in(out_and_about(), NOON - HOUR, NOON - 31 * MINUTE)
    assert over.values("jitai.decision") == []


@pytest.mark.parametrize("why", ["no profile", "panic disorder", "at home"])
def test_without_its_conditions_there_is_no_decision_point(why: str) -> None:
    if why == "no profile":
        room = Room().consent().consent("RESEARCH", "STUDY").at(NOON)
        room.fixes([(t, OTHER) for t in range(NOON - HOUR, NOON, 10 * MINUTE)])
    elif why == "panic disorder":
        room = out_and_about(hr={"panic_disorder": True})
    else:
        room = Room(profile={}).consent().consent("RESEARCH", "STUDY").at(NOON)
    assert check_in(room).desk.out == {}


# -- what came of it --------------------------------------------------------------------------------------------------


def prompted() -> Room:
    return next(r for r in many() if r.said())


def test_the_outcome_comes_once_when_its_hour_is_over() -> None:
    room = prompted()
    room.restart().at(NOON + DAY)
    decision, outcome = room.values("jitai.decision")
    assert [decision["stage"], outcome["stage"]] == ["DECISION", "OUTCOME"]
    assert outcome["decision_id"] == decision["decision_id"]
    assert outcome["outcome_kind"] == "HR_RETURN"
    assert outcome["outcome_missing_reason"] == "SENSOR_MISSING"


def test_a_point_that_was_not_available_has_no_outcome() -> None:
    assert len(hindered("OPEN_CASE").at(NOON + DAY).values("jitai.decision")) == 1


def test_an_answer_in_ten_minutes_and_one_that_did_not_come_are_both_learned_once() -> None:
    answered, silent = prompted(), prompted()
    nid = answered.values("notifications")[0]["notification_id"]
    answered.at(NOON + 5 * MINUTE).prompts.answered(nid, NOON + 5 * MINUTE, answered.desk)
    answered.prompts.answered(nid, NOON + 6 * MINUTE, answered.desk)
    for room in (answered, silent):
        assert room.restart().at(NOON + DAY).prompts.receptivity.n_prompts == 1
    x = {"hour_sin": 0.0}
    assert answered.prompts.receptivity.score_one(x) > silent.prompts.receptivity.score_one(x)


# -- W1 ---------------------------------------------------------------------------------------------------------------


def invited(research: bool, **more: Any) -> Room:
    room = out_and_about(WEDNESDAY + 9 * HOUR, research, **more)
    message = room.message("W1", modality="ACTIVITY", event_time=WEDNESDAY)
    room.prompts.invite(message, ("signal", "2026-05-19"), room.desk, room.minutes, False)
    return room


def test_without_research_consent_the_invitation_is_sent_without_a_draw() -> None:
    room = invited(False)
    assert room.said() == ["W1"]
    assert room.values("jitai.decision") == []


def test_with_research_consent_it_is_drawn() -> None:
    assert only(invited(True))["dp_kind"] == "W1"


def test_a_mood_within_two_hours_is_the_outcome_of_an_invitation() -> None:
    room = invited(True)
    room.prompts.mood(4.0, WEDNESDAY + 10 * HOUR, room.desk)
    room.prompts.mood(9.0, WEDNESDAY + 10 * HOUR, room.desk)
    room.at(NOON + DAY)
    (outcome,) = [v for v in room.values("jitai.decision") if v["stage"] == "OUTCOME"]
    assert (outcome["proximal_outcome"], outcome["outcome_kind"]) == (4.0, "EMA_MOOD")


def test_a_mood_after_two_hours_is_not() -> None:
    room = invited(True).at(WEDNESDAY + 12 * HOUR)
    room.prompts.mood(4.0, room.desk.now, room.desk)
    (outcome,) = [v for v in room.values("jitai.decision") if v["stage"] == "OUTCOME"]
    assert outcome["outcome_missing_reason"] == "NOT_ANSWERED"


# -- what the personal recogniser may do: hold a check-in, and nothing else ------------------------------------------------


def taken_for(room: Room, calm: float, start: int) -> Room:
    room.pulse(start, None)
    states = {"CALM": calm, "STRESSED": 0.9 - 0.9 * calm, "PANIC": 0.1 - 0.1 * calm}
    episodes = [s for s in room.minutes.hr_episodes(room.desk.now) if s.start == start]
    room.prompts.check_in(episodes, room.desk, room.minutes, False, lambda t: states)
    return room


def decisions(room: Room) -> list[tuple[bool, list[str]]]:
    return [(v["avail"], v["reasons_unavailable"]) for v in room.values("jitai.decision") if v["stage"] == "DECISION"]


def test_an_episode_taken_for_calm_is_held_and_the_third_is_asked_all_the_same() -> None:
    room = out_and_about()
    room.prompts.limiter.l1_too_soon = lambda now: False  # type: ignore[method-assign]
    room.prompts.limiter.recent = lambda now: False  # type: ignore[method-assign]
    for i in range(4):
        taken_for(room, 0.95, NOON - 10 * MINUTE - i * 1_000)
        if i == 0:
            held = Prompts.from_state(json.loads(json.dumps(room.prompts.state()))).held
            assert held == 1
    assert decisions(room) == [
        (False, ["NOT_RECEPTIVE"]), (False, ["NOT_RECEPTIVE"]), (True, []), (False, ["NOT_RECEPTIVE"]),
    ]  # fmt: skip
    assert room.audits()[:2] == [("SUPPRESSED", "NOT_RECEPTIVE")] * 2


def test_an_episode_not_clearly_calm_is_decided_as_without_a_recogniser_and_says_what_was_known() -> None:
    plain, sharp = check_in(out_and_about()), taken_for(out_and_about(), 0.7, NOON - 10 * MINUTE)
    before, after = only(plain), only(sharp)
    known = {k: v for k, v in after["features"].items() if k.startswith("state_")}
    assert set(known) == {"state_calm", "state_stressed", "state_panic"}
    assert {**after, "features": {k: v for k, v in after["features"].items() if k not in known}} == before
    assert not any(k.startswith("state_") for k in before["features"])


def test_a_point_that_is_not_available_anyway_does_not_count_as_held() -> None:
    room = out_and_about(research=False)
    for i in range(3):
        taken_for(room, 0.95, NOON - 10 * MINUTE - i * 1_000)
    assert room.prompts.held == 0
    assert all(reasons == ["NO_RESEARCH_CONSENT"] for _, reasons in decisions(room))
