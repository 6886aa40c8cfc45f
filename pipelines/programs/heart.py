"""Heart rate of one session by event time: one sample a second, so that order and repetition of rows cannot matter."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from pipelines.learning import packing

SECOND = 1_000
LOST_S = 10  # programs.md 1, 2: no heart rate for longer is a lost signal
QUARTERS = 4  # kept to a quarter of a beat a minute
KEEP_S = 2 * 3_600  # of one session
USUAL_PERIOD_S = 5.0  # of a watch that does not say how often it measures


class HeartTrace:
    """Usable samples (quality LOCKED or STRAP) of one session.

    Each second keeps its earliest sample by event time, of equal ones the higher (as support.md 2 keeps its 5-s slots).
    """

    def __init__(self) -> None:
        self._slots: dict[int, tuple[int, int]] = {}  # second → (ms within it, quarter beats)
        self.period_s = 0.0  # longest interval between samples that the device has stated

    def add(self, event_ms: int, bpm: float, period_s: float | None) -> None:
        second, ms = divmod(event_ms, SECOND)
        new = (ms, -round(bpm * QUARTERS))
        old = self._slots.get(second)
        if old is None or new < old:
            self._slots[second] = new
        if period_s is not None and period_s <= 60:
            self.period_s = max(self.period_s, period_s)

    def newest(self) -> int | None:
        """Event time (ms) of the last sample."""
        if not self._slots:
            return None
        second = max(self._slots)
        return second * SECOND + self._slots[second][0]

    def samples(self, a: int, b: int) -> list[tuple[int, float]]:
        """(event ms, bpm) in [a, b), by time."""
        found = (s for s in range(a // SECOND, -(-b // SECOND)) if s in self._slots)
        out = [(s * SECOND + self._slots[s][0], -self._slots[s][1] / QUARTERS) for s in found]
        return [(t, bpm) for t, bpm in out if a <= t < b]

    def lost_s(self, a: int, b: int) -> float:
        """Seconds of [a, b) without heart rate: what gaps hold beyond the device's own interval between samples.

        A gap longer than 10 s counts from its first second, whatever the device's interval.
        """
        times = [t for t, _ in self.samples(a, b)]
        usual = self.period_s or USUAL_PERIOD_S
        lost = longest = 0.0
        for before, after in zip([a - SECOND, *times], [*times, b], strict=True):
            gap = (after - before) / SECOND
            lost += max(0.0, gap - usual)
            longest = max(longest, gap - max(self.period_s, 1.0))
        return longest if longest > LOST_S else lost

    def mean(self, a: int, b: int) -> float | None:
        """Mean heart rate of [a, b); None if more than 10 s of it are lost."""
        found = self.samples(a, b)
        if not found or self.lost_s(a, b) > LOST_S:
            return None
        return sum(bpm for _, bpm in found) / len(found)

    def minutes(self, a: int, b: int) -> float:
        """Minutes of [a, b) with heart rate."""
        usual = self.period_s or USUAL_PERIOD_S
        times = [t for t, _ in self.samples(a, b)]
        if not times:
            return 0.0
        known = sum(min(usual * SECOND, after - t) for t, after in zip(times, [*times[1:], b], strict=True))
        return known / 60_000

    def average(self, a: int, b: int) -> float | None:
        """Mean of whatever is known in [a, b)."""
        found = self.samples(a, b)
        return sum(bpm for _, bpm in found) / len(found) if found else None

    def forget(self, before_ms: int) -> None:
        self._slots = {s: v for s, v in self._slots.items() if s * SECOND >= before_ms}

    def state(self) -> list[Any]:
        """[period, base64 of the slots as packed arrays]."""
        seconds = np.array(sorted(self._slots), np.int64)
        rows = np.array([self._slots[int(s)] for s in seconds], np.int16).reshape(-1, 2)
        data = packing.pack("heart", 1, None, {"s": seconds, "ms": rows[:, 0], "q": rows[:, 1]}, delta=["s", "q"])
        return [self.period_s, base64.b64encode(data).decode()]

    @staticmethod
    def from_state(state: list[Any]) -> HeartTrace:
        out = HeartTrace()
        out.period_s = float(state[0])
        _, arrays = packing.unpack("heart", base64.b64decode(state[1]))
        seconds = packing.take(arrays, "s", "<i8", None)
        ms, q = (packing.take(arrays, n, "<i2", len(seconds)) for n in ("ms", "q"))
        out._slots = {int(s): (int(m), int(v)) for s, m, v in zip(seconds, ms, q, strict=True)}
        return out
