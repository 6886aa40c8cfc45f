"""The logs of the golden scenarios hold what the stories tell (spec/scenarios.md), told here again by hand."""

from __future__ import annotations

import datetime as dt
import itertools
from functools import cache
from statistics import fmean, pstdev
from typing import Any

import pytest

from simulator.rows import Log, Record
from simulator.scenarios import ScenarioError, build, names, needs

ZONE = dt.timezone(dt.timedelta(minutes=120))
HOME, OTHER = (52.5163, 13.3777), (52.5401, 13.3777)


def ms(when: str) -> int:
    """'05-20 14:00' local time of the stories → ms UTC."""
    return round(dt.datetime.strptime(f"2026-{when}", "%Y-%m-%d %H:%M").replace(tzinfo=ZONE).timestamp() * 1000)


@cache
def log_of(name: str) -> Log:
    """The story's last weeks; `history` has all of them."""
    return build(name, first_day="05-10")


@cache
def history() -> Log:
    return build("base", last_day="05-19")


@cache
def usual_log() -> Log:
    return build("base", first_day="05-18", last_day="05-31")


def rows(log: Log, topic: str, frm: str, to: str, by: str = "event_time") -> list[Record]:
    a, b = ms(frm), ms(to)
    return [r for r in log.get(topic, []) if a <= r[by] < b]


def values(log: Log, topic: str, field: str, frm: str, to: str) -> list[Any]:
    return [r["value"][field] for r in rows(log, topic, frm, to)]


def away(record: Record) -> bool:
    return abs(record["value"]["latitude"] - HOME[0]) > 0.005


def outings(log: Log, day: str) -> int:
    """Runs of fixes away from home on one day."""
    fixes = [away(r) for r in sorted(rows(log, "raw.location", f"{day} 00:00", f"{day} 23:59"), key=by_event)]
    return sum(now and not before for now, before in zip(fixes, [False, *fixes], strict=False))


def steps(log: Log, day: str) -> int:
    return sum(values(log, "device.activity", "steps", f"{day} 00:00", f"{day} 23:59"))


def by_event(record: Record) -> int:
    return int(record["event_time"])


def days(first: str, count: int) -> list[str]:
    start = dt.date.fromisoformat(f"2026-{first}")
    return [(start + dt.timedelta(days=n)).strftime("%m-%d") for n in range(count)]


def test_the_history_has_37_days_with_the_told_numbers_of_outings() -> None:
    log = history()
    told = [3, 3, 4, 3, 2, 3, 3]
    assert [outings(log, day) for day in days("04-13", 37)] == [told[n % 7] for n in range(37)]


def test_an_outing_lasts_45_minutes_with_a_fix_every_5() -> None:
    fixes = sorted(rows(history(), "raw.location", "04-13 00:00", "04-14 00:00"), key=by_event)
    assert {b["event_time"] - a["event_time"] for a, b in itertools.pairwise(fixes)} == {300_000}
    assert len(fixes) == 288
    assert sum(away(r) for r in fixes) == 3 * 9
    assert {r["value"]["accuracy_m"] for r in fixes} == {20.0}


def test_steps_of_a_day_lie_around_8000() -> None:
    counts = [steps(history(), day) for day in days("04-13", 37)]
    assert fmean(counts) == pytest.approx(8_000, abs=400)
    assert pstdev(counts) == pytest.approx(900, abs=300)


def test_the_watch_is_worn_from_half_past_seven_to_eleven_at_night() -> None:
    for topic in ("device.heart_rate", "device.activity"):
        times = sorted(r["event_time"] for r in rows(log_of("g1"), topic, "05-12 00:00", "05-13 00:00"))
        assert times == list(range(ms("05-12 07:30"), ms("05-12 23:00"), 60_000))
    beats = rows(log_of("g1"), "device.status", "05-12 00:00", "05-13 00:00")
    phone = [r["event_time"] for r in beats if r["value"]["device"] == "PHONE"]
    watch = {r["event_time"] for r in beats if r["value"]["device"] == "WATCH"}
    assert phone == list(range(ms("05-12 00:00"), ms("05-13 00:00"), 3_600_000))
    assert watch >= set(phone)


def test_the_pulse_at_rest_is_64_with_noise_of_4_and_follows_the_steps() -> None:
    log = history()
    still, moving = [], []
    pace = {r["event_time"]: r["value"]["steps"] for r in log["device.activity"]}
    for r in log["device.heart_rate"]:
        at, bpm = pace[r["event_time"]], r["value"]["bpm"]
        (moving if at else still).append(bpm - 0.25 * at)
        assert r["value"]["quality"] == "LOCKED"
    assert fmean(still) == pytest.approx(64, abs=0.2)
    assert pstdev(still) == pytest.approx(4, abs=0.1)
    assert fmean(moving) == pytest.approx(64, abs=0.4)


def test_everything_arrives_two_seconds_after_it_happened() -> None:
    log = log_of("g1")
    late = {r["ingest_time"] - r["event_time"] for t, rs in log.items() if t[:3] in ("raw", "dev") for r in rs}
    assert late == {2_000}


