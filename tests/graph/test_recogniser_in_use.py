"""The personal recogniser over eight weeks of two lives; and whatever it says, no rule about risk sounds different."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipelines.graph import replay
from pipelines.learning import recogniser
from pipelines.settings import Settings
from simulator.people import simulate
from simulator.scenarios import build, instant
from simulator.scenarios.lives import FIRST, LIVES
from tests.graph.test_models import read, write

DAY = 86_400_000
OFFSET = 120 * 60_000
CHANGE = instant(FIRST) + LIVES[0][1] * DAY - OFFSET  # the other life begins
RETURN = CHANGE + LIVES[1][1] * DAY  # the old one comes back
Record = dict[str, Any]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `kairos simulate --scenario lives` and a replay make."""
    root = tmp_path_factory.mktemp("lives")
    simulate(root / "log", scenarios=["lives"])
    replay([root / "log"], root / "out", settings=Settings())
    return root / "out"


def gate(out: Path) -> list[tuple[int, bool]]:
    told = [r["value"] for r in read(out, "monitoring.status") if r["value"]["modality"] == "RECOGNISER"]
    return [(v["since_time"], v["state"] == "OK") for v in told]


def last_word(out: Path, frm: int, to: int) -> list[str]:
    """The most probable state of every episode between, as its last revision says it."""
    said: dict[str, Record] = {}
    for r in read(out, "risk.signal"):
        v = r["value"]
        if v["kind"] == "HR_EPISODE" and frm <= v["start_time"] < to and v.get("state_prob"):
            said[v["signal_id"]] = v["state_prob"]
    return [max(p, key=p.get) for p in said.values()]


def test_the_gate_follows_a_life_that_changes_and_the_old_life_is_known_again(lives: Path) -> None:
    told = gate(lives)
    assert [on for _, on in told[:3]] == [True, False, True]
    assert told[0][0] < CHANGE < told[1][0] < told[2][0] < RETURN
    assert told[1][0] - CHANGE <= 4 * DAY  # two of them until the first answers of the new life are learned
    before = last_word(lives, told[0][0], CHANGE)
    assert {"PANIC", "STRESSED"} <= set(before)
    other = last_word(lives, CHANGE + 10 * DAY, RETURN)  # a racing pulse means what it means in the life of now
    assert other.count("CALM") >= max(0.5 * len(other), 2 * other.count("PANIC"))
    minutes = [r["value"] for r in read(lives, "features.minute") if r["value"].get("state_prob")]
    assert minutes  # of ten minutes of which five stood out, and only while the gate is open
    assert all(v["start_time"] // 60_000 % 10 == 9 and told[0][0] - DAY < v["start_time"] for v in minutes)
    assert not [v for v in minutes if told[1][0] + DAY <= v["start_time"] < told[2][0] - DAY]
    assert all(abs(sum(v["state_prob"].values()) - 1) < 1e-3 and v["state_context"] for v in minutes)
    again = last_word(lives, RETURN + 5 * DAY, RETURN + 30 * DAY)
    assert again.count("PANIC") >= 3
    assert again.count("CALM") <= 0.25 * len(again)
    assert not [r for r in read(lives, "notifications") if r["value"]["audience"] == "THERAPIST"]
    made = [r for r in read(lives, "jitai.decision") if r["value"]["stage"] == "DECISION"]
    assert all("state_calm" not in r["value"]["features"] for r in made if r["ingest_time"] < told[0][0])
    assert any("state_calm" in r["value"]["features"] for r in made if r["ingest_time"] > told[0][0])


# -- property: the gate and the model decide nothing about risk ---------------------------------------------------------


class Said(recogniser.Recogniser):
    """A recogniser whose gate stands open whatever it learned; what it says is drawn."""

    calm = 0.0
    rng = random.Random(0)

    def recognise(self, x: Any) -> dict[str, Any]:
        p = self.calm if self.calm >= 0 else self.rng.random()
        return {"proba": {"CALM": p, "STRESSED": (1 - p) / 2, "PANIC": (1 - p) / 2}, "context": "PRESENT", "confidence": p}

    @property
    def on(self) -> bool:
        return True

    @on.setter
    def on(self, value: bool) -> None: ...


def risky(seed: int) -> dict[str, list[Record]]:
    """Two weeks: pulse episodes away from home, and searches of every severity at random instants."""
    rng, events = random.Random(seed), []
    for day in range(10, 21):
        if rng.random() < 0.7:
            hour = rng.randint(10, 17)
            events += [
                {"at": f"05-{day} {hour}:00", "walk": {"min": 10, "steps_min": 100}, "go": "other"},
                {"at": f"05-{day} {hour}:10", "still": {"min": 70}},
                {"at": f"05-{day} {hour}:45", "hr_plus": {"bpm": rng.choice([20, 30, 40]), "min": 20}},
                {"at": f"05-{day} {hour + 1}:20", "walk": {"min": 10, "steps_min": 100}, "go": "home"},
            ]
        if rng.random() < 0.4:
            events.append({"at": f"05-{day} {rng.randint(10, 22)}:{rng.randint(31, 59)}",
                           "search": rng.choice(["zz-death", "zz-self", "zz-method"])})  # fmt: skip
    study = {"c2": {"purpose": "RESEARCH", "recipient_ref": "STUDY", "modalities": "ALL"}}
    return build("base", user="p1", events=events, consents=study, first_day="05-05", last_day="05-21")


def heard(log: dict[str, list[Record]], root: Path) -> dict[str, list[str]]:
    """Everything but the check-ins L1, without what the recogniser adds to a signal."""
    write(log, root / "log")
    replay([root / "log"], root / "out", settings=Settings())
    out: dict[str, list[str]] = {}
    for topic in ("risk.signal", "case.file", "notifications", "features.minute", "features.day"):
        kept = []
        for r in read(root / "out", topic):
            v = {k: x for k, x in r["value"].items() if not k.startswith("state_")}
            if topic == "risk.signal":
                v["versions"] = {k: x for k, x in v["versions"].items() if k != "recogniser"}
            if v.get("tier") != "L1":
                kept.append(json.dumps({**r, "value": v}, sort_keys=True))
        out[topic] = kept
    return out


def check_ins(root: Path) -> list[str]:
    return [r["event_id"] for r in read(root / "out", "notifications") if r["value"]["tier"] == "L1"]


LIVES = [3, *(pytest.param(s, marks=pytest.mark.soak) for s in (5, 8, 9, 11))]  # with a check-in and an alert to change


@pytest.mark.parametrize("seed", LIVES)
def test_whatever_the_recogniser_says_alerts_cases_and_signals_are_the_same(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = risky(seed)
    closed = heard(log, tmp_path / "closed")
    assert any('"audience": "THERAPIST"' in n for n in closed["notifications"])
    assert check_ins(tmp_path / "closed")
    for name, calm in (("calm", 1.0), ("panic", 0.0), ("drawn", -1.0)):
        made = type("Open", (Said,), {"calm": calm, "rng": random.Random(seed)})
        made.from_state = staticmethod(lambda state, made=made: made())  # type: ignore[attr-defined]
        monkeypatch.setattr("pipelines.support.recognition.Recogniser", made)
        monkeypatch.setattr("pipelines.person_state.Recogniser", made)
        assert heard(log, tmp_path / name) == closed
    assert check_ins(tmp_path / "panic") == check_ins(tmp_path / "closed")
    assert len(check_ins(tmp_path / "calm")) < len(check_ins(tmp_path / "closed"))
