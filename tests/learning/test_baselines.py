"""Baselines of days, the outings CUSUM, and receptivity."""

from __future__ import annotations

import json
import random

import pytest

from pipelines.learning.baselines import binomial_tail, robust, weekly
from pipelines.learning.poisson_cusum import PoissonCusum
from pipelines.learning.receptivity import Receptivity


def test_median_and_mad_of_values() -> None:
    base = robust([10.0, 12.0, 11.0, 50.0, 9.0])
    assert base is not None
    assert (base.median, base.mad, base.n) == (11.0, 1.0, 5)


def test_no_values_give_no_baseline() -> None:
    assert robust([]) is None
    assert weekly([]) is None


def test_z_has_a_floor_for_people_of_habit() -> None:
    base = robust([100.0] * 20)
    assert base is not None
    assert base.z(90.0) == pytest.approx(-0.5)


def test_weekends_get_their_own_baseline_from_four_days_on() -> None:
    few = weekly([(False, 10.0)] * 10 + [(True, 2.0)] * 3)
    enough = weekly([(False, 10.0)] * 10 + [(True, 2.0)] * 4)
    assert few is not None
    assert enough is not None
    assert few.of(weekend=True).median == 10.0
    assert enough.of(weekend=True).median == 2.0
    assert not few.ready
    assert enough.ready


def test_binomial_tail_sums_to_one_from_zero() -> None:
    assert binomial_tail(0, 5, 0.3) == pytest.approx(1.0)
    assert binomial_tail(3, 5, 0.0) == 0.0


def poisson(rng: random.Random, rate: float) -> int:
    import math

    p = total = math.exp(-rate)
    k, u = 0, rng.random()
    while u > total:
        k += 1
        p *= rate / k
        total += p
    return k


def test_a_fall_to_a_third_is_found_within_two_weeks_and_quiet_years_are_quiet() -> None:
    found = alarms = days = 0
    for seed in range(40):
        rng, cusum = random.Random(seed), PoissonCusum()
        for d in range(120):
            cusum.update(poisson(rng, 3.0), weekend=d % 7 >= 5)
            alarms += cusum.raised
            days += 1
            if cusum.raised:
                cusum.evidence = 0.0
        found += any(cusum.update(poisson(rng, 1.0), weekend=d % 7 >= 5) > 4.0 for d in range(14))
    assert found >= 38
    assert 100 * alarms / days < 2.0


def test_a_withdrawal_does_not_become_the_new_usual() -> None:
    cusum = PoissonCusum()
    for d in range(60):
        cusum.update(3, weekend=d % 7 >= 5)
    usual = list(cusum.rate)
    for _ in range(30):
        cusum.update(0, weekend=False)
    assert cusum.rate[0] > 0.9 * usual[0]


def test_cusum_state_comes_back_as_it_was() -> None:
    cusum = PoissonCusum()
    for d in range(40):
        cusum.update(d % 4, weekend=d % 7 >= 5)
    back = PoissonCusum.from_state(json.loads(json.dumps(cusum.state())))
    assert [back.update(1, weekend=False) for _ in range(5)] == [cusum.update(1, weekend=False) for _ in range(5)]


def test_everybody_counts_as_receptive_before_twenty_prompts() -> None:
    model = Receptivity()
    for i in range(19):
        model.learn_one({"evening": float(i % 2)}, answered=i % 2 == 1)
    assert model.receptive({"evening": 0.0})


def test_receptivity_learns_when_this_person_answers() -> None:
    model = Receptivity()
    for i in range(80):
        model.learn_one({"evening": float(i % 2)}, answered=i % 2 == 1)
    assert model.receptive({"evening": 1.0})
    assert not model.receptive({"evening": 0.0})


def test_receptivity_state_comes_back_as_it_was() -> None:
    model = Receptivity()
    for i in range(30):
        model.learn_one({"evening": float(i % 2), "away": 1.0}, answered=i % 3 == 0)
    back = Receptivity.from_state(json.loads(json.dumps(model.state())))
    x = {"evening": 1.0, "away": 0.0}
    assert back.score_one(x) == model.score_one(x)
    back.learn_one(x, answered=True)
    model.learn_one(x, answered=True)
    assert back.score_one(x) == model.score_one(x)
