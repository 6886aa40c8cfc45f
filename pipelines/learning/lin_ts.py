"""Linear Thompson sampling over a few named arms whose best choice may change and come back (models.md 1).

Each arm has a Bayesian linear regression of the reward on the context, with forgetting. Up to four such posteriors ("slots")
are kept, one for each taste a person has shown; only the slot in use learns. When the rewards of the last decisions are
explained better by another slot, or by none, that slot (or a new one) takes over and the wrong lessons are taken back: so a
taste that returns needs no second learning.

Sources: Agrawal and Goyal 2013 (linear Thompson sampling); Russac, Vernade and Cappé 2019 (discounted linear bandits, here
`keep`); the slots are ours: reactivation by the predictive density of the reward, as in a bank of models with a likelihood
ratio (Willsky and Jones 1976).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipelines.learning import packing

KIND, VERSION = "lin_ts", 1
KEEP = 0.995  # models.md 1
SLOTS = 4
RING = 24  # last decisions held to judge the slots by, and to take lessons back
TAKE_OVER_NATS = 4.0  # another slot must explain the ring so much better
NEW_NATS = 4.0  # so much better must a slot that begins afresh be; its ignorance already costs it
LOWEST, HIGHEST = 0.1, 0.8  # trial.md 3
NOISE_FROM, NOISE_TO = 0.05, 2.0  # bounds of the reward's residual variance
LONGEST = 64  # features, and arms
Floats: TypeAlias = npt.NDArray[np.float64]
Stored: TypeAlias = npt.NDArray[np.float32]


class LinTS:
    """Linear Thompson sampling with slots.

    Parameters
    ----------
    arms
        Names, in the order in which probabilities are cumulated.
    n_features
        Length d of a context vector; put a constant 1 among them.
    keep
        What is kept of the evidence at each lesson.
    slots
        Posteriors at most.
    precision
        Of the prior N(0, 1/precision) of every coefficient.

    Raises
    ------
    ValueError
        No arm, an arm twice, more than 64 arms or features.

    Examples
    --------
    >>> import numpy as np
    >>> model = LinTS(["a", "b"], 1)
    >>> for _ in range(30):
    ...     model.learn_one("a", [1.0], 0.0)
    ...     model.learn_one("b", [1.0], 1.0)
    >>> p = model.probabilities([1.0], np.random.default_rng(1).standard_normal((200, 2)))
    >>> {arm: round(x, 2) for arm, x in p.items()}
    {'a': 0.2, 'b': 0.8}
    """

    def __init__(
        self, arms: Sequence[str], n_features: int, *, keep: float = KEEP, slots: int = SLOTS, precision: float = 1.0
    ) -> None:
        if not 1 <= len(arms) <= LONGEST or len(set(arms)) != len(arms) or not 1 <= n_features <= LONGEST:
            raise ValueError("between 1 and 64 different arms and features")
        self.arms = tuple(arms)
        self.keep, self.precision = float(keep), float(precision)
        self.n_learned = 0
        self.noise = 0.25  # residual variance of the reward, learnt
        self.active = 0
        k, d = len(self.arms), n_features
        self._a: Stored = np.tile((np.eye(d) * precision).astype(np.float32), (slots, k, 1, 1))
        self._b: Stored = np.zeros((slots, k, d), np.float32)
        self._used = np.zeros(slots, np.int64)  # n_learned when a slot was last in use; 0 = empty
        self._x: Stored = np.zeros((0, d), np.float32)  # the ring, oldest first
        self._arm = np.zeros(0, np.int16)
        self._r: Stored = np.zeros(0, np.float32)
        self._density: Stored = np.zeros(0, np.float32)  # log predictive density by the slot in use, before learning

    # -- asking -------------------------------------------------------------------------------------------------------

    def predict_one(self, x: Sequence[float]) -> dict[str, tuple[float, float]]:
        """Arm → (mean, standard deviation) of its expected reward in context `x`."""
        mean, variance = self._predict(self.active, self._vector(x))
        return {arm: (float(m), float(v) ** 0.5) for arm, m, v in zip(self.arms, mean, variance, strict=True)}

    def probabilities(
        self,
        x: Sequence[float],
        normals: npt.NDArray[np.float64],
        *,
        among: Sequence[str] | None = None,
        lowest: float = LOWEST,
        highest: float = HIGHEST,
    ) -> dict[str, float]:
        """Arm → probability: the share of posterior draws in which it is best, clipped and renormalised (trial.md 3).

        Parameters
        ----------
        normals
            Standard normals, shape (draws, number of arms); the caller's, from its own repeatable stream.
        among
            Arms that may be chosen now; None = all.
        lowest, highest
            Bounds of every probability. Of n arms none gets more than 1 - (n - 1) lowest, whatever `highest`.

        Raises
        ------
        ValueError
            No arm to choose among, wrong shape, or bounds that cannot hold.
        """
        chosen = [i for i, arm in enumerate(self.arms) if among is None or arm in among]
        if not chosen or normals.ndim != 2 or normals.shape[1] != len(self.arms):
            raise ValueError("normals must have a column an arm, and one arm must be free")
        mean, variance = self._predict(self.active, self._vector(x))
        draws = mean[chosen] + np.sqrt(variance[chosen]) * normals[:, chosen]
        wins = np.bincount(draws.argmax(1), minlength=len(chosen)) / len(draws)
        p = clipped(wins, lowest, highest)
        return {self.arms[i]: float(v) for i, v in zip(chosen, p, strict=True)}

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn_one(self, arm: str, x: Sequence[float], reward: float) -> None:
        """Learn that `arm`, chosen in context `x`, brought `reward`.

        Raises
        ------
        ValueError
            Unknown arm, wrong length, not finite.
        """
        k, v = self.arms.index(arm), self._vector(x)
        if not np.isfinite(reward):
            raise ValueError("reward is not finite")
        mean, variance = self._predict(self.active, v, k)
        self._watch_noise(reward - mean[0], variance[0])
        density = _log_normal(reward - mean[0], variance[0] + self.noise)
        self._x = np.vstack([self._x, v.astype(np.float32)])[-RING:]
        self._arm = np.append(self._arm, np.int16(k))[-RING:]
        self._r = np.append(self._r, np.float32(reward))[-RING:]
        self._density = np.append(self._density, np.float32(density))[-RING:]
        self.n_learned += 1
        self._used[self.active] = self.n_learned
        self._learn(self.active, k, v, reward)
        self._review()

    def _learn(self, slot: int, k: int, x: Floats, reward: float) -> None:
        fresh = (1 - self.keep) * self.precision * np.eye(len(x))
        self._a[slot, k] = self.keep * self._a[slot, k].astype(np.float64) + fresh + np.outer(x, x)
        self._b[slot, k] = self.keep * self._b[slot, k].astype(np.float64) + reward * x

    def _unlearn(self, slot: int, k: int, x: Floats, reward: float) -> None:
        """Take the last lesson of an arm back, exactly but for rounding."""
        fresh = (1 - self.keep) * self.precision * np.eye(len(x))
        self._a[slot, k] = (self._a[slot, k].astype(np.float64) - fresh - np.outer(x, x)) / self.keep
        self._b[slot, k] = (self._b[slot, k].astype(np.float64) - reward * x) / self.keep

    def _watch_noise(self, error: float, variance: float) -> None:
        seen = error * error * self.noise / (self.noise + variance)
        rate = max(0.02, 1 / (self.n_learned + 4))
        self.noise = float(np.clip((1 - rate) * self.noise + rate * seen, NOISE_FROM, NOISE_TO))

    # -- slots --------------------------------------------------------------------------------------------------------

    def _review(self) -> None:
        """Whether another slot, or a new one, explains the ring better than the one in use."""
        if len(self._r) < RING // 2:
            return
        best, gain, since = self.active, 0.0, 0
        for slot in range(len(self._used)):
            if slot == self.active or not self._used[slot]:
                continue
            g, at = _excursion(self._densities(slot) - self._density)
            if g > TAKE_OVER_NATS and g > gain:
                best, gain, since = slot, g, at
        if best == self.active and len(self._r) == RING:
            g, at = _excursion(self._fresh_densities() - self._density)
            if g > NEW_NATS:
                best, since = self._free(), at
        if best != self.active:
            self._switch(best, since)

    def _densities(self, slot: int) -> Floats:
        """Log predictive density of each reward in the ring, by a slot that did not learn them."""
        out = np.empty(len(self._r))
        for i, (k, x, r) in enumerate(self._ring()):
            mean, variance = self._predict(slot, x, k)
            out[i] = _log_normal(r - mean[0], variance[0] + self.noise)
        return out

    def _fresh_densities(self) -> Floats:
        """The same by a slot that begins with the ring's first decision, learning as it goes."""
        spare = LinTS(self.arms, self._x.shape[1], keep=self.keep, slots=1, precision=self.precision)
        spare.noise = self.noise
        out = np.empty(len(self._r))
        for i, (k, x, r) in enumerate(self._ring()):
            mean, variance = spare._predict(0, x, k)
            out[i] = _log_normal(r - mean[0], variance[0] + self.noise)
            spare._learn(0, k, x, r)
        return out

    def _free(self) -> int:
        """An empty slot, else the one that was not in use for longest; it forgets everything."""
        slot = int(np.argmin(np.where(np.arange(len(self._used)) == self.active, np.iinfo(np.int64).max, self._used)))
        self._a[slot] = np.eye(self._x.shape[1], dtype=np.float32) * np.float32(self.precision)
        self._b[slot] = 0
        return slot

    def _switch(self, slot: int, since: int) -> None:
        """What was decided from ring entry `since` on belongs to `slot`."""
        lessons = list(self._ring())[since:]
        for k, x, r in reversed(lessons):
            self._unlearn(self.active, k, x, r)
        self.active = slot
        for i, (k, x, r) in enumerate(lessons):
            mean, variance = self._predict(slot, x, k)
            self._density[since + i] = _log_normal(r - mean[0], variance[0] + self.noise)
            self._learn(slot, k, x, r)
        self._used[slot] = self.n_learned
        self._x, self._arm, self._r = self._x[since:], self._arm[since:], self._r[since:]
        self._density = self._density[since:]

    def _ring(self) -> list[tuple[int, Floats, float]]:
        return [(int(k), x.astype(np.float64), float(r)) for k, x, r in zip(self._arm, self._x, self._r, strict=True)]

    def _predict(self, slot: int, x: Floats, k: int | None = None) -> tuple[Floats, Floats]:
        """(means, variances of the means) by arm, or of one arm."""
        which = slice(None) if k is None else slice(k, k + 1)
        a, b = self._a[slot, which].astype(np.float64), self._b[slot, which].astype(np.float64)
        solved = np.linalg.solve(a, np.stack([b, np.broadcast_to(x, b.shape)], -1))
        return solved[..., 0] @ x, self.noise * np.maximum(solved[..., 1] @ x, 0.0)

    def _vector(self, x: Sequence[float]) -> Floats:
        v = np.asarray(x, np.float64)
        if v.shape != (self._x.shape[1],) or not np.isfinite(v).all():
            raise ValueError("context has another length or is not finite")
        return v

    # -- state --------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Explicit bytes (models.md 4): of a symmetric matrix the lower half."""
        low = np.tril_indices(self._x.shape[1])
        used = self._used > 0
        meta = {
            "arms": list(self.arms), "keep": self.keep, "precision": self.precision, "noise": self.noise, "active": self.active,
            "n_learned": self.n_learned, "slots": len(self._used), "features": self._x.shape[1],
        }  # fmt: skip
        return packing.pack(KIND, VERSION, meta, {
            "used": self._used, "a": self._a[used][:, :, low[0], low[1]], "b": self._b[used], "x": self._x, "arm": self._arm,
            "r": self._r, "density": self._density,
        })  # fmt: skip

    @staticmethod
    def load(data: bytes) -> LinTS:
        """What `dump` wrote; StateError for anything else."""
        meta, arrays = packing.unpack(KIND, data)
        d, slots = packing.whole(meta, "features", 1, LONGEST), packing.whole(meta, "slots", 1, 64)
        keep, precision = packing.number(meta, "keep", 0.5, 1.0), packing.number(meta, "precision", 1e-6, 1e6)
        arms = meta.get("arms")
        if not isinstance(arms, list) or not all(isinstance(a, str) for a in arms):
            raise packing.StateError("state of lin_ts has no arms")
        try:
            model = LinTS(arms, d, keep=keep, slots=slots, precision=precision)
        except ValueError:
            raise packing.StateError("state of lin_ts has arms that cannot be") from None
        model.noise = packing.number(meta, "noise", NOISE_FROM, NOISE_TO)
        model.active = packing.whole(meta, "active", 0, slots - 1)
        model.n_learned = packing.whole(meta, "n_learned", 0, 2**53)
        model._used = packing.take(arrays, "used", "<i8", slots)
        used = model._used > 0
        n, k = int(used.sum()), len(arms)
        half, low = packing.take(arrays, "a", "<f4", n, k, d * (d + 1) // 2), np.tril_indices(d)
        whole = np.zeros((n, k, d, d), np.float32)
        whole[:, :, low[0], low[1]] = half
        whole[:, :, low[1], low[0]] = half
        model._a[used], model._b[used] = whole, packing.take(arrays, "b", "<f4", n, k, d)
        model._x = packing.take(arrays, "x", "<f4", None, d)
        m = len(model._x)
        model._arm = packing.take(arrays, "arm", "<i2", m)
        model._r, model._density = packing.take(arrays, "r", "<f4", m), packing.take(arrays, "density", "<f4", m)
        packing.done(arrays)
        if m > RING or (m and not 0 <= int(model._arm.min()) <= int(model._arm.max()) < k):
            raise packing.StateError("ring of lin_ts has another form")
        try:
            np.linalg.cholesky(whole.astype(np.float64))
        except np.linalg.LinAlgError:
            raise packing.StateError("a posterior of lin_ts is none") from None
        return model


def clipped(p: Floats, lowest: float = LOWEST, highest: float = HIGHEST) -> Floats:
    """Probabilities within [lowest, highest] that sum to 1; what is cut is shared out in proportion to the rest.

    Raises
    ------
    ValueError
        Bounds that cannot hold for so many.

    Examples
    --------
    >>> clipped(np.array([1.0, 0.0, 0.0])).round(3).tolist()
    [0.8, 0.1, 0.1]
    """
    n = len(p)
    highest = max(highest, 1 / n)  # one arm alone is certain
    if lowest * n > 1 + 1e-9:
        raise ValueError("more arms than the lowest probability allows")
    q: Floats = np.clip(p / p.sum(), lowest, highest)
    for _ in range(2 * n):
        left = 1 - q.sum()
        if abs(left) < 1e-12:
            break
        free = q < highest - 1e-12 if left > 0 else q > lowest + 1e-12
        room = np.where(free, (highest - q) if left > 0 else (q - lowest), 0.0)
        q = q + left * room / room.sum() if abs(left) < room.sum() else q + np.sign(left) * room
    return q


def _excursion(gains: Floats) -> tuple[float, int]:
    """(largest sum over a tail of `gains`, where that tail begins)."""
    tails = np.cumsum(gains[::-1])[::-1]
    at = int(np.argmax(tails))
    return float(tails[at]), at


def _log_normal(error: float, variance: float) -> float:
    return float(-0.5 * (np.log(2 * np.pi * variance) + error * error / variance))
