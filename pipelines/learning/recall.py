"""RecallClassifier: a bounded online classifier of one person that does not overwrite what it knew (spec/models.md 3).

Two time scales and a shared episodic memory (complementary learning systems, McClelland et al. 1995):

fast
    A linear posterior with forgetting and the nearest of the last `recent` labelled samples: plasticity.
contexts
    Up to `max_contexts` experts (linear posterior, nearest rows, kernel machine) on their own memory rows. Only the context
    that explains the present is trained, the others stay exactly as they were: no overwriting.
whole
    A linear posterior trained with class-balanced replay, nearest rows and a kernel machine on the whole memory: answers
    where the present has never been.

Nearest rows are near by a diagonal metric that is learned for each expert (neighbourhood components analysis, Goldberger et al.
2004): what does not matter is not looked at. One more metric tells the contexts apart. A kernel machine is kernel ridge
regression on the memory rows (Saunders et al. 1998), kept solved by block Gauss-Seidel steps on a few rows a label. Experts are
mixed by "mixing past posteriors" (Bousquet and Warmuth 2002), so an expert that was right months ago comes back within a few
labels. Samples that no context explains wait in the ring of recent ones; they found a new context, or go to the old one that
explains them. When all slots are taken the two contexts that agree most are merged.

Numbers live in the precision in which they are stored, so that a model that was saved and loaded goes on identically.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from river import base

from pipelines.learning import recall_state
from pipelines.learning.recall_memory import Columns, Memory
from pipelines.learning.recall_mixing import LEAST, PARTS, decided, of_parts, reweigh, weigh_parts, weights
from pipelines.learning.recall_parts import (
    FAST,
    FIRST,
    WHOLE,
    Array,
    carried,
    linear_step,
    linear_steps,
    logistic,
    most_alike,
    present_relevance,
    recalled,
    settle,
    trim,
)


class RecallClassifier(base.Classifier):  # type: ignore[misc]  # River is not typed
    """Remembers states of earlier lives and recognises them when they return.

    Parameters
    ----------
    memory, recent
        Rows of the episodic memory and of the ring of recent ones.
    max_contexts
        Slots of contexts.
    k_gate
        Neighbours that tell whose region a sample lies in.
    replay, settle
        Memory rows rehearsed a label: by the whole posterior, by the kernel machines.
    keep_fast
        Forgetting factor of the fast posterior a label.
    eta, share, tol
        Mixing: learning rate, share of past posteriors, and the nats by which the expert that forgets nothing is preferred.
    vouch
        Power of the probability that x is of a class which an expert knows.
    window, delta, evidence
        Labels over which a context is judged; nats a label it may lose; nats in all at which it is left.
    gamma, ridge
        Kernel exp(-gamma |z - z'|^2 / features) and ridge of the kernel machines.
    max_features, max_classes
        More raise ValueError.
    seed
        Of replay and reservoir.

    Notes
    -----
    Defaults were tuned on `benchmarks/forgetting`, seeds 1 and 5-8; `docs/learning.md` has the figures of others.

    Examples
    --------
    >>> model = RecallClassifier()
    >>> for i in range(40):
    ...     model.learn_one({"pulse": float(i % 2)}, "panic" if i % 2 else "calm")
    >>> model.predict_one({"pulse": 1.0})
    'panic'
    >>> RecallClassifier.load(model.dump()).predict_proba_one({"pulse": 0.5}) == model.predict_proba_one({"pulse": 0.5})
    True
    """

    def __init__(
        self,
        memory: int = 480,
        recent: int = 64,
        max_contexts: int = 6,
        k_gate: int = 12,
        replay: int = 6,
        settle: int = 12,
        keep_fast: float = 0.98,
        eta: float = 1.0,
        share: float = 0.02,
        tol: float = 0.02,
        vouch: float = 2.0,
        window: int = 24,
        delta: float = 0.1,
        evidence: float = 5.0,
        gamma: float = 1.5,
        ridge: float = 0.2,
        max_features: int = 128,
        max_classes: int = 32,
        seed: int = 0,
    ) -> None:
        self.memory, self.recent, self.max_contexts, self.k_gate = memory, recent, max_contexts, k_gate
        self.replay, self.settle, self.keep_fast = replay, settle, keep_fast
        self.eta, self.share, self.tol, self.vouch = eta, share, tol, vouch
        self.window, self.delta, self.evidence = window, delta, evidence
        self.gamma, self.ridge = gamma, ridge
        self.max_features, self.max_classes, self.seed = max_features, max_classes, seed
        experts = max_contexts + FIRST
        self._columns = Columns()
        self._rows = Memory(memory, recent, experts)
        self._labels: dict[Any, int] = {}
        self._n = 0
        self._pending, self._current = 0, FIRST
        self._linear = np.zeros((2, experts, 0, 1), np.float32)  # posterior means and precisions [2, expert, class, feature + 1]
        self._theta = np.zeros((experts + 1, 0), np.float32)  # log relevance of the features; last: to tell contexts apart
        self._sub = np.zeros((experts, PARTS))  # decayed log loss of the parts of an expert
        self._used = np.zeros(experts, bool)
        self._used[: FIRST + 1] = True
        self._n_used = FIRST + 1  # slots are taken in turn
        self._logw = np.where(self._used, -math.log(FIRST + 1.0), -30.0)
        self._past = np.zeros(experts)  # running mean of the weights
        self._usual = np.zeros(experts)  # an expert's share of a sample's neighbours when it is at home
        self._seen = np.zeros(experts, np.int64)
        self._losses = np.zeros((window, experts), np.float32)
        self._rng = np.random.default_rng(seed)
        self._cache: tuple[dict[Any, Any], Any] | None = None

    @property
    def _multiclass(self) -> bool:
        return True

    # -- River's verbs ------------------------------------------------------------------------------------------------

    def predict_proba_one(self, x: Mapping[Any, Any], **_: Any) -> dict[Any, float]:
        """Probability of each class seen so far; {} before the first label. Unknown features are ignored."""
        if not self._labels:
            return {}
        _v, _z, _parts, p, near, mass = self._ask(x)
        p = np.array(weights(self, near, mass)) @ p[: self._n_used]
        return dict(zip(self._labels, (p / p.sum()).tolist(), strict=True))

    def predict_one(self, x: Mapping[Any, Any], **_: Any) -> Any:
        """The class to act on; None before the first label. Rare classes are preferred by `RARE` (decision 0074)."""
        proba = self.predict_proba_one(x)
        return decided(proba, self._rows.counts.sum(0).tolist()) if proba else None

    def learn_one(self, x: Mapping[Any, Any], y: Any, **_: Any) -> None:
        """One labelled sample. A missing, infinite or NaN feature counts as unknown (its mean).

        Raises
        ------
        ValueError
            More than `max_features` features or `max_classes` classes; nothing is learned then.
        """
        new = [] if len(self._columns.names) == 0 and not x else self._columns.new(x)
        if len(self._columns.names) + len(new) > self.max_features:
            raise ValueError(f"more than max_features={self.max_features} features")
        if y not in self._labels and len(self._labels) >= self.max_classes:
            raise ValueError(f"more than max_classes={self.max_classes} classes")
        self._grow(new, y)
        c = self._labels[y]
        v, z, parts, p, near, _mass = self._ask(x)
        self._cache = None
        for e in (FAST, self._current):
            self._usual[e] += 0.02 * (near[e] - float(self._usual[e]))
        weigh_parts(self, parts, c)
        loss = [-math.log(min(max(v, LEAST), 1.0)) for v in p[:, c].tolist()]
        self._losses[self._n % self.window] = loss
        self._n += 1
        reweigh(self, loss)
        self._columns.learn(v)
        moved = self._rows.rescale(self._columns)
        if moved is not None:
            self._linear[0] = carried(self._linear[0], *moved)
            z = self._rows.scale(v)
        self._theta[FAST] = present_relevance(self._rows, self._theta[FAST], z, c, self.keep_fast)
        self._rows.remember(z, c, self._n)
        self._assign()

    # -- what it knows ------------------------------------------------------------------------------------------------

    def contexts(self) -> list[dict[str, Any]]:
        """The contexts: number, whether it explains the present, labels learned, memory rows by class."""
        names = list(self._labels)
        out = []
        for e in np.flatnonzero(self._used)[FIRST:].tolist():
            y = self._rows.y[: self.memory][self._rows.owned(e)]
            counts = {names[c]: int(n) for c, n in enumerate(np.bincount(y, minlength=len(names))) if n}
            now = e == self._current
            out.append({"context": e - FIRST, "current": now, "n_learned": int(self._seen[e]), "rows": counts})
        return out

    @property
    def n_learned(self) -> int:
        """Labels learned."""
        return self._n

    def explain_one(self, x: Mapping[Any, Any], top: int = 3) -> dict[str, Any]:
        """Why: probabilities, the contexts that answer with their weights, the nearest memory rows, the leading features.

        Returns
        -------
        dict
            `proba`; `weights` {"fast", "whole", context number: share}; `context` (the heaviest one, None = the present's
            last samples or the whole memory); `nearest` [{class, context, step, distance}]; `features` {name: signed share
            of the log-odds of the answer in the heaviest expert's linear part}.
        """
        if not self._labels:
            return {"proba": {}, "weights": {}, "context": None, "nearest": [], "features": {}}
        _v, z, _parts, p, near, mass = self._ask(x)
        w = np.zeros(len(p))
        w[: self._n_used] = weights(self, near, mass)
        w /= w.sum()
        proba = self.predict_proba_one(x)
        c = self._labels[self.predict_one(x)]
        e = int(np.argmax(w))
        names = ["fast", "whole", *range(self.max_contexts)]
        share = self._linear[0, e, c, :-1] * z
        order = np.argsort(-np.abs(share), kind="stable")[:top].tolist()
        columns = list(self._columns.names)
        return {
            "proba": proba,
            "weights": {names[i]: round(float(w[i]), 4) for i in np.flatnonzero(w > 5e-5)},
            "context": e - FIRST if e >= FIRST else None,
            "nearest": self._rows.nearest(z, top, list(self._labels), FIRST),
            "features": {columns[i]: round(float(share[i]), 4) for i in order if share[i]},
        }

    def forget(self, since: int) -> None:
        """Erase every sample learned at step `since` (1 = the first) or later: what stays is rebuilt from older rows alone.

        Posteriors hold no rows, so they are learned again from the memory rows that remain, each by its context; nothing of
        the erased samples is left in any number.
        """
        kept = self._rows.older(since)
        labels, columns = list(self._labels), list(self._columns.names)
        self.__init__(**self._get_params())  # type: ignore[misc]
        for values, label, _owner, _step in kept:
            x = {f: values[i] for i, f in enumerate(columns)}
            self.learn_one(x, labels[label])

    # -- save and load ------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Explicit bytes (`pipelines.learning.packing`): identical predictions and learning after `load`.

        Raises
        ------
        StateError
            A class or feature name that is no JSON string, number or truth value.
        """
        return recall_state.dump(self)

    @classmethod
    def load(cls, data: bytes) -> RecallClassifier:
        """Read what `dump` wrote; StateError for anything else."""
        model: RecallClassifier = recall_state.load(cls, data)
        return model

    # -- experts ------------------------------------------------------------------------------------------------------

    def _grow(self, new: list[Any], y: Any) -> None:
        if new:
            at = len(self._columns.names)
            self._columns.add(new)
            self._rows.widen(len(new))
            self._theta = np.pad(self._theta, ((0, 0), (0, len(new))))
            self._linear = np.insert(self._linear, [at] * len(new), 0.0, axis=3)
            self._linear[1, :, :, at : at + len(new)] = 1.0
            self._cache = None
            self._rows.shrink(self.max_classes)
        if y not in self._labels:
            self._labels[y] = len(self._labels)
            self._linear = np.pad(self._linear, ((0, 0), (0, 0), (0, 1), (0, 0)))
            self._linear[1, :, -1] = 1.0
            self._rows.add_class()
            self._cache = None
            self._rows.shrink(self.max_classes)

    def _ask(self, x: Mapping[Any, Any]) -> Any:
        """What `_experts` says of x; between a prediction and its label nothing changes, so it is asked once."""
        if self._cache is None or self._cache[0] != x:
            v = self._columns.vector(x)
            self._cache = (dict(x), (v, *self._experts(self._rows.scale(v))))
        return self._cache[1]

    def _experts(self, z: Array) -> tuple[Array, Array, Array, list[float], list[float]]:
        """Scaled x; p(class) of parts [expert, part, class] and experts [expert, class]; share of neighbours; P(x of a known class)."""
        rows, used, n_classes = self._rows, self._n_used, len(self._labels)
        z1 = np.ones(len(z) + 1, np.float32)
        z1[:-1] = z
        w, q = self._linear[:, :used].reshape(2, used * n_classes, len(z1))
        parts = np.empty((used, PARTS, n_classes), np.float32)
        with np.errstate(invalid="ignore"):  # BLAS may raise the flag for a lane that it does not use
            linear = logistic(w.dot(z1) / np.sqrt(1 + 0.39 * (1.0 / q).dot(z1 * z1)))  # probit approximation, MacKay 1992
        linear += 1e-6
        linear = linear.reshape(used, n_classes)
        np.divide(linear, linear.sum(1, keepdims=True), out=parts[:, 0])
        near = recalled(rows, z, self._theta, parts, self.gamma, self.k_gate)
        p = np.full((len(near), n_classes), 1.0 / n_classes)
        p[:used] = (of_parts(self._sub[:used])[:, None] @ parts)[:, 0]
        near[self._current] += near[FAST]
        near[WHOLE] = 1.0
        mass = (rows.counts > 0).dot(p[WHOLE]).tolist()
        mass[WHOLE] = 1.0
        return z, parts, p, near, mass

    # -- which context ------------------------------------------------------------------------------------------------

    def _assign(self) -> None:
        """Decide which context the waiting samples belong to; only that one is trained."""
        rows = self._rows
        self._pending = min(self._pending + 1, self.recent)
        m = min(self.window, self._n, max(self._pending, 8))
        recent = self._losses[(self._n - 1 - np.arange(m)) % self.window]
        mean = (np.add.reduce(recent, 0, np.float64) / m).tolist()
        best, current = min(range(FIRST, self._n_used), key=mean.__getitem__), self._current
        usual = mean[current] <= min(mean[FAST], mean[best]) + self.delta
        if self._seen[current] < self.window or usual:
            self._give(current)
        elif mean[best] <= mean[FAST] + self.delta and (mean[current] - mean[best]) * m > self.evidence:
            self._current = best  # an old context is back
            self._give(best)
        elif (
            self._pending >= self.window
            and (mean[best] - mean[FAST]) * m > self.evidence
            and (self.max_contexts > 2 or not self._used.all())
        ):
            self._current = self._slot()  # nobody knows this: a new context
            self._give(self._current)
        elif self._pending >= self.recent:
            self._give(current)
        else:
            linear_steps(self._linear, [FAST], *rows.sample(rows.waiting(1)[0]), self.keep_fast)

    def _give(self, e: int) -> None:
        """Train context e, and the whole, with the samples that wait; the fast posterior with the last of them, which is new."""
        rows = self._rows
        stored: list[int] = []
        waiting = rows.waiting(self._pending)
        for i in waiting:
            linear_steps(self._linear, [FAST, e] if i == waiting[-1] else [e], *rows.sample(i), self.keep_fast)
            self._seen[e] += 1
            j = rows.store(i, e, float(np.float16(self._rng.random())))
            if j is not None:
                stored.append(j)
            linear_step(self._linear, WHOLE, *rows.samples(rows.rehearsal(i, self._rng.random(self.replay))))
        self._pending = 0
        for at in range(0, max(1, len(stored)), 8):
            block = rows.block(stored[at : at + 8], e, self._rng.random(self.settle))
            settle(rows, block, self._theta, self.gamma, self.ridge, e)

    def _slot(self) -> int:
        free = np.flatnonzero(~self._used)
        e = int(free[0]) if len(free) else self._merge()
        self._used[e], self._seen[e] = True, 0
        self._n_used = int(np.count_nonzero(self._used))
        self._linear[0, e], self._linear[1, e], self._sub[e], self._past[e] = 0.0, 1.0, 0.0, 0.0
        self._theta[e] = self._theta[FAST]
        self._usual[e], self._logw[e] = self._usual[FAST], self._logw[FAST]
        return e

    def _merge(self) -> int:
        """Merge the two contexts whose predictions agree best on their memory rows; the freed slot."""
        rows = self._rows
        w, q = self._linear
        a, b = most_alike(rows, w, [int(e) for e in np.flatnonzero(self._used)[FIRST:] if e != self._current])
        both = q[a] + q[b] - 1.0  # product of Gaussians, the prior counted once
        w[a] = trim((q[a] * w[a] + q[b] * w[b]) / both)
        q[a] = trim(both)
        rows.owner[: self.memory][rows.owned(b)] = a
        rows.belong()
        self._seen[a] += self._seen[b]
        self._past[a] += self._past[b]
        self._logw[a], self._logw[b] = max(self._logw[a], self._logw[b]), -30.0
        self._used[b] = False
        return b
