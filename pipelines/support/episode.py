"""The heart-rate episode: five of the last ten clock minutes at rest high, and risen above the last hour (support.md 2). Pure.

High is a residual of at least max(floor, z sigma). Risen: at least four thirds of the floor above the fifth lowest residual at rest
of the hour before, so that a pulse which has been up for hours (a fever, a drink, heat) is no episode. The denominator stays
ten, and the fifth lowest of fewer minutes is never lower: lost rows can only switch an episode off (S3, S4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.support.evidence import rolling_count

WINDOW, COUNT, END_RUN, REST = 10, 5, 5, 120  # minutes; measured: benchmarks/RESULTS.md
HOUR, LOWEST = 60, 5  # the rise is above the fifth lowest of the sixty minutes before [own: benchmarks/calibration.py]
RISE_OF_FLOOR = 4 / 3  # 16 bpm at a floor of 12; a profile for damped pulses (floor 8) asks for less rise too


@dataclass(frozen=True)
class Scan:
    """State of the rule at a minute: what is needed to go on from there."""

    last_on: int = -(2**40)
    start: int | None = None
    on: int | None = None


@dataclass(frozen=True)
class Episode:
    """Minutes since 1970. `end` is the first minute of the run that ended it; None while it goes on."""

    start: int
    on: int
    end: int | None
    off: int | None
    reason: str | None


def usual_of_hour(at_rest: npt.NDArray[np.float64], minutes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Fifth lowest residual at rest of the sixty minutes before each of `minutes`, bpm; infinite where fewer than five are known.

    Parameters
    ----------
    at_rest
        Residual of consecutive minutes, bpm; NaN = not at rest or not known; shape (n,).
    minutes
        Indices into `at_rest`, shape (m,).
    """
    before = np.concatenate((np.full(HOUR, np.inf), np.where(np.isnan(at_rest), np.inf, at_rest)))
    windows = before[minutes[:, None] + np.arange(HOUR)]
    return np.asarray(np.partition(windows, LOWEST - 1, axis=1)[:, LOWEST - 1])


def scan(
    flag: npt.NDArray[np.bool_],
    low: npt.NDArray[np.bool_],
    empty: npt.NDArray[np.bool_],
    base: int,
    first: int,
    before: Scan,
) -> tuple[list[Episode], Scan]:
    """Episodes whose ON or OFF falls on minutes >= `first`.

    Parameters
    ----------
    flag, low, empty
        One entry a minute from `base` on: high at rest and risen; observed below half the threshold; no residual known.
        They begin at least ten minutes before `first`.
    before
        State after minute `first` - 1.
    """
    episodes: list[Episode] = []
    count = rolling_count(flag, WINDOW)
    candidates = np.flatnonzero(count >= COUNT) + base
    candidates = candidates[candidates >= first]
    top = base + len(flag)
    if before.start is None and not len(candidates):
        return [], before
    below_runs = np.flatnonzero(rolling_count(low, END_RUN) == END_RUN) + base
    empty_runs = np.flatnonzero(rolling_count(empty, END_RUN) == END_RUN) + base
    last_on, start, on, cursor = before.last_on, before.start, before.on, first
    while cursor < top:
        if start is None:
            i = np.searchsorted(candidates, max(cursor, last_on + REST))
            if i >= len(candidates):
                break
            on = last_on = int(candidates[i])
            window = flag[max(0, on - WINDOW + 1 - base) : on + 1 - base]
            start = max(base, on - WINDOW + 1) + int(np.argmax(window))
            cursor = on + 1
            continue
        assert on is not None
        since = max(cursor, on + END_RUN)
        ends = [
            (int(r[k]), why)
            for r, why in ((below_runs, "BELOW"), (empty_runs, "GAP"))
            if (k := int(np.searchsorted(r, since))) < len(r)
        ]
        if not ends:
            break
        off, why = min(ends)
        episodes.append(Episode(start, on, off - END_RUN + 1, off, why))
        start = on = None
        cursor = off + 1
    after = Scan(last_on, start, on)
    if start is not None and on is not None:
        episodes.append(Episode(start, on, None, None, None))
    return episodes, after
