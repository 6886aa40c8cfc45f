"""Day rows of one person: sums by local day of what phones and people report, and the features of a finished day.

A row about a day is made twice: at 09:00 after it (revision 0), and when its lateness is over (topics.md 2.6).
Missing is not zero: a feature whose modality was silent has no amount (support.md 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.context.calendar import Day, DayClock
from pipelines.learning.resting_heart_rate import UNKNOWN, nightly
from pipelines.support import places
from pipelines.support.evidence import MINUTE_MS
from pipelines.support.minutes import Minutes

WAKING = (6 * 60, 24 * 60)  # support.md 4: rates per observed waking hour, 06-24
LOCATION_HOURS, WATCH_HOURS, HEARTBEAT_HOURS = 12.0, 10.0, 20
ACTIVE_STEPS = 60  # [choice] a minute with at least this many steps, or of intensity >= 2, is active
WORN_REACH = 5  # [choice] minutes around a pulse in which the watch counts as worn
HOUR_MS = 3_600_000
KEPT_ROWS = 40
VERSION = "kairos-1"
FEATURES = (
    "outings", "home_min", "active_min", "steps", "phone_min", "game_min", "unlocks", "music_min", "browse_sessions",
    "bed_min", "sleep_min", "fluid_ml", "medication_taken", "resting_hr",
)  # fmt: skip
SUMS = ("phone", "game", "unlocks", "browse", "music", "bed", "sleep", "fluid", "medication", "n_phone", "n_music", "n_bed",
        "n_sleep", "n_fluid", "n_medication")  # fmt: skip

Ints = npt.NDArray[np.int64]


@dataclass
class DayRow:
    """One local day. Rates are per observed waking hour; None = not known."""

    index: int
    weekend: bool
    start: int
    end: int
    valid: bool = False
    act: float | None = None
    out: float | None = None
    act_hours: float = 0.0
    out_hours: float = 0.0
    missing: list[str] = field(default_factory=list)
    amounts: dict[str, float] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    strain: str = UNKNOWN


class Daily:
    """Sums by day of what has arrived, and the rows of the last forty days."""

    def __init__(self) -> None:
        self.sums: dict[int, dict[str, int]] = {}
        self.beats: dict[int, int] = {}  # day → bits of hours with a phone heartbeat
        self.phone_beats_ever = False
        self.rows: dict[int, DayRow] = {}
        self.changed: set[int] = set()  # days whose sums changed since they were summarised
        self._waiting: list[tuple[Ints, Ints, str, Ints]] = []  # (arrival, event, sum, amount)
        self._at: list[int] = []

    # -- records in ---------------------------------------------------------------------------------------------------

    def feed(self, parts: list[tuple[Ints, Ints, str, Ints]]) -> None:
        """Hand over the rows of a run: (arrival, event, name of the sum or `beat`, amount), each in arrival order."""
        self._waiting = parts
        self._at = [0] * len(parts)

    def emptied(self) -> Daily:
        """The same rows still to come, and nothing known."""
        fresh = Daily()
        fresh._waiting, fresh._at = self._waiting, self._at
        return fresh

    def advance(self, until: int, days: DayClock) -> None:
        """Count what arrived by `until`; rows of days that are over or of no day are not summed."""
        held = days.days()
        for i, (arrival, event, name, amount) in enumerate(self._waiting):
            hi = int(np.searchsorted(arrival, until, side="right"))
            part = slice(self._at[i], hi)
            self._at[i] = hi
            if part.start >= part.stop:
                continue
            for day in held:
                self._count(day, event[part], name, amount[part])

    def _count(self, day: Day, event: Ints, name: str, amount: Ints) -> None:
        end = day.end_time if day.end_time > day.start_time else day.start_time
        inside = (event >= day.start_time) & (event < end)
        if not inside.any():
            return
        self.changed.add(day.index)
        if name == "beat":
            self.phone_beats_ever = True
            bits = self.beats.get(day.index, 0)
            for hour in np.unique((event[inside] - day.start_time) // HOUR_MS).tolist():
                bits |= 1 << int(hour)
            self.beats[day.index] = bits
            return
        sums = self.sums.setdefault(day.index, {})
        sums[name] = sums.get(name, 0) + int(amount[inside].sum())

    # -- rows out -----------------------------------------------------------------------------------------------------

    def summarise(self, day: Day, minutes: Minutes, now: int) -> DayRow:
        """The row of `day` from what is known at `now` (ms)."""
        row = DayRow(day.index, day.weekend, day.start_time, day.end_time)
        self.changed.discard(day.index)
        base = minutes.grid.base
        lo = max(day.start_time // MINUTE_MS - base, 0)
        hi = min(day.end_time // MINUTE_MS - base, max(minutes.sayable(now), 0))
        if hi > lo:
            self._from_minutes(row, day, minutes, lo, hi)
        else:
            row.states.update(dict.fromkeys(("outings", "home_min", "active_min", "steps", "resting_hr"), "ABSENT"))
        self._from_sums(row, day.index)
        beats = self.beats.get(day.index, 0).bit_count()
        if row.out is None:
            row.missing.append("LOCATION")
        if row.act is None:
            row.missing.append("ACTIVITY")
        if self.phone_beats_ever and beats < HEARTBEAT_HOURS:
            row.missing.append("PHONE_USAGE")
        row.valid = not row.missing
        return row

    def _from_minutes(self, row: DayRow, day: Day, minutes: Minutes, lo: int, hi: int) -> None:
        grid = minutes.grid
        at = (grid.base + np.arange(lo, hi)) * MINUTE_MS
        local = (at // MINUTE_MS + day.offset_min) % 1440
        self._night(row, minutes, lo, hi, local)
        waking = (local >= WAKING[0]) & (local < WAKING[1])
        worn = minutes.worn_minutes(lo, hi, WORN_REACH)
        steps, intensity = grid.steps[lo:hi], grid.intensity[lo:hi]
        known = ~np.isnan(steps) & worn
        place = minutes.track.at(at + MINUTE_MS - 1)[0]  # also where nothing else was observed
        hours_act = float((known & waking).sum()) / 60
        hours_out = float(((place != places.UNKNOWN) & waking).sum()) / 60
        watch_hours = float(worn.sum()) / 60
        outings = minutes.track.outings(day.start_time, (grid.base + hi) * MINUTE_MS)
        first = day.at(WAKING[0])
        awake_outings = sum(1 for a, _ in outings if first <= a)
        row.act_hours, row.out_hours = round(hours_act, 4), round(hours_out, 4)
        if watch_hours >= WATCH_HOURS and hours_act > 0:
            row.act = round(float(steps[known & waking].sum()) / hours_act, 6)
        if hours_out >= LOCATION_HOURS:
            row.out = round(awake_outings / hours_out, 6)
        active = known & ((np.nan_to_num(steps) >= ACTIVE_STEPS) | (intensity >= 2))
        self._put(row, "steps", float(steps[known].sum()), watch_hours, WATCH_HOURS)
        self._put(row, "active_min", float(active.sum()), watch_hours, WATCH_HOURS)
        self._put(row, "outings", float(len(outings)), hours_out, LOCATION_HOURS)
        self._put(row, "home_min", float((place == places.HOME).sum()), hours_out, LOCATION_HOURS)

    def _night(self, row: DayRow, minutes: Minutes, lo: int, hi: int, local: Ints) -> None:
        bpm, n = nightly(minutes.derived.bpm[lo:hi], minutes.grid.steps[lo:hi], local)
        row.states["resting_hr"] = "OK" if bpm is not None else "DEGRADED" if n else "ABSENT"
        if bpm is not None:
            row.amounts["resting_hr"] = bpm
            row.strain = minutes.nights.strain(row.index, bpm).state

    def _from_sums(self, row: DayRow, index: int) -> None:
        sums, beats = self.sums.get(index, {}), self.beats.get(index, 0).bit_count()
        phone = float(beats) if self.phone_beats_ever else (HEARTBEAT_HOURS if sums.get("n_phone") else 0.0)
        for name, key, scale in (
            ("phone_min", "phone", 60_000),
            ("game_min", "game", 60_000),
            ("unlocks", "unlocks", 1),
            ("browse_sessions", "browse", 1),
        ):
            self._put(row, name, sums.get(key, 0) / scale, phone, HEARTBEAT_HOURS)
        for name, key, scale in (
            ("music_min", "music", 60_000), ("bed_min", "bed", 1000), ("sleep_min", "sleep", 1000), ("fluid_ml", "fluid", 1000),
            ("medication_taken", "medication", 1000),
        ):  # fmt: skip
            self._put(row, name, sums.get(key, 0) / scale, float(sums.get(f"n_{key}", 0)), 1)

    def _put(self, row: DayRow, name: str, amount: float, observed: float, enough: float) -> None:
        row.states[name] = "OK" if observed >= enough else "DEGRADED" if observed > 0 else "ABSENT"
        if observed > 0:
            row.amounts[name] = round(amount, 3)

    def keep(self, row: DayRow) -> None:
        self.rows[row.index] = row
        for index in sorted(self.rows)[:-KEPT_ROWS]:
            del self.rows[index]

    def close(self, index: int) -> None:
        """The lateness of day `index` is over."""
        for day in [d for d in self.sums if d <= index]:
            del self.sums[day]
        for day in [d for d in self.beats if d <= index]:
            del self.beats[day]
        self.changed = {d for d in self.changed if d > index}

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        rows = [
            [r.index, r.weekend, r.start, r.end, r.valid, r.act, r.out, r.act_hours, r.out_hours, r.missing,
             [r.amounts.get(f) for f in FEATURES], [r.states.get(f, "ABSENT") for f in FEATURES], r.strain]
            for _, r in sorted(self.rows.items())
        ]  # fmt: skip
        return {
            "sums": {str(d): s for d, s in sorted(self.sums.items())}, "beats": {str(d): b for d, b in sorted(self.beats.items())},
            "ever": self.phone_beats_ever, "rows": rows, "changed": sorted(self.changed),
        }  # fmt: skip

    @staticmethod
    def from_state(state: dict[str, Any]) -> Daily:
        out = Daily()
        out.sums = {int(d): {str(k): int(v) for k, v in s.items()} for d, s in state["sums"].items()}
        out.beats = {int(d): int(b) for d, b in state["beats"].items()}
        out.phone_beats_ever = bool(state["ever"])
        out.changed = {int(d) for d in state["changed"]}
        for stored in state["rows"]:
            row = DayRow(*stored[:10])
            amounts, states, *strain = stored[10:]  # a row of before a feature was added ends earlier
            row.amounts = {f: v for f, v in zip(FEATURES, amounts, strict=False) if v is not None}
            row.states = dict.fromkeys(FEATURES, "ABSENT") | dict(zip(FEATURES, states, strict=False))
            row.strain = strain[0] if strain else UNKNOWN
            out.rows[row.index] = row
        return out
