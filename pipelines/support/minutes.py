"""A person's minutes as the log's clock moves: evidence in, rows of `features.minute` and changes of signals out.

The clock grid is the whole minute (topics.md 2.6): a minute is said once it ended two minutes ago, and again when a late
record changes what its row says, be it the record of a neighbour. Between two late records nothing can depend on the order of
arrival, so all their minutes are computed in one vectorised block; a late record ends a block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.context.devices import WORN_NO, WORN_YES
from pipelines.learning.expected_heart_rate import DayBehind
from pipelines.learning.resting_heart_rate import RestingHeartRate, Strain, nightly
from pipelines.support import grid_state, places
from pipelines.support.arrivals import SETTLE_MIN, Arrivals, Queue
from pipelines.support.derived import FELT_MIN, WINDOW_MIN, Days, Derived, Sources, Thresholds
from pipelines.support.episode import END_RUN
from pipelines.support.evidence import CAPACITY, LEAD, MICRO, MINUTE_MS, MinuteGrid, rolling_count
from pipelines.support.signals import LEFT_HOME, Change, Signal, Signals
from pipelines.support.whereabouts import Whereabouts
from pipelines.support.worn import Worn

HOUR_MS = 3_600_000
LATE_MS = 24 * HOUR_MS
NEVER = 2**62
TEN, RAISED = 10, 5  # the personal recogniser is asked at the end of ten minutes of which five stood out, as in an episode


class Minutes:
    """Evidence of one person on the clock grid.

    Parameters
    ----------
    base
        First minute (since 1970) that can still be told.
    tick
        Last whole minute of the log's clock (ms) that has been worked off.
    """

    def __init__(self, base: int, tick: int) -> None:
        self.grid = MinuteGrid(base)
        self.derived = Derived()
        self.signals = Signals(self.grid, self.derived, base + LEAD)
        self.tick = tick
        self.models = DayBehind()
        self.nights = RestingHeartRate()
        self.whereabouts = Whereabouts()
        self.worn = Worn()
        self.late_waiting = False
        self.pulse_ever = False
        self.touched_from = NEVER  # first minute (since 1970) whose evidence changed since `mark`
        self.recognise: Callable[[int], dict[str, Any]] | None = None  # fields of a row by the instant of its end (ms), None = off
        self._arrivals = Arrivals()
        self._chunks: list[dict[str, npt.NDArray[Any]]] = []

    @property
    def track(self) -> places.Track:
        """Where the person was, by the retained fixes."""
        return self.whereabouts.track

    # -- records in ---------------------------------------------------------------------------------------------------

    def feed(self, queues: dict[str, Queue]) -> None:
        """Hand over the rows of a run, each queue in arrival order; rows more than 24 h late have been taken out."""
        self._arrivals.feed(queues)

    def emptied(self, now: int) -> Minutes:
        """The same instant, the rows still to come after `now` (ms), and nothing known: not even what waits for a tick."""
        self._arrivals.skip(now)
        fresh = Minutes(self.grid.base, self.tick)
        fresh._arrivals, fresh._chunks = self._arrivals, self._chunks
        return fresh

    def advance(self, until: int, days: Days, profile: Thresholds) -> list[Change]:
        """Work off the ticks in (self.tick, until] as far as the first block in which something changed; what, in order.

        Who acts on a change must not know what arrives after its block: call again until `tick` is there.
        """
        target = until // MINUTE_MS * MINUTE_MS
        changes: list[Change] = []
        while self.tick < target and not changes:
            late = self.tick + MINUTE_MS if self.late_waiting else self._arrivals.next_late(self.tick)
            if late is None or late > target:
                changes = self._block(target, days, profile)
            else:  # all before it at once, then the tick by itself
                changes = self._block(max(late - MINUTE_MS, self.tick + MINUTE_MS), days, profile)
        return changes

    def finish(self, until: int) -> None:
        """End of a run: rows that arrived after the last tick are kept; they show at the next one."""
        first = self._apply(until)[0]
        said = (self.tick // MINUTE_MS) - 1 - SETTLE_MIN
        self.late_waiting = self.late_waiting or (first is not None and first <= said)
        self._arrivals = Arrivals()

    def _apply(self, until: int) -> tuple[int | None, bool]:
        """Rows that arrived by `until` enter the evidence: (first minute touched, whether place or wear may change)."""
        first: list[int] = []
        if (some := self._arrivals.take("hr", until)) is not None:
            q, part = some
            self.grid.add_heart_rate(q.event[part], q.columns[0][part], q.columns[1][part])
            self.pulse_ever = True
            first.append(int(q.event[part].min()))
        if (some := self._arrivals.take("act", until)) is not None:
            q, part = some
            steps, period, intensity, vehicle = (c[part] for c in q.columns)
            sources = q.sources[part] if q.sources is not None else None
            self.grid.add_activity(q.event[part], steps, period, intensity, vehicle, sources)
            first.append(int(q.event[part].min()))
        lasting = self._apply_lasting(until)
        first += lasting
        if not first:
            return None, False
        minute = min(first) // MINUTE_MS
        self.touched_from = min(self.touched_from, minute)
        return minute, bool(lasting)

    def _apply_lasting(self, until: int) -> list[int]:
        """Fixes and reports of wear, which hold until the next: instants (ms) from which on they may change something."""
        first = []
        if (some := self._arrivals.take("fix", until)) is not None:
            q, part = some
            self.grid.add_fixes(q.event[part])
            self.whereabouts.add(q.event[part], q.columns[0][part], q.columns[1][part])
            first.append(int(q.event[part].min()))
        if (some := self._arrivals.take("worn", until)) is not None:
            q, part = some
            changed = self.worn.add(q.event[part], q.columns[0][part])
            if changed is not None:
                first.append(changed)
        return first

    # -- one block ----------------------------------------------------------------------------------------------------

    def _block(self, tick: int, days: Days, profile: Thresholds) -> list[Change]:
        """Everything that is known by `tick`; minutes that ended two minutes before it are said."""
        first, lasting = self._apply(tick)
        grid, before = self.grid, self.tick
        self.tick = tick
        self.late_waiting = False
        top = self.sayable(tick)
        if top <= 0:
            return []
        said = np.flatnonzero(grid.touched[:top])
        start = int(said[0]) if len(said) else top
        if first is not None:
            start = min(start, max(first - grid.base, 0))
        stop = top if lasting else min(top, (int(said[-1]) if len(said) else start) + FELT_MIN + 1)
        hot = self.signals.pulse_open
        if start < stop:
            hot = hot or bool(self.derived.flag[start:stop].any())
            other = self.derived.derive(start, stop, self._sources(), days, profile)
            said = np.union1d(said, other) if len(other) else said
            hot = hot or bool(self.derived.flag[start:stop].any())
        if len(said):
            self._say(said, before, tick)
        changes = self.signals.episodes(top, before, tick) if hot else []
        if self._moving(lasting, before):
            changes += self.signals.left_home(self.track, self.whereabouts.since, top, before, tick)
        return sorted(changes, key=lambda c: (c.tick, c.signal.kind, c.signal.start))

    def _moving(self, lasting: bool, before: int) -> bool:
        """Whether the track may say something new of leaving home."""
        unseen = (self.sayable(before) + self.grid.base) * MINUTE_MS
        return lasting or self.signals.open(LEFT_HOME) or any(c[0] >= unseen for c in self.track.changes[-1:])

    def sayable(self, clock: int) -> int:
        """Grid index after the last minute that has been said at `clock`."""
        return min(clock // MINUTE_MS - SETTLE_MIN - self.grid.base, CAPACITY)

    def _sources(self) -> Sources:
        return Sources(self.grid, self.models, self.whereabouts, self.worn)

    # -- rows out -----------------------------------------------------------------------------------------------------

    def _say(self, rows: npt.NDArray[np.int64], before: int, tick: int) -> None:
        grid, derived = self.grid, self.derived
        start = (grid.base + rows) * MINUTE_MS
        natural = start + (1 + SETTLE_MIN) * MINUTE_MS
        grid.revision[rows] += 1
        grid.touched[rows] = False
        bpm, expected = derived.bpm[rows], derived.expected[rows]
        self._chunks.append({
            "start_time": start,
            "ingest_time": np.where(natural > before, natural, tick),
            "revision": grid.revision[rows],
            "hr_bpm": bpm,
            "hr_expected_bpm": expected,
            "hr_residual_bpm": bpm - expected,
            "sigma_bpm": derived.sigma[rows],
            "hr_n": grid.hr_n[rows],
            "hr_sum_bpm": grid.hr_sum[rows] / MICRO,
            "hr_min_bpm": grid.hr_min[rows],
            "hr_max_bpm": grid.hr_max[rows],
            "activity_n": grid.act_n[rows],
            "steps": grid.steps[rows],
            "intensity": grid.intensity[rows],
            "sedentary": derived.sedentary[rows],
            "place": derived.place[rows],
            "place_confirmed": derived.place_sure[rows],
            "fixes": grid.fixes[rows],
            "state": self._states(rows),
        })  # fmt: skip

    def _states(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        """What the personal recogniser adds to these rows: a dict of fields, None for nearly all."""
        out = np.empty(len(rows), object)
        flag = self.derived.flag
        if self.recognise is not None and flag[max(0, int(rows[0]) + 1 - TEN) : int(rows[-1]) + 1].any():
            for i in np.flatnonzero((self.grid.base + rows) % TEN == TEN - 1).tolist():
                row = int(rows[i])
                if flag[max(0, row + 1 - TEN) : row + 1].sum() >= RAISED:
                    out[i] = self.recognise((self.grid.base + row + 1) * MINUTE_MS) or None
        return out

    def take_rows(self) -> dict[str, npt.NDArray[Any]] | None:
        """All rows said since the last call, as columns; None if there are none."""
        chunks, self._chunks = self._chunks, []
        if not chunks:
            return None
        return {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}

    # -- days ---------------------------------------------------------------------------------------------------------

    def start_day(self, day: int, lessons: list[tuple[int, int]], keep_from: int, days: Days) -> None:
        """Begin local day `day`: learn the days whose lateness is over, and forget what lies before them.

        Parameters
        ----------
        lessons
            [start, end) in ms of the days up to D-2 that have not been learned yet, oldest first.
        keep_from
            ms; minutes before it (less the lead) are settled and go.
        """
        for start, end in lessons:
            self._learn(day, start, end, days)
        if not lessons:
            self.models.start_day(day, None)
        self._settle(keep_from)

    def _learn(self, day: int, start: int, end: int, days: Days) -> None:
        grid, derived = self.grid, self.derived
        lo, hi = max(start // MINUTE_MS - grid.base, WINDOW_MIN), end // MINUTE_MS - grid.base
        if hi <= lo or not (grid.hr_n[lo:hi] > 0).any():
            self.models.start_day(day, None)
            return
        x, bpm, usable = derived.lesson(lo, hi, self._sources(), days)
        taught = days.day_index(start)
        of_day = (days.local_minute((grid.base + lo) * MINUTE_MS) + np.arange(hi - lo)) % 1440
        rest, _ = nightly(bpm, grid.steps[lo:hi], of_day)
        if taught is not None and rest is not None:
            self.nights.learn_one(taught, rest)
        with np.errstate(invalid="ignore"):
            high = (bpm - derived.expected[lo:hi]) >= derived.threshold[lo:hi]
        excluded = high | self.signals.episode_minutes(lo, hi)
        resting = derived.sedentary[lo:hi][usable] == 1
        self.models.start_day(day, (x[usable], bpm[usable], resting, excluded[usable], int((~np.isnan(bpm)).sum())))

    def _settle(self, keep_from: int) -> None:
        """Minutes before `keep_from` (ms) can't change any more, and all but the lead go."""
        grid = self.grid
        minute = keep_from // MINUTE_MS
        if minute <= grid.base:
            return
        self.signals.settle(minute)
        by = minute - LEAD - grid.base
        if by <= 0:
            return
        grid.move(minute - LEAD)
        self.derived.move(by)
        self.whereabouts.forget(keep_from - LATE_MS - HOUR_MS)
        self.worn.forget(keep_from - LATE_MS - HOUR_MS)
        self.signals.forget(keep_from)

    def mark(self) -> int:
        """First minute (since 1970) whose evidence changed since the last mark; starts a new count."""
        first, self.touched_from = self.touched_from, NEVER
        return first

    # -- questions ----------------------------------------------------------------------------------------------------

    def silent(self, clock: int) -> dict[str, bool]:
        """Modalities without any record in the last hour (location 2 h) as known at `clock` (support.md 9)."""
        top = self.sayable(clock)
        out = {}
        for name, seen, back in (
            ("ACTIVITY", ~np.isnan(self.grid.steps), 60),
            ("HEART_RATE", self.grid.hr_n > 0, 60),
            ("LOCATION", self.grid.fixes, 120),
        ):
            out[name] = not bool(seen[max(0, top - back) : max(0, top)].any())
        return out

    def strain(self, t: int, days: Days | None) -> Strain:
        """Body strain as known on the local day of instant `t` (ms): of the last night of two days before or earlier."""
        day = days.day_index(t) if days is not None else None
        return self.nights.known_on(day) if day is not None else Strain()

    def horizon(self, clock: int) -> int:
        """Instant (ms) up to which, exclusive, the minutes are known at `clock`: nobody may look beyond it."""
        return (clock // MINUTE_MS - SETTLE_MIN) * MINUTE_MS

    def hr_episodes(self, clock: int) -> list[Signal]:
        """Heart-rate episodes as known at `clock`, by start."""
        return self.signals.episodes_at(clock, self.horizon(clock))

    def worn_minutes(self, lo: int, hi: int, reach: int) -> npt.NDArray[np.bool_]:
        """Grid minutes [lo, hi) in which the watch is worn: a pulse within `reach` minutes, or said so, or no pulse is ever taken."""
        said = self.worn.at((self.grid.base + np.arange(lo, hi)) * MINUTE_MS)
        if not self.pulse_ever:  # a counter of steps only: worn while it counts
            return np.asarray(~np.isnan(self.grid.steps[lo:hi]) & (said != WORN_NO))
        a, b = max(0, lo - reach), min(CAPACITY, hi + reach)
        pulse = np.flatnonzero(self.grid.hr_n[a:b] > 0) + a
        out = np.zeros(hi - lo, np.bool_)
        if len(pulse):
            near = np.searchsorted(pulse, np.arange(lo, hi) - reach)
            out = pulse[np.minimum(near, len(pulse) - 1)] - np.arange(lo, hi) <= reach
            out &= near < len(pulse)
        return np.asarray((out | (said == WORN_YES)) & (said != WORN_NO))

    def moving(self, clock: int, back: int = 5) -> tuple[bool | None, bool | None]:
        """(in a vehicle, vigorous or moderate activity) in the last `back` minutes known at `clock`; None = not known."""
        top = max(0, self.sayable(clock))
        part = slice(max(0, top - back), top)
        if np.isnan(self.grid.steps[part]).all():
            return None, None
        return bool(self.grid.vehicle[part].any()), bool((self.grid.intensity[part] >= 2).any())

    @property
    def restless(self) -> bool:
        """Whether the minutes to come may say anything although nothing arrives."""
        return self.late_waiting or self.signals.pulse_open or self._moving(False, self.tick) or bool(self.grid.touched.any())

    def returned(self, since: int, until: int) -> tuple[float | None, int | None]:
        """Whether the pulse came back below half the threshold for five minutes in [since, until) ms (trial.md 4).

        Returns (1 or 0, instant); (None, None) where less than half of the minutes are known.
        """
        lo, hi = max(0, since // MINUTE_MS - self.grid.base), until // MINUTE_MS - self.grid.base
        if hi <= lo or (~self.derived.empty[lo:hi]).sum() * 2 < hi - lo:
            return None, None
        run = np.flatnonzero(rolling_count(self.derived.low[lo:hi], END_RUN) == END_RUN)
        if len(run):
            return 1.0, int((self.grid.base + lo + int(run[0]) + 1) * MINUTE_MS)
        return 0.0, until

    # -- state --------------------------------------------------------------------------------------------------------

    def dump(self, clock: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        meta, arrays = grid_state.dump(self.grid, (clock - LATE_MS) // MINUTE_MS - 2)
        anchor, fixes = self.whereabouts.dump()
        state = {
            "grid": meta, "tick": self.tick, "signals": self.signals.state(), "fix": anchor,
            "late": self.late_waiting, "pulse": self.pulse_ever, "touched_from": self.touched_from,
        }  # fmt: skip
        models = {"models": self.models.dump(), "nights": self.nights.dump()}
        return state, arrays | fixes | self.worn.dump() | {name: np.frombuffer(data, np.uint8) for name, data in models.items()}

    @staticmethod
    def load(state: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], days: Days, profile: Thresholds) -> Minutes:
        grid = grid_state.load(state["grid"], arrays)
        self = Minutes(grid.base, int(state["tick"]))
        self.grid = grid
        self.signals = Signals.from_state(state["signals"], grid, self.derived)
        self.models = DayBehind.load(arrays["models"].tobytes())
        if "nights" in arrays:  # not in states of before they were learned
            self.nights = RestingHeartRate.load(arrays["nights"].tobytes())
        self.whereabouts = Whereabouts.load(state["fix"], arrays)
        self.worn = Worn.load(arrays) if "worn_time" in arrays else Worn(state["worn"])  # of before it was packed
        self.late_waiting = bool(state["late"])
        self.pulse_ever = bool(state["pulse"])
        self.touched_from = int(state["touched_from"])
        self.derived.derive(0, self.sayable(self.tick), self._sources(), days, profile)
        return self
