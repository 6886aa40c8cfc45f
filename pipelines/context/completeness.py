"""Completeness of a person's data: observed, silent, unworn or not expected (support.md 9).

Judged at whole ten minutes of the log's clock (UTC) [choice], from what had arrived by then, over the minutes before by
event time. So the slicing of a replay cannot show, and a late batch fills the hour it belongs to.

A minute is *covered* if it was observed, or if the modality was observed within its usual interval before it [choice]:
heart rate and activity 1 min, location 10 min (fixes every 5 min), the others 70 min (phones report hourly). What people do
only now and then (searches, music, phone use) is covered by the heartbeat of a device that measures it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.context.consent import MODALITIES
from pipelines.context.devices import (
    KEPT_MS,
    WORN_CODES,
    WORN_DEVICES,
    WORN_NO,
    Devices,
    Ints,
    WornTimeline,
    device_key,
    vouches_for,
)

MINUTE_MS = 60_000
GRID_MIN = 10
HOUR, DAY = 60, 1440
USUAL_MIN = {"HEART_RATE": 1, "ACTIVITY": 1, "LOCATION": 10}
HEARTBEAT_MIN = 70
SHORT_SILENCE_MIN, LONG_SILENCE_MIN = 60, 120  # none for so long = ABSENT; long: location, phone
ON_BODY = frozenset({"HEART_RATE", "ACTIVITY"})
ENOUGH_PCT = 70
PAST = DAY + LONG_SILENCE_MIN  # minutes kept before the last judged instant
AHEAD = 2 * GRID_MIN  # minutes after it that may be known already: one step, and clocks 5 min ahead
CHUNK = 432  # judged instants at a time (3 days), so that memory does not grow with a silent year
NEVER = 1 << 30
UNJUDGED, OK, DEGRADED, ABSENT = 0, 1, 2, 3
NAMES = ("", "OK", "DEGRADED", "ABSENT")

Bools = npt.NDArray[np.bool_]
Permitted = Callable[[str], Sequence[tuple[int, int]]]


class Observed(NamedTuple):
    """Rows of a modality in arrival order: event and arrival times, ms, shape (n,)."""

    event_ms: Ints
    arrival_ms: Ints


class Change(NamedTuple):
    """A `monitoring.status` value, due at `time` (ms)."""

    time: int
    value: dict[str, Any]


@dataclass
class _Track:
    """What is remembered of a modality. Minutes since 1970."""

    known: npt.NDArray[np.uint8]  # minutes [tick - PAST, tick + AHEAD): 1 known at the last tick, 2 known at the next
    begun_tick: int = NEVER  # judged from then on
    begun: int = 0  # first minute expected
    last_seen: int | None = None
    state: int = UNJUDGED
    reason: str = ""
    since: int = -NEVER * MINUTE_MS


def spread(event_ms: Ints, arrival_ms: Ints, period_s: npt.NDArray[np.float64]) -> Observed:
    """Rows of a period longer than a minute as one row a minute, e.g. `device.activity` with `period_s` 900."""
    n = np.maximum(np.ceil(period_s / 60.0), 1).astype(np.int64)
    if len(n) == 0 or n.max() == 1:
        return Observed(event_ms, arrival_ms)
    within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return Observed(np.repeat(event_ms, n) + within * MINUTE_MS, np.repeat(arrival_ms, n))


class Completeness:
    """Completeness of one person's modalities as the log's clock moves.

    A modality is judged once it was observed or a device said that it `covers` it: nobody misses what never was.
    """

    def __init__(self) -> None:
        self._tick: int | None = None  # last judged instant, minutes since 1970
        self._tracks: dict[str, _Track] = {}
        self._worn = WornTimeline()
        self._devices = Devices()

    def advance(
        self,
        to_ms: int,
        observed: Mapping[str, Observed],
        status_rows: Sequence[Mapping[str, Any]],
        permitted: Permitted,
    ) -> list[Change]:
        """Take what arrived since the last call, up to and including `to_ms`; what changed, by time and modality.

        Parameters
        ----------
        to_ms
            The log's clock, never going back.
        observed
            Modality → its rows (`spread` first what covers more than a minute).
        status_rows
            `device.status` records in contract form, in arrival order.
        permitted
            Modality → intervals [from, to) in ms in which it may be collected (`ConsentBook.intervals`). A consent that
            arrives is to be known from its arrival on: advance to that instant before it is added.
        """
        rows = _minutes(observed, status_rows)
        if self._tick is None:
            arrivals = [int(a[0]) for _, a in rows.values()] + [_known_from(r["ingest_time"]) for r in status_rows]
            if not arrivals:
                return []
            self._tick = min(arrivals) - GRID_MIN
        self._begin(rows, status_rows)
        last = to_ms // MINUTE_MS // GRID_MIN * GRID_MIN
        waiting = [(max(_known_from(r["ingest_time"]), self._tick + GRID_MIN), r) for r in status_rows]
        out: list[Change] = []
        while True:
            end = max(self._tick, min(last, self._tick + CHUNK * GRID_MIN))
            done = end == last or end == self._tick
            chunk = {m: (t[k], a[k]) for m, (t, a) in rows.items() for k in [_part(a, self._tick, end, done)]}
            out += self._chunk(end, chunk, waiting, permitted)
            if done:
                break
        # what arrived after the last instant is known at the next
        for _, row in waiting:
            self._hear(row)
            self._devices.add(row)
        self._worn.forget((self._tick - PAST) * MINUTE_MS - (KEPT_MS - PAST * MINUTE_MS))
        return out

    def silent_since(self, modality: str) -> int | None:
        """While ABSENT: end of the last minute observed (or of the first expected), ms; else None."""
        track = self._tracks.get(modality)
        if track is None or track.state != ABSENT:
            return None
        return (track.begun if track.last_seen is None else track.last_seen + 1) * MINUTE_MS

    def state_of(self, modality: str) -> tuple[str, str] | None:
        """(state, reason) as last judged, or None if the modality was never expected."""
        track = self._tracks.get(modality)
        return (NAMES[track.state], track.reason) if track is not None and track.state != UNJUDGED else None

    def worn_at(self, times: Ints) -> npt.NDArray[np.int8]:
        """Wear codes (0 UNKNOWN, 1 NO, 2 YES) at instants in ms, by the WATCH and STRAP reports taken so far."""
        return self._worn.at(times)

    # -- intake -------------------------------------------------------------------------------------------------------

    def _begin(self, rows: Mapping[str, tuple[Ints, Ints]], status_rows: Sequence[Mapping[str, Any]]) -> None:
        assert self._tick is not None
        for modality, (minutes, arrival) in rows.items():
            track = self._tracks.setdefault(modality, _Track(np.zeros(PAST + AHEAD, np.uint8)))
            if modality in USUAL_MIN or modality == "PHONE_USAGE":
                known = int(arrival[0])
                self._expect(track, known, int(minutes[: np.searchsorted(arrival, known, side="right")].min()))
        for row in status_rows:
            for modality in row["value"].get("covers") or ():
                track = self._tracks.setdefault(modality, _Track(np.zeros(PAST + AHEAD, np.uint8)))
                self._expect(track, _known_from(row["ingest_time"]), -(-row["event_time"] // MINUTE_MS))

    def _expect(self, track: _Track, tick: int, minute: int) -> None:
        """The first instant at which anything is known decides: from the earliest minute known then on."""
        track.begun_tick, track.begun = min((track.begun_tick, track.begun), (tick, minute))

    def _hear(self, row: Mapping[str, Any]) -> None:
        value = row["value"]
        if value["device"] in WORN_DEVICES:
            self._worn.add(device_key(row), int(row["event_time"]), WORN_CODES[value["worn"]])

    # -- judging ------------------------------------------------------------------------------------------------------

    def _chunk(
        self,
        end: int,
        rows: Mapping[str, tuple[Ints, Ints]],
        waiting: list[tuple[int, Mapping[str, Any]]],
        permitted: Permitted,
    ) -> list[Change]:
        """Judge the instants after the last one up to `end` and move on to it."""
        assert self._tick is not None
        names = [m for m in MODALITIES if m in self._tracks]
        view = _View(names, self._tracks, self._tick, end, rows, permitted)
        out: list[Change] = []
        start = self._tick + GRID_MIN
        while start <= end and names:
            stop = self._known_worn(start, end, waiting)
            worn_no = self._worn.at(view.minutes * MINUTE_MS) == WORN_NO
            out += self._say(view, start, stop, worn_no, waiting)
            start = stop + GRID_MIN
        view.keep(self._tracks, end)
        self._tick = end
        return out

    def _known_worn(self, start: int, end: int, waiting: list[tuple[int, Mapping[str, Any]]]) -> int:
        """Take the wear reports known from `start` on; the last instant for which they stay all that is known.

        A report in time speaks of minutes that no earlier instant looked at, so it may be taken at once. One that came
        late changes known minutes, and must wait for the instant at which it is known.
        """
        stop = end
        for known, row in waiting:
            first_used = -(-(-(-row["event_time"] // MINUTE_MS) + 1) // GRID_MIN) * GRID_MIN
            if known <= start or (known <= end and known <= first_used):
                self._hear(row)
            elif known <= end:
                stop = min(stop, known - GRID_MIN)
        return stop

    def _say(
        self, view: _View, start: int, stop: int, worn_no: Bools, waiting: list[tuple[int, Mapping[str, Any]]]
    ) -> list[Change]:
        states = view.judge(start, stop, worn_no)
        before = np.array([[self._tracks[m].state] for m in view.names], states.dtype)
        changed = np.diff(np.concatenate([before, states], axis=1), axis=1) != 0
        out: list[Change] = []
        for j, i in np.argwhere(changed.T).tolist():
            tick = start + j * GRID_MIN
            self._report(tick, waiting)
            out.append(self._change(view, view.names[i], i, tick, int(states[i, j]), worn_no))
        self._report(stop, waiting)
        return out

    def _report(self, tick: int, waiting: list[tuple[int, Mapping[str, Any]]]) -> None:
        """Device reports known by `tick` are the last ones said."""
        while waiting and waiting[0][0] <= tick:
            self._devices.add(waiting.pop(0)[1])

    def _change(self, view: _View, modality: str, i: int, tick: int, state: int, worn_no: Bools) -> Change:
        track = self._tracks[modality]
        allowed = view.allowed_at(i, tick)
        since = tick * MINUTE_MS
        if state == ABSENT and allowed:
            seen = view.last_seen(i, tick)
            last = seen if seen is not None else track.last_seen
            since = (track.begun if last is None else last + 1) * MINUTE_MS
        # (modality, since_time) names the record, so it may not come twice
        track.since = max(since, track.since + 1)
        track.state = state
        track.reason = self._reason(view, modality, i, tick, state, allowed, bool(worn_no[view.at(tick) - 1]))
        value = {
            "modality": modality,
            "state": NAMES[state],
            "since_time": track.since,
            "reason": track.reason,
            "observed_frac": round(view.covered_frac(i, tick), 4),
        }
        return Change(tick * MINUTE_MS, value)

    def _reason(self, view: _View, modality: str, i: int, tick: int, state: int, allowed: bool, worn_no: bool) -> str:
        if state == OK:
            return "OK"
        if not allowed:
            return "NO_CONSENT"
        said = self._devices.silence(modality, WORN_NO if worn_no else WORN_CODES["UNKNOWN"])
        if said is not None:
            return said
        return "PERIODIC_GAP" if state == DEGRADED and view.periodic_gap(i, tick) else "NO_DATA"

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """JSON-able; about 0.3 KB a modality, and the last 50 h of wear reports."""
        tracks = {}
        for modality, t in sorted(self._tracks.items()):
            known = base64.b64encode(np.packbits(t.known == 1).tobytes()).decode()
            waiting = np.flatnonzero(t.known == 2).tolist()
            tracks[modality] = [known, waiting, t.begun_tick, t.begun, t.last_seen, t.state, t.reason, t.since]
        return {
            "tick": self._tick, "tracks": tracks, "worn": self._worn.state(), "devices": self._devices.state(),
        }  # fmt: skip

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Completeness:
        out = Completeness()
        out._tick = state["tick"]
        for modality, (bits, waiting, *rest) in state["tracks"].items():
            known = np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8), count=PAST + AHEAD)
            known[waiting] = 2
            out._tracks[modality] = _Track(known, *rest)
        out._worn = WornTimeline.from_state(state["worn"])
        out._devices = Devices.from_state(state["devices"])
        return out


class _View:
    """The minutes around the instants (tick, end], for all modalities at once.

    `first[i, j]`: the instant from which minute j of modality i is known, in minutes after `base`; `covered` likewise.
    """

    def __init__(
        self,
        names: list[str],
        tracks: Mapping[str, _Track],
        tick: int,
        end: int,
        rows: Mapping[str, tuple[Ints, Ints]],
        permitted: Permitted,
    ) -> None:
        self.names = names
        self.base = tick - PAST
        self.minutes = self.base + np.arange(end - self.base + AHEAD, dtype=np.int64)
        self.first = np.full((len(names), len(self.minutes)), NEVER, np.int32)
        self.covered = np.empty_like(self.first)
        self.allowed = np.empty(self.first.shape, np.bool_)
        for i, name in enumerate(names):
            known = tracks[name].known
            self.first[i, : len(known)][known == 1] = PAST
            self.first[i, : len(known)][known == 2] = PAST + GRID_MIN
            if name in rows:
                self._put(i, *rows[name])
            self.covered[i] = _carry(self.first[i], USUAL_MIN.get(name, HEARTBEAT_MIN))
            self.allowed[i] = _inside(self.minutes * MINUTE_MS, permitted(name))
        self.begun_tick = np.array([[tracks[n].begun_tick] for n in names], np.int64)
        self.begun = np.array([[tracks[n].begun] for n in names], np.int64)
        self.silence = np.array([SHORT_SILENCE_MIN if n in ON_BODY else LONG_SILENCE_MIN for n in names])
        self.on_body = np.array([n in ON_BODY for n in names])

    def _put(self, i: int, minutes: Ints, known: Ints) -> None:
        at = minutes - self.base
        inside = (at >= 0) & (at < len(self.minutes))
        # as if each instant had been judged by itself: too late or too far ahead for the one at which it is known
        inside &= (minutes >= known - PAST) & (minutes < known + AHEAD - GRID_MIN)
        at, known = at[inside], known[inside] - self.base
        new = self.first[i, at] > known
        # in arrival order, so the last write has to be the first arrival
        self.first[i, at[new][::-1]] = known[new][::-1]

    def at(self, tick: int) -> int:
        return tick - self.base

    def judge(self, start: int, stop: int, worn_no: Bools) -> npt.NDArray[np.int8]:
        """States at the instants start, start + 10 … stop, shape (modalities, instants)."""
        ticks = np.arange(start, stop + 1, GRID_MIN)
        now = (ticks - self.base)[None, :, None]
        seen = _windows(self.first, self.at(start), len(ticks), LONG_SILENCE_MIN) <= now
        recent = seen[:, :, -SHORT_SILENCE_MIN:].any(-1)
        heard = np.where((self.silence == SHORT_SILENCE_MIN)[:, None], recent, seen.any(-1))
        covered = _windows(self.covered, self.at(start), len(ticks), HOUR) <= now
        due = self.allowed & (self.minutes >= self.begun)
        needs_wear = due & ~(worn_no & self.on_body[:, None])
        expected = _windows(needs_wear, self.at(start), len(ticks), HOUR)
        # data of an unworn watch count as worn: the wear report was late
        due_hour = _windows(due, self.at(start), len(ticks), HOUR)
        good = (covered & due_hour).sum(-1)
        all_due = ((covered | expected) & due_hour).sum(-1)
        ok = (all_due > 0) & (good * 100 >= ENOUGH_PCT * all_due)
        states = np.where(heard, np.where(ok, OK, DEGRADED), ABSENT).astype(np.int8)
        waited = ticks - self.begun >= self.silence[:, None]
        states[~heard & ~waited] = UNJUDGED
        states[~self.allowed[:, self.at(start) : self.at(stop) + 1 : GRID_MIN]] = ABSENT
        states[ticks < self.begun_tick] = UNJUDGED
        return states

    def allowed_at(self, i: int, tick: int) -> bool:
        return bool(self.allowed[i, self.at(tick)])

    def last_seen(self, i: int, tick: int) -> int | None:
        found = np.flatnonzero(self.first[i, : self.at(tick)] <= self.at(tick))
        return self.base + int(found[-1]) if len(found) else None

    def covered_frac(self, i: int, tick: int) -> float:
        """Share of the last 24 h with data, as known at `tick`."""
        at = self.at(tick)
        return float((self.covered[i, at - DAY : at] <= at).mean())

    def periodic_gap(self, i: int, tick: int) -> bool:
        """Whether the last hour misses mainly (80 %) minutes that were missing in each of six hours with data."""
        at = self.at(tick)
        hours = (self.covered[i, at - 6 * HOUR : at] <= at).reshape(6, HOUR)
        always = ~hours.any(0)
        missing = ~hours[-1]
        return bool(hours.any(1).all() and (missing & always).sum() >= 0.8 * missing.sum() > 0)

    def keep(self, tracks: Mapping[str, _Track], end: int) -> None:
        """Write back what later instants need."""
        cut = slice(self.at(end) - PAST, self.at(end) + AHEAD)
        for i, name in enumerate(self.names):
            first = self.first[i, cut]
            tracks[name].known = (first <= self.at(end)).astype(np.uint8)
            tracks[name].known[(first > self.at(end)) & (first < NEVER)] = 2
            seen = self.last_seen(i, end)
            if seen is not None:
                tracks[name].last_seen = max(seen, tracks[name].last_seen or seen)


def _known_from(arrival_ms: int) -> int:
    """The first judged instant (minutes since 1970) at which what arrived then is known."""
    return -(-arrival_ms // (GRID_MIN * MINUTE_MS)) * GRID_MIN


def _minutes(
    observed: Mapping[str, Observed], status_rows: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[Ints, Ints]]:
    """Modality → (minute, instant from which it is known) of rows and heartbeats, repeats within a minute dropped."""
    beats: dict[str, list[tuple[int, int]]] = {}
    for row in status_rows:
        for modality in vouches_for(row["value"]):
            if modality not in USUAL_MIN:
                beats.setdefault(modality, []).append((int(row["event_time"]), int(row["ingest_time"])))
    out = {}
    for modality in {*observed, *beats}:
        pair = observed.get(modality, Observed(np.zeros(0, np.int64), np.zeros(0, np.int64)))
        event, arrival = pair
        if modality in beats:
            both = np.array(beats[modality], np.int64)
            event, arrival = np.concatenate([event, both[:, 0]]), np.concatenate([arrival, both[:, 1]])
            order = np.argsort(arrival, kind="stable")
            event, arrival = event[order], arrival[order]
        if len(event) == 0 or modality not in MODALITIES:
            continue
        minute = event // MINUTE_MS
        fresh = np.ones(len(minute), np.bool_)
        fresh[1:] = minute[1:] != minute[:-1]
        known = -(-arrival[fresh] // (GRID_MIN * MINUTE_MS)) * GRID_MIN
        out[modality] = minute[fresh], known
    return out


def _part(known: Ints, tick: int, end: int, last: bool) -> slice:
    """Rows (sorted by instant known) that belong to the instants (tick, end], the last part with all that remains."""
    lo = int(np.searchsorted(known, tick, side="right"))
    return slice(lo if tick else 0, None if last else int(np.searchsorted(known, end, side="right")))


def _carry(first: npt.NDArray[np.int32], usual: int) -> npt.NDArray[np.int32]:
    """Running minimum over the `usual` minutes up to each: from when on a minute is known to be covered."""
    out, span = first, 1
    while span < usual:
        step = min(span, usual - span)
        out = np.concatenate([out[:step], np.minimum(out[step:], out[:-step])])
        span += step
    return out


def _inside(times: Ints, intervals: Sequence[tuple[int, int]]) -> Bools:
    out = np.zeros(len(times), np.bool_)
    for a, b in intervals:
        out[np.searchsorted(times, a) : np.searchsorted(times, b)] = True
    return out


def _windows(rows: npt.NDArray[Any], at: int, n: int, width: int) -> npt.NDArray[Any]:
    """The `width` minutes before each of `n` instants from index `at` on, shape (modalities, n, width)."""
    whole = np.lib.stride_tricks.sliding_window_view(rows, width, axis=1)
    return whole[:, at - width : at - width + (n - 1) * GRID_MIN + 1 : GRID_MIN]
