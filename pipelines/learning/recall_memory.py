"""Episodic memory of RecallClassifier: features and their scale, scaled rows, the ring of recent rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.learning.recall_parts import BEYOND, FAST, FIRST, WHOLE, Array, half

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
        return [] if x.keys() <= self.names.keys() else sorted((f for f in x if f not in self.names), key=str)

    def add(self, new: list[Any]) -> None:
        for f in new:
            self.names[f] = len(self.names)
        d = len(new)
        self.count, self.mean, self.m2 = np.pad(self.count, (0, d)), np.pad(self.mean, (0, d)), np.pad(self.m2, (0, d))

    def vector(self, x: Mapping[Any, Any]) -> Array:
        """x as float64, NaN where it is unknown, missing or infinite."""
        v = np.array([*map(x.get, self.names)], np.float64)
        v[~np.isfinite(v)] = math.nan
        return np.minimum(np.maximum(v, -1e30), 1e30)

    def learn(self, v: Array) -> None:
        missing = np.isnan(v)
        self.count += ~missing
        step = v - self.mean
        step[missing] = 0.0
        self.mean = self.mean + step / np.maximum(self.count, 1)
        rest = v - self.mean
        rest[missing] = 0.0
        self.m2 = self.m2 + step * rest

    def deviation(self) -> Array:
        out: Array = np.sqrt(self.m2 / np.maximum(self.count, 1))
        return out


class Memory:
    """`size` memory rows, then the ring of `recent` ones, as scaled values z = (v - centre) * inverse in half precision.

    Centre and inverse deviation are those of the features when they had last moved by `MOVED`; a constant feature is 0.

    Attributes
    ----------
    table
        [2 (feature + 1), row]: z, 1, the squares of z, 1; so that distances and linear parts are one product each.
    varies, active
        1 for a feature that is not constant, else 0; how many do, at least 1.
    y, owner, step, key
        Class (-1 = free), expert (rows of the ring belong to `FAST`), at which label it was learned, and a random number: a
        reservoir for each (context, class).
    hot
        1 at the class [row, class].
    beyond
        What is added to squared distances [expert, row]: 0 where the expert owns the row, or any row for `WHOLE`; else `BEYOND`.
    alike
        1 where a memory row is of the expert, then where it is of the class [expert + class, memory row].
    counts
        Rows of the expert and class, the ring's under `FAST` [expert, class].
    in_use
        Rows in all.
    kernel
        Coefficients of the kernel machines [2, row, class]: over all memory rows, over those of the same context; 0 in the ring.
    """

    def __init__(self, size: int, recent: int, experts: int) -> None:
        self.size, self.recent = size, recent
        n = size + recent
        self.table = np.ones((2, n), np.float32)
        self.centre, self.inverse = np.zeros(0, np.float32), np.zeros(0, np.float32)
        self.varies, self.active = np.zeros(0, np.float32), 1
        self.y = np.full(n, -1, np.int64)
        self.owner = np.zeros(n, np.int64)
        self.step = np.zeros(n, np.int64)
        self.key = np.zeros(size, np.float32)
        self.hot = np.zeros((n, 0), np.float32)
        self.beyond = np.full((experts, n), BEYOND, np.float32)
        self.alike = np.zeros((experts, size), np.float32)
        self.counts = np.zeros((experts, 0), np.int64)
        self.kernel = np.zeros((2, n, 0), np.float32)
        self.in_use = 0
        self.head = 0
        self._live: Array | None = None

    @property
    def z(self) -> Array:
        """Scaled rows [row, feature]."""
        return self.table[: len(self.centre)].T

    # -- shape --------------------------------------------------------------------------------------------------------

    def widen(self, d: int) -> None:
        z = np.pad(self.z, ((0, 0), (0, d)))
        self.centre, self.inverse = np.pad(self.centre, (0, d)), np.pad(self.inverse, (0, d))
        self.fill(z)

    def fill(self, z: Array) -> None:
        """All rows anew [row, feature], after `inverse`."""
        d = z.shape[1]
        self.table = np.ones((2 * (d + 1), len(z)), np.float32)
        self.table[:d] = z.T
        np.multiply(self.table[:d], self.table[:d], out=self.table[d + 1 : -1])
        self.varies = (self.inverse > 0).astype(np.float32)
        self.active = max(1, int(self.varies.sum()))

    def add_class(self) -> None:
        self.hot = np.pad(self.hot, ((0, 0), (0, 1)))
        self.kernel = np.pad(self.kernel, ((0, 0), (0, 0), (0, 1)))
        self.alike = np.pad(self.alike, ((0, 1), (0, 0)))
        self.counts = np.pad(self.counts, ((0, 0), (0, 1)))

    def belong(self) -> None:
        """All that follows from `y` and `owner`, after they were changed elsewhere."""
        self._live = None
        experts, classes = len(self.beyond), self.hot.shape[1]
        used, kept = np.flatnonzero(self.y >= 0), self.live()
        y, owner = self.y[used], self.owner[used]
        self.in_use = len(used)
        self.hot[:], self.beyond[:] = 0.0, BEYOND
        self.hot[used, y] = 1.0
        self.beyond[owner, used] = self.beyond[WHOLE, used] = 0.0
        self.alike = np.zeros((experts + classes, self.size), np.float32)
        self.alike[self.owner[kept], kept] = self.alike[experts + self.y[kept], kept] = 1.0
        self.counts = np.bincount(owner * classes + y, minlength=experts * classes).reshape(experts, classes)

    def rescale(self, columns: Columns) -> tuple[Array, Array] | None:
        """Follow the features if they have moved: the (factor, shift) with which old z are z * factor + shift now, or None."""
        sd = columns.deviation()
        moved = sd * self.inverse - 1.0
        flat = self.inverse == 0
        if self.active < len(flat):  # constant so far
            first = columns.count == 1
            self.centre[first] = columns.mean[first]
            moved[flat] = sd[flat] > FLAT
        if not (np.maximum(np.abs(moved), np.abs(columns.mean - self.centre) * self.inverse) > MOVED).any():
            return None
        centre = columns.mean.astype(np.float32)
        inverse = np.where(sd > FLAT, 1.0 / np.maximum(sd, FLAT), 0.0).astype(np.float32)
        factor = np.where(flat, 1.0, inverse / np.where(flat, 1.0, self.inverse)).astype(np.float32)
        shift = ((self.centre - centre) * inverse).astype(np.float32)
        self.centre, self.inverse = centre, inverse
        z, live = self.z.copy(), self.y >= 0
        z[live] = half(np.clip(z[live] * factor + shift, -FAR, FAR))
        self.fill(z)
        return factor, shift

    # -- rows in ------------------------------------------------------------------------------------------------------

    def scale(self, v: Array) -> Array:
        """Scaled values; unknown = mean = 0."""
        z = (v - self.centre) * self.inverse
        z[z != z] = 0.0
        return half(np.minimum(np.maximum(z, -FAR, out=z), FAR, out=z))

    def remember(self, z: Array, c: int, step: int) -> None:
        """A new row of the ring."""
        i, d = self.size + self.head, len(z)
        self.table[:d, i], self.table[d + 1 : -1, i] = z, z * z
        self._put(i, c, FAST, step)
        self.head = (self.head + 1) % self.recent

    def _put(self, i: int, c: int, e: int, step: int) -> None:
        self._clear(i)
        self.y[i], self.owner[i], self.step[i] = c, e, step
        self._fill(i, c, e)

    def _fill(self, i: int, c: int, e: int) -> None:
        """A row that is not in use comes to be of class c and expert e."""
        self.hot[i, c] = 1.0
        self.beyond[e, i] = self.beyond[WHOLE, i] = 0.0
        self.counts[e, c] += 1
        self.in_use += 1
        if i < self.size:
            self.alike[e, i] = self.alike[len(self.beyond) + c, i] = 1.0

    def _clear(self, i: int) -> None:
        """A row is no longer in use."""
        c, e = int(self.y[i]), int(self.owner[i])
        if c < 0:
            self._live = None
            return
        self.hot[i, c] = 0.0
        self.beyond[e, i] = self.beyond[WHOLE, i] = BEYOND
        self.counts[e, c] -= 1
        self.in_use -= 1
        if i < self.size:
            self.alike[e, i] = self.alike[len(self.beyond) + c, i] = 0.0

    def waiting(self, n: int) -> list[int]:
        """The last n rows of the ring, oldest first."""
        return [self.size + (self.head - n + i) % self.recent for i in range(n)]

    def sample(self, i: int) -> tuple[Array, Array, Array]:
        """One row as linear parts learn it: scaled values and 1, their squares and 1 [feature + 1], 1 at the class [class]."""
        row, f = self.table[:, i].copy(), len(self.centre)
        return row[: f + 1], row[f + 1 :], self.hot[i]

    def samples(self, at: Array) -> tuple[Array, Array, Array]:
        """Rows as linear parts learn them: scaled values and 1, their squares and 1 [n, feature + 1], 1 at the class [n, class]."""
        table, f = self.table.take(at, 1).T, len(self.centre)
        return table[:, : f + 1], table[:, f + 1 :], self.hot[at]

    def live(self) -> Array:
        """Memory rows in use."""
        if self._live is None:
            self._live = np.flatnonzero(self.y[: self.size] >= 0)
        return self._live

    def limit(self) -> int:
        """Memory rows that may be held: fewer where features and classes are many."""
        return min(self.size, max(self.recent, ROOM // max(1, len(self.centre) + 2 * self.hot.shape[1])))

    def shrink(self, max_classes: int) -> None:
        """Let go of rows beyond the limit, the largest (context, class) bucket first, its lowest key."""
        while len(live := self.live()) > self.limit():
            bucket = self.owner[live] * max_classes + self.y[live]
            rows = live[bucket == np.argmax(np.bincount(bucket))]
            j = rows[np.argmin(self.key[rows])]
            self._clear(int(j))
            self.y[j], self.owner[j], self.kernel[:, j] = -1, FAST, 0.0
            self._live = None

    def store(self, i: int, e: int, key: float) -> int | None:
        """Keep ring row i for context e; the largest (context, class) bucket gives way. Its place, None if it is not kept."""
        m, c = self.size, int(self.y[i])
        j = int(self.y[:m].argmin())
        live = self.live()
        if self.y[j] >= 0 or len(live) >= self.limit():
            n = self.counts[FIRST:]  # rows of the ring are of FAST
            first = int(n.argmax())
            owner, of = (e, c) if n[e - FIRST, c] >= n.item(first) else (FIRST + first // n.shape[1], first % n.shape[1])
            rows = ((self.owner[:m] == owner) & (self.y[:m] == of)).nonzero()[0]
            j = int(rows[self.key[rows].argmin()])
            if owner == e and of == c and self.key[j] > key:
                return None
        self.table[:, j] = self.table[:, i]
        self._put(j, c, e, int(self.step[i]))
        self.key[j] = key
        self.kernel[:, j] = 0.0
        return j

    def rehearsal(self, i: int, draws: Array) -> Array:
        """Row i, and memory rows to rehearse with it, classes drawn evenly."""
        live = self.live()
        if len(live) < 2:
            draws = draws[:0]
        out = np.empty(1 + len(draws), np.int64)
        out[0] = i
        if len(draws):
            each = 1.0 / np.maximum(1, np.add.reduce(self.counts[FIRST:], 0))
            p = each[self.y[live]].cumsum()
            out[1:] = live[np.minimum(p.searchsorted(draws * p[-1]), len(live) - 1)]
        return out

    def block(self, new: list[int], e: int, draws: Array) -> Array:
        """Memory rows to settle: the new ones and one a draw, half of these from context e."""
        live = self.live()
        block = live[(draws * len(live)).astype(np.int64)]
        mine = live[self.owner[live] == e]
        if len(mine):
            some = len(draws) // 2
            block[:some] = mine[(draws[:some] * len(mine)).astype(np.int64)]
        return np.array(sorted({*block.tolist(), *new}), np.int64)

    # -- rows out -----------------------------------------------------------------------------------------------------

    def owned(self, e: int) -> Array:
        """Mask of the memory rows of context e."""
        out: Array = (self.owner[: self.size] == e) & (self.y[: self.size] >= 0)
        return out

    def nearest(self, z: Array, top: int, labels: list[Any], first: int) -> list[dict[str, Any]]:
        """The memory rows closest to z: class, context, step, distance in standard deviations."""
        d = ((self.z[: self.size] - z) ** 2).sum(1)
        d[self.y[: self.size] < 0] = np.inf
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
