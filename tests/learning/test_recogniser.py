"""The recogniser learns a person's own answers once each, and speaks only while it beats the running base rate."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipelines.learning import packing
from pipelines.learning.recogniser import CALM, FIRST_ANSWERS, PANIC, STRESSED, Recogniser, label_of


def answers(n: int, seed: int, told_by_pulse: bool) -> list[tuple[dict[str, float], str]]:
    rng = random.Random(seed)
    out = []
    for _ in range(n):
        label = rng.choice((CALM, CALM, STRESSED, PANIC))
        high = {CALM: 0.0, STRESSED: 2.0, PANIC: 5.0}[label] if told_by_pulse else 0.0
        out.append(({"residual": high + rng.gauss(0, 0.5), "steps": rng.expovariate(0.1)}, label))
    return out


def taught(rows: list[tuple[dict[str, float], str]], r: Recogniser | None = None) -> Recogniser:
    r = r or Recogniser()
    for i, (x, label) in enumerate(rows):
        r.learn_one(f"{r.model.n_learned + i}-{id(rows)}", x, label)
    return r


def test_it_is_off_until_it_beats_the_base_rate_and_says_nothing_before() -> None:
    rows = answers(80, 1, told_by_pulse=True)
    early = taught(rows[: FIRST_ANSWERS - 1])
    assert not early.on
    assert early.recognise({"residual": 5.0}) is None
    r = taught(rows)
    assert r.on
    said = r.recognise({"residual": 5.0, "steps": 1.0})
    assert said is not None
    assert max(said["proba"], key=said["proba"].get) == PANIC
    assert 0 < said["confidence"] <= 1


def test_it_stays_off_for_somebody_whose_answers_the_evidence_does_not_tell() -> None:
    assert not taught(answers(120, 2, told_by_pulse=False)).on


def test_it_goes_off_again_when_it_stops_to_beat_the_base_rate() -> None:
    r = taught(answers(80, 3, told_by_pulse=True))
    assert r.on
    rng, turned_off = random.Random(4), False
    for i in range(120):  # answers that contradict the evidence at random
        x, _ = answers(1, 1000 + i, told_by_pulse=True)[0]
        r.learn_one(f"z{i}", x, rng.choice((CALM, STRESSED, PANIC)))
        turned_off = turned_off or not r.on
    assert turned_off


def of_life(n: int, seed: int, life: str) -> list[tuple[dict[str, float], str]]:
    """Old life: a raised pulse is distress. Beta blocker and sport: a raised pulse is a calm run, distress hardly shows in it."""
    rng, out = random.Random(seed), []
    for _ in range(n):
        label = rng.choice((CALM, CALM, STRESSED, PANIC if life == "old" else STRESSED))
        old = {CALM: 0.0, STRESSED: 2.5, PANIC: 5.0}[label]
        high = old if life == "old" else 2.5 - old
        out.append(({"residual": high + rng.gauss(0, 0.5), "steps": rng.expovariate(0.1)}, label))
    return out


def test_the_gate_closes_when_life_changes_and_the_old_life_is_known_again_when_it_returns() -> None:
    r, seen = Recogniser(), []
    for stage, (life, n) in enumerate((("old", 100), ("new", 100), ("old", 25))):
        for i, (x, label) in enumerate(of_life(n, 20 + stage, life)):
            r.learn_one(f"{stage}-{i}", x, label)
            seen.append(r.on)
    assert seen[99]  # it has earned it
    assert not all(seen[100:200])  # answers contradict: it says nothing, instead of something wrong
    assert seen[199]  # the new life is known too
    found = [(r.model.predict_one(x), label) for x, label in of_life(60, 30, "old")]
    assert sum(a == b for a, b in found) >= 48
    panic = [a == PANIC for a, b in found if b == PANIC]  # 25 answers after its return, 100 without any panic
    assert sum(panic) / len(panic) >= 0.8


def test_an_answer_counts_once_and_waits_for_its_day() -> None:
    r = Recogniser()
    assert r.answer("a", 50, CALM, 0)
    assert not r.answer("a", 50, CALM, 0)
    assert r.answer("b", 20, PANIC, 0)
    assert not r.answer("c", 5, CALM, 10)
    assert r.n_late == 1
    assert r.due(40) == [(20, "b", PANIC)]
    r.learn_one("b", {"residual": 4.0}, PANIC)
    assert not r.answer("b", 20, PANIC, 0)
    assert r.due(100) == [(50, "a", CALM)]


def test_answers_that_wait_are_bounded() -> None:
    r = Recogniser()
    kept = sum(r.answer(f"a{i}", i, CALM, 0) for i in range(500))
    assert kept == 64
    assert r.n_late == 436


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ({"instrument": "EMA", "items": {"panic": 1, "stress": 0}}, PANIC),
        ({"instrument": "EMA", "items": {"stress": 7}}, STRESSED),
        ({"instrument": "EMA", "items": {"panic": 0}}, None),
        ({"instrument": "SUDS", "total": 65.0}, STRESSED),
        ({"instrument": "SUDS", "total": 50.0}, None),
        ({"instrument": "STRESS", "items": {"1": 2}}, CALM),
        ({"instrument": "MOOD", "total": 8.0}, CALM),
        ({"instrument": "MOOD", "total": 2.0}, STRESSED),
        ({"instrument": "PHQ9", "total": 20.0}, None),
    ],
)
def test_what_an_answer_says(value: dict[str, Any], label: str | None) -> None:
    assert label_of(value) == label


def test_its_state_goes_on_identically_and_stays_within_its_share() -> None:
    rows = answers(260, 5, told_by_pulse=True)
    r = taught(rows[:200])
    twin = Recogniser.from_state(r.state())
    for x, label in rows[200:]:
        assert twin.recognise(x) == r.recognise(x)
        r.learn_one("same", x, label)
        twin.learn_one("same", x, label)
    assert twin.state() == r.state()
    assert len(r.model.dump()) <= 18 * 1024


def test_a_state_of_the_first_version_is_taken_up() -> None:
    state = json.loads(Path(__file__).with_name("fixtures").joinpath("recogniser_1.json").read_text())
    r = Recogniser.from_state(state)
    assert r.on
    assert r.model.n_learned == 60
    assert [w[1] for w in r.waiting] == ["w1"]
    said = r.recognise({"residual": 5.0, "steps": 1.0})
    assert said is not None
    assert max(said["proba"], key=said["proba"].get) == PANIC


@pytest.mark.parametrize("key", ["version", "model", "waiting", "counts", "lead", "weight", "recent", "n_late"])
@pytest.mark.parametrize("value", ["y", [[1]], {"a": 1}, float("nan")])
def test_a_damaged_state_is_refused(key: str, value: Any) -> None:
    state = {**taught(answers(20, 6, told_by_pulse=True)).state(), key: value}
    with pytest.raises(packing.StateError):
        Recogniser.from_state(state)
