"""Music against the pulse's own fall; phases and delays of a speech."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.programs import evidence
from pipelines.programs.music import music_share
from tests.programs.stage import Stage


def slots(stage: Stage, n: int, at: int, extra: dict[str, float], rng: np.random.Generator) -> Stage:
    token = None
    for i in range(n):
        a = at + i * 80
        drop = 2.0 + extra.get(token or "", 0.0) + rng.normal(0, 1.0)
        stage.beats(a, a + 11, 78).beats(a + 11, a + 49, 78 - drop / 2, every=5).beats(a + 49, a + 63, 78 - drop)
        stage.event("SLOT_START", a, **({"track_token": token} if token else {}))
        stage.event("SLOT_END", a + 60, **({"track_token": token} if token else {}))
        token = stage.last()["params"].get("track_token")
    return stage


def test_a_fifth_of_the_slots_is_silent_and_no_fragment_has_more_than_its_share() -> None:
    stage = slots(Stage().begin(), 40, 130, {"sample_rain": 6.0}, np.random.default_rng(1))
    found = [c for c in stage.commands() if c["action"] in ("PLAY", "SILENCE")]
    assert len(found) == 40
    assert sum(c["action"] == "SILENCE" for c in found) == 8
    plays = [c["params"]["track_token"] for c in found if c["action"] == "PLAY"]
    assert max(plays.count(t) for t in plays) <= 0.6 * 40
    assert all(0 < c["prob"] <= 1 for c in found)
    stage.event("SESSION_END", 130 + 40 * 80)
    told = {a["level"]: a["claim"] for a in stage.said("therapy.attribution") if a["outcome"] == "HR_DROP"}
    assert told["sample_rain"] == "LINKED"
    assert [t for t, c in told.items() if c == "LINKED"] == ["sample_rain"]


def test_before_five_plays_and_five_silences_nothing_is_claimed() -> None:
    stage = slots(Stage().begin(), 5, 130, dict.fromkeys(("sample_rain", "sample_sea", "sample_piano", "sample_strings"), 9.0),
                  np.random.default_rng(2)).event("SESSION_END", 600)  # fmt: skip
    assert {a["claim"] for a in stage.said("therapy.attribution")} == {"NOT_DETERMINED"}


def test_music_fades_over_the_consolidation_sessions() -> None:
    assert [music_share(i) for i in range(5)] == pytest.approx([1.0, 0.7333, 0.4667, 0.2, 0.2], abs=1e-3)


def speech(stage: Stage, n: int, at: int = 160, delays: dict[int, int] | None = None) -> Stage:
    for i in range(n):
        a = at + i * 240
        wait = (delays or {}).get(i, 20)
        stage.beats(a - 31, a + 190, 74)
        shown = stage.last()["params"]
        factors = {k: shown[k] for k in ("count", "gender", "age") if k in shown}
        stage.event("TRIAL_START", a, trial_id=f"t{i}", factors=factors)
        stage.event("PHASE_START", a, trial_id=f"t{i}", phase="ANTICIPATION")
        stage.event("PHASE_END", a + wait, trial_id=f"t{i}", phase="ANTICIPATION", eyes_closed_frac=0.1)
        stage.event("PHASE_START", a + wait, trial_id=f"t{i}", phase="SPEECH_0_60")
        stage.event("PHASE_END", a + wait + 60, trial_id=f"t{i}", phase="SPEECH_0_60")
        stage.event("TRIAL_END", a + 150, trial_id=f"t{i}", factors=factors, suds=30.0)
    return stage


def test_scenes_are_balanced_in_blocks_of_twelve() -> None:
    found = [c["params"] for c in speech(Stage("SPEECH").begin(), 11).commands()]
    assert len(found) == 12
    assert sorted(p["count"] for p in found) == sorted(["0", "3", "6", "12", "24", "48"] * 2)
    assert sorted(p["gender"] for p in found) == sorted(["MEN", "MIXED", "WOMEN"] * 4)


def test_a_long_delay_leads_to_training_of_anticipation_in_a_smaller_room() -> None:
    stage = speech(Stage("SPEECH").begin(stage="GRADED"), 4, delays={3: 41})
    level = [int(c["params"]["level"]) for c in stage.commands()]
    assert (stage.last()["action"], stage.last()["reason"]) == ("SET_SCENE", "ANTICIPATION_FIRST")
    assert level[-1] == max(0, level[-2] - 1)


def test_effects_are_told_by_phase_and_side_by_side_with_distress_delay_and_eyes() -> None:
    stage = speech(Stage("SPEECH").begin(), 5).event("SESSION_END", 1_500)
    told = stage.said("therapy.attribution")
    assert {a["outcome"] for a in told} == {"HR", "SUDS", "DELAY", "EYES_CLOSED"}
    assert {a.get("phase") for a in told if a["outcome"] == "HR"} == {"ANTICIPATION", "SPEECH_0_60"}
    assert {a["claim"] for a in told} == {"NOT_DETERMINED"}
    assert all(("p_gt_2bpm" in a) == (a["outcome"] == "HR") for a in told)


def scenes(seed: int, men: float) -> tuple[dict[str, list[str]], list[evidence.Row]]:
    """36 trials; men who listen drive fear before the speech by `men` bpm, nothing else does anything."""
    rng = np.random.default_rng(seed)
    known = {"count": ["0", "12", "24", "3", "48", "6"], "gender": ["MEN", "MIXED", "WOMEN"], "age": ["MIXED", "OLDER", "YOUNG"]}
    rows: list[evidence.Row] = []
    for i in range(36):
        f = {k: str(rng.choice(v)) for k, v in known.items()}
        shared = rng.normal(0, 2)
        phases = {p: 8 + shared + rng.normal(0, 4) + men * (f["gender"] == "MEN" and p == "ANTICIPATION") for p in evidence.PHASES}
        rows.append({"f": f, "trial": i, "session": 0, "previous": 0, "music": 0, "distance": 0.0, "phases": phases})
    return known, rows


@pytest.mark.parametrize("seed", [2, 7, 12])
def test_one_of_many_effects_that_stands_out_by_chance_is_not_linked(seed: int) -> None:
    known, rows = scenes(seed, 0.0)
    found = evidence.fit_phases(known, rows)
    alone = [evidence.phase_effect(found, f, v, p) for f, vs in known.items() for v in vs for p in evidence.PHASES]
    assert any(e.linked for e in alone)  # one by one it would have been claimed
    assert not any(e.linked for e in evidence.phase_effects(known, rows).values())


def test_a_true_effect_is_linked_where_it_is_and_nowhere_else() -> None:
    for seed in (1, 3):
        effects = evidence.phase_effects(*scenes(seed, 12.0))
        assert {k for k, e in effects.items() if e.linked} == {("ANTICIPATION", "gender", "MEN")}
        assert all(e.low < e.effect < e.high and 0 <= e.p_gt <= 1 for e in effects.values())
