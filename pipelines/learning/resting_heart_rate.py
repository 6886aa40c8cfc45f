"""Resting heart rate of the night against the person's own last weeks: a second opinion on the body, never an alert.

A night's value is the median heart rate of its still minutes (no steps, 00-04 by the wearer's clock). States are those of
NightSignal (Alavi et al. 2022, Nature Medicine 28:175: two nights in a row at least 3 bpm above the baseline are yellow, at least
4 red), made causal: the baseline is the median of the 28 nights *before*, and a night must also stand out of the person's own
spread, 1 (yellow) or 2 (red) robust standard deviations [own: benchmarks/strain.py]. Nights that are missing change nothing;
after a week of them nothing is known.

Pure. Day indices are days since 1970 of the person's local days; the night of day d is the one at its end.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.learning import packing
from pipelines.learning.baselines import MAD_TO_SIGMA, Baseline, robust
from pipelines.learning.packing import StateError

NIGHT_MIN = (0, 4 * 60)  # minutes after local midnight; the local day ends at 04:00, so that a night lies in one day
LEAST_MINUTES = 60  # still minutes with a pulse that a night needs [choice]
BASELINE_NIGHTS, LEAST_NIGHTS = 28, 7
YELLOW_BPM, RED_BPM = 3.0, 4.0  # [pub: NightSignal]
YELLOW_Z, RED_Z = 1.0, 2.0  # of the own spread [own: benchmarks/strain.py]
STALE_DAYS = 7
LOOK_BACK_DAYS = 14  # for as long a day's state can be asked for again
BEHIND_DAYS = 2  # what is known on day D is of the nights up to D-2, as for the expected heart rate (S27)
KEPT_NIGHTS = BASELINE_NIGHTS + LOOK_BACK_DAYS + BEHIND_DAYS
UNKNOWN, GREEN, YELLOW, RED = "UNKNOWN", "GREEN", "YELLOW", "RED"
KIND, VERSION = "resting_heart_rate", 1


@dataclass(frozen=True)
class Strain:
    """State of a night: its value in bpm against the baseline of the nights before; None where not known."""

    state: str = UNKNOWN
    day: int | None = None
    bpm: float | None = None
    usual: Baseline | None = None

    @property
    def raised(self) -> bool:
        return self.state in (YELLOW, RED)


class RestingHeartRate:
    """The last nights of one person.

    Examples
    --------
    >>> model = RestingHeartRate()
    >>> for day, bpm in enumerate([60, 61, 60, 59, 60, 61, 60, 60, 66, 67]):
    ...     model.learn_one(day, bpm)
    >>> [model.strain(day).state for day in (5, 7, 8, 9)]
    ['UNKNOWN', 'GREEN', 'GREEN', 'RED']
    """

    def __init__(self) -> None:
        self.days: list[int] = []
        self.bpm: list[float] = []

    def learn_one(self, day: int, bpm: float) -> None:
        """Keep the night of `day` (bpm), whose lateness is over; days come in order, a night that is known stays."""
        if self.days and day <= self.days[-1]:
            return
        self.days, self.bpm = [*self.days, day][-KEPT_NIGHTS:], [*self.bpm, bpm][-KEPT_NIGHTS:]

    def usual(self, day: int) -> Baseline | None:
        """Median and MAD of the 28 nights before `day`; None before seven."""
        end = bisect.bisect_left(self.days, day)
        return robust(self.bpm[max(0, end - BASELINE_NIGHTS) : end]) if end >= LEAST_NIGHTS else None

    def strain(self, day: int, bpm: float | None = None) -> Strain:
        """State of the night of `day`: as learned, or of a value that may still change."""
        at = bisect.bisect_left(self.days, day)
        if bpm is None and at < len(self.days) and self.days[at] == day:
            bpm = self.bpm[at]
        usual = self.usual(day)
        if bpm is None or usual is None:
            return Strain(day=day if bpm is not None else None, bpm=bpm)
        level = _level(bpm, usual)
        before = self.days[at - 1]
        usual_before = self.usual(before)
        if level and usual_before is not None and day - before <= STALE_DAYS:
            level = min(level, _level(self.bpm[at - 1], usual_before))
        else:
            level = 0
        return Strain((GREEN, YELLOW, RED)[level], day, bpm, usual)

    def known_on(self, day: int) -> Strain:
        """What is known on local day `day`: the last night of day `day` - 2 or before, unless it is older than a week."""
        at = bisect.bisect_right(self.days, day - BEHIND_DAYS) - 1
        if at < 0 or day - BEHIND_DAYS - self.days[at] >= STALE_DAYS:
            return Strain()
        return self.strain(self.days[at])

    # -- state --------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Explicit bytes (under 700)."""
        arrays: packing.Arrays = {"day": np.array(self.days, np.int32), "bpm": np.array(self.bpm, np.float64)}
        return packing.pack(KIND, VERSION, {}, arrays, delta=("day",))

    @staticmethod
    def load(data: bytes) -> RestingHeartRate:
        """Read what `dump` wrote.

        Raises
        ------
        StateError
            Damaged, of another kind or version, nights out of order or of no pulse.
        """
        _, arrays = packing.unpack(KIND, data)
        days = packing.take(arrays, "day", "<i4", None)
        bpm = packing.take(arrays, "bpm", "<f8", None)
        packing.done(arrays)
        if len(days) != len(bpm) or len(days) > KEPT_NIGHTS or (np.diff(days) <= 0).any() or (bpm <= 0).any():
            raise StateError("nights of a resting heart rate do not fit")
        out = RestingHeartRate()
        out.days, out.bpm = days.tolist(), bpm.tolist()
        return out


def nightly(
    bpm: npt.NDArray[np.float64], steps: npt.NDArray[np.float64], minute_of_day: npt.NDArray[np.int64]
) -> tuple[float | None, int]:
    """(median bpm, still minutes) of the night among some minutes of a day; None where fewer than sixty are known.

    Parameters
    ----------
    bpm, steps
        One entry a minute, NaN = not known.
    minute_of_day
        Minutes after local midnight.
    """
    with np.errstate(invalid="ignore"):
        still = (steps == 0) & ~np.isnan(bpm) & (minute_of_day >= NIGHT_MIN[0]) & (minute_of_day < NIGHT_MIN[1])
    n = int(still.sum())
    return (round(float(np.median(bpm[still])), 3) if n >= LEAST_MINUTES else None), n


def _level(bpm: float, usual: Baseline) -> int:
    above, sigma = bpm - usual.median, MAD_TO_SIGMA * usual.mad
    if above >= max(RED_BPM, RED_Z * sigma):
        return 2
    return 1 if above >= max(YELLOW_BPM, YELLOW_Z * sigma) else 0
