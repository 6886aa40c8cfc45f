"""The one door through which rules speak: consent twice, contact hours, the backup once (support.md 7, privacy.md 2)."""

from __future__ import annotations

import pytest

from tests.support.room import HOUR, MINUTE, NOON, WEDNESDAY, Room, permitted

ACUTE = "THERAPIST_ALERT_ACUTE"
CARE = "CARE_USER_MSG"
OFFICE = (8, 18)
NIGHT = WEDNESDAY + 23 * HOUR
MORNING = WEDNESDAY + 32 * HOUR  # 08:00 of the next day


# -- to the person ----------------------------------------------------------------------------------------------------


def test_without_consent_at_the_trigger_nothing_is_said_and_the_audit_says_why() -> None:
    room = Room()
    assert room.desk.to_person(room.message("L2")) is None
    assert room.audits() == [("SUPPRESSED", "NO_CONSENT")]


def test_consent_that_came_after_the_trigger_does_not_reach_back() -> None:
    room = Room().consent(at=NOON)
    assert room.at(NOON + MINUTE).desk.to_person(room.message("L2", event_time=NOON - 1)) is None
    assert room.desk.to_person(room.message("L2", event_time=NOON)) is not None


def test_a_consent_taken_back_between_trigger_and_delivery_cancels() -> None:
    room = Room().consent().at(NOON + MINUTE).revoke(CARE)
    assert room.desk.to_person(room.message("L4", event_time=NOON)) is None
    assert room.audits() == [("CANCELLED_CONSENT", "NO_CONSENT")]


def test_each_message_needs_the_consent_of_its_own_modality() -> None:
    room = Room().consent(modalities=["HEART_RATE"])
    assert room.desk.to_person(room.message("L2", modality="SEARCH")) is None
    assert room.desk.to_person(room.message("L1", modality="HEART_RATE")) is not None


def test_nothing_is_said_twice_also_after_a_restart() -> None:
    room = Room().consent()
    message = room.message("L2")
    assert room.desk.to_person(message) is not None
    assert room.desk.to_person(message) is None
    assert room.restart().at(NOON + HOUR).desk.to_person(message) is None
    assert room.said() == ["L2"]


def test_a_crisis_card_never_expires_and_other_messages_do() -> None:
    room = Room().consent()
    for tier in ("L4", "L2", "L1"):
        room.desk.to_person(room.message(tier))
    crisis, help_now, check_in = room.values("notifications")
    assert crisis["expires_at"] == 0
    assert crisis["action"] == "CRISIS_CARD"
    assert help_now["expires_at"] == NOON + 24 * HOUR
    assert check_in["expires_at"] == NOON + 30 * MINUTE
    assert all("crisis_line_id" in v["params"] for v in (crisis, help_now, check_in))


def test_when_nobody_is_watching_the_words_say_so() -> None:
    attended, alone, nobody = (Room(hours=OFFICE).consent() for _ in range(3))
    attended.desk.to_person(attended.message("L4"))
    alone.at(NIGHT).desk.to_person(alone.message("L4"))
    nobody = Room().consent()
    nobody.desk.to_person(nobody.message("L4"))
    words = [r.values("notifications")[0]["template_id"] for r in (attended, alone, nobody)]
    assert words[0] != words[1] == words[2]


# -- to the therapist -------------------------------------------------------------------------------------------------


def test_a_therapist_whom_no_consent_names_hears_nothing() -> None:
    room = Room(hours=OFFICE).consent()
    assert not room.desk.to_therapist(room.message("L4"), ACUTE)
    assert room.told() == []


def test_of_the_permitted_the_therapist_of_the_profile_is_told() -> None:
    room = permitted(hours=OFFICE)
    assert room.desk.to_therapist(room.message("L4"), ACUTE)
    assert room.told() == [("L4", "dr_a")]


def test_without_a_profile_all_permitted_are_told() -> None:
    room = permitted()
    assert room.desk.to_therapist(room.message("L4"), ACUTE)
    assert room.told() == [("L4", "dr_a"), ("L4", "dr_b")]


def test_a_consent_for_trends_opens_no_acute_alert() -> None:
    room = Room(hours=OFFICE).consent().consent("THERAPIST_ALERT_TREND", "dr_a")
    assert not room.desk.to_therapist(room.message("L4"), ACUTE)


