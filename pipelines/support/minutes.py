"""A person's minutes as the log's clock moves: evidence in, rows of `features.minute` and changes of signals out.

The clock grid is the whole minute (topics.md 2.6): a minute is said once it ended two minutes ago, and again when a late
record changes it. Between two late records nothing can depend on the order of arrival, so all their minutes are computed
in one vectorised block; a late record ends a block.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.learning.expected_heart_rate import DayBehind, activity_features
from pipelines.support import places
from pipelines.support.episode import END_RUN, REST, Scan, scan
from pipelines.support.evidence import CAPACITY, LEAD, MICRO, MINUTE_MS, MinuteGrid, rolling_count, shift

SETTLE_MIN = 2  # a minute is said two minutes after its end
HOUR_MS = 3_600_000
LATE_MS = 24 * HOUR_MS
EVIDENCE_LATE_MS = HOUR_MS  # "late" on a notification: evidence older than this when it came
KEEP_SIGNALS_MS = 5 * 24 * HOUR_MS
WORN_UNKNOWN, WORN_NO, WORN_YES = 0, 1, 2

Ints = npt.NDArray[np.int64]


class Days(Protocol):
    """What is asked of the person's local days."""

    def day_index(self, t: int) -> int | None: ...
    def local_minute(self, t: int) -> int: ...


class Thresholds(Protocol):
    """Profile values by event time."""

    def change_times(self) -> list[int]: ...
    def thresholds(self, t: int) -> tuple[float, float]: ...


@dataclass
class Signal:
    """A derived signal as last said. Minutes and instants are ms since 1970."""

    kind: str
    start: int
    end: int | None = None
    state: str = "ON"
    reason: str | None = None
    revision: int = 0
    known_at: int = 0
    late: bool = False
    strength: float | None = None
    amount: float | None = None
    threshold: float | None = None
    observed: int = 0
    missing: int = 0
    last: int | None = None
    off_at: int | None = None


@dataclass(frozen=True)
class Change:
    """A signal that changed at a tick of the log's clock."""

    tick: int
    signal: Signal


class Fixes(NamedTuple):
    """Fixes by number: ms, place codes, metres; in order of arrival."""

    time: Ints
    place: npt.NDArray[np.int8]
    accuracy: npt.NDArray[np.float64]

    @staticmethod
    def none() -> Fixes:
        return Fixes(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0))

    def plus(self, time: Ints, place: npt.NDArray[np.int8], accuracy: npt.NDArray[np.float64]) -> Fixes:
        return Fixes(
            np.concatenate([self.time, time]),
            np.concatenate([self.place, place]),
            np.concatenate([self.accuracy, accuracy]),
        )

    def among(self, where: npt.NDArray[np.bool_]) -> Fixes:
        return Fixes(self.time[where], self.place[where], self.accuracy[where])


@dataclass
class Queue:
    """Rows of this run that have arrived but are not yet known to the grid."""

    arrival: Ints
    event: Ints
    columns: tuple[npt.NDArray[Any], ...]
    sources: list[str] | None = None
    at: int = 0

    def take(self, until: int) -> slice:
        hi = int(np.searchsorted(self.arrival, until, side="right"))
        part = slice(self.at, hi)
        self.at = hi
        return part


