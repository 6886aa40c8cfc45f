"""A high pulse is an episode only where it rose above the person's own last hour; lost and late minutes (S3, S6b)."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.support.minutes import Minutes
from pipelines.support.signals import HR_EPISODE
from tests.support.test_strain import HOUR_MS, Floats, lived, pulse_of

LAST = 11 * 1440  # the last day's midnight, a minute of the log
TEN = LAST + 10 * 60


def noisy(seed: int = 1) -> Floats:
    """Twelve days of 65 bpm and noise of 4 bpm."""
    return pulse_of([65.0] * 12) * 0 + 65 + np.random.default_rng(seed).normal(0, 4, 12 * 1440).round(1)


def starts(minutes: Minutes) -> list[int]:
    """Minutes of the log at which episodes began that stand."""
    base = 20_000 * 1440
    known = minutes.signals.known[HR_EPISODE]
    return [s.start // 60_000 - base for _, s in sorted(known.items()) if s.reason != "SUPERSEDED"]


def test_a_sudden_rise_is_one_episode_from_its_first_minute() -> None:
    bpm = noisy()
    bpm[TEN : TEN + 15] += 25
    assert starts(lived(bpm)[0]) == [TEN]


def test_a_pulse_that_creeps_up_over_hours_and_stays_is_none() -> None:
    bpm = noisy()
    bpm[TEN : TEN + 240] += np.minimum(np.arange(240) / 10, 20)  # 6 bpm an hour, to 20 above
    assert starts(lived(bpm)[0]) == []


def test_a_rise_on_top_of_a_fever_is_an_episode() -> None:
    bpm = noisy()
    bpm[LAST:] += np.minimum(np.arange(1440) / 30, 12)  # over six hours
    bpm[TEN : TEN + 15] += 25
    assert starts(lived(bpm)[0])[-1:] == [TEN]


def test_a_watch_put_on_in_the_middle_of_it_has_nothing_to_compare_with() -> None:
    bpm = noisy()
    bpm[TEN : TEN + 15] += 25
    bpm[TEN - 120 : TEN] = np.nan
    assert starts(lived(bpm)[0]) == []


@pytest.mark.parametrize("seed", range(4))
def test_s3_lost_minutes_flag_nothing_that_all_minutes_do_not_flag(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bpm = noisy(seed)
    for at in rng.integers(LAST + 300, LAST + 1200, 6):
        bpm[at : at + rng.integers(5, 60)] += rng.integers(10, 35)
    lossy = bpm.copy()
    lossy[LAST:][rng.random(1440) < rng.choice([0.1, 0.3, 0.5])] = np.nan
    for _ in range(3):
        gap = int(rng.integers(LAST, LAST + 1380))
        lossy[gap : gap + int(rng.integers(5, 60))] = np.nan
    full, less = lived(bpm)[0], lived(lossy)[0]
    assert full.derived.flag.any()
    assert not (less.derived.flag & ~full.derived.flag).any()


@pytest.mark.parametrize("seed", range(3))
def test_late_minutes_of_the_hour_before_tell_the_same_episodes_in_the_end(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bpm = noisy(seed)
    bpm[TEN - 50 : TEN + 30] += np.linspace(0, 26, 80)
    bpm[TEN + 300 : TEN + 320] += 30
    late = np.zeros(len(bpm), np.int64)
    for start in (TEN - 60, TEN - 30, TEN + 250):
        late[start : start + 30] = rng.integers(0, 3 * HOUR_MS)
    assert starts(lived(bpm, late)[0]) == starts(lived(bpm)[0])
    again, now = lived(bpm, late)[0].derived, lived(bpm)[0].derived
    assert (again.flag == now.flag).all()