def test_nobody_searches_before_the_story_begins() -> None:
    for name in names():
        if not needs(name):
            told = build(name, first_day="05-19")
            assert all(r["event_time"] >= ms("05-20 00:00") for r in told.get("raw.search", [])), name


def test_a_day_is_the_same_whenever_the_log_begins() -> None:
    whole = values(history(), "device.activity", "steps", "05-18 00:00", "05-19 00:00")
    assert values(usual_log(), "device.activity", "steps", "05-18 00:00", "05-19 00:00") == whole
    assert outings(usual_log(), "05-18") == outings(history(), "05-18")


def test_every_id_occurs_once_and_every_record_has_the_person() -> None:
    log = log_of("g4")
    ids = [(t, r["event_id"]) for t, rs in log.items() for r in rs]
    assert len(set(ids)) == len(ids)
    assert {r["user"] for t, rs in log.items() for r in rs if t != "content.pack"} == {"g4"}


def test_consents_profile_and_home_are_signed_and_valid() -> None:
    log = log_of("g1")
    c0, c1 = (r["value"] for r in log["clinical.consent"])
    assert (c0["consent_id"], c0["purpose"], c0["recipient_ref"]) == ("c0", "CARE_USER_MSG", "SELF")
    assert (c1["consent_id"], c1["purpose"], c1["recipient_ref"]) == ("c1", "THERAPIST_ALERT_ACUTE", "dr_a")
    for consent in (c0, c1):
        assert (consent["status"], consent["effect"], consent["grantor"]) == ("ACTIVE", "PERMIT", "SELF")
        assert (consent["valid_from"], consent["valid_to"]) == (ms("04-01 00:00"), ms("04-01 00:00") + 364 * 86_400_000)
        assert len(consent["modalities"]) == 11
        assert consent["signature"] == "demo"
    profile = log["clinical.profile"][0]["value"]
    assert profile["valid_to"] - profile["effective_from"] == 90 * 86_400_000
    assert profile["hr"] == {"floor_bpm": 12, "z": 2.5, "panic_disorder": False}
    assert profile["contact"]["hours"] == [{"weekday": d, "from_min": 480, "to_min": 1080} for d in range(1, 6)]
    assert (profile["contact"]["quiet_from_min"], profile["contact"]["quiet_to_min"]) == (1320, 420)
    home = log["clinical.home"][0]["value"]
    assert (home["latitude"], home["longitude"], home["radius_m"]) == (*HOME, 100)


def test_g1_walks_to_the_other_place_sits_and_the_pulse_rises() -> None:
    log = log_of("g1")
    assert values(log, "device.activity", "steps", "05-20 14:00", "05-20 14:10") == [100] * 10
    assert values(log, "device.activity", "steps", "05-20 14:10", "05-20 15:40") == [0] * 90
    assert fmean(values(log, "device.heart_rate", "bpm", "05-20 14:50", "05-20 15:10")) == pytest.approx(94, abs=2.5)
    assert fmean(values(log, "device.heart_rate", "bpm", "05-20 14:10", "05-20 14:50")) == pytest.approx(64, abs=2.5)
    assert fmean(values(log, "device.heart_rate", "bpm", "05-20 15:10", "05-20 15:40")) == pytest.approx(64, abs=2.5)
    fixes = rows(log, "raw.location", "05-20 13:00", "05-20 16:30")
    assert [r["event_time"] for r in fixes if away(r)] == list(range(ms("05-20 14:00"), ms("05-20 15:40"), 300_000))
    assert [(r["event_time"], r["value"]["query"]) for r in log["raw.search"]] == [(ms("05-20 16:30"), "zz-self")]


def test_g1_no_consent_lacks_the_therapist() -> None:
    assert [r["value"]["consent_id"] for r in log_of("g1_no_consent")["clinical.consent"]] == ["c0"]


def test_g2_the_watch_says_it_is_off_and_measures_no_pulse() -> None:
    log = log_of("g2")
    assert rows(log, "device.heart_rate", "05-20 13:50", "05-21 00:00") == []
    assert len(rows(log, "device.heart_rate", "05-20 07:30", "05-20 13:50")) == 380
    said = [
        (r["event_time"], r["value"]["worn"])
        for r in rows(log, "device.status", "05-20 08:00", "05-21 00:00")
        if r["value"]["device"] == "WATCH"
    ]
    assert (ms("05-20 13:50"), "NO") in said
    assert {worn for at, worn in said if at >= ms("05-20 13:50")} == {"NO"}
    assert {worn for at, worn in said if at < ms("05-20 13:50")} == {"YES"}


def test_g3_runs_instead_of_sitting() -> None:
    log = log_of("g3")
    assert values(log, "device.activity", "steps", "05-20 14:40", "05-20 15:10") == [150] * 30
    assert set(values(log, "device.activity", "intensity", "05-20 14:40", "05-20 15:10")) == {3}
    assert values(log, "device.activity", "steps", "05-20 15:10", "05-20 15:20") == [100] * 10
    assert fmean(values(log, "device.heart_rate", "bpm", "05-20 14:40", "05-20 15:10")) == pytest.approx(124, abs=2.5)