def test_therapists_see_only_conditions_of_modalities_that_their_consent_lists() -> None:
    room = Room(hours=OFFICE).consent().consent(ACUTE, "dr_a", modalities=["SEARCH"])
    seen = [{"name": "HR_EPISODE", "met": True, "refs": []}, {"name": "SEARCH_SEVERITY_2", "met": True, "refs": []}]
    room.desk.to_therapist(type(room.message())(**{**room.message("L3").__dict__, "conditions": seen}), ACUTE)
    assert [c["name"] for c in room.values("notifications")[0]["conditions"]] == ["SEARCH_SEVERITY_2"]
    assert "pulse" not in room.values("notifications")[0]["explanation"].lower()


def test_outside_contact_hours_the_message_waits_and_says_since_when() -> None:
    room = permitted(hours=OFFICE).at(NIGHT)
    assert room.desk.to_therapist(room.message("L4", case_id="c"), ACUTE)
    assert room.told() == []
    assert room.audits() == [("QUEUED", None)]
    room.restart().at(MORNING - 1)
    assert room.told() == []
    room.at(MORNING)
    assert room.told() == [("L4", "dr_a")]
    assert room.values("notifications")[0]["queued_since"] == NIGHT
    assert room.desk.out["notifications"][0]["ingest_time"] == MORNING


def test_a_consent_taken_back_in_the_night_cancels_what_waits() -> None:
    room = permitted(hours=OFFICE).at(NIGHT)
    room.desk.to_therapist(room.message("L4", case_id="c"), ACUTE)
    room.at(NIGHT + HOUR).revoke(ACUTE, "dr_a").at(MORNING + HOUR)
    assert room.told() == []
    assert room.audits() == [("QUEUED", None), ("CANCELLED_CONSENT", "NO_CONSENT")]


def test_at_night_a_crisis_also_goes_to_those_named_for_it() -> None:
    contact = {
        "therapist_ref": "dr_a", "backup_ref": "dr_b", "crisis_refs": ["on_call"],
        "hours": [{"weekday": d, "from_min": 480, "to_min": 1080} for d in range(1, 8)],
    }  # fmt: skip
    room = Room(profile={"contact": contact}).consent().consent(ACUTE, "dr_a").consent(ACUTE, "on_call").at(NIGHT)
    room.desk.to_therapist(room.message("L4", case_id="c"), ACUTE)
    assert room.told() == [("L4", "on_call")]
    room.desk.to_therapist(room.message("L3", case_id="c", about="other"), ACUTE)
    assert room.told() == [("L4", "on_call")]
    room.at(MORNING)
    assert sorted(room.told()) == [("L3", "dr_a"), ("L4", "dr_a"), ("L4", "on_call")]


# -- the backup -------------------------------------------------------------------------------------------------------


def alerted(tier: str = "L4") -> Room:
    room = permitted(hours=OFFICE)
    room.desk.to_therapist(room.message(tier, case_id="c"), ACUTE)
    return room


def test_nobody_acknowledged_in_half_an_hour_so_the_backup_is_told_once() -> None:
    room = alerted().restart().at(NOON + 30 * MINUTE - 1)
    assert room.told() == [("L4", "dr_a")]
    room.at(NOON + 48 * HOUR)
    assert room.told() == [("L4", "dr_a"), ("L4", "dr_b")]
    assert room.audits("ESCALATED") == [("ESCALATED", None)]


def test_the_half_hour_counts_contact_hours_only() -> None:
    room = permitted(hours=OFFICE).at(WEDNESDAY + 17 * HOUR + 50 * MINUTE)
    room.desk.to_therapist(room.message("L4", case_id="c"), ACUTE)
    assert room.at(MORNING + 20 * MINUTE - 1).told() == [("L4", "dr_a")]
    assert room.at(MORNING + 20 * MINUTE).told() == [("L4", "dr_a"), ("L4", "dr_b")]


def test_a_backup_whom_no_consent_names_is_not_told_and_the_audit_says_so() -> None:
    room = Room(hours=OFFICE).consent().consent(ACUTE, "dr_a")
    room.desk.to_therapist(room.message("L4", case_id="c"), ACUTE)
    room.at(NOON + 2 * HOUR)
    assert room.told() == [("L4", "dr_a")]
    assert room.audits("SUPPRESSED", "ESCALATED") == [("SUPPRESSED", "NO_CONSENT")]


@pytest.mark.parametrize("tier", ["W2", "CASE_NOTE"])
def test_what_is_not_urgent_is_not_escalated(tier: str) -> None:
    assert alerted(tier).at(NOON + 48 * HOUR).told() == [(tier, "dr_a")]
