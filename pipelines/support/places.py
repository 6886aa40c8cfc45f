"""Where a person is: HOME, OTHER or UNKNOWN from a set of fixes (support.md 2, Place). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

UNKNOWN, HOME, OTHER = 0, 1, 2
NAMES = ("UNKNOWN", "HOME", "OTHER")
BORDER = 3
CODES = {"UNKNOWN": UNKNOWN, "HOME": HOME, "OTHER": OTHER, "BORDER": BORDER}

MAX_ACCURACY_M = 100.0
LEAVE_ACCURACY_M = 50.0
SILENT_MS = 30 * 60_000
HOLD_MS = 3 * 3_600_000
OUTING_MS = 10 * 60_000

Ints = npt.NDArray[np.int64]


@dataclass
class Anchor:
    """The place machine just before the first retained fix."""

    state: int = UNKNOWN
    streak: int = UNKNOWN  # kind of the last fix, when it could be the first of two
    last_fix: int = -(2**62)


@dataclass
class Track:
    """Fixes and the state after each; `away` = the fix itself showed the person OTHER, second in a row or later."""

    time: Ints
    state: npt.NDArray[np.int8]
    away: npt.NDArray[np.bool_]
    anchor: Anchor
    changes: list[tuple[int, int, int]] = field(default_factory=list)  # (time, from, to)
    end: Anchor = field(default_factory=Anchor)

    def at(self, when: Ints) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
        """(state code, confirmed) at instants (ms): UNKNOWN after 30 min of silence; OTHER is held up to 3 h."""
        i = np.searchsorted(self.time, when, side="right") - 1
        if len(self.time):
            last = np.where(i >= 0, self.time[i], self.anchor.last_fix)
            state = np.where(i >= 0, self.state[i], self.anchor.state)
        else:
            last = np.full(len(when), self.anchor.last_fix)
            state = np.full(len(when), self.anchor.state)
        age = when - last
        fresh = age <= SILENT_MS
        held = (state == OTHER) & (age <= HOLD_MS)
        return np.where(fresh | held, state, UNKNOWN).astype(np.int8), fresh & (state == OTHER)

    def confirmed_other(self, since: int, until: int) -> int | None:
        """Time of the last confirmed OTHER fix in [since, until]; None if there is none."""
        inside = (self.time >= since) & (self.time <= until) & self.away
        hits = np.flatnonzero(inside)
        return int(self.time[hits[-1]]) if len(hits) else None

    def outings(self, since: int, until: int) -> list[tuple[int, int]]:
        """[start, end) of OTHER of at least 10 min that begin in [since, until), held time included."""
        if not len(self.time) and self.anchor.state != OTHER:
            return []
        grid = np.arange(since, until, 60_000, dtype=np.int64)
        away = self.at(grid)[0] == OTHER
        edges = np.flatnonzero(np.diff(np.concatenate(([False], away, [False])).astype(np.int8)))
        runs = edges.reshape(-1, 2)
        return [(since + int(a) * 60_000, since + int(b) * 60_000) for a, b in runs if (b - a) * 60_000 >= OUTING_MS]


def track(time: Ints, place: npt.NDArray[np.int8], accuracy: npt.NDArray[np.float64], anchor: Anchor) -> Track:
    """Walk the fixes in event-time order (sorted here; ties by place and accuracy, so that arrival cannot matter).

    Parameters
    ----------
    time
        ms; `place` codes of this module (BORDER allowed); `accuracy` metres (68 % radius).
    """
    good = accuracy <= MAX_ACCURACY_M
    time, place, accuracy = time[good], place[good], accuracy[good]
    order = np.lexsort((accuracy, place, time))
    time, place, accuracy = time[order], place[order], accuracy[order]
    # too coarse to say that somebody left: keeps the state, resets the count, as BORDER does
    kind = np.where((place == OTHER) & (accuracy > LEAVE_ACCURACY_M), BORDER, place)
    streak = np.where((kind == HOME) | (kind == OTHER), kind, UNKNOWN)
    before = np.concatenate(([anchor.streak], streak[:-1])) if len(kind) else streak
    # the second of two equal fixes sets the state, and so does a fix of which nothing can be said
    sets = (kind == UNKNOWN) | ((streak != UNKNOWN) & (streak == before))
    last_set = np.maximum.accumulate(np.where(sets, np.arange(len(kind)), -1)) if len(kind) else np.zeros(0, np.int64)
    state = np.where(last_set >= 0, kind[last_set], anchor.state).astype(np.int8)
    was = np.concatenate(([anchor.state], state[:-1])) if len(state) else state
    moved = np.flatnonzero(state != was)
    changes = [(int(time[i]), int(was[i]), int(state[i])) for i in moved]
    # the first fix back at home leaves the state as it was, but it is no fix away from home
    away = (state == OTHER) & (place == OTHER)
    if not len(time):
        return Track(time, state, away, anchor, changes, anchor)
    end = Anchor(int(state[-1]), int(streak[-1]), int(time[-1]))
    return Track(time, state, away, anchor, changes, end)
