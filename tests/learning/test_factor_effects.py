"""Effects of properties with a trend, shrinkage and honest intervals; ability of naming."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from pipelines.learning import ability
from pipelines.learning import factor_effects as fe

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "aphasia"
LAYOUT = fe.Layout({"colour": ["BLACK", "GREY", "WHITE"], "size": ["1", "2"]}, {"trial": 0.5})


def trials(rng: np.random.Generator, black: float, n: int = 30, trend: float = -0.5) -> tuple[np.ndarray, np.ndarray]:
    rows, y = [], []
    for i in range(n):
        shown = {"colour": LAYOUT.factors["colour"][i % 3 if i > 3 else 0], "size": str(1 + i % 2)}
        rows.append(LAYOUT.row(shown, {"trial": i}))
        y.append(8 + black * (shown["colour"] == "BLACK") + trend * i + rng.normal(0, 3))
    return np.array(rows), np.array(y)


def test_a_driving_level_is_linked_and_a_trend_is_not_taken_for_one() -> None:
    x, y = trials(np.random.default_rng(1), 12.0)
    found = fe.fit(LAYOUT, x, y)
    black = found.effect("colour", "BLACK")
    assert black.linked
    assert 4 < black.effect < 10  # 8 is true, drawn towards none
    assert found.mean[-1] == pytest.approx(-0.5, abs=0.2)
    x, y = trials(np.random.default_rng(2), 0.0, trend=-1.0)  # BLACK comes first, when the pulse is highest
    assert not fe.fit(LAYOUT, x, y).effect("colour", "BLACK").linked


def test_the_evidence_for_a_factor_is_that_of_the_marginal_likelihoods() -> None:
    x, y = trials(np.random.default_rng(4), 4.0, n=14)
    smaller = fe.Layout({"size": ["1", "2"]}, {"trial": 0.5})
    less = x[:, [0, 4, 5, 6]]

    def marginal(rows: np.ndarray, sd: np.ndarray) -> float:
        prior = np.exp(-0.5 * (np.log(fe.NOISE / fe.NOISE_TYPICAL) / fe.NOISE_LOG_SD) ** 2)
        cov = (rows * sd**2) @ rows.T
        each = [multivariate_normal(np.zeros(len(y)), cov + s**2 * np.eye(len(y))).logpdf(y) for s in fe.NOISE]
        return float(logsumexp(each, b=prior))

    found = fe.fit(LAYOUT, x, y).log_evidence - fe.fit(smaller, less, y).log_evidence
    assert found == pytest.approx(marginal(x, LAYOUT.prior_sd()) - marginal(less, smaller.prior_sd()), abs=1e-6)


def test_below_twelve_trials_nothing_is_linked() -> None:
    x, y = trials(np.random.default_rng(1), 30.0, n=11)
    assert not fe.fit(LAYOUT, x, y).effect("colour", "BLACK").linked


def test_missing_outcomes_are_left_out_and_rows_may_come_in_any_order() -> None:
    x, y = trials(np.random.default_rng(3), 10.0)
    y[[2, 7]] = np.nan
    order = np.random.default_rng(0).permutation(len(y))
    one, other = fe.fit(LAYOUT, x, y), fe.fit(LAYOUT, x[order], y[order])
    assert one.n == 28
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-9)


def test_ninety_percent_intervals_cover_nine_of_ten_truths() -> None:
    rng, covered = np.random.default_rng(4), []
    for _ in range(60):
        effects = {f: dict(zip(v, rng.normal(0, 4, len(v)), strict=True)) for f, v in LAYOUT.factors.items()}
        rows, y = [], []
        for i in range(24):
            shown = {f: str(rng.choice(v)) for f, v in LAYOUT.factors.items()}
            rows.append(LAYOUT.row(shown, {"trial": i}))
            y.append(10 + sum(effects[f][v] for f, v in shown.items()) - 0.4 * i + rng.normal(0, 5))
        found = fe.fit(LAYOUT, np.array(rows), np.array(y))
        for f, v in LAYOUT.factors.items():
            for level in v:
                e = found.effect(f, level)
                covered.append(e.low <= effects[f][level] - np.mean(list(effects[f].values())) <= e.high)
    assert 0.85 <= np.mean(covered) <= 0.95


def test_without_any_trial_everything_is_the_prior() -> None:
    found = fe.fit(LAYOUT, np.zeros((0, 7)), np.zeros(0))
    assert found.effect("colour", "GREY").effect == pytest.approx(0)
    assert found.effect("colour", "GREY").high == pytest.approx(fe.QUANTILE * 4 * np.sqrt(2 / 3), rel=1e-6)


# -- ability ------------------------------------------------------------------------------------------------------------------


def test_right_answers_raise_ability_and_lower_difficulty_and_ever_less() -> None:
    theta, b = ability.elo(0.0, 0, 0.0, 0, 1.0)
    assert (theta, b) == (pytest.approx(0.2), pytest.approx(-0.2))
    assert ability.elo(0.0, 60, 0.0, 60, 1.0)[0] < theta / 3


def test_the_standard_error_falls_with_every_answer() -> None:
    errors = [ability.eap([1, 0] * n, [0.0, 0.0] * n)[1] for n in range(6)]
    assert errors[0] == pytest.approx(1, abs=1e-3)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded sessions of the Philadelphia Naming Test are not there")
def test_recorded_adaptive_sessions_give_the_recorded_ability_and_the_least_distant_item() -> None:
    rows = list(csv.DictReader((DATA / "pnt_cat30_sessions.csv").open()))
    items = [float(r["Item.Difficulty"]) for r in csv.DictReader((DATA / "pnt_item_difficulty.csv").open())]
    for who in sorted({r["examinee"] for r in rows}):
        left, theta, scores, bs = list(items), 0.0, [], []
        for r in sorted((r for r in rows if r["examinee"] == who), key=lambda r: int(r["order"])):
            b = float(r["obs_itemDifficulty"])
            assert abs(left[ability.most_informative(theta, left)] - theta) == pytest.approx(abs(b - theta), abs=1e-3)
            left.pop(ability.most_informative(b, left))
            scores.append(1 - float(r["obs_response"]))
            bs.append(b)
            theta, se = ability.eap(scores, bs, ability.PNT_DISCRIMINATION)
            assert theta == pytest.approx(float(r["obs_ability"]), abs=1e-3)
            assert se == pytest.approx(float(r["obs_error"]), abs=1e-3)
