"""Consent of one person: a sentence of privacy.md 2 a test, and the whole of it as a property."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.context.consent import BEGINNING, END, ConsentBook, check

DAY = 86_400_000
ACUTE = "THERAPIST_ALERT_ACUTE"


def consent(consent_id: str = "c1", version: int = 1, at: int = 0, **fields: Any) -> dict[str, Any]:
    value = {
        "consent_id": consent_id,
        "version": version,
        "status": "ACTIVE",
        "grantor": "SELF",
        "recipient_ref": "dr_a",
        "purpose": ACUTE,
        "modalities": ["SEARCH", "CHAT"],
        "effect": "PERMIT",
        "valid_from": at,
        "valid_to": 100 * DAY,
        "signature": "demo",
        **fields,
    }
    return {"user": "p", "event_time": at, "ingest_time": at, "value": value}


def book(*records: dict[str, Any], study_data: bool = False) -> ConsentBook:
    out = ConsentBook(study_data=study_data)
    for record in records:
        out.add(record)
    return out


def test_without_a_record_nothing_is_permitted() -> None:
    empty = book()
    assert not empty.permitted("CARE_USER_MSG", "SELF", "CHAT", 0)
    assert empty.version("CARE_USER_MSG", "SELF", "CHAT", 0) == "NONE"
    assert empty.intervals("CARE_USER_MSG", "SELF", "CHAT") == []


def test_a_permit_opens_its_purpose_to_its_recipient_for_its_modalities_in_its_time_only() -> None:
    b = book(consent(at=DAY))
    assert b.permitted(ACUTE, "dr_a", "SEARCH", DAY)
    assert not b.permitted(ACUTE, "dr_a", "SEARCH", DAY - 1)
    assert not b.permitted(ACUTE, "dr_a", "SEARCH", 100 * DAY)
    assert not b.permitted(ACUTE, "dr_b", "SEARCH", DAY)
    assert not b.permitted(ACUTE, "dr_a", "LOCATION", DAY)
    assert not b.permitted("RESEARCH", "dr_a", "SEARCH", DAY)
    assert b.intervals(ACUTE, "dr_a", "SEARCH") == [(DAY, 100 * DAY)]
    assert b.version(ACUTE, "dr_a", "SEARCH", DAY) == "c1:1"
    assert b.recipients(ACUTE, "SEARCH", DAY) == ["dr_a"]
    assert b.listed_modalities(ACUTE, "dr_a", DAY) == {"SEARCH", "CHAT"}


def test_nobody_consents_for_the_past() -> None:
    b = book({**consent(), "event_time": 5 * DAY, "ingest_time": 5 * DAY})
    assert b.intervals(ACUTE, "dr_a", "SEARCH") == [(5 * DAY, 100 * DAY)]


def test_a_revocation_works_from_its_start_and_not_before() -> None:
    b = book(consent(), consent(version=2, at=3 * DAY, status="REVOKED"))
    assert b.intervals(ACUTE, "dr_a", "SEARCH") == [(0, 3 * DAY)]


def test_the_highest_version_that_has_begun_decides_even_when_it_has_ended() -> None:
    b = book(consent(), consent(version=2, at=3 * DAY, valid_to=4 * DAY))
    assert b.intervals(ACUTE, "dr_a", "SEARCH") == [(0, 4 * DAY)]
    assert b.version(ACUTE, "dr_a", "SEARCH", 3 * DAY) == "c1:2"


def test_deny_beats_permit_while_it_counts() -> None:
    b = book(consent(), consent("c2", at=2 * DAY, effect="DENY", modalities=["SEARCH"], valid_to=5 * DAY))
    assert b.intervals(ACUTE, "dr_a", "SEARCH") == [(0, 2 * DAY), (5 * DAY, 100 * DAY)]
    assert b.listed_modalities(ACUTE, "dr_a", 2 * DAY) == {"CHAT"}
    assert b.recipients(ACUTE, "SEARCH", 3 * DAY) == []


def test_a_minor_needs_both_assent_and_guardian() -> None:
    own = consent("own", subject_is_minor=True)
    guardian = consent("parent", at=2 * DAY, grantor="GUARDIAN")
    assert not book(own).permitted(ACUTE, "dr_a", "CHAT", DAY)
    b = book(own, guardian)
    assert b.intervals(ACUTE, "dr_a", "CHAT") == [(2 * DAY, 100 * DAY)]
    assert b.version(ACUTE, "dr_a", "CHAT", 2 * DAY) == "own:1+parent:1"
    assert b.is_minor()
    assert b.is_minor(0)
    assert not b.is_minor(100 * DAY)


def test_minor_in_any_counting_record_asks_for_both_everywhere() -> None:
    elsewhere = consent("x", purpose="RESEARCH", recipient_ref="study", subject_is_minor=True, valid_to=2 * DAY)
    assert book(consent(), elsewhere).intervals(ACUTE, "dr_a", "CHAT") == [(2 * DAY, 100 * DAY)]


def test_care_messages_go_to_the_person_only() -> None:
    b = book(consent(purpose="CARE_USER_MSG"), consent("c2", purpose="CARE_USER_MSG", recipient_ref="SELF"))
    assert b.recipients("CARE_USER_MSG", "CHAT", 0) == ["SELF"]
    assert not b.permitted("CARE_USER_MSG", "dr_a", "CHAT", 0)


def test_study_data_opens_messages_and_research_to_persons_without_any_record() -> None:
    b = book(study_data=True)
    assert b.permitted("CARE_USER_MSG", "SELF", "HEART_RATE", 0)
    assert b.version("RESEARCH", "anyone", "HEART_RATE", 0) == "STUDY_DATA"
    assert b.anyone("RESEARCH", "HEART_RATE", 0)
    assert b.intervals("CARE_USER_MSG", "SELF", "HEART_RATE") == [(BEGINNING, END)]
    assert not b.anyone(ACUTE, "HEART_RATE", 0)
    b.add(consent())
    assert not b.permitted("CARE_USER_MSG", "SELF", "HEART_RATE", 0)


def test_the_same_version_twice_keeps_the_first_that_arrived() -> None:
    first, second = consent(), {**consent(modalities=["LOCATION"]), "ingest_time": 9}
    for order in ([first, second], [second, first]):
        assert book(*order).listed_modalities(ACUTE, "dr_a", DAY) == {"SEARCH", "CHAT"}
    b = book(first)
    assert not b.add(first)
    assert not b.add(second)
    assert not b.add({**first, "ingest_time": -5})


def test_a_wrong_date_never_loses_a_revocation_or_a_denial() -> None:
    far = {"valid_to": 400 * DAY}
    assert check(consent(**far)["value"]) == ("OUT_OF_RANGE", "valid_to")
    assert check(consent(**far, status="REVOKED")["value"]) is None
    assert check(consent(**far, effect="DENY")["value"]) is None
    assert check(consent(valid_to=366 * DAY)["value"]) is None


@pytest.mark.parametrize("name", ["*", "all", " Any "])
def test_no_wildcard_recipient(name: str) -> None:
    assert check(consent(recipient_ref=name)["value"]) == ("SCHEMA", "recipient_ref")


def test_an_unsigned_consent_is_none() -> None:
    assert check(consent(signature="")["value"]) == ("UNSIGNED", "signature")


# -- the whole rule as a property -------------------------------------------------------------------------------------

PEOPLE, PURPOSES, KINDS = ["SELF", "dr_a"], ["CARE_USER_MSG", ACUTE], ["CHAT", "SEARCH"]
TIMES = st.integers(0, 12)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    at = draw(TIMES)
    made = consent(
        draw(st.sampled_from(["c1", "c2", "c3"])),
        draw(st.integers(1, 3)),
        at,
        status=draw(st.sampled_from(["ACTIVE", "ACTIVE", "REVOKED"])),
        effect=draw(st.sampled_from(["PERMIT", "PERMIT", "DENY"])),
        grantor=draw(st.sampled_from(["SELF", "GUARDIAN"])),
        subject_is_minor=draw(st.sampled_from([False, False, True])),
        recipient_ref=draw(st.sampled_from(PEOPLE)),
        purpose=draw(st.sampled_from(PURPOSES)),
        modalities=draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2)),
        valid_from=draw(TIMES),
        valid_to=draw(st.integers(0, 15)),
    )
    return {**made, "ingest_time": at + draw(st.integers(0, 3))}


def by_the_letter(history: list[dict[str, Any]], purpose: str, recipient: str, modality: str, t: int) -> bool:
    """privacy.md 2, read aloud. One record a (consent_id, version)."""
    state: dict[str, dict[str, Any]] = {}
    for r in history:
        v = r["value"]
        if max(v["valid_from"], r["event_time"]) <= t:
            held = state.get(v["consent_id"])
            if held is None or v["version"] > held["version"]:
                state[v["consent_id"]] = v
    counting = [v for v in state.values() if v["status"] == "ACTIVE" and t < v["valid_to"]]
    about = [
        v
        for v in counting
        if v["purpose"] == purpose and v["recipient_ref"] == recipient and modality in v["modalities"]
    ]
    if any(v["effect"] == "DENY" for v in about) or (purpose == "CARE_USER_MSG" and recipient != "SELF"):
        return False
    grantors = {v["grantor"] for v in about}
    if any(v["subject_is_minor"] for v in counting):
        return grantors == {"SELF", "GUARDIAN"}
    return bool(grantors)


HISTORIES = st.lists(records(), max_size=8, unique_by=lambda r: (r["value"]["consent_id"], r["value"]["version"]))


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.randoms(use_true_random=False))
def test_permitted_intervals_and_recipients_say_what_the_rule_says(history: list[dict[str, Any]], rng: Any) -> None:
    shuffled = list(history)
    rng.shuffle(shuffled)
    b = ConsentBook.from_state(book(*shuffled).state())
    assert b.state() == book(*history).state()
    for purpose in PURPOSES:
        for recipient in PEOPLE:
            for modality in KINDS:
                spans = b.intervals(purpose, recipient, modality)
                assert all(a[1] < c[0] for a, c in pairwise(spans))
                for t in range(-1, 17):
                    expected = by_the_letter(history, purpose, recipient, modality, t)
                    assert b.permitted(purpose, recipient, modality, t) is expected
                    assert any(x <= t < y for x, y in spans) is expected
                    assert (recipient in b.recipients(purpose, modality, t)) is expected
                    assert (modality in b.listed_modalities(purpose, recipient, t)) is expected
                    assert (b.version(purpose, recipient, modality, t) != "NONE") is expected


@settings(max_examples=50, deadline=None)
@given(HISTORIES, TIMES)
def test_forgetting_the_past_changes_no_answer_about_later(history: list[dict[str, Any]], before: int) -> None:
    whole, short = book(*history), book(*history)
    short.forget(before)
    assert len(short.state()) <= len(whole.state())
    for t in range(before, 17):
        for purpose in PURPOSES:
            assert short.permitted(purpose, "SELF", "CHAT", t) == whole.permitted(purpose, "SELF", "CHAT", t)
