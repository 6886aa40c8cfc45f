"""A person's own normal of a day feature: median and MAD of valid days, weekdays and weekends apart (support.md 4). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MIN_VALID_DAYS = 14
MIN_WEEKEND_DAYS = 4
SPLIT_FROM = 4  # days of each kind from which weekdays and weekends have baselines of their own
MAD_TO_SIGMA = 1.4826
MAD_FLOOR_SHARE = 0.2  # of the median: a person of habit must not make every step count


@dataclass(frozen=True)
class Baseline:
    """Median and median absolute deviation of `n` days, in the unit of the feature."""

    median: float
    mad: float
    n: int

    def ratio(self, x: float) -> float:
        """x over the median; infinite when the median is 0."""
        return x / self.median if self.median > 0 else math.inf

    def z(self, x: float) -> float:
        """(x - median) / max(1.4826 MAD, 0.2 median) (support.md 4)."""
        return (x - self.median) / max(MAD_TO_SIGMA * self.mad, MAD_FLOOR_SHARE * self.median, 1e-9)


def robust(values: Sequence[float]) -> Baseline | None:
    """Baseline of some values, None of none.

    >>> robust([1, 2, 3, 4, 100])
    Baseline(median=3.0, mad=1.0, n=5)
    """
    if not values:
        return None
    middle = float(median(values))
    return Baseline(middle, float(median(abs(v - middle) for v in values)), len(values))


@dataclass(frozen=True)
class Weekly:
    """Baselines of weekdays and weekend days; the same one where either has fewer than four days."""

    weekday: Baseline
    weekend: Baseline
    n: int
    n_weekend: int

    def of(self, weekend: bool) -> Baseline:
        return self.weekend if weekend else self.weekday

    @property
    def ready(self) -> bool:
        """At least 14 valid days, 4 of them at weekends (support.md 4)."""
        return self.n >= MIN_VALID_DAYS and self.n_weekend >= MIN_WEEKEND_DAYS


def weekly(days: Sequence[tuple[bool, float]]) -> Weekly | None:
    """Baselines of (weekend, value) days; None of no days."""
    everything = robust([v for _, v in days])
    if everything is None:
        return None
    at_weekend = [v for w, v in days if w]
    in_week = [v for w, v in days if not w]
    if len(at_weekend) >= SPLIT_FROM and len(in_week) >= SPLIT_FROM:
        a, b = robust(in_week), robust(at_weekend)
        assert a is not None
        assert b is not None
        return Weekly(a, b, len(days), len(at_weekend))
    return Weekly(everything, everything, len(days), len(at_weekend))


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(at least k of n) for success probability p.

    >>> round(binomial_tail(3, 5, 0.1), 5)
    0.00856
    """
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
