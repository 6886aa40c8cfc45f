"""Crisis evidence and consent: S1, S2, S26, S24, S9, S20, S21 (spec/invariants.md), on random small histories.

One example holds several people, because a replay of ten people costs hardly more than one of one.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from simulator.rows import Log, Record
from simulator.scenarios import build
from simulator.transforms import merge
from tests.scenarios.harness import Told, play
from tests.scenarios.small import BEGIN, DAY, HOUR, MINUTE, Small, ms, permitted

few = settings(
    max_examples=5,
    phases=[Phase.explicit, Phase.generate],  # shrinking replays for minutes
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
BUDGET = MINUTE  # support.md 7: p99 of L2, L4 from ingest
DEDUPE = 10 * MINUTE
Draw = dict[str, Any]


def of(told: Told, user: str, topic: str) -> list[Record]:
    return [r for r in told.outputs.get(topic, []) if r["user"] == user]


def notes(told: Told, user: str, *tiers: str, audience: str = "USER") -> list[Record]:
    return [
        r
        for r in of(told, user, "notifications")
        if r["value"]["audience"] == audience and (not tiers or r["value"]["tier"] in tiers)
    ]


def trigger(note: Record) -> int:
    """Start of what triggered a notification, from its dedupe key (support.md 8)."""
    return int(note["value"]["dedupe_key"].split("|")[-1])


def people(logs: list[Log]) -> Log:
    return merge(logs)


# -- S2 ----------------------------------------------------------------------------------------------------------

searches = st.lists(
    st.fixed_dictionaries(
        {
            "arrives_min": st.integers(0, 3 * 1440),
            "severity": st.sampled_from([0, 2, 2, 3, 3]),
            "late_min": st.sampled_from([0, 0, 0, 3, 45, 400, 1439, -4, -600, -3 * 1440]),
        }
    ),
    min_size=1,
    max_size=6,
)
crisis_people = st.lists(
    st.fixed_dictionaries(
        {
            "searches": searches,
            "profile": st.booleans(),
            "research": st.booleans(),
            "therapist": st.booleans(),
            "watch": st.booleans(),
        }
    ),
    min_size=10,
    max_size=10,
)


def crisis_person(user: str, drawn: Draw) -> tuple[Log, list[tuple[int, int]]]:
    """The person's log, and (event time that counts, arrival) of each search of severity 3."""
    small = Small(user, consents=False, profile=drawn["profile"])
    small.consent("c0")
    if drawn["therapist"]:
        small.consent("c1", purpose="THERAPIST_ALERT_ACUTE", recipient_ref="dr_a")
    if drawn["research"]:
        small.consent("c2", purpose="RESEARCH", recipient_ref="study")
    if drawn["watch"]:
        for hour in range(72):
            status = {"device": "WATCH", "worn": "YES", "connected": True, "covers": ["HEART_RATE", "ACTIVITY"]}
            small.add("device.status", BEGIN + DAY + hour * HOUR, status, source="watch-1")
    wanted = []
    for s in drawn["searches"]:
        arrival = BEGIN + DAY + s["arrives_min"] * MINUTE
        event = arrival - s["late_min"] * MINUTE
        small.search(event, s["severity"], arrives=arrival)
        counts = arrival if event > arrival + 5 * MINUTE else event
        if s["severity"] == 3:
            wanted.append((counts, arrival))
    small.until(BEGIN + 6 * DAY)
    return small.finished(), wanted


@few
@given(drawn=crisis_people)
def test_S02_a_search_for_a_method_always_gives_a_crisis_card_within_a_minute(  # noqa: N802
    drawn: list[Draw], tmp_path: Path
) -> None:
    made = {f"p{i:02d}": crisis_person(f"p{i:02d}", d) for i, d in enumerate(drawn)}
    told = play(people([log for log, _ in made.values()]), tmp_path / "log")
    for user, (_, wanted) in made.items():
        cards = notes(told, user, "L4")
        for event, arrival in wanted:
            answers = [c for c in cards if abs(trigger(c) - event) <= DEDUPE and c["ingest_time"] <= arrival + BUDGET]
            assert answers, f"{user}: nothing for the search of {event}, arrived {arrival}"
        for card in cards:
            assert card["value"]["action"] == "CRISIS_CARD"
            assert card["value"]["expires_at"] == 0
            assert card["value"]["urgency"] == "CRISIS"
        starts = sorted(map(trigger, cards))
        assert all(b - a >= DEDUPE for a, b in itertools.pairwise(starts)), user