def _empty_queue(n_columns: int) -> Queue:
    none = np.zeros(0, np.int64)
    return Queue(none, none, (none,) * n_columns)


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
        self.tick = tick
        self.models = DayBehind()
        self.anchor = Scan()
        self.anchor_minute = base + LEAD
        self.fixes = Fixes.none()
        self.fix_anchor = places.Anchor()
        self.track = places.track(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0), places.Anchor())
        self.worn: list[tuple[int, int]] = []
        self.signals: dict[str, dict[int, Signal]] = {"HR_EPISODE": {}, "LEFT_HOME": {}}
        self.late_waiting = False
        self.pulse_ever = False
        self.touched_from = 2**62  # first minute (since 1970) whose evidence changed since `mark`
        self._queues = {"hr": _empty_queue(2), "act": _empty_queue(4), "fix": _empty_queue(2), "worn": _empty_queue(1)}
        self._specials: Ints = np.zeros(0, np.int64)
        self._chunks: list[dict[str, npt.NDArray[Any]]] = []
        self._derived()

    def _derived(self) -> None:
        n = CAPACITY
        self.expected = np.full(n, np.nan)
        self.sigma = np.full(n, np.nan)
        self.threshold = np.full(n, np.nan)
        self.sedentary = np.full(n, -1, np.int8)
        self.place = np.zeros(n, np.int8)
        self.place_sure = np.zeros(n, np.bool_)
        self.flag = np.zeros(n, np.bool_)
        self.low = np.zeros(n, np.bool_)
        self.empty = np.ones(n, np.bool_)

    # -- records in ---------------------------------------------------------------------------------------------------

    def feed(self, queues: dict[str, Queue]) -> None:
        """Hand over the rows of a run, each queue in arrival order; rows more than 24 h late have been taken out."""
        self._queues.update(queues)
        specials = []
        for name, queue in queues.items():
            natural = (queue.event // MINUTE_MS + 1 + SETTLE_MIN) * MINUTE_MS
            tick = -(-queue.arrival // MINUTE_MS) * MINUTE_MS
            late = tick > natural
            if name == "act" and len(queue.columns) > 1:
                late |= queue.columns[1] > 60  # spread over minutes: the earlier ones come late
            specials.append(tick[late])
        self._specials = np.unique(np.concatenate(specials)) if specials else np.zeros(0, np.int64)

    def emptied(self, now: int) -> Minutes:
        """The same instant, the rows still to come after `now` (ms), and nothing known: not even what waits for a tick."""
        for queue in self._queues.values():
            queue.take(now)
        fresh = Minutes(self.grid.base, self.tick)
        fresh._queues, fresh._specials, fresh._chunks = self._queues, self._specials, self._chunks
        return fresh

    def advance(self, until: int, days: Days, profile: Thresholds) -> list[Change]:
        """Work off the ticks in (self.tick, until] as far as the first block in which something changed; what, in order.

        Who acts on a change must not know what arrives after its block: call again until `tick` is there.
        """
        target = until // MINUTE_MS * MINUTE_MS
        changes: list[Change] = []
        while self.tick < target:
            special = self._next_special()
            if special is None or special > target:
                changes += self._block(target, days, profile)
            elif special - MINUTE_MS > self.tick:
                changes += self._block(special - MINUTE_MS, days, profile)
            else:
                changes += self._block(special, days, profile)
            if changes:
                break
        return changes

    def _next_special(self) -> int | None:
        if self.late_waiting:
            return self.tick + MINUTE_MS
        i = int(np.searchsorted(self._specials, self.tick, side="right"))
        return int(self._specials[i]) if i < len(self._specials) else None

    def finish(self, until: int) -> None:
        """End of a run: rows that arrived after the last tick are kept; they show at the next one."""
        lo, _, _ = self._apply(until)
        natural = (self.tick // MINUTE_MS) - 1 - SETTLE_MIN
        self.late_waiting = self.late_waiting or (lo is not None and lo <= natural)
        self._queues = {"hr": _empty_queue(2), "act": _empty_queue(4), "fix": _empty_queue(2), "worn": _empty_queue(1)}
        self._specials = np.zeros(0, np.int64)

    # -- one block ----------------------------------------------------------------------------------------------------

    def _apply(self, until: int) -> tuple[int | None, int | None, int | None]:
        """Rows that arrived by `until` enter the evidence; (first minute, first fix, first worn change) touched."""
        grid = self.grid
        first: list[int] = []
        q = self._queues["hr"]
        part = q.take(until)
        if part.start < part.stop:
            grid.add_heart_rate(q.event[part], q.columns[0][part], q.columns[1][part])
            self.pulse_ever = True
            first.append(int(q.event[part].min()))
        q = self._queues["act"]
        part = q.take(until)
        if part.start < part.stop:
            cols = [c[part] for c in q.columns]
            sources = q.sources[part] if q.sources is not None else None
            grid.add_activity(q.event[part], cols[0], cols[1], cols[2], cols[3], sources)
            first.append(int(q.event[part].min()))
        first_fix = self._apply_fixes(until)
        first_worn = self._apply_worn(until)
        first += [t for t in (first_fix, first_worn) if t is not None]
        if not first:
            return None, first_fix, first_worn
        minute = min(first) // MINUTE_MS
        self.touched_from = min(self.touched_from, minute)
        return minute, first_fix, first_worn

    def _apply_fixes(self, until: int) -> int | None:
        q = self._queues["fix"]
        part = q.take(until)
        if part.start == part.stop:
            return None
        time = q.event[part]
        self.grid.add_fixes(time)
        self.fixes = self.fixes.plus(time, q.columns[0][part], q.columns[1][part])
        self._retrack()
        return int(time.min())

    def _retrack(self) -> None:
        self.track = places.track(*self.fixes, self.fix_anchor)

    def _apply_worn(self, until: int) -> int | None:
        q = self._queues["worn"]
        part = q.take(until)
        if part.start == part.stop:
            return None
        news = list(zip(q.event[part].tolist(), q.columns[0][part].tolist(), strict=True))
        known = set(self.worn)
        fresh = [w for w in news if w not in known]
        if not fresh:
            return None
        before = self._worn_at(np.array([w[0] for w in fresh], np.int64))
        self.worn = sorted(known.union(fresh))
        changed = [w[0] for w, old in zip(fresh, before.tolist(), strict=True) if w[1] != old]
        return min(changed) if changed else None

    def _worn_at(self, when: Ints) -> npt.NDArray[np.int8]:
        if not self.worn:
            return np.zeros(len(when), np.int8)
        times = np.array([w[0] for w in self.worn], np.int64)
        codes = np.array([WORN_UNKNOWN] + [w[1] for w in self.worn], np.int8)
        return codes[np.searchsorted(times, when, side="right")]

    def _block(self, tick: int, days: Days, profile: Thresholds) -> list[Change]:
        """Everything that is known by `tick`; minutes that ended two minutes before it are said."""
        lo, first_fix, _ = self._apply(tick)
        grid, before = self.grid, self.tick
        self.tick = tick
        self.late_waiting = False
        top = self.sayable(tick)
        if top <= 0:
            return []
        rows = np.flatnonzero(grid.touched[:top])
        start = int(rows[0]) if len(rows) else top
        if lo is not None:
            start = min(start, max(lo - grid.base, 0))
        if start >= top:
            start = top
        stop = top if first_fix is not None else min(top, (int(rows[-1]) if len(rows) else start) + 31)
        hot = self.anchor.start is not None or any(s.state == "ON" for s in self.signals["HR_EPISODE"].values())
        if start < stop:
            old_flag = self.flag[start:stop].any()
            self._derive(start, stop, days, profile, rows)
            hot = hot or bool(old_flag) or bool(self.flag[start:stop].any())
        if len(rows):
            self._say(rows, before, tick)
        changes = self._episodes(before, tick) if hot else []
        unseen = (self.sayable(before) + grid.base) * MINUTE_MS
        if first_fix is not None or self._open("LEFT_HOME") or any(c[0] >= unseen for c in self.track.changes[-1:]):
            changes += self._left_home(before, tick)
        return sorted(changes, key=lambda c: (c.tick, c.signal.kind, c.signal.start))

    def sayable(self, clock: int) -> int:
        """Grid index after the last minute that has been said at `clock`."""
        return min(clock // MINUTE_MS - SETTLE_MIN - self.grid.base, CAPACITY)

    def _open(self, kind: str) -> bool:
        return any(s.state == "ON" for s in self.signals[kind].values())

    def _derive(self, start: int, stop: int, days: Days, profile: Thresholds, said: Ints) -> None:
        grid = self.grid
        start = max(start, LEAD // 2)
        if start >= stop:
            return
        part = slice(start, stop)
        minutes = np.arange(grid.base + start, grid.base + stop, dtype=np.int64)
        old = (
            self.sedentary[part].copy(),
            self.expected[part].copy(),
            self.place[part].copy(),
            self.place_sure[part].copy(),
        )
        self.sedentary[part] = grid.sedentary(start, stop)
        self._expect(start, stop, days)
        if len(self.track.time) or self.fix_anchor.state:
            self.place[part], self.place_sure[part] = self.track.at((minutes + 1) * MINUTE_MS - 1)
        worn = self._worn_at(minutes * MINUTE_MS) != WORN_NO
        residual = np.where(worn, grid.hr_bpm[part], np.nan) - self.expected[part]
        floor, z = self._limits(minutes, profile)
        threshold = np.maximum(floor, z * self.sigma[part])
        self.threshold[part] = threshold
        with np.errstate(invalid="ignore"):
            self.flag[part] = (self.sedentary[part] == 1) & (residual >= threshold)
            self.low[part] = residual < threshold / 2
        self.empty[part] = np.isnan(residual)
        changed = (
            (old[0] != self.sedentary[part])
            | (old[2] != self.place[part])
            | (old[3] != self.place_sure[part])
            | ~((old[1] == self.expected[part]) | (np.isnan(old[1]) & np.isnan(self.expected[part])))
        )
        grid.dirty[part] |= changed & (grid.revision[part] >= 0)
        grid.dirty[said] = False

    def _expect(self, start: int, stop: int, days: Days) -> None:
        grid = self.grid
        lead = 29
        steps = grid.steps[start - lead : stop]
        cursor = start
        while cursor < stop:
            day = days.day_index((grid.base + cursor) * MINUTE_MS)
            end = self._same_day(cursor, stop, day, days)
            part = slice(cursor, end)
            self.expected[part] = np.nan
            self.sigma[part] = np.nan
            if day is not None and self.models.has(day):
                local = days.local_minute((grid.base + cursor) * MINUTE_MS)
                of_day = (local + np.arange(-lead, end - cursor)) % 1440
                x = activity_features(steps[cursor - start : end - start + lead], of_day)[lead:]
                result = self.models.expected(day, x)
                if result is not None:
                    expected, sigma = result
                    known = self.sedentary[part] >= 0
                    self.expected[part] = np.where(known, expected, np.nan)
                    self.sigma[part] = np.where(known, sigma, np.nan)
            cursor = end

    def _same_day(self, cursor: int, stop: int, day: int | None, days: Days) -> int:
        """First minute after `cursor` that belongs to another day (bisection: days are intervals)."""
        base = self.grid.base
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

    def _limits(self, minutes: Ints, profile: Thresholds) -> tuple[Any, Any]:
        lo, hi = int(minutes[0]) * MINUTE_MS, int(minutes[-1]) * MINUTE_MS
        inside = [t for t in profile.change_times() if lo < t <= hi]
        if not inside:
            return profile.thresholds(lo)
        floor, z = np.empty(len(minutes)), np.empty(len(minutes))
        for a, b in zip([lo, *inside], [*inside, hi + MINUTE_MS], strict=True):
            part = (minutes * MINUTE_MS >= a) & (minutes * MINUTE_MS < b)
            floor[part], z[part] = profile.thresholds(a)
        return floor, z

    # -- rows out -----------------------------------------------------------------------------------------------------

    def _say(self, rows: Ints, before: int, tick: int) -> None:
        grid = self.grid
        minutes = grid.base + rows
        natural = (minutes + 1 + SETTLE_MIN) * MINUTE_MS
        grid.revision[rows] += 1
        grid.touched[rows] = False
        self._chunk(rows, np.where(natural > before, natural, tick))

    def _chunk(self, rows: Ints, at: Ints) -> None:
        grid = self.grid
        worn = self._worn_at((grid.base + rows) * MINUTE_MS) != WORN_NO
        bpm = np.where(worn, grid.hr_bpm[rows], np.nan)
        self._chunks.append({
            "start_time": (grid.base + rows) * MINUTE_MS,
            "ingest_time": at,
            "revision": grid.revision[rows].astype(np.int32),
            "hr_bpm": bpm,
            "hr_expected_bpm": self.expected[rows],
            "hr_residual_bpm": bpm - self.expected[rows],
            "sigma_bpm": self.sigma[rows],
            "hr_n": grid.hr_n[rows].copy(),
            "hr_sum_bpm": grid.hr_sum[rows] / MICRO,
            "hr_min_bpm": grid.hr_min[rows],
            "hr_max_bpm": grid.hr_max[rows],
            "activity_n": grid.act_n[rows].copy(),
            "steps": grid.steps[rows],
            "intensity": grid.intensity[rows].astype(np.int32),
            "sedentary": self.sedentary[rows].copy(),
            "place": self.place[rows].copy(),
            "place_confirmed": self.place_sure[rows].copy(),
            "fixes": grid.fixes[rows].copy(),
        })  # fmt: skip

    def take_rows(self) -> dict[str, npt.NDArray[Any]] | None:
        """All rows said since the last call, as columns; None if there are none."""
        chunks, self._chunks = self._chunks, []
        if not chunks:
            return None
        return {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}

    # -- signals ------------------------------------------------------------------------------------------------------

    def _episodes(self, before: int, tick: int) -> list[Change]:
        grid = self.grid
        lo, top = self.anchor_minute - grid.base - LEAD // 2, self.sayable(tick)
        if top <= lo:
            return []
        part = slice(lo, top)
        found, _ = scan(
            self.flag[part], self.low[part], self.empty[part], grid.base + lo, self.anchor_minute, self.anchor
        )
        fresh = {}
        for e in found:
            end = None if e.end is None else e.end * MINUTE_MS
            signal = Signal("HR_EPISODE", e.start * MINUTE_MS, end, "ON" if end is None else "OFF", e.reason)
            self._measure(signal, e.start, e.end if e.end is not None else e.on + 1)
            signal.last = (e.off if e.off is not None else e.on) * MINUTE_MS
            signal.known_at = e.on * MINUTE_MS
            fresh[signal.start] = signal
        return self._reconcile("HR_EPISODE", fresh, self.anchor_minute * MINUTE_MS, before, tick)

    def _measure(self, signal: Signal, start: int, end: int) -> None:
        part = slice(max(0, start - self.grid.base), end - self.grid.base)
        residual = self.grid.hr_bpm[part] - self.expected[part]
        high = self.flag[part]
        signal.observed = int((~self.empty[part]).sum())
        signal.missing = int(self.empty[part].sum())
        if high.any():
            signal.amount = round(float(residual[high].mean()), 1)
            signal.threshold = round(float(self.threshold[part][high].mean()), 1)
            signal.strength = round(signal.amount / signal.threshold, 3)

    def _left_home(self, before: int, tick: int) -> list[Change]:
        fresh = {}
        visible = (self.sayable(tick) + self.grid.base) * MINUTE_MS
        changes = [c for c in self.track.changes if c[0] < visible]
        for i, (t, was, now) in enumerate(changes):
            if was != places.HOME or now != places.OTHER:
                continue
            back = next((c[0] for c in changes[i + 1 :] if c[2] != places.OTHER), None)
            fresh[t] = Signal("LEFT_HOME", t, back, "ON" if back is None else "OFF", None if back is None else "RETURN")
            fresh[t].known_at, fresh[t].last = t, back
        since = int(self.fixes.time.min()) if len(self.fixes.time) else visible
        return self._reconcile("LEFT_HOME", fresh, since, before, tick)

    def _reconcile(self, kind: str, fresh: dict[int, Signal], since: int, before: int, tick: int) -> list[Change]:
        """What the evidence says now against what was said: new, ended, moved (the old one goes OFF, SUPERSEDED)."""
        known, out = self.signals[kind], []

        def at(t: int) -> int:
            natural = (t // MINUTE_MS + 1 + SETTLE_MIN) * MINUTE_MS
            return natural if natural > before else tick

        for start, old in list(known.items()):
            carried = self.anchor.start is not None and start == self.anchor.start * MINUTE_MS
            if (
                start not in fresh
                and (start >= since or (carried and kind == "HR_EPISODE"))
                and old.reason != "SUPERSEDED"
            ):
                old.state, old.reason, old.end = "OFF", "SUPERSEDED", old.end if old.end is not None else start
                old.revision += 1
                out.append(Change(tick, Signal(**asdict(old))))
        for start, new in fresh.items():
            old_signal = known.get(start)
            on_at = at(new.known_at)
            if old_signal is None:
                said = Signal(**asdict(new))
                said.state, said.end, said.reason, said.known_at = "ON", None, None, on_at
                said.last = new.known_at
                if kind == "HR_EPISODE":
                    self._measure(said, said.start // MINUTE_MS, new.known_at // MINUTE_MS + 1)
                said.late = on_at - new.known_at > EVIDENCE_LATE_MS + (1 + SETTLE_MIN) * MINUTE_MS
                known[start] = said
                out.append(Change(on_at, Signal(**asdict(said))))
                old_signal = said
            moved = (old_signal.state, old_signal.end, old_signal.reason) != (new.state, new.end, new.reason)
            old_signal.strength, old_signal.amount, old_signal.threshold = new.strength, new.amount, new.threshold
            old_signal.observed, old_signal.missing, old_signal.last = new.observed, new.missing, new.last
            if moved:
                old_signal.state, old_signal.end, old_signal.reason = new.state, new.end, new.reason
                old_signal.revision += 1
                old_signal.off_at = at(new.last) if new.last is not None and new.end is not None else tick
                out.append(Change(old_signal.off_at, Signal(**asdict(old_signal))))
        return out

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
        grid = self.grid
        lo, hi = start // MINUTE_MS - grid.base, end // MINUTE_MS - grid.base
        lo = max(lo, LEAD // 2)
        if hi <= lo or not (grid.hr_n[lo:hi] > 0).any():
            self.models.start_day(day, None)
            return
        lead = 29
        local = days.local_minute((grid.base + lo) * MINUTE_MS)
        x = activity_features(grid.steps[lo - lead : hi], (local + np.arange(-lead, hi - lo)) % 1440)[lead:]
        worn = self._worn_at((grid.base + np.arange(lo, hi)) * MINUTE_MS) != WORN_NO
        y = np.where(worn, grid.hr_bpm[lo:hi], np.nan)
        sedentary = self.sedentary[lo:hi]
        with np.errstate(invalid="ignore"):
            high = (y - self.expected[lo:hi]) >= self.threshold[lo:hi]
        excluded = high | self._in_episode(lo, hi)
        usable = (sedentary >= 0) & ~np.isnan(y)
        worn_minutes = int((~np.isnan(y)).sum())
        self.models.start_day(day, (x[usable], y[usable], sedentary[usable] == 1, excluded[usable], worn_minutes))

    def _in_episode(self, lo: int, hi: int) -> npt.NDArray[np.bool_]:
        out = np.zeros(hi - lo, np.bool_)
        for s in self.signals["HR_EPISODE"].values():
            if s.reason == "SUPERSEDED":
                continue
            a = s.start // MINUTE_MS - self.grid.base - lo
            b = hi - lo if s.end is None else s.end // MINUTE_MS - self.grid.base - lo
            out[max(a, 0) : max(b, 0)] = True
        return out

    def _settle(self, keep_from: int) -> None:
        grid = self.grid
        new_base = keep_from // MINUTE_MS - LEAD
        cut = keep_from // MINUTE_MS - grid.base
        if cut <= 0:
            return
        rows = np.flatnonzero(grid.dirty[: min(cut, CAPACITY)])
        if len(rows):
            grid.revision[rows] += 1
            grid.dirty[rows] = False
            self._chunk(rows, np.full(len(rows), self.tick, np.int64))
        self._move_anchor(keep_from // MINUTE_MS)
        by = new_base - grid.base
        if by <= 0:
            return
        grid.move(new_base)
        shift(self, DERIVED, by)
        self._forget(keep_from)

    def _move_anchor(self, minute: int) -> None:
        grid = self.grid
        lo, hi = self.anchor_minute - grid.base - LEAD // 2, minute - grid.base
        if hi > max(lo, 0) and lo >= 0:
            part = slice(lo, min(hi, CAPACITY))
            _, self.anchor = scan(
                self.flag[part], self.low[part], self.empty[part], grid.base + lo, self.anchor_minute, self.anchor
            )
            if self.anchor.start is not None and minute - grid.base > CAPACITY:
                self.anchor = Scan(self.anchor.last_on)
        self.anchor_minute = minute

    def _forget(self, keep_from: int) -> None:
        limit = keep_from - LATE_MS - HOUR_MS
        old = self.fixes.time < limit
        if old.any():
            self.fix_anchor = places.track(*self.fixes.among(old), self.fix_anchor).end
            self.fixes = self.fixes.among(~old)
            self._retrack()
        stale = [w for w in self.worn if w[0] < limit]
        if len(stale) > 1:
            self.worn = self.worn[len(stale) - 1 :]
        for known in self.signals.values():
            for start in [
                s for s, v in known.items() if v.state == "OFF" and (v.end or s) < keep_from - KEEP_SIGNALS_MS
            ]:
                del known[start]

    def mark(self) -> int:
        """First minute (since 1970) whose evidence changed since the last mark; starts a new count."""
        first, self.touched_from = self.touched_from, 2**62
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

    def horizon(self, clock: int) -> int:
        """Instant (ms) up to which, exclusive, the minutes are known at `clock`: nobody may look beyond it."""
        return (clock // MINUTE_MS - SETTLE_MIN) * MINUTE_MS

    def hr_episodes(self, clock: int) -> list[Signal]:
        """Heart-rate episodes as known at `clock`, by start: one that ended later still goes on."""
        out = []
        for _, known in sorted(self.signals["HR_EPISODE"].items()):
            if known.reason == "SUPERSEDED" or known.known_at > clock:
                continue
            signal = Signal(**asdict(known))
            if signal.off_at is not None and signal.off_at > clock:
                signal.state, signal.end, signal.reason = "ON", None, None
            until = signal.end if signal.end is not None else self.horizon(clock)
            if signal.end is None:
                signal.last = until - MINUTE_MS
            if signal.start // MINUTE_MS >= self.grid.base + LEAD // 2:  # else its minutes have gone: as last measured
                self._measure(signal, signal.start // MINUTE_MS, until // MINUTE_MS)
            out.append(signal)
        return out

    def worn_minutes(self, lo: int, hi: int, reach: int) -> npt.NDArray[np.bool_]:
        """Grid minutes [lo, hi) in which the watch is worn: a pulse within `reach` minutes, or said so, or no pulse is ever taken."""
        if not self.pulse_ever:  # a counter of steps only: worn while it counts
            said = self._worn_at((self.grid.base + np.arange(lo, hi)) * MINUTE_MS)
            return np.asarray(~np.isnan(self.grid.steps[lo:hi]) & (said != WORN_NO))
        a, b = max(0, lo - reach), min(CAPACITY, hi + reach)
        pulse = np.flatnonzero(self.grid.hr_n[a:b] > 0) + a
        out = np.zeros(hi - lo, np.bool_)
        if len(pulse):
            near = np.searchsorted(pulse, np.arange(lo, hi) - reach)
            out = pulse[np.minimum(near, len(pulse) - 1)] - np.arange(lo, hi) <= reach
            out &= near < len(pulse)
        said = self._worn_at((self.grid.base + np.arange(lo, hi)) * MINUTE_MS)
        return np.asarray((out | (said == WORN_YES)) & (said != WORN_NO))

    def moving(self, clock: int, back: int = 5) -> tuple[bool | None, bool | None]:
        """(in a vehicle, vigorous or moderate activity) in the last `back` minutes known at `clock`; None = not known."""
        top = max(0, self.sayable(clock))
        part = slice(max(0, top - back), top)
        if np.isnan(self.grid.steps[part]).all():
            return None, None
        return bool(self.grid.vehicle[part].any()), bool((self.grid.intensity[part] >= 2).any())

    def returned(self, since: int, until: int) -> tuple[float | None, int | None]:
        """Whether the pulse came back below half the threshold for five minutes in [since, until) ms (trial.md 4).

        Returns (1 or 0, instant); (None, None) where less than half of the minutes are known.
        """
        lo, hi = max(0, since // MINUTE_MS - self.grid.base), until // MINUTE_MS - self.grid.base
        if hi <= lo or (~self.empty[lo:hi]).sum() * 2 < hi - lo:
            return None, None
        run = np.flatnonzero(rolling_count(self.low[lo:hi], END_RUN) == END_RUN)
        if len(run):
            return 1.0, int((self.grid.base + lo + int(run[0]) + 1) * MINUTE_MS)
        return 0.0, until

    # -- state --------------------------------------------------------------------------------------------------------

    def dump(self, clock: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        meta, arrays = self.grid.dump((clock - LATE_MS) // MINUTE_MS - 2)
        arrays |= {"fix_time": self.fixes.time, "fix_place": self.fixes.place, "fix_accuracy": self.fixes.accuracy}
        arrays["models"] = np.frombuffer(self.models.dump(), np.uint8)
        state = {
            "grid": meta,
            "tick": self.tick,
            "scan": [self.anchor.last_on, self.anchor.start, self.anchor.on],
            "anchor": self.anchor_minute,
            "fix": asdict(self.fix_anchor),
            "worn": self.worn,
            "signals": {k: [asdict(s) for _, s in sorted(v.items())] for k, v in self.signals.items()},
            "late": self.late_waiting,
            "pulse": self.pulse_ever,
            "touched_from": self.touched_from,
        }
        return state, arrays

    @staticmethod
    def load(state: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], days: Days, profile: Thresholds) -> Minutes:
        grid = MinuteGrid.load(state["grid"], arrays)
        self = Minutes(grid.base, int(state["tick"]))
        self.grid = grid
        self.models = DayBehind.load(arrays["models"].tobytes())
        self.anchor = Scan(*state["scan"])
        self.anchor_minute = int(state["anchor"])
        self.fix_anchor = places.Anchor(**state["fix"])
        self.fixes = Fixes(arrays["fix_time"], arrays["fix_place"], arrays["fix_accuracy"])
        self._retrack()
        self.worn = [(int(t), int(c)) for t, c in state["worn"]]
        self.signals = {k: {s["start"]: Signal(**s) for s in v} for k, v in state["signals"].items()}
        self.late_waiting = bool(state["late"])
        self.pulse_ever = bool(state["pulse"])
        self.touched_from = int(state["touched_from"])
        dirty = grid.dirty.copy()
        self._derive(0, self.sayable(self.tick), days, profile, np.zeros(0, np.int64))
        grid.dirty[:] = dirty
        return self


DERIVED: dict[str, float] = {
    "expected": np.nan, "sigma": np.nan, "threshold": np.nan, "sedentary": -1, "place": 0, "place_sure": False, "flag": False,
    "low": False, "empty": True,
}  # fmt: skip
assert REST > END_RUN
