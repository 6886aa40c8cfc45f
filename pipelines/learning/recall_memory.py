"""Episodic memory of RecallClassifier: features and their scale, scaled rows, the ring of recent rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pipelines.learning.recall_parts import Array, half

FLAT = 1e-9  # a feature with less deviation than this is constant and counts as unknown
MOVED = 0.2  # the rows are scaled anew when a deviation has changed by this share, or a mean by this share of a deviation
ROOM = 35_000  # numbers that the memory rows may hold: values and two coefficients a class each; bounds bytes, models.md 4
FAR = 1e4  # deviations beyond which a value is held there; half precision ends at 65,504


class Columns:
    """Features in the order in which they came (new ones of one sample by name), with running mean and deviation."""

    def __init__(self) -> None:
        self.names: dict[Any, int] = {}
        self.count = np.zeros(0, np.int64)
        self.mean, self.m2 = np.zeros(0), np.zeros(0)

    def new(self, x: Mapping[Any, Any]) -> list[Any]:
        """Features of x that are not known yet, by name."""
        return sorted((f for f in x if f not in self.names), key=str)

    def add(self, new: list[Any]) -> None:
        for f in new:
            self.names[f] = len(self.names)
        d = len(new)
        self.count, self.mean, self.m2 = np.pad(self.count, (0, d)), np.pad(self.mean, (0, d)), np.pad(self.m2, (0, d))

    def vector(self, x: Mapping[Any, Any]) -> Array:
        """x as float64, NaN where it is unknown, missing or infinite."""
        v = [math.nan] * len(self.names)
        at, finite = self.names.get, math.isfinite
        for f, value in x.items():
            j = at(f)
            if j is not None and value is not None and finite(value):
                v[j] = min(max(value, -1e30), 1e30)
        return np.array(v, np.float64)

    def learn(self, v: Array) -> None:
        present = v == v
        self.count += present
        step = np.where(present, v - self.mean, 0.0)
        self.mean = self.mean + step / np.maximum(self.count, 1)
        self.m2 = self.m2 + step * np.where(present, v - self.mean, 0.0)

    def deviation(self) -> Array:
        out: Array = np.sqrt(self.m2 / np.maximum(self.count, 1))
        return out


class Groups(NamedTuple):
    """Rows in use by expert: their places, experts and classes, and where each expert's begin."""

    order: Array
    own: Array
    y: Array
    bucket: Array  # expert * classes + class
    present: Array  # experts with rows
    start: Array
    size: Array
    classes: Array  # rows of each class


