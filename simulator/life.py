"""A person's minutes before any device sees them: steps, pulse, place, what is worn. Local time; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MINUTE = 60_000
DAY = 86_400_000
DAY_MIN = 1_440
HOME, OTHER, WORK = 0, 1, 2

OUTING_MIN = 45  # scenarios.md, history
WALK_MIN = 6  # to the place and back, inside the outing
BOUT_MIN = 5.5  # mean length of a walking bout indoors
REST_SLOPE = 0.25  # bpm per step/min (scenarios.md, history)

Floats = npt.NDArray[np.float64]
Shorts = npt.NDArray[np.int16]
Flags = npt.NDArray[np.bool_]
Span = tuple[int, int]  # [from, to) in minutes


@dataclass
class Life:
    """Minutes from a local midnight on; index 0 is `first`.

    Parameters
    ----------
    first
        ms of the first minute, as if local time were UTC.
    steps, intensity
        per minute; intensity 0-3.
    pulse
        bpm, what a perfect sensor would read.
    place
        HOME, OTHER, WORK.
    worn, watch, phone
        the watch is on the wrist; watch and phone are switched on.
    games
        factor on the day's gaming, one per day.
    quiet
        minutes kept free of what is not told (no phone use either).
    """

    first: int
    steps: Shorts
    intensity: Shorts
    pulse: Floats
    place: npt.NDArray[np.int8]
    worn: Flags
    watch: Flags
    phone: Flags
    games: Floats
    quiet: Flags

    @property
    def minutes(self) -> int:
        """Number of minutes."""
        return len(self.steps)

    @property
    def days(self) -> int:
        """Number of days."""
        return len(self.steps) // DAY_MIN

    def at(self, local_ms: int) -> int:
        """Index of the minute that holds a local instant; ValueError outside the life."""
        index = (local_ms - self.first) // MINUTE
        if not 0 <= index < self.minutes:
            raise ValueError("the instant lies outside the simulated days")
        return int(index)


def blank(first: int, days: int) -> Life:
    """Days on which nothing moves, nothing is worn and the phone is on, at home."""
    n = days * DAY_MIN
    return Life(
        first,
        np.zeros(n, np.int16),
        np.zeros(n, np.int16),
        np.full(n, np.nan),
        np.zeros(n, np.int8),
        np.zeros(n, bool),
        np.ones(n, bool),
        np.ones(n, bool),
        np.ones(days),
        np.zeros(n, bool),
    )


def plan_outings(rng: np.random.Generator, n: int, blocked: list[Span], window: Span = (510, 1245)) -> list[int]:
    """Starts (minute of the day, on the 5-min grid) of n outings that overlap neither one another nor `blocked`.

    Between two of them stay 25 min at home, so that each is an outing of its own; fewer when the day has no room.
    """
    best: list[int] = []
    grid = np.arange(window[0], window[1] + 1, 5)
    for _ in range(50):
        taken: list[int] = []
        for start in rng.permutation(grid).tolist():
            if len(taken) == n:
                break
            if any(abs(start - other) < OUTING_MIN + 25 for other in taken):
                continue
            if any(start < to + 15 and frm < start + OUTING_MIN + 25 for frm, to in blocked):
                continue
            taken.append(start)
        if len(taken) > len(best):
            best = taken
        if len(best) == n:
            break
    return sorted(best)


def ordinary_day(
    rng: np.random.Generator, outings: int, steps: int, blocked: list[Span], awake: Span = (450, 1380)
) -> tuple[Shorts, npt.NDArray[np.int8]]:
    """Steps and place of the minutes of an ordinary day.

    Parameters
    ----------
    steps
        Total of the day that is not told elsewhere; walks of outings are part of it.
    blocked
        Minutes that are told elsewhere: no step and no outing there.

    Returns
    -------
    steps per minute (1,440) and place per minute (HOME or OTHER).
    """
    out = np.zeros(DAY_MIN, np.int16)
    place = np.zeros(DAY_MIN, np.int8)
    for start in plan_outings(rng, outings, blocked):
        pace = int(rng.integers(88, 104))
        place[start : start + OUTING_MIN] = OTHER
        out[start : start + WALK_MIN] = pace
        out[start + OUTING_MIN - WALK_MIN : start + OUTING_MIN] = pace
    walked = int(out.sum())
    if walked > 0.8 * steps:  # a day of few steps has shorter ways, not none
        out = (out * (0.8 * steps / walked)).astype(np.int16)
        walked = int(out.sum())
    free = np.zeros(DAY_MIN, bool)
    free[awake[0] : awake[1]] = True
    for frm, to in blocked:
        free[max(frm, 0) : to] = False
    return spread_bouts(rng, out, steps - walked, free & (out == 0)), place


def spread_bouts(rng: np.random.Generator, out: Shorts, budget: int, free: Flags) -> Shorts:
    """Add `budget` steps to the free minutes in walking bouts of 3-8 min at 30-90 steps/min; at most 120 a minute."""
    bouts = max(1, round(budget / (BOUT_MIN * 60)))
    starts = rng.choice(np.flatnonzero(free), bouts)
    lengths = rng.integers(3, 9, bouts)
    pace = rng.uniform(30, 90, bouts)
    weight = np.zeros(DAY_MIN + 8)
    for start, length, p in zip(starts.tolist(), lengths.tolist(), pace.tolist(), strict=True):
        weight[start : start + length] = p
    weight = weight[:DAY_MIN] * free
    total = weight.sum()
    if budget <= 0 or total <= 0:
        return out
    exact = np.minimum(np.cumsum(weight) * (budget / total), budget)
    extra = np.minimum(np.diff(np.round(exact), prepend=0.0), 120)
    result: Shorts = (out + extra).astype(np.int16)
    return result


def intensity_of(steps: Shorts) -> Shorts:
    """0 none, 1 light (< 60 steps/min), 2 moderate (< 130), 3 vigorous; made-up cuts for a made-up watch."""
    return np.digitize(steps, [1, 60, 130]).astype(np.int16)
