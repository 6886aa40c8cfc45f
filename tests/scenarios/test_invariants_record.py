"""Every notification explains itself, and the trial's draws are what they say: S12, S17 (spec/invariants.md)."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from simulator.rows import Log
from simulator.scenarios import build
from tests.scenarios.conftest import Play
from tests.scenarios.harness import Told, play
from tests.scenarios.small import BEGIN, DAY, HOUR, Small
from tests.scenarios.test_invariants_crisis import notes, of, people
from tests.scenarios.test_invariants_missing import as_user

VERSIONS = {"rule", "profile", "consent", "content", "model"}


def tier(conditions: list[dict[str, Any]]) -> str:
    """support.md 3 and 4 read again: the tier that these conditions ask for."""
    met = {c["name"] for c in conditions if c["met"]}
    searched = {int(n[-1]) for n in met if n.startswith("SEARCH_SEVERITY_")}
    away = {"HR_EPISODE", "AWAY_FROM_HOME"} <= met
    if "LATE_EVIDENCE" in met:
        return "CASE_NOTE"
    if 3 in searched or "SEARCH_COUNT_24H" in met or "ITEM9_3" in met or "CHAT_RISK_HIGH" in met:
        return "L4"
    if 2 in searched:
        return "L3" if away else "L2"
    if met & {"ITEM9_1", "ITEM9_2", "CONTENT_FLAG", "CHAT_RISK"}:
        return "L2"
    if any(n.startswith("OUT_LOW") for n in met):
        return "W2" if "SEARCH_7D" in met else "W1"
    if away:
        return "L1"
    if 0 in searched:
        return "RESOURCES"
    if "WATCH_SILENT_24H" in met:
        return "DEVICE_REMINDER"
    if "WATCH_SILENT_72H" in met:
        return "NOT_MONITORED"
    return "NONE"


def explains_itself(told: Told) -> list[str]:
    """What is missing in the notifications of a run."""
    out = []
    known = {r["event_id"] for t, rs in told.log.items() for r in rs}
    known |= {r["event_id"] for t in told.outputs for r in told.outputs[t] if "event_id" in r}
    signals = {v["signal_id"] for v in told.values("risk.signal")}
    items = {v["notification_id"] for v in told.values("notifications")}
    for r in told.outputs.get("notifications", []):
        v = r["value"]
        name = f"{v['tier']} to {v['audience']}"
        if not v["conditions"]:
            out.append(f"{name}: no conditions")
        if tier(v["conditions"]) != v["tier"]:
            out.append(
                f"{name}: the conditions ask for {tier(v['conditions'])}: {[c['name'] for c in v['conditions']]}"
            )
        for c in v["conditions"]:
            out += [f"{name}: ref {ref} of {c['name']}" for ref in c["refs"] if not ref.isdigit() and ref not in known]
            if "signal_id" in c and c["signal_id"] not in signals:
                out.append(f"{name}: signal of {c['name']} is not in the log")
        if set(v["versions"]) < VERSIONS:
            out.append(f"{name}: versions {sorted(v['versions'])}")
        if not v["explanation"] or "Not a diagnosis" not in v["explanation"]:
            out.append(f"{name}: explanation {v['explanation']!r}")
        if v["notification_id"] != r["event_id"]:
            out.append(f"{name}: id")
    return out if items or not told.outputs.get("notifications") else [*out, "no ids"]


@pytest.mark.parametrize("name", ["g1", "g2", "g4", "g5", "g6", "g8", "g9", "g10"])
def test_S12_every_notification_of_the_stories_explains_itself(name: str, shorter: Play) -> None:  # noqa: N802
    told = shorter(name)
    assert told.outputs["notifications"]
    assert explains_itself(told) == []


def test_S12_every_kind_of_trigger_explains_itself(tmp_path: Path) -> None:  # noqa: N802
    logs = []
    for i, what in enumerate(["search", "search3", "thrice", "item9", "item9_3", "picture", "late", "silent"]):
        small = Small(f"p{i}{what}")
        at = BEGIN + 2 * DAY + 10 * HOUR
        if what.startswith("item9"):
            n = 3 if what.endswith("3") else 1
            small.add("selfreport", at, {"instrument": "PHQ9", "items": {"9": float(n)}, "item9": n, "total": float(n)})
        elif what == "picture":
            small.add("device.content_flag", at, {"label": "SELF_HARM_IMAGE", "score": 0.9, "model_version": "img-1"})
        elif what == "silent":
            small.add("device.activity", at, {"steps": 0, "period_s": 60.0, "intensity": 0}, source="watch-1")
        else:
            for k in range(3 if what == "thrice" else 1):
                late = 30 * HOUR if what == "late" else 2_000
                small.search(at + k * HOUR, 3 if what == "search3" else 2, arrives=at + k * HOUR + late)
        small.until(BEGIN + 6 * DAY)
        logs.append(small.finished())
    told = play(people(logs), tmp_path / "log")
    tiers = {
        r["user"][2:]: r["value"]["tier"] for r in told.outputs["notifications"] if r["value"]["audience"] == "USER"
    }
    assert tiers == {
        "search": "L2",
        "search3": "L4",
        "thrice": "L4",
        "item9": "L2",
        "item9_3": "L4",
        "picture": "L2",
        "silent": "DEVICE_REMINDER",
    }
    told.log.update(people(logs))
    assert explains_itself(told) == []


# -- S17 ---------------------------------------------------------------------------------------------------------

ORDER = ("NOTHING", "CLASSIC", "ADAPTIVE")
USERS = 10


@cache
def fortnight_of_episodes() -> Log:
    """Nine days with a raised pulse at the other place, twice a day."""
    events = [
        {"at": f"05-{day:02d} {hour:02d}:{minute:02d}"} | what
        for day in range(15, 24)
        for hour in (9, 15)
        for minute, what in (
            (0, {"walk": {"min": 10, "steps_min": 100}, "go": "other"}),
            (10, {"still": {"min": 49}}),
            (25, {"hr_plus": {"bpm": 30, "min": 20}}),
        )
    ]
    events += [
        {"at": f"05-{day:02d} {hour:02d}:00", "walk": {"min": 10, "steps_min": 100}, "go": "home"}
        for day in range(15, 24)
        for hour in (10, 16)
    ]
    research = {"c2": {"purpose": "RESEARCH", "recipient_ref": "study"}}
    return build("base", first_day="05-04", last_day="05-23", events=events, consents=research)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Told:
    logs = [as_user(fortnight_of_episodes(), f"u{i}") for i in range(USERS)]
    return play(people(logs), tmp_path_factory.mktemp("trial"))


def decisions(told: Told) -> list[dict[str, Any]]:
    return [
        r["value"] | {"user": r["user"]} for r in told.outputs["jitai.decision"] if r["value"]["stage"] == "DECISION"
    ]


def test_S17_the_draw_is_recomputed_from_the_log(trial: Told) -> None:  # noqa: N802
    from pipelines.settings import DEMO_STUDY_KEY

    available = [d for d in decisions(trial) if d["avail"]]
    assert len(available) >= 5 * USERS
    for d in available:
        message = json.dumps([d["user"], d["decision_id"], d["policy_version"]], separators=(",", ":")).encode()
        digest = hmac.new(DEMO_STUDY_KEY.encode(), message, hashlib.sha256).digest()
        assert d["u"] == pytest.approx(int.from_bytes(digest[:8], "big") / 2**64, abs=1e-15)
        assert sum(d["arms"].values()) == pytest.approx(1.0)
        assert all(0.1 <= p <= 0.8 for p in d["arms"].values())
        cumulated, chosen = 0.0, ORDER[-1]
        for arm in ORDER:
            cumulated += d["arms"][arm]
            if cumulated > d["u"]:
                chosen = arm
                break
        assert d["action"] == chosen


def test_S17_what_is_not_available_is_logged_and_not_drawn(trial: Told) -> None:  # noqa: N802
    for d in decisions(trial):
        if not d["avail"]:
            assert d["reasons_unavailable"]
            assert d["arms"] == {}
            assert "u" not in d
            assert d["action"] == "NOTHING"


def test_S17_the_arm_decides_whether_something_is_said(trial: Told) -> None:  # noqa: N802
    said = {r["value"].get("decision_id") for r in trial.outputs["notifications"]} - {None}
    drawn = {d["decision_id"]: d for d in decisions(trial)}
    assert said <= set(drawn)
    for decision_id, d in drawn.items():
        assert (decision_id in said) == (d["action"] != "NOTHING"), d
    first: dict[str, int] = {}
    for r in trial.outputs["jitai.decision"]:
        first.setdefault(r["value"]["decision_id"], r["ingest_time"])
    for r in trial.outputs["notifications"]:
        if "decision_id" in r["value"]:
            assert first[r["value"]["decision_id"]] <= r["ingest_time"]


def test_S17_the_actions_follow_the_probabilities(trial: Told) -> None:  # noqa: N802
    counts = dict.fromkeys(ORDER, 0.0)
    wanted = dict.fromkeys(ORDER, 0.0)
    for d in decisions(trial):
        if d["avail"]:
            counts[d["action"]] += 1
            for arm, p in d["arms"].items():
                wanted[arm] += p
    chi_square = sum((counts[a] - wanted[a]) ** 2 / wanted[a] for a in ORDER)
    assert chi_square < 13.82, (counts, wanted)  # 2 degrees of freedom, 0.001


def test_S17_no_more_than_two_check_ins_a_day_and_three_hours_apart(trial: Told) -> None:  # noqa: N802
    for i in range(USERS):
        times = sorted(r["ingest_time"] for r in notes(trial, f"u{i}", "L1"))
        assert all(b - a >= 3 * HOUR for a, b in itertools.pairwise(times))
        per_day: dict[int, int] = {}
        for t in times:
            per_day[(t - 2 * HOUR) // DAY] = per_day.get((t - 2 * HOUR) // DAY, 0) + 1
        assert max(per_day.values(), default=0) <= 2


def test_S17_crisis_is_never_left_to_chance(trial: Told) -> None:  # noqa: N802
    assert {d["dp_kind"] for d in decisions(trial)} <= {"L1", "W1", "PLAY_REMINDER", "SCHEDULED"}
    for r in trial.outputs["notifications"]:
        if r["value"]["tier"] in ("L2", "L3", "L4", "W2", "RESOURCES", "SAFEGUARD"):
            assert "decision_id" not in r["value"]


def test_S21_every_check_in_that_was_drawn_and_not_sent_has_its_reason(trial: Told) -> None:  # noqa: N802
    for i in range(USERS):
        sent = {r["value"]["notification_id"] for r in of(trial, f"u{i}", "notifications")}
        booked = {r["value"]["object_id"] for r in of(trial, f"u{i}", "audit") if r["value"]["action"] == "NOTIFIED"}
        assert sent == booked
        quiet = [d for d in decisions(trial) if d["user"] == f"u{i}" and d["action"] == "NOTHING"]
        rows = [r["value"] for r in of(trial, f"u{i}", "audit") if r["value"]["action"] == "SUPPRESSED"]
        assert len(rows) >= len(quiet)
        assert all(row.get("reason") for row in rows)