# -- S1 ----------------------------------------------------------------------------------------------------------

consents = st.lists(
    st.fixed_dictionaries(
        {
            "consent_id": st.sampled_from(["c1", "c1", "c2"]),
            "at_min": st.integers(0, 5 * 1440),
            "status": st.sampled_from(["ACTIVE", "ACTIVE", "REVOKED"]),
            "effect": st.sampled_from(["PERMIT", "PERMIT", "PERMIT", "DENY"]),
            "grantor": st.sampled_from(["SELF", "SELF", "GUARDIAN"]),
            "minor": st.sampled_from([False, False, False, True]),
            "hours": st.sampled_from([3, 20, 60, 2000]),
            "search": st.sampled_from([True, True, True, False]),
        }
    ),
    max_size=6,
)
evenings = st.lists(st.tuples(st.integers(0, 5 * 1440), st.sampled_from([0, 0, 90, 1000])), min_size=1, max_size=5)
asked_people = st.lists(st.tuples(consents, evenings), min_size=10, max_size=10)


def asked_person(user: str, drawn: tuple[list[Draw], list[tuple[int, int]]]) -> Log:
    small = Small(user, consents=False)
    small.consent("c0")
    small.consent("c0g", grantor="GUARDIAN")
    versions: dict[str, int] = {}
    for c in sorted(drawn[0], key=lambda c: int(c["at_min"])):
        versions[c["consent_id"]] = versions.get(c["consent_id"], 0) + 1
        at = BEGIN + c["at_min"] * MINUTE
        small.consent(
            c["consent_id"],
            at,
            version=versions[c["consent_id"]],
            status=c["status"],
            effect=c["effect"],
            grantor=c["grantor"],
            subject_is_minor=c["minor"],
            purpose="THERAPIST_ALERT_ACUTE",
            recipient_ref="dr_a",
            modalities="ALL" if c["search"] else ["LOCATION", "HEART_RATE"],
            valid_to=at + c["hours"] * HOUR,
        )
    for at_min, late_min in drawn[1]:
        small.search(BEGIN + at_min * MINUTE, 3, arrives=BEGIN + (at_min + late_min) * MINUTE + 2_000)
    small.until(BEGIN + 9 * DAY)
    return small.finished()


@few
@given(drawn=asked_people)
def test_S01_no_therapist_hears_anything_without_a_permit_then_and_now(  # noqa: N802
    drawn: list[Any], tmp_path: Path
) -> None:
    logs = {f"p{i:02d}": asked_person(f"p{i:02d}", d) for i, d in enumerate(drawn)}
    told = play(people(list(logs.values())), tmp_path / "log")
    for user, log in logs.items():
        given_ = log["clinical.consent"]
        for note in notes(told, user, audience="THERAPIST"):
            who = note["value"]["recipient_ref"]
            for at in (trigger(note), note["ingest_time"]):
                assert permitted(given_, "THERAPIST_ALERT_ACUTE", who, "SEARCH", at), (user, at)


def test_S01_who_permits_it_all_the_time_is_alerted_in_contact_hours(tmp_path: Path) -> None:  # noqa: N802
    small = Small()
    small.search(ms("05-19 20:00"), 3)
    small.until(ms("05-21 00:00"))
    told = play(small.finished(), tmp_path / "log")
    (alert,) = notes(told, "p1", "L4", audience="THERAPIST")
    assert alert["ingest_time"] == ms("05-20 08:00")
    assert alert["value"]["queued_since"] == ms("05-19 20:00") + 2_000


def test_S01_revoked_in_the_night_nothing_is_delivered_in_the_morning(tmp_path: Path) -> None:  # noqa: N802
    small = Small()
    small.search(ms("05-19 20:00"), 3)
    who = {"purpose": "THERAPIST_ALERT_ACUTE", "recipient_ref": "dr_a"}
    small.consent("c1", ms("05-20 07:59"), version=2, status="REVOKED", **who)
    small.until(ms("05-21 00:00"))
    told = play(small.finished(), tmp_path / "log")
    assert notes(told, "p1", audience="THERAPIST") == []
    assert "CANCELLED_CONSENT" in {r["value"]["action"] for r in told.outputs["audit"]}
    assert len(notes(told, "p1", "L4")) == 1


