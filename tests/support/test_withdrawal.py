"""Rule A2: a low day counts, a missing day does not (support.md 4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.context.profile import Profile
from pipelines.support.conditions import tier_of
from pipelines.support.daily import DayRow
from pipelines.support.withdrawal import Verdict, conditions, judge, usual

DAY_MS = 86_400_000
TODAY = 20_600
USUAL_ACT = [590.0, 600.0, 610.0]
LOW, SAME, MISSING = "low", "same", "missing"


def row(index: int, act: float | None = 600.0, out: float | None = 0.2, **more: Any) -> DayRow:
    """A day; by default a usual one: 600 steps an hour, three outings."""
    weekend = index % 7 in (0, 1)
    made = DayRow(index, weekend, index * DAY_MS, (index + 1) * DAY_MS, True, act, out, 16.0, 16.0)
    made.amounts = {"outings": 3.0}
    for name, given_value in more.items():
        setattr(made, name, given_value)
    return made


def history(recent: list[str], days: int = 45) -> dict[int, DayRow]:
    """`days` usual days, and the last of them as told, oldest first."""
    rows = {i: row(i, USUAL_ACT[i % 3]) for i in range(TODAY - days + 1, TODAY + 1)}
    for i, kind in enumerate(reversed(recent)):
        index = TODAY - i
        if kind == LOW:
            rows[index] = row(index, 100.0, 0.05)
        elif kind == MISSING:
            rows[index] = row(index, None, None, valid=False, missing=["ACTIVITY"], act_hours=0.0, out_hours=0.0)
        elif kind == "act":
            rows[index] = row(index, 100.0, 0.2)
        elif kind == "out":
            rows[index] = row(index, 600.0, 0.05)
    return rows


def verdict(rows: dict[int, DayRow], profile: Profile | None = None) -> Verdict:
    profile = profile or Profile.default()
    return judge(rows, TODAY, profile, usual(rows, TODAY, profile.ratio))


def test_three_low_days_of_five_switch_it_on_and_two_do_not() -> None:
    assert verdict(history([LOW, SAME, LOW, SAME, LOW])).state == "ON"
    assert verdict(history([LOW, SAME, SAME, SAME, LOW])).state == "OFF"


def test_low_days_before_the_last_five_calendar_days_do_not_count() -> None:
    assert verdict(history([LOW, LOW, SAME, SAME, SAME, LOW])).state == "OFF"


def test_a_missing_day_is_no_low_day_and_the_five_stay_five_calendar_days() -> None:
    assert verdict(history([LOW, LOW, MISSING, MISSING, LOW])).state == "ON"
    assert verdict(history([LOW, MISSING, MISSING, MISSING, LOW])).state == "OFF"
    assert verdict(history([LOW, LOW, MISSING, MISSING, MISSING, MISSING, LOW])).state == "OFF"


def test_when_the_day_itself_is_missing_nobody_knows_and_it_says_what_was_missing() -> None:
    found = verdict(history([LOW, LOW, LOW, LOW, MISSING]))
    assert (found.state, found.missing) == ("UNKNOWN", ["ACTIVITY"])


def test_activity_or_outings_alone_are_not_withdrawal() -> None:
    assert verdict(history(["act"] * 5)).state == "OFF"
    assert verdict(history(["out"] * 5)).state == "OFF"


def test_it_takes_fourteen_valid_days_of_baseline_with_four_at_the_weekend() -> None:
    assert verdict(history([LOW] * 5, days=5 + 13)).state == "UNKNOWN"
    assert verdict(history([LOW] * 5, days=5 + 14)).state == "ON"
    rows = history([LOW] * 5)
    for i, r in rows.items():
        if r.weekend and i <= TODAY - 5:
            r.valid = False
    assert verdict(rows).state == "UNKNOWN"


def test_it_takes_eight_valid_days_of_the_last_fourteen() -> None:
    assert verdict(history([MISSING] * 6 + [LOW] * 8)).state == "ON"
    assert verdict(history([MISSING] * 7 + [LOW] * 7)).state == "UNKNOWN"


def test_a_day_observed_for_less_than_the_usual_hours_is_no_day() -> None:
    rows = history([LOW, LOW, SAME, SAME, LOW])
    rows[TODAY].act_hours = 0.69 * 16
    assert verdict(rows).state == "UNKNOWN"
    rows[TODAY].act_hours = 0.7 * 16
    assert verdict(rows).state == "ON"
    rows[TODAY - 4].out_hours = 0.69 * 16
    assert verdict(rows).state == "OFF"


def test_who_hardly_goes_out_cannot_go_out_less() -> None:
    rows = history([LOW] * 5)
    for r in rows.values():
        r.amounts = {"outings": 0.0}
    assert verdict(rows).state != "ON"


def test_who_often_has_low_days_needs_more_of_them() -> None:
    """Binomial gate: three low days of five are nothing special where a third of all days are low."""
    rows = history([LOW, SAME, LOW, SAME, LOW])
    for i in range(TODAY - 44, TODAY - 5):
        if i % 3 == 0:
            rows[i] = row(i, 100.0, 0.05)
    assert verdict(rows).state == "OFF"


def test_two_valid_days_at_usual_end_it_and_missing_days_between_do_not_matter() -> None:
    assert verdict(history([LOW, LOW, LOW, SAME, SAME])).recovered
    assert verdict(history([LOW, LOW, LOW, SAME, MISSING, MISSING, SAME])).recovered
    assert not verdict(history([LOW, LOW, LOW, LOW, SAME])).recovered
    assert not verdict(history([LOW, LOW, LOW, SAME, "act"])).recovered


def test_a_fall_to_three_quarters_is_no_recovery_and_no_low_day() -> None:
    rows = history([LOW, LOW, LOW])
    for i in (TODAY - 1, TODAY):
        rows[i] = row(i, 0.8 * 600, 0.2)
    found = verdict(rows)
    assert not found.recovered
    assert found.low["act"] == [TODAY - 2]


def profile(**fields: Any) -> Profile:
    return Profile(version=1, **fields)


def test_a_clinician_may_take_activity_out_of_both_tests() -> None:
    """WALK_ALONE RISK_UP: outings alone decide, also about recovery."""
    signed = profile(behaviour={"WALK_ALONE": ("RISK_UP", 1.0)})
    assert verdict(history(["out"] * 5), signed).state == "ON"
    assert verdict(history(["act"] * 5), signed).state == "OFF"
    assert verdict(history([LOW, LOW, LOW, "act", "act"]), signed).recovered


@pytest.mark.parametrize("behaviour", [("NEUTRAL", 1.0), ("RISK_DOWN", 0.0)])
def test_neutral_or_weight_nought_removes_a_feature(behaviour: tuple[str, float]) -> None:
    assert verdict(history(["act"] * 5), profile(behaviour={"outings": behaviour})).state == "ON"


def test_with_no_feature_left_nobody_knows() -> None:
    none = profile(behaviour={"outings": ("NEUTRAL", 1.0), "steps": ("NEUTRAL", 1.0)})
    assert verdict(history([LOW] * 5), none).state == "UNKNOWN"


def test_a_profile_may_ask_for_more_days() -> None:
    assert verdict(history([LOW, SAME, LOW, SAME, LOW]), profile(k=4, n=5)).state == "OFF"
    assert verdict(history([LOW, LOW, SAME, LOW, SAME, LOW, SAME]), profile(k=4, n=7)).state == "ON"


def test_the_conditions_ask_for_the_tier_that_is_said() -> None:
    rows = history([LOW, SAME, LOW, SAME, LOW])
    normal, found = usual(rows, TODAY, 0.7), verdict(rows)
    said = conditions(rows, TODAY, Profile.default(), normal, found)
    assert [c["name"] for c in said] == ["ACT_LOW_3_OF_5", "OUT_LOW_3_OF_5"]
    assert all(c["met"] and c["amount"] <= c["threshold"] for c in said)
    assert tier_of(said) == "W1"
    assert tier_of([*said, {"name": "SEARCH_7D", "met": True}]) == "W2"


def test_gaming_is_a_sign_only_where_the_clinician_signed_it() -> None:
    rows = history([LOW] * 5)
    for i, r in rows.items():
        r.amounts["game_min"] = 100.0 if i > TODAY - 5 else 30.0
        r.states["game_min"] = "OK"

    def names(p: Profile) -> list[str]:
        return [c["name"] for c in conditions(rows, TODAY, p, usual(rows, TODAY, p.ratio), verdict(rows, p))]

    assert "GAMING_ABOVE_OWN" not in names(Profile.default())
    assert "GAMING_ABOVE_OWN" in names(profile(behaviour={"GAMING": ("RISK_UP", 1.0)}))


days = st.lists(st.sampled_from([LOW, LOW, SAME, "act", "out", MISSING]), min_size=5, max_size=12)


@given(days, st.lists(st.integers(0, 11), max_size=8))
@settings(max_examples=80)
def test_lost_days_can_only_switch_it_off(recent: list[str], lost: list[int]) -> None:
    """S3. The baseline is the same: only the last days are lost."""
    rows = history(recent)
    normal = usual(rows, TODAY, 0.7)
    fewer = {i: r for i, r in rows.items() if TODAY - i not in lost or TODAY - i > 4}
    before, after = (judge(r, TODAY, Profile.default(), normal).state for r in (rows, fewer))
    assert after in (before, "OFF", "UNKNOWN")
