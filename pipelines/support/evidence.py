"""Retained evidence of one person: clock minutes of heart rate and activity as compact columns.

The set of known records decides, never their order or repetition (support.md 1): a minute keeps exact counts and
sums, and for the median 5-second slots with the earliest usable sample of each (support.md 2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MINUTE_MS = 60_000
SLOTS = 12
SLOT_MS = 5_000
LEAD = 120  # minutes kept before the oldest day that is still open: an episode looks back 10, its rise 60, its inputs 30
CAPACITY = 5_260  # minutes: three local days of at most 25 h, the lead, and room for a day that closes late
MICRO = 1_000_000.0  # sums are integers of 1e-6 bpm, so that they do not depend on the order of addition

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class MinuteGrid:
    """Minutes [base, base + CAPACITY) since 1970 of one person.

    All arrays have one entry a minute; `slot_ms`/`slot_bpm` have twelve. -1 / NaN / 0 rows mean "not known".
    """

    def __init__(self, base: int) -> None:
        self.base = base
        n = CAPACITY
        self.hr_n = np.zeros(n, np.int32)
        self.hr_sum = np.zeros(n, np.int64)
        self.hr_min = np.full(n, np.inf)
        self.hr_max = np.full(n, -np.inf)
        self.hr_bpm = np.full(n, np.nan)
        self.slot_ms = np.full((n, SLOTS), SLOT_MS, np.int16)
        self.slot_bpm = np.full((n, SLOTS), np.nan)
        self.act_n = np.zeros(n, np.int32)
        self.steps = np.full(n, np.nan)
        self.intensity = np.full(n, -1, np.int8)
        self.vehicle = np.zeros(n, np.bool_)
        self.fixes = np.zeros(n, np.bool_)
        self.revision = np.full(n, -1, np.int16)
        self.touched = np.zeros(n, np.bool_)
        self.fine: dict[str, npt.NDArray[np.int32]] = {}

    # -- records in ---------------------------------------------------------------------------------------------------

    def add_heart_rate(self, event_ms: Ints, bpm: Floats, usable: Bools) -> None:
        """Take heart-rate samples (each once; duplicates have been dropped at ingest)."""
        minute = event_ms // MINUTE_MS - self.base
        inside = (minute >= 0) & (minute < CAPACITY)
        if not inside.all():
            event_ms, bpm, usable, minute = event_ms[inside], bpm[inside], usable[inside], minute[inside]
        if not len(minute):
            return
        if np.any(minute[1:] < minute[:-1]):
            order = np.argsort(minute, kind="stable")
            event_ms, bpm, usable, minute = event_ms[order], bpm[order], usable[order], minute[order]
        first = np.flatnonzero(np.concatenate(([True], minute[1:] != minute[:-1])))
        at = minute[first]
        self.hr_n[at] += np.diff(np.append(first, len(minute))).astype(np.int32)
        self.hr_sum[at] += np.add.reduceat(np.rint(bpm * MICRO).astype(np.int64), first)
        self.hr_min[at] = np.minimum(self.hr_min[at], np.minimum.reduceat(bpm, first))
        self.hr_max[at] = np.maximum(self.hr_max[at], np.maximum.reduceat(bpm, first))
        self.touched[at] = True
        if usable.any():
            self._fill_slots(event_ms[usable], bpm[usable])
            self._medians(np.unique(minute[usable]))

    def _fill_slots(self, event_ms: Ints, bpm: Floats) -> None:
        """Each 5-s slot keeps its earliest sample by event time; tie: the higher bpm."""
        slot = event_ms // SLOT_MS - self.base * SLOTS
        offset = (event_ms % SLOT_MS).astype(np.int16)
        if np.any(slot[1:] <= slot[:-1]):
            order = np.lexsort((-bpm, offset, slot))
            slot, offset, bpm = slot[order], offset[order], bpm[order]
            first = np.concatenate(([True], slot[1:] != slot[:-1]))
            slot, offset, bpm = slot[first], offset[first], bpm[first]
        known_ms, known_bpm = self.slot_ms.reshape(-1), self.slot_bpm.reshape(-1)
        old_ms, old_bpm = known_ms[slot], known_bpm[slot]
        better = np.isnan(old_bpm) | (offset < old_ms) | ((offset == old_ms) & (bpm > old_bpm))
        known_ms[slot[better]] = offset[better]
        known_bpm[slot[better]] = bpm[better]

    def _medians(self, minutes: Ints) -> None:
        rows = np.sort(self.slot_bpm[minutes], axis=1)
        n = SLOTS - np.isnan(rows).sum(axis=1)
        pick = np.arange(len(minutes))
        low, high = rows[pick, np.maximum((n - 1) // 2, 0)], rows[pick, np.minimum(n // 2, SLOTS - 1)]
        self.hr_bpm[minutes] = np.where(n > 0, (low + high) / 2, np.nan)

    def add_activity(
        self, event_ms: Ints, steps: Ints, period_s: Floats, intensity: Ints, vehicle: Bools, sources: list[str] | None
    ) -> None:
        """Take activity rows: per minute the largest record of the largest source (support.md 2).

        Parameters
        ----------
        intensity
            0-3, -1 = not measured.
        sources
            One stream name a row; only needed for rows shorter than a minute. None = one stream.
        """
        minute = event_ms // MINUTE_MS - self.base
        inside = (minute >= 0) & (minute < CAPACITY)
        np.add.at(self.act_n, minute[inside], 1)
        short, plain = inside & (period_s < 60), inside & (period_s == 60)
        if plain.any():
            at = minute[plain]
            np.fmax.at(self.steps, at, steps[plain].astype(np.float64))
            np.maximum.at(self.intensity, at, intensity[plain].astype(np.int8))
            self.vehicle[at[vehicle[plain]]] = True  # not |=, by which the last of a minute's records would win
            self.touched[at] = True
        for i in np.flatnonzero(period_s > 60):
            self._spread(int(minute[i]), int(steps[i]), float(period_s[i]), int(intensity[i]), bool(vehicle[i]))
        for i in np.flatnonzero(short):
            self._fine(
                int(event_ms[i]), int(steps[i]), int(intensity[i]), bool(vehicle[i]), sources[i] if sources else ""
            )

    def _spread(self, minute: int, steps: int, period_s: float, intensity: int, vehicle: bool) -> None:
        """Longer than a minute: even whole steps over its minutes (the sum is kept); 0 gives zero minutes."""
        n = max(1, int(np.ceil(period_s / 60)))
        edges = (np.arange(n + 1) * steps) // n
        lo, hi = max(0, -minute), min(n, CAPACITY - minute)
        if lo >= hi:
            return
        at = slice(minute + lo, minute + hi)
        self.steps[at] = np.fmax(self.steps[at], np.diff(edges)[lo:hi].astype(np.float64))
        self.intensity[at] = np.maximum(self.intensity[at], intensity)
        self.vehicle[at] |= vehicle
        self.touched[at] = True

    def _fine(self, event_ms: int, steps: int, intensity: int, vehicle: bool, source: str) -> None:
        """Shorter than a minute: the largest record of each 5-s slot, summed over the minute."""
        minute = event_ms // MINUTE_MS - self.base
        slots = self.fine.setdefault(source, np.zeros((CAPACITY, SLOTS), np.int32))
        slot = event_ms % MINUTE_MS // SLOT_MS
        slots[minute, slot] = max(int(slots[minute, slot]), steps)
        self.steps[minute] = np.fmax(self.steps[minute], float(slots[minute].sum()))
        self.intensity[minute] = max(int(self.intensity[minute]), intensity)
        self.vehicle[minute] |= vehicle
        self.touched[minute] = True

    def add_fixes(self, event_ms: Ints) -> None:
        minute = event_ms // MINUTE_MS - self.base
        inside = (minute >= 0) & (minute < CAPACITY)
        self.fixes[minute[inside]] = True
        self.touched[minute[inside]] = True

    # -- what follows from them ---------------------------------------------------------------------------------------

    def known(self) -> Bools:
        """Minutes with activity known."""
        return np.asarray(~np.isnan(self.steps))

    def sedentary(self, lo: int, hi: int) -> npt.NDArray[np.int8]:
        """1 = YES, 0 = NO, -1 = UNKNOWN for minutes [lo, hi) of the grid (lo >= 30).

        YES needs ten still minutes in a row; activity of all of the last 30 minutes must be known (support.md 2).
        """
        back = 30
        window = slice(lo - back + 1, hi)
        known = ~np.isnan(self.steps[window])
        still = known & (self.steps[window] == 0) & (self.intensity[window] <= 0)
        known30 = _rolling(known, back)[back - 1 :] == back
        still10 = _rolling(still, 10)[back - 1 :] == 10
        return np.where(known30, np.where(still10, 1, 0), -1).astype(np.int8)

    def move(self, base: int) -> None:
        """Forget minutes before `base`; later ones keep their place in time."""
        by = base - self.base
        if by <= 0:
            return
        keep = max(0, CAPACITY - by)
        shift(self, FILL, by)
        fine = {}
        for source, slots in self.fine.items():
            if keep > 0 and slots[by:].any():
                fine[source] = np.zeros_like(slots)
                fine[source][:keep] = slots[by:]
        self.fine = fine
        self.base = base


# what an unknown minute holds
FILL: dict[str, float] = {
    "hr_n": 0, "hr_sum": 0, "hr_min": np.inf, "hr_max": -np.inf, "hr_bpm": np.nan, "slot_ms": SLOT_MS, "slot_bpm": np.nan,
    "act_n": 0, "steps": np.nan, "intensity": -1, "vehicle": False, "fixes": False, "revision": -1, "touched": False,
}  # fmt: skip


def shift(holder: object, fill: dict[str, float], by: int) -> None:
    """Move arrays of minutes `by` places to the front; what comes in at the end is unknown."""
    for name, unknown in fill.items():
        values = getattr(holder, name)
        if by < len(values):
            values[:-by] = values[by:]
        values[max(0, len(values) - by) :] = unknown


def _rolling(mask: Bools, n: int) -> Ints:
    """Trues among the last n entries, at each entry."""
    total = np.concatenate(([0], np.cumsum(mask)))
    out = total[1:].copy()
    out[n:] -= total[1:-n]
    return out


def rolling_count(mask: Bools, n: int) -> Ints:
    """How many of the last `n` entries are true, at each entry (fewer at the beginning).

    >>> rolling_count(np.array([True, True, False, True]), 2).tolist()
    [1, 2, 1, 1]
    """
    return _rolling(mask, n)