# -- S26 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("severity", "tier"), [(2, "L2"), (3, "L4")])
def test_S26_twenty_hours_late_is_said_and_marked_late(severity: int, tier: str, tmp_path: Path) -> None:  # noqa: N802
    small = Small()
    small.search(ms("05-19 14:00"), severity, arrives=ms("05-20 10:00"))
    small.until(ms("05-22 00:00"))
    told = play(small.finished(), tmp_path / "log")
    (note,) = notes(told, "p1")
    assert (note["value"]["tier"], note["value"]["late"]) == (tier, True)
    assert note["ingest_time"] == ms("05-20 10:00")


@pytest.mark.parametrize("hours", [25, 9 * 24])
@pytest.mark.parametrize("severity", [2, 3])
def test_S26_more_than_a_day_late_is_a_note_in_the_case_and_nobody_is_told_now(  # noqa: N802
    hours: int, severity: int, tmp_path: Path
) -> None:
    arrival = ms("05-29 10:00")
    small = Small()
    small.search(arrival - hours * HOUR, severity, arrives=arrival)
    small.until(arrival + 2 * DAY)
    told = play(small.finished(), tmp_path / "log")
    assert [r for r in notes(told, "p1") if r["value"]["tier"] in ("L2", "L3", "L4")] == []
    assert {r["value"]["tier"] for r in notes(told, "p1", audience="THERAPIST")} == {"CASE_NOTE"}
    assert told.report["dlq"] == {}
    (case,) = {r["value"]["case_id"] for r in told.outputs["case.file"]}
    last = [r["value"] for r in told.outputs["case.file"] if r["value"]["case_id"] == case][-1]
    assert len(last["late_notes"]) == 1


# -- S24 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [True, False])
def test_S24_at_the_start_only_searches_are_answered(profile: bool, tmp_path: Path) -> None:  # noqa: N802
    research = {"c2": {"purpose": "RESEARCH", "recipient_ref": "study"}}
    searched = [{"at": f"05-20 {h}:30", "search": f"zz-{t}"} for h, t in ((12, "help"), (16, "self"), (18, "method"))]
    log = build("g1", first_day="05-16", profile=profile, consents=research, events=searched)
    told = play(log, tmp_path / "log")
    assert {r["value"]["tier"] for r in told.outputs["notifications"]} == {"L2", "L4", "RESOURCES"}


def test_S24_without_a_profile_the_rules_stay_off_however_long_the_history(tmp_path: Path) -> None:  # noqa: N802
    told = play(build("g1", first_day="05-06", profile=False), tmp_path / "log")
    assert {r["value"]["tier"] for r in told.notifications()} == {"L2"}
    assert "HR_EPISODE" in {r["value"]["kind"] for r in told.outputs["risk.signal"]}


# -- S9 ----------------------------------------------------------------------------------------------------------


def test_S09_versions_are_those_of_the_event_also_when_it_comes_late(tmp_path: Path) -> None:  # noqa: N802
    small = Small()
    noon = ms("05-20 12:00")
    small.profile(noon, version=2)
    small.consent("c0", noon, version=2)
    small.search(ms("05-20 10:00"), 2, arrives=ms("05-20 15:00"))
    small.search(ms("05-20 12:30"), 3, arrives=ms("05-20 15:30"))
    small.until(ms("05-22 00:00"))
    told = play(small.finished(), tmp_path / "log")
    versions = {r["value"]["tier"]: r["value"]["versions"] for r in notes(told, "p1")}
    assert (versions["L2"]["profile"], versions["L2"]["consent"]) == ("1", "c0:1")
    assert (versions["L4"]["profile"], versions["L4"]["consent"]) == ("2", "c0:2")


def test_S09_what_was_not_permitted_when_it_happened_is_not_collected_later(tmp_path: Path) -> None:  # noqa: N802
    small = Small(consents=False)
    small.consent("c0", ms("05-20 12:00"))
    small.search(ms("05-20 11:00"), 3, arrives=ms("05-20 13:00"))
    small.search(ms("05-20 14:00"), 2)
    small.until(ms("05-21 00:00"))
    told = play(small.finished(), tmp_path / "log")
    assert [r["value"]["tier"] for r in notes(told, "p1")] == ["L2"]
    assert told.report["dlq"]["NO_CONSENT"] == 1


