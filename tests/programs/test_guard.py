"""Hard stops and what may rise (programs.md 1), invariant S16 on random sessions."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.programs.random_sessions import broken, play_random
from tests.programs.stage import Stage


@pytest.mark.parametrize(("kind", "reason"), [("STOP_BUTTON", "STOP_BUTTON"), ("THERAPIST_STOP", "THERAPIST")])
def test_a_stop_is_said_once_and_nothing_follows_but_the_end(kind: str, reason: str) -> None:
    stage = Stage().begin().event(kind, 130).event(kind, 131)
    assert (stage.last()["action"], stage.last()["reason"]) == ("STOP", reason)
    n = len(stage.commands())
    stage.trial("t1", 140, 200, 20).event("RESUME", 210).event("SLOT_START", 220).event("SLOT_END", 280)
    assert len(stage.commands()) == n
    stage.event("SESSION_END", 300)
    assert len(stage.commands()) == n
    assert stage.said("therapy.session_summary")[0]["stop_reason"] == reason
    assert [f["code"] for f in stage.said("therapy.flag")] == ["STOPPED"]
    assert [a["action"] for a in stage.said("audit")].count("STOPPED") == 1


@pytest.mark.parametrize(("suds", "stops"), [(89.9, False), (90.0, True)])
def test_distress_of_ninety_stops_whatever_told_it(suds: float, stops: bool) -> None:
    for stage in (
        Stage().begin().event("SUDS", 130, suds=suds),
        Stage().begin().trial("t1", 130, 190, suds),
        Stage().begin().report("SUDS", suds, 130, "s1"),
        Stage().begin().report("SUDS", suds, 130),
    ):
        assert (stage.last()["action"] == "STOP") is stops


@pytest.mark.parametrize(
    ("age", "bpm", "stops"), [(None, 127.0, False), (None, 127.5, True), (40, 152.0, False), (40, 154.0, True)]
)
def test_a_pulse_above_the_limit_for_thirty_seconds_at_rest_stops_within_a_second(
    age: int | None, bpm: float, stops: bool
) -> None:
    stage = Stage(profile={"age_years": age} if age else {}).begin().beats(130, 175, bpm)
    stage.at(160.5)
    assert stage.last()["action"] != "STOP"
    stage.at(162.5)
    assert (stage.last()["action"] == "STOP") is stops
    if stops:
        assert stage.last()["reason"] == "HR_LIMIT"


def test_a_short_burst_or_a_burst_with_a_gap_does_not_stop() -> None:
    stage = Stage().begin().beats(130, 159, 150).beats(159, 165, 90).beats(165, 190, 150).beats(205, 220, 150)
    assert stage.at(260).last()["action"] != "STOP"


def test_late_rows_of_a_fast_pulse_stop_when_they_come() -> None:
    stage = Stage().begin().beats(130, 165, 150, late=60)
    stage.at(200)
    stage.at(240)
    assert stage.last()["reason"] == "HR_LIMIT"


def test_an_open_acute_case_pauses_the_program_within_a_second() -> None:
    stage = Stage().begin()
    stage.case_open = True
    assert stage.at(125).last()["params"] == {"cause": "CASE_OPEN"}
    n = len(stage.commands())
    stage.trial("t1", 130, 190, 20)
    assert {c["action"] for c in stage.commands()[n:]} <= {"HOLD"}
    stage.case_open = False
    assert stage.event("RESUME", 200).last()["action"] == "SET_STIMULUS"


def test_without_consent_or_when_the_clinician_disabled_it_nothing_is_chosen() -> None:
    assert {c["action"] for c in Stage(permitted=False).begin().commands()} == {"HOLD"}
    disabled = Stage(profile={"programs": {"SPIDER": {"enabled": False}}}).begin()
    assert [c["params"] for c in disabled.commands()] == [{"cause": "NOT_ENABLED"}]


def test_the_locked_bounds_and_the_profile_s_highest_level_are_never_left() -> None:
    stage = Stage(profile={"programs": {"SPIDER": {"level_max": 1}}}).begin()
    stage.event("THERAPIST_LOCK", 125, factors={"colour": "GREY"})
    for i in range(8):
        stage.trial(f"t{i}", 160 + i * 120, 230 + i * 120, 30)
    found = [c["params"] for c in stage.commands()[1:]]
    assert {p["colour"] for p in found} == {"GREY"}
    assert max(int(c["params"]["level"]) for c in stage.commands()) <= 1


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_s16_exposure_never_steps_up_on_missing_data_above_one_level_beyond_the_lock_or_after_a_stop(seed: int) -> None:
    assert broken(play_random(seed)) == []
