"""What follows from a person's minutes of evidence: rest, expected heart rate, place, and what is unusual of them."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.context.devices import WORN_NO
from pipelines.learning.expected_heart_rate import LONGEST_MIN, DayBehind, activity_features
from pipelines.support.episode import HOUR, RISE_OF_FLOOR, usual_of_hour
from pipelines.support.evidence import CAPACITY, MINUTE_MS, MinuteGrid, shift
from pipelines.support.whereabouts import Whereabouts
from pipelines.support.worn import Worn

WINDOW_MIN = LONGEST_MIN  # longest trailing window of a minute's row: a record is felt by the rows of the 29 minutes after it
FELT_MIN = WINDOW_MIN + HOUR  # and by what is unusual of these

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Days(Protocol):
    """What is asked of the person's local days."""

    def day_index(self, t: int) -> int | None: ...
    def local_minute(self, t: int) -> int: ...


class Thresholds(Protocol):
    """Profile values by event time."""

    def change_times(self) -> list[int]: ...
    def thresholds(self, t: int) -> tuple[float, float]: ...


class Sources(NamedTuple):
    """From what the minutes are derived."""

    grid: MinuteGrid
    models: DayBehind
    whereabouts: Whereabouts
    worn: Worn


class Derived:
    """Columns beside those of a `MinuteGrid`, one entry a minute.

    `bpm` is the heart rate of a watch not known to be off the wrist; `flag` = at rest, above the threshold and risen; `low` = below
    half of it; `empty` = nothing to compare. `sedentary` 1 YES, 0 NO, -1 UNKNOWN; `place` by the codes of `places`.
    """

    def __init__(self) -> None:
        n = CAPACITY
        self.bpm = np.full(n, np.nan)
        self.expected = np.full(n, np.nan)
        self.sigma = np.full(n, np.nan)
        self.threshold = np.full(n, np.nan)
        self.sedentary = np.full(n, -1, np.int8)
        self.place = np.zeros(n, np.int8)
        self.place_sure = np.zeros(n, np.bool_)
        self.flag = np.zeros(n, np.bool_)
        self.low = np.zeros(n, np.bool_)
        self.empty = np.ones(n, np.bool_)

    def move(self, by: int) -> None:
        """Forget the first `by` minutes."""
        shift(self, FILL, by)

    def derive(self, start: int, stop: int, of: Sources, days: Days, profile: Thresholds) -> Ints:
        """Derive minutes [start, stop) of the grid anew; those told before of which a row would now say something else."""
        start = max(start, WINDOW_MIN)
        if start >= stop:
            return np.zeros(0, np.int64)
        part = slice(start, stop)
        told = of.grid.revision[part] >= 0
        old = [getattr(self, name)[part].copy() for name in SAID] if told.any() else []
        minutes = np.arange(of.grid.base + start, of.grid.base + stop, dtype=np.int64)
        self.sedentary[part] = of.grid.sedentary(start, stop)
        self._expect(start, stop, of, days)
        if of.whereabouts.known:
            self.place[part], self.place_sure[part] = of.whereabouts.track.at((minutes + 1) * MINUTE_MS - 1)
        self.bpm[part] = of.grid.hr_bpm[part]
        if of.worn.reports:
            self.bpm[part][of.worn.at(minutes * MINUTE_MS) == WORN_NO] = np.nan
        residual = self.bpm[part] - self.expected[part]
        floor, z = _limits(minutes, profile)
        threshold = np.maximum(floor, z * self.sigma[part])
        self.threshold[part] = threshold
        with np.errstate(invalid="ignore"):
            self.flag[part] = (self.sedentary[part] == 1) & (residual >= threshold)
            self._risen(start, stop, floor)
            self.low[part] = residual < threshold / 2
        self.empty[part] = np.isnan(residual)
        other = np.zeros(stop - start, np.bool_)
        for name, was in zip(SAID, old, strict=False):
            now = getattr(self, name)[part]
            differs = now != was
            other |= differs & ~(np.isnan(now) & np.isnan(was)) if now.dtype.kind == "f" else differs
        return np.flatnonzero(other & told) + start

    def _risen(self, start: int, stop: int, floor: Any) -> None:
        """Of the high minutes in [start, stop), keep the flag of those that rose above the person's last hour."""
        high = np.flatnonzero(self.flag[start:stop]) + start
        if not len(high):
            return
        lo = max(start - HOUR, 0)
        residual = self.bpm[lo:stop] - self.expected[lo:stop]
        at_rest = np.where(self.sedentary[lo:stop] == 1, residual, np.nan)
        rise = residual[high - lo] - usual_of_hour(at_rest, high - lo)
        self.flag[high] = rise >= RISE_OF_FLOOR * (floor[high - start] if np.ndim(floor) else floor)

    def _expect(self, start: int, stop: int, of: Sources, days: Days) -> None:
        grid = of.grid
        lead = WINDOW_MIN - 1
        steps = grid.steps[start - lead : stop]
        cursor = start
        while cursor < stop:
            day = days.day_index((grid.base + cursor) * MINUTE_MS)
            end = _same_day(grid.base, cursor, stop, day, days)
            part = slice(cursor, end)
            self.expected[part] = np.nan
            self.sigma[part] = np.nan
            if day is not None and of.models.has(day):
                local = days.local_minute((grid.base + cursor) * MINUTE_MS)
                of_day = (local + np.arange(-lead, end - cursor)) % 1440
                x = activity_features(steps[cursor - start : end - start + lead], of_day)[lead:]
                result = of.models.expected(day, x)
                if result is not None:
                    expected, sigma = result
                    known = self.sedentary[part] >= 0
                    self.expected[part] = np.where(known, expected, np.nan)
                    self.sigma[part] = np.where(known, sigma, np.nan)
            cursor = end

    def lesson(self, lo: int, hi: int, of: Sources, days: Days) -> tuple[Floats, Floats, Bools]:
        """(X, bpm, usable) of minutes [lo, hi) of a day: inputs and outcome of the regression."""
        lead = WINDOW_MIN - 1
        local = days.local_minute((of.grid.base + lo) * MINUTE_MS)
        x = activity_features(of.grid.steps[lo - lead : hi], (local + np.arange(-lead, hi - lo)) % 1440)[lead:]
        return x, self.bpm[lo:hi], (self.sedentary[lo:hi] >= 0) & ~np.isnan(self.bpm[lo:hi])


