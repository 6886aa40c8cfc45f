"""Missing is not zero, and what is learned does not depend on order or distress: S3, S4, S10, S11, S23, S27."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from simulator import transforms
from simulator.people import one_person
from simulator.rows import Log, Record, dicts, in_arrival_order
from simulator.scenarios import build
from tests.scenarios.harness import Told, newest, play
from tests.scenarios.small import BEGIN, DAY, HOUR, MINUTE, Small, ms
from tests.scenarios.test_invariants_crisis import few, notes, of, people
from tests.scenarios.test_invariants_replay import FIRST

FORTNIGHT = "05-07"
MONTH = "04-18"
Rows = dict[int, dict[str, Any]]
DECISION = ms("05-19 04:00")  # days before it are the baseline and stay as they are


@cache
def base(name: str, first_day: str = FORTNIGHT, last_day: str = "05-21") -> Log:
    return build(name, first_day=first_day, last_day=last_day)


def as_user(log: Log, user: str) -> Log:
    """The same log of somebody else; the content stays."""
    return {
        t: [r if r["user"].startswith("_") else {**r, "user": user, "event_id": f"{user}-{r['event_id']}"} for r in rs]
        for t, rs in log.items()
    }


def episodes(told: Told, user: str) -> list[tuple[int, int]]:
    """(start, end) of heart-rate episodes that were ON at any time."""
    seen = [r for r in of(told, user, "risk.signal") if r["value"]["kind"] == "HR_EPISODE"]
    on = {r["value"]["signal_id"] for r in seen if r["value"]["state"] == "ON"}
    last = newest(seen, "signal_id")
    return sorted((last[i]["value"]["start_time"], last[i]["value"].get("end_time", 2**60)) for i in on)


LOSSES: dict[str, Callable[[Log, int], Log]] = {
    **{
        f"row{int(100 * f)}": (lambda log, seed, f=f: transforms.drop(log, seed, f, since=DECISION))  # type: ignore[misc]
        for f in (0.05, 0.1, 0.3, 0.5)
    },
    "minute30": lambda log, seed: transforms.drop(log, seed, 0.3, by="minute", since=DECISION),
    "moving50": lambda log, seed: transforms.drop(log, seed, 0.5, by="moving", since=DECISION),
    "moving100": lambda log, seed: transforms.drop(log, seed, 1.0, by="moving", since=DECISION),
    "day50": lambda log, seed: transforms.drop(log, seed, 0.5, by="day", since=DECISION),
    **{
        f"no_{topic.split('.')[1]}": (
            lambda log, seed, t=topic: transforms.drop(log, seed, 1.0, topics=(t,), since=DECISION)  # type: ignore[misc]
        )
        for topic in ("device.heart_rate", "device.activity", "device.status", "raw.location")
    },
}


@pytest.mark.parametrize("name", ["g1", "g3", "base"])
def test_S03_what_is_lost_never_turns_a_signal_on(name: str, tmp_path: Path) -> None:  # noqa: N802
    whole = base(name)
    logs = [as_user(whole, "whole")] + [as_user(lose(whole, 11), n) for n, lose in LOSSES.items()]
    told = play(people(logs), tmp_path / "log")
    complete = episodes(told, "whole")
    for user in LOSSES:
        for start, _ in episodes(told, user):
            assert any(a <= start <= b for a, b in complete), f"{user}: an episode that the whole log does not have"
        for note in notes(told, user) + notes(told, user, audience="THERAPIST"):
            assert note["value"]["tier"] in ("L2", "L3", "DEVICE_REMINDER"), user
            assert name != "base" or note["value"]["tier"] == "DEVICE_REMINDER", user


def test_S03_a_quiet_month_with_losses_is_no_withdrawal(tmp_path: Path) -> None:  # noqa: N802
    whole = base("base", MONTH, "05-25")
    since = ms("05-18 04:00")
    losses: dict[str, Log] = {
        "whole": whole,
        "rows": transforms.drop(whole, 3, 0.5, since=since),
        "minutes": transforms.drop(whole, 3, 0.4, by="minute", since=since),
        "walks": transforms.drop(whole, 3, 0.9, by="moving", since=since),
        "days": transforms.drop(whole, 3, 0.6, by="day", since=since),
        "fixes": transforms.drop(whole, 3, 0.9, topics=("raw.location",), since=since),
        "activity": transforms.drop(whole, 3, 1.0, topics=("device.activity",), since=since),
    }
    told = play(people([as_user(log, user) for user, log in losses.items()]), tmp_path / "log")
    for user in losses:
        on = [r for r in of(told, user, "risk.signal") if r["value"]["kind"] == "WITHDRAWAL"]
        assert all(r["value"]["state"] != "ON" for r in on), user
        assert notes(told, user, "W1", "W2") == [], user


def test_S03_random_loss_never_raises_the_rate_of_signals(tmp_path: Path) -> None:  # noqa: N802
    shares = (0.0, 0.2, 0.5)
    counts = dict.fromkeys(shares, 0)
    logs = []
    for index in (1, 6):
        blocks, control, _ = one_person(3, index, FIRST, 13)
        log: Log = {t: list(rs) for t, rs in control.items() if t.startswith("clinical.")}
        for block in blocks:
            if block.topic != "raw.app_usage":
                log.setdefault(block.topic, []).extend(dicts(block, f"p{index}"))
        log = in_arrival_order(log)
        for share in shares:
            logs.append(as_user(transforms.drop(log, index, share), f"p{index}_{share}"))
    told = play(people(logs), tmp_path / "log")
    for index in (1, 6):
        for share in shares:
            counts[share] += len(episodes(told, f"p{index}_{share}"))
    assert counts[0.0] > 0
    assert all(counts[share] <= counts[0.0] for share in shares), counts


# -- S4 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_S04_missing_activity_in_exercise_is_no_rest(share: float, tmp_path: Path) -> None:  # noqa: N802
    frm, to = ms("05-20 14:40"), ms("05-20 15:20")
    whole = base("g3")
    logs = []
    for seed in range(4):
        kept = transforms.drop(whole, seed, share, topics=("device.activity",), since=frm, until=to)
        logs.append(as_user(kept, f"p{seed}"))
    told = play(people(logs), tmp_path / "log")
    for seed in range(4):
        wrong = [s for s, _ in episodes(told, f"p{seed}") if frm - 10 * MINUTE <= s < to + 30 * MINUTE]
        assert wrong == []


# -- S10 ---------------------------------------------------------------------------------------------------------

ACUTE = {"purpose": "THERAPIST_ALERT_ACUTE", "recipient_ref": "dr_a"}
TREND = {"purpose": "THERAPIST_ALERT_TREND", "recipient_ref": "dr_a"}
RESEARCH = {"purpose": "RESEARCH", "recipient_ref": "study"}
WATCHED = {"purpose": "MONITORING_STATUS", "recipient_ref": "dr_a"}
AGREED: dict[str, dict[str, dict[str, str]]] = {
    "nothing": {},
    "acute": {"c1": ACUTE},
    "trend": {"c2": TREND},
    "all": {"c1": ACUTE, "c2": TREND, "c3": RESEARCH, "c4": WATCHED},
}


def agreed(name: str, first_day: str, **how: object) -> Log:
    """The story once for each set of consents, as different people."""
    logs = []
    for user, consents in AGREED.items():
        whole = dict(base_of(name, first_day))
        own = build(name, user=user, first_day="05-19", last_day="05-22", without=["c1"], consents=consents)
        whole = as_user(whole, user) | {"clinical.consent": own["clinical.consent"]}
        if how.get("no_search"):
            whole.pop("raw.search")
        logs.append(whole)
    return people(logs)


@cache
def base_of(name: str, first_day: str) -> Log:
    return build(name, first_day=first_day)


def test_S10_the_pulse_alone_never_reaches_the_therapist(tmp_path: Path) -> None:  # noqa: N802
    told = play(agreed("g1", FORTNIGHT, no_search=True), tmp_path / "log")
    for user in AGREED:
        assert episodes(told, user), "there must have been an episode"
        assert notes(told, user, audience="THERAPIST") == [], user
        assert {r["value"]["tier"] for r in notes(told, user)} <= {"L1"}, user
    assert [r for user in ("nothing", "acute", "trend") for r in notes(told, user)] == []


def test_S10_withdrawal_reaches_the_therapist_only_with_the_trend_permit(tmp_path: Path) -> None:  # noqa: N802
    told = play(agreed("g5", MONTH), tmp_path / "log")
    for user in AGREED:
        assert len(notes(told, user, "W2")) == 1, user
        alerts = notes(told, user, audience="THERAPIST")
        assert {r["value"]["tier"] for r in alerts} == ({"W2"} if user in ("trend", "all") else set()), user


# -- S11 ---------------------------------------------------------------------------------------------------------


def test_S11_a_fortnight_of_distress_teaches_no_higher_pulse(tmp_path: Path) -> None:  # noqa: N802
    daily = [
        {"at": f"05-{day:02d} {clock}", verb: what}
        for day in range(6, 20)
        for clock, verb, what in (
            ("15:00", "still", {"min": 60}),
            ("15:15", "hr_plus", {"bpm": 30, "min": 30}),
        )
    ]
    calm = build("base", user="calm", first_day="04-25", last_day="05-21")
    tense = build("base", user="tense", first_day="04-25", last_day="05-21", events=daily)
    told = play(people([calm, tense]), tmp_path / "log")
    assert len(episodes(told, "tense")) >= 12
    rest: dict[str, list[float]] = {"calm": [], "tense": []}
    for r in told.rows("features.minute"):
        value = r["value"]
        if ms("05-21 15:00") <= value["start_time"] < ms("05-21 16:00") and value["sedentary"] == "YES":
            rest[r["user"]].append(value["hr_expected_bpm"])
    means = {user: sum(xs) / len(xs) for user, xs in rest.items()}
    assert abs(means["tense"] - means["calm"]) < 2.0
    assert abs(means["calm"] - 64.0) < 2.0


# -- S27 ---------------------------------------------------------------------------------------------------------


@cache
def yesterday_and_today_mixed() -> Log:
    """g1 with all that happened on 05-19 and 05-20 arriving in another order, within 24 h."""
    frm, to = ms("05-19 04:00"), ms("05-21 04:00")
    late = {(t, r["event_id"]): r for t, rs in transforms.shuffle_arrival(base("g1"), 1).items() for r in rs}
    return in_arrival_order(
        {t: [late[t, r["event_id"]] if frm <= r["event_time"] < to else r for r in rs] for t, rs in base("g1").items()}
    )


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows]:
    """Newest rows of the minutes of 05-20: in order, and mixed."""
    out: list[Rows] = []
    for log in (base("g1"), yesterday_and_today_mixed()):
        # a minute past the last arrival, so that what came after the last tick is told too
        told = play(log, tmp_path_factory.mktemp("s27"), end=ms("05-22 04:00"))
        last = newest(told.rows("features.minute"), "start_time")
        day = range(ms("05-20 04:00"), ms("05-21 04:00"), MINUTE)
        out.append({t: last[t]["value"] for t in day if t in last})  # type: ignore[index,misc]
    return out[0], out[1]


def test_S27_the_order_of_yesterday_and_today_changes_no_expectation(minutes: tuple[Rows, Rows]) -> None:  # noqa: N802
    ordered, mixed = ({t: v.get("hr_expected_bpm") for t, v in rows.items()} for rows in minutes)
    both = [t for t in ordered if ordered[t] is not None and mixed.get(t) is not None]
    assert len(both) > 50
    assert {t: ordered[t] for t in both} == {t: mixed[t] for t in both}


def test_S27_every_minute_is_told_again_when_what_it_rests_on_comes_late(  # noqa: N802
    minutes: tuple[Rows, Rows],
) -> None:
    ordered, mixed = minutes
    different = [t for t in ordered if mixed.get(t, {}) | {"revision": 0} != ordered[t] | {"revision": 0}]
    assert len(ordered) > 900
    assert len(different) == 0


# -- S23 ---------------------------------------------------------------------------------------------------------

moves = st.lists(
    st.tuples(st.integers(1, 9 * 24), st.sampled_from([-720, -300, 0, 60, 120, 180, 345, 780])), max_size=4
)
faults = st.lists(st.tuples(st.integers(0, 9 * 24), st.integers(-12 * 24, 3 * 24)), max_size=12)


@few
@given(drawn=st.lists(st.tuples(moves, faults), min_size=8, max_size=8))
def test_S23_whatever_the_clocks_do_no_day_is_long_or_comes_twice(  # noqa: N802
    drawn: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]], tmp_path: Path
) -> None:
    logs = []
    for i, (zones, wrong) in enumerate(drawn):
        small = Small(f"p{i:02d}")
        for hour in range(24 * 10):
            tz = ([120] + [z for h, z in sorted(zones) if h <= hour])[-1]
            at = BEGIN + hour * HOUR
            small.add("device.status", at, {"device": "PHONE", "worn": "UNKNOWN", "connected": True}, arrives=at, tz=tz)
        for hour, off_h in wrong:
            arrival = BEGIN + hour * HOUR + 5 * MINUTE
            zero: Record = {"steps": 0, "period_s": 60.0}
            small.add("device.activity", arrival + off_h * HOUR, zero, arrives=arrival, source="watch-1")
            small.search(arrival + off_h * HOUR, 2, arrives=arrival + MINUTE)
        logs.append(small.finished())
    told = play(people(logs), tmp_path / "log")
    for i in range(len(logs)):
        user = f"p{i:02d}"
        days = [r["value"] for r in of(told, user, "features.day")]
        assert len({(d["local_date"], d["revision"]) for d in days}) == len(days)
        first = sorted({(d["start_time"], d["end_time"]) for d in days})
        assert all(b - a <= 25 * HOUR for a, b in first)
        assert all(a[1] <= b[0] for a, b in pairwise(first)), "days overlap"
        keys = [r["value"]["dedupe_key"] for r in of(told, user, "notifications")]
        assert len(keys) == len(set(keys)), "said twice"


def test_S23_a_day_that_is_not_known_is_not_all_well(tmp_path: Path) -> None:  # noqa: N802
    small = Small()
    small.home()
    small.until(BEGIN + 4 * DAY)
    told = play(small.finished(), tmp_path / "log")
    for r in told.outputs["features.day"]:
        assert r["value"]["valid"] is False
        known = {n for n, f in r["value"]["features"].items() if "amount" in f or f["state"] != "ABSENT"}
        assert known == set(), "missing is not zero"
    assert told.outputs.get("notifications", []) == []