# -- S20 ---------------------------------------------------------------------------------------------------------

BEYOND: dict[str, dict[str, Any]] = {
    "floor_low": {"hr": {"floor_bpm": 7, "z": 2.5}},
    "floor_high": {"hr": {"floor_bpm": 26, "z": 2.5}},
    "z_low": {"hr": {"floor_bpm": 12, "z": 1.9}},
    "z_high": {"hr": {"floor_bpm": 12, "z": 4.5}},
    "ratio": {"withdrawal": {"ratio": 0.9, "k": 3, "n": 5}},
    "k": {"withdrawal": {"ratio": 0.7, "k": 1, "n": 5}},
    "n": {"withdrawal": {"ratio": 0.7, "k": 3, "n": 8}},
    "n_below_k": {"withdrawal": {"ratio": 0.7, "k": 5, "n": 4}},
    "too_long": {"valid_to": BEGIN + DAY + 91 * DAY},
    "long_holiday": {
        "context_note": [{"kind": "HOLIDAY", "valid_from": BEGIN, "valid_to": BEGIN + 31 * DAY}],
    },
    "weight": {"behaviour": [{"feature": "GAMING", "direction": "RISK_UP", "weight": 3.0}]},
}


def test_S20_a_profile_beyond_its_rails_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:  # noqa: N802
    logs = []
    for name, fields in BEYOND.items():
        small = Small(name)
        small.profile(BEGIN + DAY, **({"version": 2} | fields))
        small.search(BEGIN + 2 * DAY, 2)
        small.until(BEGIN + 3 * DAY)
        logs.append(small.finished())
    told = play(people(logs), tmp_path / "log")
    for name in BEYOND:
        (letter,) = of(told, name, "dlq")
        assert letter["value"]["topic"] == "clinical.profile", name
        assert letter["value"]["reason"] == "GUARD_RAIL", name
        assert letter["value"].get("field"), name
        (note,) = notes(told, name, "L2")
        assert note["value"]["versions"]["profile"] == "1", name
        assert "PROFILE_REJECTED" in {r["value"]["action"] for r in of(told, name, "audit")}, name


def test_S20_an_unsigned_profile_is_refused(tmp_path: Path) -> None:  # noqa: N802
    small = Small()
    small.profile(BEGIN + DAY, version=2, signature="")
    small.search(BEGIN + 2 * DAY, 2)
    small.until(BEGIN + 3 * DAY)
    told = play(small.finished(), tmp_path / "log")
    assert told.report["dlq"] == {"UNSIGNED": 1}
    assert notes(told, "p1")[0]["value"]["versions"]["profile"] == "1"


# -- S21 ---------------------------------------------------------------------------------------------------------

helps = st.lists(st.lists(st.integers(0, 5 * 1440), min_size=1, max_size=8), min_size=10, max_size=10)


@few
@given(drawn=helps)
def test_S21_sent_and_suppressed_are_what_was_decided(drawn: list[list[int]], tmp_path: Path) -> None:  # noqa: N802
    logs = {}
    for i, times in enumerate(drawn):
        small = Small(f"p{i:02d}")
        for at_min in times:
            small.search(BEGIN + at_min * MINUTE, 0)
        small.until(BEGIN + 7 * DAY)
        logs[small.user] = small.finished()
    told = play(people(list(logs.values())), tmp_path / "log")
    for user in logs:
        decided = {
            r["value"]["signal_id"]
            for r in of(told, user, "risk.signal")
            if r["value"]["kind"] == "SEARCH" and r["value"]["state"] != "OFF"
        }
        sent = notes(told, user, "RESOURCES")
        kept_back = [r["value"] for r in of(told, user, "audit") if r["value"]["action"] == "SUPPRESSED"]
        assert len(sent) + len(kept_back) == len(decided), user
        assert all(row.get("reason") for row in kept_back)
        told_ids = {r["value"]["notification_id"] for r in of(told, user, "notifications")}
        booked = {r["value"]["object_id"] for r in of(told, user, "audit") if r["value"]["action"] == "NOTIFIED"}
        assert told_ids == booked
        times = sorted(r["ingest_time"] for r in sent)
        assert all(b - a >= DAY for a, b in itertools.pairwise(times))