class Memory:
    """`size` memory rows, then the ring of `recent` ones, as scaled values z = (v - centre) * inverse in half precision.

    Centre and inverse deviation are those of the features when they had last moved by `MOVED`; a constant feature is 0.
    """

    def __init__(self, size: int, recent: int) -> None:
        self.size, self.recent = size, recent
        n = size + recent
        self.z = np.zeros((n, 0), np.float32)
        self.square = np.zeros((n, 0), np.float32)
        self.norm = np.zeros(n, np.float32)
        self.centre, self.inverse = np.zeros(0, np.float32), np.zeros(0, np.float32)
        self.y = np.full(n, -1, np.int64)  # class; -1 = free
        self.owner = np.zeros(n, np.int64)  # expert; rows of the ring belong to the fast one (0)
        self.step = np.zeros(n, np.int64)  # at which label it was learned
        self.key = np.zeros(size, np.float32)  # random: a reservoir for each (context, class)
        self.whole = np.zeros((n, 0), np.float32)  # kernel coefficients over all memory rows; 0 in the ring
        self.part = np.zeros((n, 0), np.float32)  # over the memory rows of the same context
        self.head = 0
        self._groups: Groups | None = None

    # -- shape --------------------------------------------------------------------------------------------------------

    def widen(self, d: int) -> None:
        pad = ((0, 0), (0, d))
        self.z, self.square = np.pad(self.z, pad), np.pad(self.square, pad)
        self.centre, self.inverse = np.pad(self.centre, (0, d)), np.pad(self.inverse, (0, d))

    def add_class(self) -> None:
        self.whole, self.part = np.pad(self.whole, ((0, 0), (0, 1))), np.pad(self.part, ((0, 0), (0, 1)))

        self._groups = None

    def changed(self) -> None:
        """Rows have another owner."""
        self._groups = None

    def groups(self, n_classes: int) -> Groups:
        """The rows in use, by expert."""
        if self._groups is None:
            order = np.flatnonzero(self.y >= 0)
            order = order[np.argsort(self.owner[order].astype(np.int8), kind="stable")]
            own, y = self.owner[order], self.y[order]
            count = np.bincount(own)
            present = np.flatnonzero(count)
            count = count[present]
            classes = np.bincount(y, minlength=n_classes)
            self._groups = Groups(order, own, y, own * n_classes + y, present, np.cumsum(count) - count, count, classes)
        return self._groups

    def active(self) -> int:
        """Features that are not constant, at least 1."""
        return max(1, int((self.inverse > 0).sum()))

    def put(self, i: int, z: Array) -> None:
        self.z[i], self.square[i] = z, z * z
        self.norm[i] = self.square[i].sum()

    def rescale(self, columns: Columns) -> tuple[Array, Array] | None:
        """Follow the features if they have moved: the (factor, shift) with which old z are z * factor + shift now, or None."""
        sd = columns.deviation()
        first = columns.count == 1
        if first.any():
            self.centre[first] = columns.mean[first]
        flat = self.inverse == 0
        moved = np.abs(np.where(flat, sd > FLAT, sd * self.inverse - 1.0)) > MOVED
        if not (moved | (np.abs(columns.mean - self.centre) * self.inverse > MOVED)).any():
            return None
        centre = columns.mean.astype(np.float32)
        inverse = np.where(sd > FLAT, 1.0 / np.maximum(sd, FLAT), 0.0).astype(np.float32)
        factor = np.where(flat, 1.0, inverse / np.where(flat, 1.0, self.inverse)).astype(np.float32)
        shift = ((self.centre - centre) * inverse).astype(np.float32)
        self.centre, self.inverse = centre, inverse
        live = self.y >= 0
        self.z[live] = half(np.clip(self.z[live] * factor + shift, -FAR, FAR))
        self.squares()
        return factor, shift

    def squares(self) -> None:
        self.square = self.z * self.z
        self.norm = self.square.sum(1)

    # -- rows in ------------------------------------------------------------------------------------------------------

    def scale(self, v: Array) -> Array:
        """Scaled values; unknown = mean = 0."""
        z = (v - self.centre) * self.inverse
        return half(np.clip(np.where(z == z, z, 0.0), -FAR, FAR))

    def remember(self, z: Array, c: int, step: int) -> None:
        """A new row of the ring."""
        i = self.size + self.head
        self.put(i, z)
        self.y[i], self.step[i] = c, step
        self._groups = None
        self.head = (self.head + 1) % self.recent

    def waiting(self, n: int) -> Array:
        """The last n rows of the ring, oldest first."""
        out: Array = self.size + (self.head - n + np.arange(n)) % self.recent
        return out

    def limit(self) -> int:
        """Memory rows that may be held: fewer where features and classes are many."""
        return min(self.size, max(self.recent, ROOM // max(1, self.z.shape[1] + 2 * self.whole.shape[1])))

    def shrink(self, max_classes: int) -> None:
        """Let go of rows beyond the limit, the largest (context, class) bucket first, its lowest key."""
        while len(live := np.flatnonzero(self.y[: self.size] >= 0)) > self.limit():
            bucket = self.owner[live] * max_classes + self.y[live]
            rows = live[bucket == np.argmax(np.bincount(bucket))]
            j = rows[np.argmin(self.key[rows])]
            self.y[j], self.owner[j], self.whole[j], self.part[j] = -1, 0, 0.0, 0.0
            self._groups = None

    def store(self, i: int, e: int, key: float, max_classes: int) -> int | None:
        """Keep ring row i for context e; the largest (context, class) bucket gives way. Its place, None if it is not kept."""
        m, c = self.size, int(self.y[i])
        j = int(self.y[:m].argmin())
        live = np.flatnonzero(self.y[:m] >= 0)
        if self.y[j] >= 0 or len(live) >= self.limit():
            bucket = np.where(self.y[:m] >= 0, self.owner[:m] * max_classes + self.y[:m], -1)
            n = np.bincount(bucket[live])
            mine = e * max_classes + c
            big = mine if mine < len(n) and n[mine] >= n.max() else int(np.argmax(n))
            rows = np.flatnonzero(bucket == big)
            j = int(rows[np.argmin(self.key[rows])])
            if big == mine and self.key[j] > key:
                return None
        self.z[j], self.square[j], self.norm[j] = self.z[i], self.square[i], self.norm[i]
        self.y[j], self.owner[j], self.step[j], self.key[j] = c, e, self.step[i], key
        self.whole[j] = self.part[j] = 0.0
        self._groups = None
        return j

    def rehearsal(self, draws: Array) -> Array:
        """Memory rows to rehearse, classes drawn evenly."""
        live = np.flatnonzero(self.y[: self.size] >= 0)
        if len(live) < 2 or not len(draws):
            return live[:0]
        y = self.y[live]
        p = (1.0 / np.maximum(1, np.bincount(y)))[y].cumsum()
        out: Array = live[p.searchsorted(draws * p[-1]).clip(0, len(live) - 1)]
        return out

    def block(self, new: list[int], e: int, draws: Array) -> Array:
        """Memory rows to settle: the new ones and one a draw, half of these from context e."""
        live = np.flatnonzero(self.y[: self.size] >= 0)
        block = live[(draws * len(live)).astype(np.int64)]
        mine = live[self.owner[live] == e]
        if len(mine):
            some = len(draws) // 2
            block[:some] = mine[(draws[:some] * len(mine)).astype(np.int64)]
        return np.unique(np.append(block, np.asarray(new, np.int64)))

    # -- rows out -----------------------------------------------------------------------------------------------------

    def owned(self, e: int) -> Array:
        """Mask of the memory rows of context e."""
        out: Array = (self.owner[: self.size] == e) & (self.y[: self.size] >= 0)
        return out

    def distances(self, z: Array) -> Array:
        """Squared distance of every row to z; infinite for free places."""
        d: Array = np.maximum(self.norm - 2 * (self.z @ z) + z @ z, 0)
        d[self.y < 0] = np.inf
        return d

    def nearest(self, z: Array, top: int, labels: list[Any], first: int) -> list[dict[str, Any]]:
        """The memory rows closest to z: class, context, step, distance in standard deviations."""
        d = self.distances(z)[: self.size]
        out = []
        for i in np.argsort(d, kind="stable")[: min(top, int((self.y[: self.size] >= 0).sum()))].tolist():
            about = round(float(np.sqrt(d[i])), 3)
            row = {"class": labels[self.y[i]], "context": int(self.owner[i]) - first, "step": int(self.step[i])}
            out.append({**row, "distance": about})
        return out

    def older(self, since: int) -> list[tuple[list[float], int, int, int]]:
        """(values, class, owner, step) of memory and ring rows learned before step `since`, each once, oldest first."""
        found = {int(self.step[i]): i for i in np.flatnonzero(self.y >= 0)[::-1].tolist() if self.step[i] < since}
        values = self.z / np.where(self.inverse > 0, self.inverse, 1.0) + self.centre
        return [(values[i].tolist(), int(self.y[i]), int(self.owner[i]), s) for s, i in sorted(found.items())]
