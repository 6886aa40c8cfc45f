"""Expected heart rate: what it learns, what it must not learn, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model

from pipelines.learning.expected_heart_rate import (
    FEATURES,
    RIDGE,
    DayBehind,
    ExpectedHeartRate,
    Floats,
    activity_features,
)
from pipelines.learning.packing import StateError


def day(seed: int, rest: float = 60.0, per_step: float = 0.25, n: int = 900) -> tuple[Floats, Floats, Floats]:
    """(X, bpm, steps) of one made-up day: rest + 0.25 bpm per step a minute, noise of 3 bpm."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random(n) < 0.3, rng.integers(20, 120, n), 0).astype(float)
    x = activity_features(steps, np.arange(480, 480 + n))
    return x[30:], (rest + per_step * steps + rng.normal(0, 3, n))[30:], steps[30:]


def lesson(seed: int, **how: float) -> tuple[Floats, Floats, np.ndarray, np.ndarray, int]:  # type: ignore[type-arg]
    x, y, steps = day(seed, **how)
    return x, y, steps == 0, np.zeros(len(y), bool), len(y)


def test_trailing_means_are_unknown_while_a_minute_of_them_is() -> None:
    steps = np.arange(60, dtype=float)
    steps[10] = np.nan
    x = activity_features(steps, np.arange(60))
    known = ~np.isnan(x).any(axis=1)
    assert known.tolist() == [i >= 40 for i in range(60)]
    assert x[45, 2] == pytest.approx(np.mean([41, 42, 43, 44, 45]) / 100)


def test_minutes_learned_one_by_one_or_together_give_the_same_model() -> None:
    x, y, _ = day(1, n=200)
    one, many = ExpectedHeartRate(), ExpectedHeartRate()
    for row, bpm in zip(x, y, strict=True):
        one.learn_one(dict(zip(FEATURES, row, strict=True)), float(bpm))
    many.learn_many(x, y)
    assert np.allclose(one.coefficients(), many.coefficients())


def test_it_is_the_regression_that_river_learns_minute_by_minute() -> None:
    x, y, _ = day(2, n=400)
    ours = ExpectedHeartRate()
    ours.learn_many(x, y)
    river = linear_model.BayesianLinearRegression(alpha=RIDGE, beta=1.0)
    for row, bpm in zip(x, y, strict=True):
        river.learn_one(dict(enumerate(row.tolist())), float(bpm))
    theirs = [river.predict_one(dict(enumerate(row.tolist()))) for row in x[:50]]
    assert np.allclose(ours.predict_many(x[:50]), theirs, atol=1e-6)


@given(st.permutations(range(12)))
@settings(max_examples=20)
def test_the_order_of_minutes_within_a_day_does_not_matter(order: list[int]) -> None:
    x, y, _ = day(3, n=42)
    one, other = ExpectedHeartRate(), ExpectedHeartRate()
    one.learn_many(x, y)
    other.learn_many(x[order], y[order])
    assert np.allclose(one.coefficients(), other.coefficients(), atol=1e-9)


def test_sigma_is_the_robust_spread_at_rest() -> None:
    models = DayBehind()
    for d in range(12):
        models.start_day(d, lesson(d))
    assert models.head.sigma == pytest.approx(3.0, abs=0.3)


def test_nothing_is_scored_before_seven_valid_days() -> None:
    models = DayBehind()
    scored = []
    for d in range(10):
        models.start_day(d, lesson(d))
        scored.append(models.has(d))
    assert scored == [False] * 6 + [True] * 4


def test_days_with_the_watch_off_do_not_count_as_warm_up() -> None:
    models = DayBehind()
    for d in range(20):
        x, y, rest, out, _ = lesson(d)
        models.start_day(d, (x, y, rest, out, 500))
    assert not models.has(19)


def test_a_frozen_model_stays_while_the_head_learns_on() -> None:
    models = DayBehind()
    for d in range(9):
        models.start_day(d, lesson(d))
    x = day(99)[0]
    before = models.expected(8, x)
    models.start_day(9, lesson(9, rest=90.0))
    after = models.expected(8, x)
    assert before is not None
    assert after is not None
    assert np.array_equal(before[0], after[0])


def test_at_most_three_versions_are_alive() -> None:
    models = DayBehind()
    for d in range(30):
        models.start_day(d, lesson(d))
    assert [d for d in range(30) if models.has(d)] == [27, 28, 29]


def test_s11_excluded_and_winsorised_minutes_do_not_teach() -> None:
    """Thirty minutes at +30 bpm a day for two weeks, not even excluded: the expectation at rest moves less than 2 bpm."""
    models = DayBehind()
    for d in range(20):
        models.start_day(d, lesson(d))
    still = activity_features(np.zeros(60), np.full(60, 600))[40:]
    before = models.expected(19, still)
    for d in range(20, 34):
        x, y, rest, out, worn = lesson(d)
        y[100:130] += 30.0
        models.start_day(d, (x, y, rest, out, worn))
    after = models.expected(33, still)
    assert before is not None
    assert after is not None
    assert abs(after[0].mean() - before[0].mean()) < 2.0


def test_state_comes_back_as_it_was() -> None:
    models = DayBehind()
    for d in range(12):
        models.start_day(d, lesson(d))
    data = models.dump()
    back = DayBehind.load(data)
    x = day(50)[0]
    assert back.dump() == data
    assert len(data) < 4096
    one, other = models.expected(11, x), back.expected(11, x)
    assert one is not None
    assert other is not None
    assert np.array_equal(one[0], other[0])
    assert one[1] == other[1]


def test_a_state_of_version_1_scores_as_it_did_and_learns_that_stillness_matters() -> None:
    """Written by the regression without `still_30_min` on the lessons of days 0-11; the figures are what it said then."""
    models = DayBehind.load((Path(__file__).parent / "fixtures" / "expected_heart_rate_1.bin").read_bytes())
    x = day(50)[0]
    said = models.expected(11, x)
    assert said is not None
    assert said[0][:4].tolist() == pytest.approx([59.92637412194628, 86.36218441732086, 59.89239899971218, 59.8955426229675])
    assert said[1] == pytest.approx(3.0107518527839012)
    for d in range(12, 40):
        x, y, rest, out, worn = lesson(d)
        models.start_day(d, (x, y - 8 * x[:, FEATURES.index("still_30_min")], rest, out, worn))
    assert models.head.coefficients()[FEATURES.index("still_30_min")] == pytest.approx(-8, abs=1)


def test_stillness_counts_the_minutes_since_the_last_step_up_to_thirty() -> None:
    steps = np.array([0] * 40 + [7] + [0] * 40, float)
    still = activity_features(steps, np.arange(81))[:, FEATURES.index("still_30_min")]
    assert (still[[39, 40, 41, 55, 70, 80]] * 30).tolist() == pytest.approx([30, 0, 1, 15, 30, 30])


@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=60, deadline=None)  # a busy machine is no defect
def test_a_damaged_state_is_refused_with_an_ordinary_error(place: int, byte: int) -> None:
    models = DayBehind()
    models.start_day(1, lesson(1))
    data = bytearray(models.dump())
    place %= len(data)
    if data[place] == byte:
        return
    data[place] = byte
    with pytest.raises(StateError):
        DayBehind.load(bytes(data))
