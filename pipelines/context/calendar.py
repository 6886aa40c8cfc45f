"""Local days of one person, and contact and quiet hours (topics.md 1 and 2.7; invariant S23).

A local day runs 04:00-04:00 by the offset read once at its start. The clock is moved by its owner, on the log's clock,
with the offset known then: nothing here reads records or a wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.context.profile import Profile

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
DAY_START_MIN = 4 * 60
SHORTEST_MS, LONGEST_MS = 23 * HOUR_MS, 25 * HOUR_MS
SMALL_CHANGE_MS = HOUR_MS
KEPT_DAYS = 5
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Day:
    """A local day, [start_time, end_time) in ms since 1970.

    `end_time` of the day under way is where it will end if the offset does not change.
    `offset_min`: minutes east of UTC.
    """

    local_date: str
    start_time: int
    end_time: int
    offset_min: int

    @property
    def index(self) -> int:
        """Days from 1970-01-01 to the local date."""
        return (date.fromisoformat(self.local_date) - EPOCH).days

    @property
    def weekend(self) -> bool:
        return date.fromisoformat(self.local_date).weekday() >= 5

    def at(self, minute: int) -> int:
        """Instant of this day at which the local clock shows `minute` (minutes after midnight), in ms."""
        midnight = self.index * DAY_MS - self.offset_min * MINUTE_MS
        t = midnight + minute * MINUTE_MS
        return t if t >= self.start_time else t + DAY_MS


@dataclass(frozen=True)
class _Span:
    """A stretch of time with one offset: a local day, or (date None) the rest that belongs to no day."""

    start: int
    end: int
    offset_min: int
    index: int | None


class DayClock:
    """The last local days of one person and the boundary at which the next begins.

    The owner calls `advance` when the log's clock reaches `next_boundary`, with the offset and day start known then.

    * An offset changed by up to 60 min takes effect at the next day start: the day has 23-25 h.
    * A bigger change (also a moved day start) closes the day after 24 h. The rest until the next local start belongs to
      no day, and its date may be missing.
    * No day is longer than 25 h, no local date comes twice, whatever the offsets.
    """

    def __init__(self, spans: list[_Span], next_boundary: int) -> None:
        self._spans = spans
        self.next_boundary = next_boundary

    @staticmethod
    def first(t: int, offset_min: int, day_start_min: int = DAY_START_MIN) -> DayClock:
        """The clock of a person first heard of at `t` (ms): the day that holds `t`, by the rule without history."""
        index = (t + offset_min * MINUTE_MS - day_start_min * MINUTE_MS) // DAY_MS
        start = _local_start(index, offset_min, day_start_min)
        clock = DayClock([], start)
        clock._open(start, index, offset_min, day_start_min)
        return clock

    def advance(self, offset_min: int, day_start_min: int = DAY_START_MIN) -> Day | None:
        """Stand at `next_boundary` with what is known now; the day that begins there, or None.

        None: the boundary moved (this day is longer than 23 h) or no day begins (the rest after a big change).
        `next_boundary` has grown in every case.
        """
        now = self.next_boundary
        last = self._spans[-1]
        if last.index is None:
            return self._after_gap(now, offset_min, day_start_min)
        planned = _local_start(last.index + 1, offset_min, day_start_min)
        if SHORTEST_MS <= planned - last.start <= LONGEST_MS:
            if planned > now:
                self.next_boundary = planned
                return None
            self._close(now)
            return self._open(now, last.index + 1, offset_min, day_start_min)
        if now < last.start + DAY_MS:
            self.next_boundary = last.start + DAY_MS
            return None
        self._close(now)
        return self._after_gap(now, offset_min, day_start_min)

    def _after_gap(self, now: int, offset_min: int, day_start_min: int) -> Day | None:
        """Between days: begin one if a local start is at most an hour old, else wait for the next."""
        newest = max((s.index for s in self._spans if s.index is not None), default=-(1 << 40))
        index = (now + (offset_min - day_start_min) * MINUTE_MS) // DAY_MS
        since = now - _local_start(index, offset_min, day_start_min)
        if index > newest and since <= SMALL_CHANGE_MS:
            self._close(now)
            return self._open(now, index, offset_min, day_start_min)
        until = _local_start(max(index + 1, newest + 1), offset_min, day_start_min)
        # a further change inside the rest makes it longer; between two days there is at most one rest
        began = self._spans.pop().start if self._spans[-1].index is None else now
        self._spans.append(_Span(began, until, offset_min, None))
        self.next_boundary = until
        return None

    def _open(self, now: int, index: int, offset_min: int, day_start_min: int) -> Day:
        end = min(_local_start(index + 1, offset_min, day_start_min), now + LONGEST_MS)
        self._spans.append(_Span(now, end, offset_min, index))
        self._trim()
        self.next_boundary = min(now + SHORTEST_MS, end)
        return self.today()

    def _close(self, now: int) -> None:
        last = self._spans[-1]
        self._spans[-1] = _Span(last.start, now, last.offset_min, last.index)

    def _trim(self) -> None:
        while sum(s.index is not None for s in self._spans) > KEPT_DAYS:
            del self._spans[0]

    # -- asking -------------------------------------------------------------------------------------------------------

    def days(self) -> list[Day]:
        """The last days held, oldest first; the newest may be under way."""
        return [_day(s) for s in self._spans if s.index is not None]

    def today(self) -> Day:
        """The newest day, under way or (inside a rest) just closed."""
        return self.days()[-1]

    def day_of(self, t: int) -> Day | None:
        """The day that holds instant `t` (ms); None before the first day held and in a rest that belongs to no day."""
        span = self._span(t)
        if span is None or span.index is None or t < span.start:
            return None
        return _day(span)

    def day_index(self, t: int) -> int | None:
        """`Day.index` of the day that holds `t`, or None."""
        span = self._span(t)
        return span.index if span is not None and t >= span.start else None

    def offset_at(self, t: int) -> int:
        """Offset in force at `t`, minutes east of UTC; before the first day held, that of the first."""
        span = self._span(t)
        return span.offset_min if span is not None else self._spans[0].offset_min

    def start(self, local_date: str) -> int | None:
        """Start (ms) of a day held, or None."""
        return next((d.start_time for d in self.days() if d.local_date == local_date), None)

    def local_ms(self, t: int) -> int:
        """What the person's clock on the wall shows, as if it were UTC, ms."""
        return t + self.offset_at(t) * MINUTE_MS

    def local_minute(self, t: int) -> int:
        """Minutes after local midnight at `t`, 0-1439."""
        return self.local_ms(t) // MINUTE_MS % 1440

    def local_minutes(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`local_minute` of many instants (ms), shape (n,)."""
        starts = np.array([s.start for s in self._spans], np.int64)
        offsets = np.array([s.offset_min for s in self._spans], np.int64)
        at = np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)
        return (times + offsets[at] * MINUTE_MS) // MINUTE_MS % 1440

    def next_local(self, t: int, minute: int) -> int:
        """First instant >= `t` (ms) at which the clock on the wall shows `minute`, by the offset in force at `t`."""
        offset = self.offset_at(t) * MINUTE_MS
        local = t + offset
        wanted = local // DAY_MS * DAY_MS + minute * MINUTE_MS
        return (wanted if wanted >= local else wanted + DAY_MS) - offset

    def _span(self, t: int) -> _Span | None:
        """The last span that began by `t`; the newest is open at its end until it is closed."""
        return next((s for s in reversed(self._spans) if s.start <= t), None)

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        spans = [[s.start, s.end, s.offset_min, s.index] for s in self._spans]
        return {"spans": spans, "next": self.next_boundary}

    @staticmethod
    def from_state(state: dict[str, Any]) -> DayClock:
        return DayClock([_Span(*row) for row in state["spans"]], int(state["next"]))


def _local_start(index: int, offset_min: int, day_start_min: int) -> int:
    return index * DAY_MS + (day_start_min - offset_min) * MINUTE_MS


def _day(span: _Span) -> Day:
    assert span.index is not None
    return Day((EPOCH + timedelta(days=span.index)).isoformat(), span.start, span.end, span.offset_min)


# -- contact and quiet hours (support.md 6, 7) ------------------------------------------------------------------------
# `offset_min` is the offset in force now: hours ahead are counted with it, also over a change of the clock to come.


def in_contact_hours(profile: Profile, t: int, offset_min: int) -> bool:
    """Whether the care team is reachable at `t` (ms). No `contact.hours` = always [choice]."""
    return not profile.hours or next_contact_start(profile, t, offset_min) == t


def next_contact_start(profile: Profile, t: int, offset_min: int) -> int:
    """`t` inside contact hours, else the first instant (ms) after `t` at which they begin."""
    if not profile.hours:
        return t
    return min(max(a, t) for a, b in _contact_windows(profile, t, offset_min) if b > t)


def contact_deadline(profile: Profile, start: int, minutes: int, offset_min: int) -> int:
    """Instant (ms) at which `minutes` of contact hours have passed since `start` (acknowledgement, support.md 7)."""
    if not profile.hours:
        return start + minutes * MINUTE_MS
    t, left = start, minutes * MINUTE_MS
    while True:
        for a, b in _contact_windows(profile, t, offset_min):
            begin = max(a, t)
            if b <= begin:
                continue
            if b - begin >= left:
                return begin + left
            left -= b - begin
            t = b


def in_quiet_hours(profile: Profile, t: int, offset_min: int) -> bool:
    """Whether `t` (ms) lies in the person's quiet hours (default 22:00-07:00; equal ends = none)."""
    minute = (t + offset_min * MINUTE_MS) // MINUTE_MS % 1440
    a, b = profile.quiet_from_min, profile.quiet_to_min
    return a <= minute < b if a <= b else minute >= a or minute < b


def quiet_end(profile: Profile, t: int, offset_min: int) -> int:
    """`t` outside quiet hours, else the instant (ms) at which they end."""
    if not in_quiet_hours(profile, t, offset_min):
        return t
    local = t + offset_min * MINUTE_MS
    end = local // DAY_MS * DAY_MS + profile.quiet_to_min * MINUTE_MS
    return (end if end > local else end + DAY_MS) - offset_min * MINUTE_MS


def _contact_windows(profile: Profile, t: int, offset_min: int) -> list[tuple[int, int]]:
    """Contact windows [from, to) in ms of the nine days around `t`, sorted and merged."""
    offset = offset_min * MINUTE_MS
    today = (t + offset) // DAY_MS
    found: list[tuple[int, int]] = []
    for day in range(today - 1, today + 9):
        weekday = (day + 3) % 7 + 1  # 1970-01-01 was a Thursday
        midnight = day * DAY_MS - offset
        found += [(midnight + a * MINUTE_MS, midnight + b * MINUTE_MS) for w, a, b in profile.hours if w == weekday]
    merged: list[tuple[int, int]] = []
    for a, b in sorted(found):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
        else:
            merged.append((a, b))
    return merged
