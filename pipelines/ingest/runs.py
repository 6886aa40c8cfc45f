"""A set of whole numbers as runs of neighbours: what comes in order costs next to nothing, however much of it comes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_NONE = np.zeros(0, np.int64)


class Runs:
    """Numbers of 0 to 2^63 - 1. The same set has the same runs, in whatever order it was filled.

    Parameters
    ----------
    starts, ends
        First and last number of each run, sorted; no two runs touch.
    """

    __slots__ = ("ends", "starts")

    def __init__(self, starts: Ints = _NONE, ends: Ints = _NONE) -> None:
        self.starts, self.ends = starts, ends

    def __len__(self) -> int:
        """How many runs."""
        return len(self.starts)

    def take(self, numbers: Ints) -> Bools:
        """Put numbers in; True for each that was in already, or stands earlier among these."""
        rising = len(numbers) == 1 or bool((numbers[1:] > numbers[:-1]).all())
        if rising:
            again = self.has(numbers)
            fresh = numbers if not again.any() else numbers[~again]
        else:
            again = repeated(numbers) | self.has(numbers)
            fresh = np.sort(numbers[~again])
        if len(fresh):
            self._add(fresh)
        return again

    def has(self, numbers: Ints) -> Bools:
        """Which are in."""
        if not len(self.starts) or numbers.min() > self.ends[-1]:
            return np.zeros(len(numbers), np.bool_)
        at = np.searchsorted(self.starts, numbers, side="right") - 1
        return np.asarray((at >= 0) & (numbers <= self.ends[np.maximum(at, 0)]))

    def forget_below(self, low: int) -> None:
        """Drop numbers less than `low`."""
        if len(self.starts) and self.starts[0] < low:
            first = int(np.searchsorted(self.ends, low))
            self.starts, self.ends = self.starts[first:].copy(), self.ends[first:]
            if len(self.starts):
                self.starts[0] = max(int(self.starts[0]), low)

    def count(self) -> int:
        """How many numbers."""
        return int((self.ends - self.starts).sum()) + len(self.starts)

    def numbers(self) -> Ints:
        """All of them, sorted."""
        lengths = self.ends - self.starts + 1
        before = np.cumsum(lengths) - lengths
        out: Ints = np.arange(int(lengths.sum())) + np.repeat(self.starts - before, lengths)
        return out

    @staticmethod
    def of(numbers: Ints) -> Runs:
        """Of different numbers in rising order."""
        cut = np.flatnonzero(numbers[1:] != numbers[:-1] + 1)
        return Runs(numbers[np.concatenate([[0], cut + 1])], numbers[np.concatenate([cut, [len(numbers) - 1]])])

    # -- inside -------------------------------------------------------------------------------------------------------

    def _add(self, fresh: Ints) -> None:
        more = Runs.of(fresh)
        if not len(self.starts):
            self.starts, self.ends = more.starts, more.ends
            return
        starts, ends = np.concatenate([self.starts, more.starts]), np.concatenate([self.ends, more.ends])
        if more.starts[0] < self.starts[-1]:
            order = np.argsort(starts, kind="stable")
            starts, ends = starts[order], ends[order]
        apart = starts[1:] != ends[:-1] + 1
        self.starts, self.ends = starts[np.append(True, apart)], ends[np.append(apart, True)]


def repeated(numbers: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> Bools:
    """True where an equal number stands at a lower index."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    again = np.zeros(len(numbers), np.bool_)
    again[order[1:]] = ordered[1:] == ordered[:-1]
    return again
