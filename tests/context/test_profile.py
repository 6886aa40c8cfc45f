"""The clinician profile: which one is in force, and what it may not say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.context.profile import Profile, ProfileBook

DAY = 86_400_000


def profile(version: int = 1, start: int = 0, days: int = 90, **fields: Any) -> dict[str, Any]:
    value = {
        "profile_id": "pr1",
        "version": version,
        "effective_from": start,
        "valid_to": start + days * DAY,
        "author_ref": "dr_a",
        "signature": "demo",
        **fields,
    }
    return {"user": "p", "event_time": start, "ingest_time": start, "value": value}


def effective(**fields: Any) -> Profile:
    book = ProfileBook()
    assert book.add(profile(**fields))
    found = book.effective(0)
    assert found is not None
    return found


def version_at(book: ProfileBook, t: int) -> int | None:
    found = book.effective(t)
    return found.version if found is not None else None


def test_defaults_are_those_of_the_rules() -> None:
    p = effective()
    assert (p.floor_bpm, p.z, p.ratio, p.k, p.n, p.day_start_min) == (12, 2.5, 0.7, 3, 5, 240)
    assert (p.quiet_from_min, p.quiet_to_min, p.tier_to_therapist, p.hours) == (1320, 420, "L3", ())
    assert p.required_features == ("steps", "outings")
    assert Profile.default().floor_bpm == 12


def test_the_version_effective_at_event_time_counts() -> None:
    book = ProfileBook()
    for record in (profile(2, 10 * DAY, 20), profile(1, 0, 90), profile(3, 50 * DAY, 90)):
        assert book.add(record)
    assert [version_at(book, d * DAY) for d in (-1, 0, 10, 29, 30, 49, 50, 139, 140)] == [
        None, 1, 2, 2, 1, 1, 3, 3, None,
    ]  # fmt: skip
    assert book.change_times() == [0, 10 * DAY, 30 * DAY, 50 * DAY, 90 * DAY, 140 * DAY]


def test_a_rejected_version_leaves_the_previous_in_force() -> None:
    book = ProfileBook()
    assert book.add(profile(1))
    assert not book.add(profile(2, hr={"floor_bpm": 30}))
    assert version_at(book, DAY) == 1


def test_the_same_version_twice_keeps_the_first_that_arrived() -> None:
    first, second = profile(hr={"z": 2.0}), {**profile(hr={"z": 4.0}), "ingest_time": 7}
    for order in ([first, second], [second, first]):
        book = ProfileBook()
        for record in order:
            book.add(record)
        assert book.thresholds(0) == (12.0, 2.0)
    assert not book.add(first)


def test_a_beta_blocker_lowers_the_floor_unless_the_clinician_says_otherwise() -> None:
    assert effective(hr={"medication": ["BETA_BLOCKER"]}).floor_bpm == 8
    assert effective(hr={"medication": ["BETA_BLOCKER"], "floor_bpm": 15}).floor_bpm == 15


GUARD_RAILS: list[tuple[str, dict[str, Any]]] = [
    ("hr.floor_bpm", {"hr": {"floor_bpm": 7.9}}),
    ("hr.floor_bpm", {"hr": {"floor_bpm": 25.1}}),
    ("hr.floor_bpm", {"hr": {"floor_bpm": float("nan")}}),
    ("hr.z", {"hr": {"z": 1.9}}),
    ("hr.z", {"hr": {"z": 4.1}}),
    ("withdrawal.ratio", {"withdrawal": {"ratio": 0.39}}),
    ("withdrawal.ratio", {"withdrawal": {"ratio": 0.86}}),
    ("withdrawal.k", {"withdrawal": {"k": 1}}),
    ("withdrawal.k", {"withdrawal": {"k": 6, "n": 7}}),
    ("withdrawal.n", {"withdrawal": {"k": 4, "n": 3}}),
    ("withdrawal.n", {"withdrawal": {"n": 8}}),
    ("withdrawal.n", {"withdrawal": {"n": 2}}),
    ("withdrawal.day_start_min", {"withdrawal": {"day_start_min": 1440}}),
    ("behaviour.weight", {"behaviour": [{"feature": "GAMING", "direction": "RISK_UP", "weight": 2.5}]}),
    ("behaviour.feature", {"behaviour": [{"feature": "SHOPPING", "direction": "RISK_UP", "weight": 1}]}),
    ("contact.hours", {"contact": {"hours": [{"weekday": 1, "from_min": 600, "to_min": 600}]}}),
    ("contact.hours.weekday", {"contact": {"hours": [{"weekday": 8, "from_min": 0, "to_min": 600}]}}),
    ("contact.quiet_from_min", {"contact": {"quiet_from_min": -1}}),
    ("context_note.valid_to", {"context_note": [{"kind": "HOLIDAY", "valid_from": 0, "valid_to": 30 * DAY + 1}]}),
    ("terms.shift", {"terms": [{"term_hash": "h", "shift": 2}]}),
    ("valid_to", {"valid_to": 90 * DAY + 1}),
    ("valid_to", {"valid_to": 0}),
]


@pytest.mark.parametrize(("field", "fields"), GUARD_RAILS)
def test_S20_a_profile_outside_its_guard_rails_is_refused_with_the_field(field: str, fields: dict[str, Any]) -> None:  # noqa: N802
    assert ProfileBook().check(profile(**fields)["value"]) == ("GUARD_RAIL", field)


@pytest.mark.parametrize(
    "fields",
    [
        {"hr": {"floor_bpm": 8, "z": 4}},
        {"withdrawal": {"ratio": 0.85, "k": 5, "n": 7}},
        {"withdrawal": {"k": 5}},
        {"context_note": [{"kind": "TRAVEL", "valid_from": 0, "valid_to": 30 * DAY}]},
        {"hr": None, "contact": None, "behaviour": None, "tier_to_therapist": None},
    ],
)
def test_the_limits_themselves_are_allowed(fields: dict[str, Any]) -> None:
    p = effective(**fields)
    assert p.k <= p.n <= 7


def test_no_signature_no_profile_and_no_required_field_no_profile() -> None:
    assert ProfileBook().check(profile(signature="")["value"]) == ("UNSIGNED", "signature")
    assert ProfileBook().check(profile(author_ref=None)["value"]) == ("SCHEMA", "author_ref")
    assert ProfileBook().check(profile(tier_to_therapist="L1")["value"]) == ("SCHEMA", "tier_to_therapist")


def resigned(*behaviour: tuple[str, str, float]) -> Profile:
    return effective(behaviour=[{"feature": f, "direction": d, "weight": w} for f, d, w in behaviour])


def test_long_lonely_walks_take_activity_out_of_the_withdrawal_rule() -> None:
    assert resigned(("WALK_ALONE", "RISK_UP", 1)).required_features == ("outings",)
    assert resigned(("WALK_ALONE", "RISK_UP", 0)).required_features == ("steps", "outings")


def test_neutral_or_weight_zero_removes_a_feature_and_without_any_the_rule_has_nothing_to_stand_on() -> None:
    assert resigned(("outings", "NEUTRAL", 1)).required_features == ("steps",)
    assert resigned(("steps", "RISK_DOWN", 0), ("outings", "NEUTRAL", 1)).required_features == ()


def test_gaming_counts_as_coping_only_when_resigned() -> None:
    assert resigned(("GAMING", "RISK_UP", 1)).risk_up("GAMING")
    assert not resigned(("GAMING", "NEUTRAL", 1)).risk_up("GAMING")
    assert not effective().risk_up("GAMING")


def test_a_context_note_holds_for_its_period_only() -> None:
    p = effective(context_note=[{"kind": "ILLNESS", "valid_from": DAY, "valid_to": 3 * DAY}])
    assert [p.context_note(d * DAY) for d in (0, 1, 2, 3)] == [None, "ILLNESS", "ILLNESS", None]


def test_the_clinic_is_reminded_in_the_last_seven_days() -> None:
    p = effective()
    assert [p.expiring(d * DAY) for d in (82, 83, 89, 90)] == [False, True, True, False]


def test_state_survives_json_and_a_profile_that_ended_can_be_forgotten() -> None:
    book = ProfileBook()
    book.add(profile(1, 0, 10, contact={"hours": [{"weekday": 2, "from_min": 480, "to_min": 720}]}))
    book.add(profile(2, 20 * DAY, 10, hr={"z": 3.0}))
    again = ProfileBook.from_state(json.loads(json.dumps(book.state())))
    assert again.state() == book.state()
    assert again.effective(5 * DAY) == book.effective(5 * DAY)
    again.forget(15 * DAY)
    assert version_at(again, 5 * DAY) is None
    assert version_at(again, 25 * DAY) == 2
