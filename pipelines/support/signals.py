"""Signals that follow from the minutes (heart-rate episodes, leaving home), reconciled with what has been said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.support import places
from pipelines.support.arrivals import SETTLE_MIN
from pipelines.support.derived import WINDOW_MIN, Derived
from pipelines.support.episode import END_RUN, REST, WINDOW, Scan, scan
from pipelines.support.evidence import CAPACITY, MINUTE_MS, MinuteGrid

EVIDENCE_LATE_MS = 3_600_000  # "late" on a notification: evidence older than this when it came
KEEP_MS = 5 * 24 * 3_600_000
HR_EPISODE, LEFT_HOME = "HR_EPISODE", "LEFT_HOME"
assert REST > END_RUN


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


class Signals:
    """The signals of one person's minutes.

    Parameters
    ----------
    grid, derived
        The minutes; not changed here.
    anchor_minute
        Minute (since 1970) from which on episodes are looked for anew at each change; what lies before is settled.
    """

    def __init__(self, grid: MinuteGrid, derived: Derived, anchor_minute: int) -> None:
        self.grid = grid
        self.derived = derived
        self.anchor = Scan()
        self.anchor_minute = anchor_minute
        self.known: dict[str, dict[int, Signal]] = {HR_EPISODE: {}, LEFT_HOME: {}}

    def open(self, kind: str) -> bool:
        return any(s.state == "ON" for s in self.known[kind].values())

    @property
    def pulse_open(self) -> bool:
        """Whether an episode goes on, also one of which only the settled part is kept."""
        return self.anchor.start is not None or self.open(HR_EPISODE)

    # -- what the evidence says now -------------------------------------------------------------------------------------

    def _scan(self, lo: int, hi: int) -> tuple[list[Any], Scan]:
        part = slice(lo, hi)
        d = self.derived
        return scan(d.flag[part], d.low[part], d.empty[part], self.grid.base + lo, self.anchor_minute, self.anchor)

    def episodes(self, top: int, before: int, tick: int) -> list[Change]:
        """Changes of heart-rate episodes by the minutes up to grid index `top`."""
        lo = self.anchor_minute - self.grid.base - WINDOW
        if top <= lo:
            return []
        fresh = {}
        for e in self._scan(lo, top)[0]:
            end = None if e.end is None else e.end * MINUTE_MS
            signal = Signal(HR_EPISODE, e.start * MINUTE_MS, end, "ON" if end is None else "OFF", e.reason)
            self.measure(signal, e.start, e.end if e.end is not None else e.on + 1)
            signal.last = (e.off if e.off is not None else e.on) * MINUTE_MS
            signal.known_at = e.on * MINUTE_MS
            fresh[signal.start] = signal
        return self._reconcile(HR_EPISODE, fresh, self.anchor_minute * MINUTE_MS, before, tick)

    def measure(self, signal: Signal, start: int, end: int) -> None:
        """Fill in how high and how well observed minutes [start, end) since 1970 were."""
        d, part = self.derived, slice(max(0, start - self.grid.base), end - self.grid.base)
        high = d.flag[part]
        signal.observed = int((~d.empty[part]).sum())
        signal.missing = int(d.empty[part].sum())
        if high.any():
            signal.amount = round(float((d.bpm[part] - d.expected[part])[high].mean()), 1)
            signal.threshold = round(float(d.threshold[part][high].mean()), 1)
            signal.strength = round(signal.amount / signal.threshold, 3)

    def left_home(self, track: places.Track, since: int | None, top: int, before: int, tick: int) -> list[Change]:
        """Changes of leaving home by the track up to grid index `top`; its fixes begin at `since` (ms)."""
        fresh = {}
        visible = (top + self.grid.base) * MINUTE_MS
        changes = [c for c in track.changes if c[0] < visible]
        for i, (t, was, now) in enumerate(changes):
            if was != places.HOME or now != places.OTHER:
                continue
            back = next((c[0] for c in changes[i + 1 :] if c[2] != places.OTHER), None)
            fresh[t] = Signal(LEFT_HOME, t, back, "ON" if back is None else "OFF", None if back is None else "RETURN")
            fresh[t].known_at, fresh[t].last = t, back
        return self._reconcile(LEFT_HOME, fresh, visible if since is None else since, before, tick)

    # -- against what was said ------------------------------------------------------------------------------------------

    def _reconcile(self, kind: str, fresh: dict[int, Signal], since: int, before: int, tick: int) -> list[Change]:
        """New, ended, moved (the old one goes OFF, SUPERSEDED)."""

        def at(t: int) -> int:
            natural = (t // MINUTE_MS + 1 + SETTLE_MIN) * MINUTE_MS
            return natural if natural > before else tick

        out = self._superseded(kind, fresh, since, tick)
        for start, new in fresh.items():
            old = self.known[kind].get(start)
            if old is None:
                old = self._begin(new, at)
                out.append(Change(old.known_at, replace(old)))
            moved = (old.state, old.end, old.reason) != (new.state, new.end, new.reason)
            old.strength, old.amount, old.threshold = new.strength, new.amount, new.threshold
            old.observed, old.missing, old.last = new.observed, new.missing, new.last
            if moved:
                old.state, old.end, old.reason = new.state, new.end, new.reason
                old.revision += 1
                old.off_at = at(new.last) if new.last is not None and new.end is not None else tick
                out.append(Change(old.off_at, replace(old)))
        return out

    def _superseded(self, kind: str, fresh: dict[int, Signal], since: int, tick: int) -> list[Change]:
        out = []
        for start, old in self.known[kind].items():
            carried = kind == HR_EPISODE and self.anchor.start is not None and start == self.anchor.start * MINUTE_MS
            if start in fresh or not (start >= since or carried) or old.reason == "SUPERSEDED":
                continue
            old.state, old.reason, old.end = "OFF", "SUPERSEDED", old.end if old.end is not None else start
            old.revision += 1
            out.append(Change(tick, replace(old)))
        return out

    def _begin(self, new: Signal, at: Callable[[int], int]) -> Signal:
        """The first word of a signal: it goes on, by what was seen up to its first instant."""
        said, on_at = replace(new), at(new.known_at)
        said.state, said.end, said.reason, said.known_at = "ON", None, None, on_at
        said.last = new.known_at
        if new.kind == HR_EPISODE:
            self.measure(said, said.start // MINUTE_MS, new.known_at // MINUTE_MS + 1)
        said.late = on_at - new.known_at > EVIDENCE_LATE_MS + (1 + SETTLE_MIN) * MINUTE_MS
        self.known[new.kind][said.start] = said
        return said

    # -- as time goes on --------------------------------------------------------------------------------------------------

    def settle(self, minute: int) -> None:
        """Minutes before `minute` (since 1970) can't change any more: look for episodes from there on."""
        grid = self.grid
        lo, hi = self.anchor_minute - grid.base - WINDOW, minute - grid.base
        if hi > max(lo, 0) and lo >= 0:
            self.anchor = self._scan(lo, min(hi, CAPACITY))[1]
            if self.anchor.start is not None and hi > CAPACITY:
                self.anchor = Scan(self.anchor.last_on)
        self.anchor_minute = minute

    def forget(self, keep_from: int) -> None:
        """Signals that ended long before `keep_from` (ms) go."""
        for known in self.known.values():
            for start in [s for s, v in known.items() if v.state == "OFF" and (v.end or s) < keep_from - KEEP_MS]:
                del known[start]

    def episode_minutes(self, lo: int, hi: int) -> npt.NDArray[np.bool_]:
        """Which of the grid minutes [lo, hi) lie in an episode."""
        out = np.zeros(hi - lo, np.bool_)
        for s in self.known[HR_EPISODE].values():
            if s.reason == "SUPERSEDED":
                continue
            a = s.start // MINUTE_MS - self.grid.base - lo
            b = hi - lo if s.end is None else s.end // MINUTE_MS - self.grid.base - lo
            out[max(a, 0) : max(b, 0)] = True
        return out

    def episodes_at(self, clock: int, horizon: int) -> list[Signal]:
        """Heart-rate episodes as known at `clock`, by start: one that ended later still goes on, up to `horizon` (ms)."""
        out = []
        for _, known in sorted(self.known[HR_EPISODE].items()):
            if known.reason == "SUPERSEDED" or known.known_at > clock:
                continue
            signal = replace(known)
            if signal.off_at is not None and signal.off_at > clock:
                signal.state, signal.end, signal.reason = "ON", None, None
            until = signal.end if signal.end is not None else horizon
            if signal.end is None:
                signal.last = until - MINUTE_MS
            if signal.start // MINUTE_MS >= self.grid.base + WINDOW_MIN:  # else its minutes have gone: as last measured
                self.measure(signal, signal.start // MINUTE_MS, until // MINUTE_MS)
            out.append(signal)
        return out

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        known = {k: [dict(vars(s)) for _, s in sorted(v.items())] for k, v in self.known.items()}
        return {
            "scan": [self.anchor.last_on, self.anchor.start, self.anchor.on],
            "anchor": self.anchor_minute,
            "known": known,
        }

    @staticmethod
    def from_state(state: dict[str, Any], grid: MinuteGrid, derived: Derived) -> Signals:
        signals = Signals(grid, derived, int(state["anchor"]))
        signals.anchor = Scan(*state["scan"])
        signals.known = {k: {s["start"]: Signal(**s) for s in v} for k, v in state["known"].items()}
        return signals
