"""The retained fixes of a person and the track of places that follows from them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.support import places

Ints = npt.NDArray[np.int64]


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


class Whereabouts:
    """Fixes of the last days; what lies before them is kept as the state of the place machine."""

    def __init__(self, fixes: Fixes | None = None, anchor: places.Anchor | None = None) -> None:
        self.fixes = Fixes.none() if fixes is None else fixes
        self.anchor = places.Anchor() if anchor is None else anchor
        self._retrack()

    def _retrack(self) -> None:
        self.track = places.track(*self.fixes, self.anchor)

    def add(self, time: Ints, place: npt.NDArray[np.int8], accuracy: npt.NDArray[np.float64]) -> None:
        self.fixes = self.fixes.plus(time, place, accuracy)
        self._retrack()

    def forget(self, before: int) -> None:
        """Fixes before the instant (ms) go."""
        old = self.fixes.time < before
        if old.any():
            self.anchor = places.track(*self.fixes.among(old), self.anchor).end
            self.fixes = self.fixes.among(~old)
            self._retrack()

    @property
    def known(self) -> bool:
        """Whether there is anything from which a place follows."""
        return len(self.track.time) > 0 or self.anchor.state != places.UNKNOWN

    @property
    def since(self) -> int | None:
        """Time (ms) of the first retained fix."""
        return int(self.fixes.time.min()) if len(self.fixes.time) else None

    def dump(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        fixes = self.fixes
        return asdict(self.anchor), {
            "fix_time": fixes.time,
            "fix_place": fixes.place,
            "fix_accuracy": fixes.accuracy,
        }

    @staticmethod
    def load(meta: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Whereabouts:
        fixes = Fixes(arrays["fix_time"], arrays["fix_place"], arrays["fix_accuracy"])
        return Whereabouts(fixes, places.Anchor(**meta))
