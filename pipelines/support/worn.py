"""Whether the watch is on the wrist, as its reports say: a step function of event time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.context.devices import WORN_UNKNOWN

Ints = npt.NDArray[np.int64]


class Worn:
    """Reports of wear: (ms, code), each holds until the next."""

    def __init__(self, reports: Iterable[tuple[int, int]] = ()) -> None:
        self.reports = sorted((int(t), int(code)) for t, code in reports)

    def add(self, time: Ints, code: npt.NDArray[np.int8]) -> int | None:
        """First instant (ms) from which something else is known now; None if nothing is."""
        known = set(self.reports)
        fresh = [w for w in zip(time.tolist(), code.tolist(), strict=True) if w not in known]
        if not fresh:
            return None
        before = self.at(np.array([t for t, _ in fresh], np.int64)).tolist()
        self.reports = sorted(known.union(fresh))
        return min((t for (t, now), was in zip(fresh, before, strict=True) if now != was), default=None)

    def at(self, when: Ints) -> npt.NDArray[np.int8]:
        """Codes at instants (ms), shape (n,); UNKNOWN before the first report."""
        if not self.reports:
            return np.zeros(len(when), np.int8)
        times = np.array([t for t, _ in self.reports], np.int64)
        codes = np.array([WORN_UNKNOWN] + [c for _, c in self.reports], np.int8)
        return codes[np.searchsorted(times, when, side="right")]

    def dump(self) -> dict[str, npt.NDArray[Any]]:
        """`worn_time` (ms), `worn_code`; shape (n,)."""
        times, codes = ([r[i] for r in self.reports] for i in (0, 1))
        return {"worn_time": np.array(times, np.int64), "worn_code": np.array(codes, np.int8)}

    @staticmethod
    def load(arrays: dict[str, npt.NDArray[Any]]) -> Worn:
        """What `dump` wrote."""
        return Worn(zip(arrays["worn_time"].tolist(), arrays["worn_code"].tolist(), strict=True))

    def forget(self, before: int) -> None:
        """Reports before the instant (ms) go, save the last of them, which still holds."""
        stale = sum(t < before for t, _ in self.reports)
        if stale > 1:
            self.reports = self.reports[stale - 1 :]