# what of the derived a row of features.minute says
SAID = ("bpm", "expected", "sedentary", "place", "place_sure")
FILL: dict[str, float] = {
    "bpm": np.nan, "expected": np.nan, "sigma": np.nan, "threshold": np.nan, "sedentary": -1, "place": 0, "place_sure": False,
    "flag": False, "low": False, "empty": True,
}  # fmt: skip


def _same_day(base: int, cursor: int, stop: int, day: int | None, days: Days) -> int:
    """First minute after `cursor` that belongs to another day (bisection: days are intervals)."""
    if days.day_index((base + stop - 1) * MINUTE_MS) == day:
        return stop
    lo, hi = cursor, stop - 1
    while hi - lo > 1:
        mid = (lo + hi) // 2
        if days.day_index((base + mid) * MINUTE_MS) == day:
            lo = mid
        else:
            hi = mid
    return hi


def _limits(minutes: Ints, profile: Thresholds) -> tuple[Any, Any]:
    """(floor in bpm, z) of each minute; numbers where the profile does not change among them."""
    lo, hi = int(minutes[0]) * MINUTE_MS, int(minutes[-1]) * MINUTE_MS
    inside = [t for t in profile.change_times() if lo < t <= hi]
    if not inside:
        return profile.thresholds(lo)
    floor, z = np.empty(len(minutes)), np.empty(len(minutes))
    for a, b in zip([lo, *inside], [*inside, hi + MINUTE_MS], strict=True):
        part = (minutes * MINUTE_MS >= a) & (minutes * MINUTE_MS < b)
        floor[part], z[part] = profile.thresholds(a)
    return floor, z