def test_g4_the_rows_of_the_watch_arrive_at_ten_past_five() -> None:
    log = log_of("g4")
    for topic in ("device.heart_rate", "device.activity"):
        late = rows(log, topic, "05-20 14:00", "05-20 15:40")
        assert len(late) == 100
        assert {r["ingest_time"] for r in late} == {ms("05-20 17:10")}
        assert sum(r["ingest_time"] != r["event_time"] + 2_000 for r in log[topic]) == 100
    same = log_of("g1")["device.heart_rate"]
    assert [r["value"] for r in sorted(log["device.heart_rate"], key=by_event)] == [r["value"] for r in same]


def test_g5_walks_four_tenths_and_goes_out_once_for_seven_days() -> None:
    log, usual = log_of("g5"), usual_log()
    for day in days("05-20", 7):
        assert outings(log, day) == 1
        assert steps(log, day) == pytest.approx(0.4 * steps(usual, day), rel=0.02)
    assert [outings(log, day) for day in days("05-27", 4)] == [outings(usual, day) for day in days("05-27", 4)]
    assert [(r["event_time"], r["value"]["query"]) for r in log["raw.search"]] == [(ms("05-21 21:00"), "zz-death")]


def test_g6_phone_and_watch_are_silent_for_five_days_but_the_computer_is_not() -> None:
    log = log_of("g6")
    for topic in ("device.heart_rate", "device.activity", "device.status", "raw.location", "raw.app_usage"):
        assert rows(log, topic, "05-20 00:00", "05-25 00:00") == [], topic
        assert rows(log, topic, "05-25 00:00", "05-26 00:00"), topic
    assert [r["source_id"] for r in log["raw.search"]] == ["computer-1"]


def test_g7_walks_a_lot_alone() -> None:
    log, usual = log_of("g7"), usual_log()
    behaviour = [{"feature": "WALK_ALONE", "direction": "RISK_UP", "weight": 1}]
    assert log["clinical.profile"][0]["value"]["behaviour"] == behaviour
    assert "behaviour" not in log_of("g7_without_profile_add")["clinical.profile"][0]["value"]
    for day in days("05-20", 7):
        assert outings(log, day) == 1
        assert steps(log, day) == pytest.approx(1.1 * steps(usual, day), rel=0.02)


def test_g8_plays_three_times_as_long() -> None:
    def played(name: str, day: str) -> float:
        used = rows(log_of(name), "raw.app_usage", f"{day} 00:00", f"{day} 23:59")
        return sum(r["value"].get("duration_s", 0.0) for r in used if r["value"].get("category") == "GAME_BOARD")

    usual = [played("g8", day) for day in days("05-10", 10)]
    for day in days("05-20", 3):
        assert played("g8", day) > 2.2 * fmean(usual)
    assert all(outings(log_of("g8"), day) == 1 for day in days("05-20", 4))
    only = log_of("g8_only_game_factor")
    assert [outings(only, day) for day in days("05-20", 2)] == [4, 3]
    assert played("g8_only_game_factor", "05-20") > 2.2 * fmean(usual)
    neutral = log_of("g8_direction_NEUTRAL")["clinical.profile"][0]["value"]["behaviour"]
    assert neutral == [{"feature": "GAMING", "direction": "NEUTRAL", "weight": 1}]


def test_g9_is_on_holiday() -> None:
    note = log_of("g9")["clinical.profile"][0]["value"]["context_note"]
    assert note == [{"kind": "HOLIDAY", "valid_from": ms("05-19 00:00"), "valid_to": ms("05-31 00:00")}]


def test_g11_revokes_half_an_hour_after_the_search() -> None:
    log = log_of("g11")
    assert [r["event_time"] for r in log["raw.search"]] == [ms("05-20 20:30")]
    last = log["clinical.consent"][-1]
    assert last["event_time"] == ms("05-20 21:00")
    assert {k: last["value"][k] for k in ("consent_id", "version", "status")} == {
        "consent_id": "c1",
        "version": 2,
        "status": "REVOKED",
    }


def test_g17_is_a_minor_whose_guardian_has_not_agreed() -> None:
    log = log_of("g17")
    assert all(r["value"]["subject_is_minor"] for r in log["clinical.consent"])
    assert {r["value"]["grantor"] for r in log["clinical.consent"]} == {"SELF"}
    assert [r["value"]["text"] for r in log["chat.inbound"]] == ["hello"]
    permitted = log_of("g17_guardian_permits_from_start")["clinical.consent"]
    assert sorted(r["value"]["grantor"] for r in permitted) == ["GUARDIAN", "GUARDIAN", "SELF", "SELF"]


def test_what_is_told_does_not_depend_on_the_zone() -> None:
    here, there = log_of("g1"), build("g1", tz_offset_min=-300, first_day="05-10")
    for topic in ("device.activity", "raw.location", "raw.search", "clinical.consent"):
        by = 420 * 60_000
        assert [r["event_time"] + by for r in here[topic]] == [r["event_time"] for r in there[topic]]


def test_unknown_names_are_refused_in_one_sentence() -> None:
    with pytest.raises(ScenarioError, match="no scenario 'g99'"):
        build("g99")
