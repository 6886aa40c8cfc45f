"""Rule A1 and the search rule: what is said, once and never unsaid; the case file (support.md 3, 8)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.support.conditions import tier_of
from pipelines.support.places import HOME, OTHER
from pipelines.support.triggers import RANK
from tests.support.room import DAY, HOUR, MINUTE, NOON, Room, permitted

OFFICE = (0, 24)


def away(room: Room, since: int, until: int) -> Room:
    """Fixes away from home every ten minutes, the first two close together."""
    steps = [since - 20 * MINUTE, since - 15 * MINUTE, since - MINUTE, *range(since, until + 1, 10 * MINUTE)]
    return room.fixes([(t, HOME if t < since - MINUTE else OTHER) for t in steps])


# -- the search rule stands alone -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("severity", "tiers"), [(0, ["RESOURCES"]), (1, []), (2, ["L2"]), (3, ["L4"])])
def test_a_search_needs_no_profile_watch_or_place(severity: int, tiers: list[str]) -> None:
    room = Room().consent()
    room.flag(severity)
    assert room.said() == tiers


def test_resources_come_once_a_day() -> None:
    room = Room().consent()
    room.flag(0)
    room.at(NOON + 23 * HOUR).flag(0)
    assert room.said() == ["RESOURCES"]
    assert room.audits("SUPPRESSED") == [("SUPPRESSED", "COOL_DOWN")]
    room.at(NOON + 24 * HOUR).flag(0)
    assert room.said() == ["RESOURCES", "RESOURCES"]


def test_a_search_of_the_same_episode_is_not_answered_twice() -> None:
    room = Room().consent()
    room.flag(2)
    room.at(NOON + 9 * MINUTE).flag(2)
    assert room.said() == ["L2"]
    room.at(NOON + 11 * MINUTE).flag(2)
    assert room.said() == ["L2", "L2"]


def test_a_worse_search_of_the_same_episode_is_a_crisis_at_once() -> None:
    room = Room().consent()
    room.flag(2)
    room.at(NOON + MINUTE).flag(3)
    assert room.said() == ["L2", "L4"]
    assert room.case()["tier"] == room.case()["tier_said"] == "L4"
    assert ("CASE_UPGRADED", None) in room.audits()


def test_the_third_search_episode_in_a_day_is_a_crisis() -> None:
    room = Room().consent()
    for i in range(3):
        room.at(NOON + i * HOUR).flag(2)
    assert room.said() == ["L2", "L2", "L4"]


def test_within_ten_minutes_either_side_there_is_one_crisis_card() -> None:
    room = Room().consent()
    room.flag(3)
    room.at(NOON + 10 * MINUTE).flag(3, kind="ITEM9")
    assert room.said() == ["L4"]
    assert room.audits("SUPPRESSED") == [("SUPPRESSED", "DEDUPE")]
    room.flag(3, t=NOON - 10 * MINUTE, kind="CHAT_RISK")
    assert room.said() == ["L4"]
    room.at(NOON + 10 * MINUTE + 1).flag(3, kind="ITEM9")
    assert room.said() == ["L4", "L4"]


def test_an_answer_to_item_nine_offers_the_screener() -> None:
    room = Room().consent()
    room.flag(1, kind="ITEM9")
    (said,) = room.values("notifications")
    assert said["tier"] == "L2"
    assert said["params"]["questionnaire"] == "CSSRS"


def test_the_same_record_again_changes_nothing() -> None:
    room = Room().consent()
    room.flag(2, event_id="same")
    before = dict(room.desk.out)
    room.at(NOON + MINUTE).restart().flag(2, t=NOON, event_id="same")
    assert {t: len(r) for t, r in room.desk.out.items()} == {t: len(r) for t, r in before.items()}


# -- L3: pulse, away, then a search -----------------------------------------------------------------------------------


def beating(room: Room) -> Room:
    """A pulse episode away from home, 11:00 to 11:20."""
    away(room, NOON - 90 * MINUTE, NOON)
    room.pulse(NOON - HOUR, NOON - 40 * MINUTE)
    return room


def test_a_search_after_a_pulse_episode_away_from_home_is_l3_and_reaches_the_therapist() -> None:
    room = beating(permitted(hours=OFFICE))
    room.flag(2)
    assert room.told() == [("L3", "SELF"), ("L3", "dr_a")]
    assert [c["name"] for c in room.values("notifications")[0]["conditions"]] == [
        "HR_EPISODE", "AWAY_FROM_HOME", "SEARCH_SEVERITY_2",
    ]  # fmt: skip
    assert room.case()["therapist_alerted"]


def test_without_a_profile_it_stays_l2() -> None:
    room = beating(permitted())
    room.flag(2)
    assert room.told() == [("L2", "SELF")]


def test_a_search_before_the_pulse_or_twelve_hours_after_it_is_l2() -> None:
    early, late = beating(permitted(hours=OFFICE)), beating(permitted(hours=OFFICE))
    early.flag(2, t=NOON - HOUR - 1)
    assert early.said() == ["L2"]
    late.at(NOON - 40 * MINUTE + 12 * HOUR).flag(2)
    assert late.said() == ["L3"]
    late.at(late.desk.now + 11 * MINUTE).flag(2)
    assert late.said() == ["L3", "L2"]


def test_a_pulse_at_home_is_no_l3() -> None:
    room = permitted(hours=OFFICE)
    room.fixes([(NOON - i * MINUTE, HOME) for i in range(120, 0, -5)]).pulse(NOON - HOUR, NOON - 40 * MINUTE)
    room.flag(2)
    assert room.said() == ["L2"]


def test_a_pulse_that_becomes_known_later_upgrades_and_sends_the_l3_message_too() -> None:
    room = permitted(hours=OFFICE)
    room.flag(2)
    assert room.told() == [("L2", "SELF")]
    beating(room).at(NOON + 20 * MINUTE).acute.review(room.desk, room.minutes)
    assert room.told() == [("L2", "SELF"), ("L3", "SELF"), ("L3", "dr_a")]


def test_what_was_said_stays_said_when_the_pulse_goes_away_again() -> None:
    room = beating(permitted(hours=OFFICE))
    room.flag(2)
    room.minutes.signals.known["HR_EPISODE"].clear()
    room.at(NOON + MINUTE).acute.review(room.desk, room.minutes)
    assert (room.case()["tier"], room.case()["tier_said"]) == ("L2", "L3")
    assert room.said() == ["L3"]


def test_l3_comes_once_an_open_case_and_a_further_search_still_gets_its_help() -> None:
    room = beating(permitted(hours=OFFICE))
    room.flag(2)
    room.at(NOON + HOUR).flag(2)
    assert room.told() == [("L3", "SELF"), ("L3", "dr_a"), ("L3", "dr_b"), ("L2", "SELF")]  # dr_b: no answer for 30 min
    assert room.audits("SUPPRESSED") == [("SUPPRESSED", "OPEN_CASE")]


def test_every_notification_carries_the_conditions_of_its_own_tier() -> None:
    """S12, also where L3 was held back and L2 was said instead."""
    room = beating(permitted(hours=OFFICE))
    for i in range(4):
        room.at(NOON + i * HOUR).flag(2)
    assert room.said() == ["L3", "L2", "L4", "L4"]
    for v in room.values("notifications"):
        assert tier_of(v["conditions"]) == v["tier"]


def test_panic_disorder_takes_nothing_from_l3() -> None:
    room = permitted(hours=OFFICE, profile={"hr": {"panic_disorder": True}})
    beating(room).flag(2)
    assert room.said() == ["L3"]


def test_a_profile_may_keep_l3_from_the_therapist_but_not_l4() -> None:
    room = beating(permitted(hours=OFFICE, profile={"tier_to_therapist": "L4"}))
    room.flag(2)
    room.at(NOON + MINUTE).flag(3)
    assert room.told() == [("L3", "SELF"), ("L4", "SELF"), ("L4", "dr_a")]


# -- late evidence ----------------------------------------------------------------------------------------------------


def test_evidence_of_more_than_an_hour_ago_is_said_and_marked_late() -> None:
    room = Room().consent()
    room.flag(2, t=NOON - HOUR - 1, kind="ITEM9")
    room.flag(2, t=NOON - HOUR)
    assert [v["late"] for v in room.values("notifications")] == [True, False]


def test_evidence_of_more_than_a_day_ago_is_a_note_for_the_therapist_and_no_word_to_the_person() -> None:
    room = permitted(hours=OFFICE)
    room.flag(3, t=NOON - DAY - 1)
    assert room.told() == [("CASE_NOTE", "dr_a")]
    assert room.case()["tier"] == "CASE_NOTE"
    assert len(room.case()["late_notes"]) == 1
    assert tier_of(room.values("notifications")[0]["conditions"]) == "CASE_NOTE"


def test_without_acute_consent_the_note_stands_in_the_case_alone() -> None:
    room = Room(hours=OFFICE).consent()
    room.flag(3, t=NOON - 8 * DAY)
    assert room.told() == []
    assert room.case()["tier"] == "CASE_NOTE"


# -- the case ---------------------------------------------------------------------------------------------------------


def test_an_earlier_trigger_that_comes_late_gives_the_case_a_new_id_and_the_old_one_still_reaches_it() -> None:
    room = permitted(hours=OFFICE)
    room.flag(2)
    old = room.case()["case_id"]
    room.at(NOON + MINUTE).flag(2, t=NOON - 2 * HOUR)
    new = room.case()
    assert new["case_id"] != old
    assert new["supersedes"] == [old]
    assert room.audits("CASE_OPENED", "CASE_REKEYED") == [("CASE_OPENED", None), ("CASE_REKEYED", None)]
    room.acknowledge(old)
    assert (room.case()["case_id"], room.case()["state"]) == (new["case_id"], "ACKED")


@pytest.mark.parametrize("by_old_id", [True, False])
def test_an_acknowledged_case_is_not_escalated_though_it_got_a_new_id(by_old_id: bool) -> None:
    room = permitted(hours=OFFICE)
    room.flag(3)
    old = room.case()["case_id"]
    room.at(NOON + MINUTE).flag(2, t=NOON - 2 * HOUR)
    assert room.case()["supersedes"] == [old]
    room.at(NOON + 2 * MINUTE).acknowledge(old if by_old_id else room.case()["case_id"])
    room.at(NOON + 2 * HOUR)
    assert ("L4", "dr_b") not in room.told()
    assert room.audits("ESCALATED") == []


def test_a_case_with_a_new_id_that_nobody_acknowledges_is_escalated_under_it() -> None:
    room = permitted(hours=OFFICE)
    room.flag(3)
    room.at(NOON + MINUTE).flag(2, t=NOON - 2 * HOUR)
    room.restart().at(NOON + 2 * HOUR)
    assert room.told().count(("L4", "dr_b")) == 1
    escalated = [v["object_id"] for v in room.values("audit") if v["action"] == "ESCALATED"]
    assert escalated == [room.case()["case_id"]]


def test_a_trigger_that_comes_late_between_two_cases_makes_them_one() -> None:
    room = permitted(hours=OFFICE)
    room.flag(2, event_id="a")
    first = room.case()["case_id"]
    room.at(NOON + 30 * HOUR).flag(2, event_id="b")
    second = room.case()["case_id"]
    assert second != first
    room.at(NOON + 31 * HOUR).flag(2, t=NOON + 15 * HOUR, event_id="between")
    assert room.case()["case_id"] == first
    assert room.case()["supersedes"] == [second]
    assert len(room.case()["triggers"]) == 3
    assert list(final(room)) == [first]
    assert list(room.acute.files) == [first]


def test_old_evidence_of_a_long_case_goes_with_the_case_and_not_before() -> None:
    room = permitted(hours=OFFICE)
    for i in range(12):
        room.at(NOON + i * 23 * HOUR).flag(2)
        room.acute.forget(room.desk.now)
    long_case = room.case()["case_id"]
    room.at(room.desk.now + HOUR).acknowledge(long_case, "CONTACTED")
    room.at(room.desk.now + 2 * DAY)
    room.acute.forget(room.desk.now)
    room.flag(2)
    assert len(final(room)) == 2
    assert room.audits("CASE_REKEYED") == []


def test_hundreds_of_searches_keep_the_name_of_their_case() -> None:
    room = permitted(hours=OFFICE)
    room.flag(2)
    room.at(NOON + MINUTE).acknowledge(room.case()["case_id"], "CONTACTED")
    for i in range(310):
        room.at(NOON + (20 + i) * MINUTE).flag(2)
    assert len(room.acute.flags) == 300
    assert len(final(room)) == 2
    assert room.audits("CASE_REKEYED") == []


def test_an_acknowledgement_stops_the_half_hour() -> None:
    room = permitted(hours=OFFICE)
    room.flag(3)
    room.acknowledge(room.case()["case_id"]).at(NOON + 2 * HOUR)
    assert room.told() == [("L4", "SELF"), ("L4", "dr_a")]
    assert room.case()["state"] == "ACKED"


@pytest.mark.parametrize("acked", [False, True])
def test_a_therapist_who_escalates_reaches_the_backup_at_once(acked: bool) -> None:
    room = permitted(hours=OFFICE)
    room.flag(3)
    case_id = room.case()["case_id"]
    if acked:
        room.acknowledge(case_id)
    room.at(NOON + MINUTE).acknowledge(case_id, "ESCALATE")
    assert room.told() == [("L4", "SELF"), ("L4", "dr_a"), ("L4", "dr_b")]
    room.at(NOON + 3 * HOUR).acknowledge(case_id, "ESCALATE")
    assert room.told().count(("L4", "dr_b")) == 1


@pytest.mark.parametrize("action", ["CONTACTED", "DISMISS_FALSE"])
def test_a_closed_case_stays_closed_and_the_next_trigger_opens_another(action: str) -> None:
    room = permitted(hours=OFFICE)
    room.flag(2)
    first = room.case()["case_id"]
    room.at(NOON + HOUR).acknowledge(first, action)
    assert room.case()["state"] == "CLOSED"
    room.at(NOON + 2 * HOUR).flag(2)
    assert room.case()["case_id"] != first
    assert room.case()["state"] == "OPEN"
    assert room.case()["supersedes"] == []


def test_a_case_is_final_after_a_day_and_closed_after_three() -> None:
    room = Room().consent()
    room.flag(2)
    room.restart().at(NOON + DAY - 1)
    assert not room.case()["final"]
    room.at(NOON + DAY)
    assert room.case()["final"]
    room.at(NOON + 3 * DAY - 1)
    assert room.case()["state"] == "OPEN"
    room.at(NOON + 3 * DAY)
    assert room.case()["state"] == "CLOSED"


def test_triggers_a_day_apart_are_two_cases() -> None:
    room = Room().consent()
    room.flag(2)
    first = room.case()["case_id"]
    room.at(NOON + DAY).flag(2)
    assert room.case()["case_id"] != first
    assert first not in room.case()["supersedes"]


def test_revisions_of_a_case_rise_by_one_and_only_when_something_changed() -> None:
    room = permitted(hours=OFFICE)
    room.flag(2)
    room.flag(3)
    room.acute.review(room.desk, room.minutes)
    room.acknowledge(room.case()["case_id"]).at(NOON + 4 * DAY)
    files = room.values("case.file")
    assert [f["revision"] for f in files] == list(range(len(files)))
    bodies = [{k: v for k, v in f.items() if k != "revision"} for f in files]
    assert all(a != b for a, b in pairwise(bodies))


# -- properties -------------------------------------------------------------------------------------------------------

happenings = st.lists(
    st.tuples(
        st.integers(0, 3 * 24 * 60), st.sampled_from(["SEARCH", "SEARCH", "ITEM9", "CHAT_RISK"]), st.integers(1, 3),
        st.sampled_from([0, 0, 0, 30, 300]),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


def lived(events: list[tuple[int, str, int, int]], restarts: bool) -> Room:
    """Records by arrival; (minute, kind, severity, minutes late)."""
    room = permitted(hours=OFFICE)
    arrivals = sorted((NOON + (m + late) * MINUTE, i) for i, (m, _, _, late) in enumerate(events))
    for at, i in arrivals:
        minute, kind, severity, _ = events[i]
        if restarts:
            room.restart()
        room.at(at).flag(severity, t=NOON + minute * MINUTE, kind=kind, event_id=f"{i}")
    return room.at(NOON + 9 * DAY)


@given(happenings)
@settings(max_examples=40, deadline=None)
def test_restarts_change_nothing(events: list[tuple[int, str, int, int]]) -> None:
    assert dict(lived(events, True).desk.out) == dict(lived(events, False).desk.out)


@given(happenings)
@settings(max_examples=40, deadline=None)
def test_no_evidence_of_severity_three_goes_without_a_card_near_it_and_nothing_is_unsaid(
    events: list[tuple[int, str, int, int]],
) -> None:
    room = lived(events, False)
    cards = [int(v["dedupe_key"].rsplit("|", 1)[1]) for v in room.values("notifications") if v["tier"] == "L4"]
    for minute, _, severity, _ in events:
        if severity == 3:
            assert any(abs(NOON + minute * MINUTE - start) <= 20 * MINUTE for start in cards)
    said: dict[str, int] = {}
    for f in room.values("case.file"):
        assert RANK[f["tier_said"]] >= max([said.get(c, 0) for c in (f["case_id"], *f["supersedes"])])
        said[f["case_id"]] = RANK[f["tier_said"]]
    keys = [v["dedupe_key"] for v in room.values("notifications")]
    assert len(keys) == len(set(keys))
    for v in room.values("notifications"):
        assert tier_of(v["conditions"]) == v["tier"]


def final(room: Room) -> dict[str, Any]:
    """Last revision of every case that was not superseded: what the evidence says."""
    last = {f["case_id"]: f for f in room.values("case.file")}
    gone = {old for f in last.values() for old in f["supersedes"]}
    return {c: (f["tier"], f["triggers"], f["opened_time"]) for c, f in last.items() if c not in gone}


@given(happenings, st.data())
@settings(max_examples=40, deadline=None)
def test_the_cases_depend_on_what_happened_and_not_on_when_it_came(
    events: list[tuple[int, str, int, int]], data: st.DataObject
) -> None:
    """S6: any lateness up to a day gives the same final cases."""
    other = [(m, k, s, data.draw(st.integers(0, 1439))) for m, k, s, _ in events]
    assert final(lived(other, False)) == final(lived(events, False))
