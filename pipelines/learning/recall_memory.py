"""Episodic memory of RecallClassifier: features and their scale, rows as half-precision codes, the ring of recent rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.learning.recall_parts import Array, short

FLAT = 1e-9  # a feature with less deviation than this is constant and counts as unknown
FAR = 3e4  # a code beyond this makes the scale of its feature wider; half precision ends at 65,504


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
        """x as float32; unknown = mean."""
        v = self.mean.copy()
        for f, value in x.items():
            j = self.names.get(f)
            if j is not None and value is not None and math.isfinite(value):
                v[j] = value
        return np.clip(v, -1e30, 1e30).astype(np.float32)

    def learn(self, x: Mapping[Any, Any]) -> None:
        v = self.mean.copy()
        present = np.zeros(len(v), np.int64)
        for f, value in x.items():
            j = self.names.get(f)
            if j is not None and value is not None and math.isfinite(value):
                v[j], present[j] = min(max(value, -1e30), 1e30), 1
        self.count += present
        step = v - self.mean
        self.mean = self.mean + step / np.maximum(self.count, 1)
        self.m2 = self.m2 + step * (v - self.mean)

    def deviation(self) -> Array:
        out: Array = np.sqrt(self.m2 / np.maximum(self.count, 1))
        return out


class Memory:
    """`size` memory rows, then the ring of `recent` ones.

    A row is kept as float16 codes (v - centre) / width; `x` are the decoded values. Centre and width follow the features at
    steps 1, 2, 4, 8 ... and when a value lies far outside.
    """

    def __init__(self, size: int, recent: int, gamma: float) -> None:
        self.size, self.recent, self.gamma = size, recent, gamma
        n = size + recent
        self.codes = np.zeros((n, 0), np.float16)
        self.x = np.zeros((n, 0), np.float32)
        self.centre, self.width = np.zeros(0, np.float32), np.ones(0, np.float32)
        self.y = np.full(n, -1, np.int64)  # class; -1 = free
        self.owner = np.zeros(n, np.int64)  # expert; rows of the ring belong to the fast one (0)
        self.step = np.zeros(n, np.int64)  # at which label it was learned
        self.key = np.zeros(size, np.float32)  # random: a reservoir for each (context, class)
        self.whole = np.zeros((size, 0), np.float32)  # kernel coefficients over all rows
        self.part = np.zeros((size, 0), np.float32)  # over the rows of the same context
        self.head = 0
        self._z: Array | None = None
        self._mean = self._inverse = self._norm = np.zeros(0, np.float32)
        self._rate = np.float32(0.0)

    # -- shape --------------------------------------------------------------------------------------------------------

    def widen(self, d: int) -> None:
        pad = ((0, 0), (0, d))
        self.codes, self.x = np.pad(self.codes, pad), np.pad(self.x, pad)
        self.centre, self.width = np.pad(self.centre, (0, d)), np.pad(self.width, (0, d), constant_values=1.0)
        self._z = None

    def add_class(self) -> None:
        self.whole, self.part = np.pad(self.whole, ((0, 0), (0, 1))), np.pad(self.part, ((0, 0), (0, 1)))

    def changed(self) -> None:
        """The scale of the features has moved."""
        self._z = None

    # -- rows in ------------------------------------------------------------------------------------------------------

    def remember(self, v: Array, c: int, step: int, columns: Columns) -> None:
        """A new row of the ring."""
        first = columns.count <= 1
        if step & (step - 1) == 0 or (first & (self.centre == 0)).any():
            self._recode(columns)
        with np.errstate(over="ignore"):
            far = np.abs((v - self.centre) / self.width) > FAR
        if far.any():
            self.width[far] = (np.abs(v - self.centre) / 1000)[far]
            self._encode(self.x, slice(None))
        i = self.size + self.head
        self._encode(v[None], slice(i, i + 1))
        self.y[i], self.step[i] = c, step
        self.head = (self.head + 1) % self.recent
        self._z = None

    def _recode(self, columns: Columns) -> None:
        self.centre = columns.mean.astype(np.float32)
        sd = columns.deviation()
        self.width = np.maximum(np.maximum(sd, 1e-2 * np.abs(columns.mean)), 1e-3 * (sd < FLAT) + 1e-12).astype(
            np.float32
        )
        self._encode(self.x, slice(None))

    def _encode(self, values: Array, at: slice) -> None:
        with np.errstate(over="ignore"):
            codes = np.clip((values - self.centre) / self.width, -6e4, 6e4).astype(np.float16)
        codes = short(codes)
        self.codes[at] = codes
        self.x[at] = self.decoded(codes)

    def decoded(self, codes: Array) -> Array:
        out: Array = codes.astype(np.float32) * self.width + self.centre
        return out

    def waiting(self, n: int) -> Array:
        """The last n rows of the ring, oldest first."""
        out: Array = self.size + (self.head - n + np.arange(n)) % self.recent
        return out

    def store(self, i: int, e: int, key: float, max_classes: int) -> int | None:
        """Keep ring row i for context e; the largest (context, class) bucket gives way. Its place, None if it is not kept."""
        m, c = self.size, int(self.y[i])
        free = np.flatnonzero(self.y[:m] < 0)
        if len(free):
            j = int(free[0])
        else:
            bucket = self.owner[:m] * max_classes + self.y[:m]
            n = np.bincount(bucket)
            mine = e * max_classes + c
            big = mine if mine < len(n) and n[mine] >= n.max() else int(np.argmax(n))
            rows = np.flatnonzero(bucket == big)
            j = int(rows[np.argmin(self.key[rows])])
            if big == mine and self.key[j] > key:
                return None
        self.codes[j], self.x[j] = self.codes[i], self.x[i]
        self.y[j], self.owner[j], self.step[j], self.key[j] = c, e, self.step[i], key
        self.whole[j] = self.part[j] = 0.0
        if self._z is not None:
            self._z[j], self._norm[j] = self._z[i], self._norm[i]
        return j

    def rehearsal(self, draws: Array) -> Array:
        """Memory rows to rehearse, classes drawn evenly."""
        live = np.flatnonzero(self.y[: self.size] >= 0)
        if len(live) < 2 or not len(draws):
            return live[:0]
        y = self.y[live]
        p = 1.0 / np.bincount(y)[y]
        out: Array = live[np.searchsorted(np.cumsum(p) / p.sum(), draws).clip(0, len(live) - 1)]
        return out

    # -- rows out -----------------------------------------------------------------------------------------------------

    def scaled(self, columns: Columns) -> Array:
        """All rows by the present scale; a constant feature is 0."""
        if self._z is None:
            sd = columns.deviation()
            self._inverse = np.where(sd > FLAT, 1.0 / np.maximum(sd, FLAT), 0.0).astype(np.float32)
            self._mean = columns.mean.astype(np.float32)
            self._z = np.clip((self.x - self._mean) * self._inverse, -1e6, 1e6)
            self._norm = np.einsum("ij,ij->i", self._z, self._z)
            self._rate = np.float32(-self.gamma / max(1, int((self._inverse > 0).sum())))
        return self._z

    def scale(self, v: Array, columns: Columns) -> Array:
        self.scaled(columns)
        out: Array = np.clip((v - self._mean) * self._inverse, -1e6, 1e6)
        return out

    def live(self) -> int:
        return int((self.y >= 0).sum())

    def owned(self, e: int) -> Array:
        """Mask of the memory rows of context e."""
        out: Array = (self.owner[: self.size] == e) & (self.y[: self.size] >= 0)
        return out

    def distances(self, z: Array) -> Array:
        """Squared distance of every row to z; infinite for free places."""
        assert self._z is not None
        d: Array = np.maximum(self._norm - 2 * (self._z @ z) + z @ z, 0)
        d[self.y < 0] = np.inf
        return d

    def gram(self, block: Array, columns: Columns) -> Array:
        """Kernel between the rows of `block` and all memory rows; 0 for free places."""
        z, m = self.scaled(columns), self.size
        d = self._norm[block][:, None] - 2 * (z[block] @ z[:m].T) + self._norm[:m][None]
        k: Array = np.exp(self._rate * np.maximum(d, 0))
        k[:, self.y[:m] < 0] = 0
        return k

    def kernel(self, d: Array, n_classes: int, n_experts: int, fast: int, whole: int) -> Array:
        """p(class) of the kernel machines [expert, class]: prior + regression, at least 0.02; uniform far from all rows."""
        k = np.exp(self._rate * d[: self.size])
        of = np.zeros((n_experts, self.size), np.float32)
        of[self.owner[: self.size], np.arange(self.size)] = k
        out: Array = of @ self.part
        out[whole], out[fast] = k @ self.whole, 0.0
        out = np.maximum(out + 1.0 / n_classes, 0.02)
        out /= out.sum(1, keepdims=True)
        return out

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
        return [(self.x[i].tolist(), int(self.y[i]), int(self.owner[i]), s) for s, i in sorted(found.items())]
