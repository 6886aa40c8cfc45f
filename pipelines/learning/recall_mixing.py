"""How the experts of RecallClassifier, and the parts of each, are weighed: mixing past posteriors (Bousquet and Warmuth 2002)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipelines.learning.recall_parts import FAST, WHOLE, Array

if TYPE_CHECKING:
    from pipelines.learning.recall import RecallClassifier

PARTS = 3  # linear, nearest rows, kernel machine
TEMPER = 0.5  # of the loss by which parts are weighed: one part that was best of late must not silence the others
LEAST = 0.02  # probability below which one label cannot count: loss at most 3.9 nats
PRIOR_MEMORY = 2000  # labels over which the usual posterior of the experts is averaged
KEEP_PARTS = np.array([[0.95], [0.95], [0.98]])  # fast, current context, whole: labels over which parts are judged
GAIN_PARTS = np.array([[1.0], [1.0], [0.4]])  # so that the decayed sums have one mean


def of_parts(sub: Array) -> Array:
    """Weights of the parts by their decayed log loss [expert, part]."""
    m: Array = np.exp(-TEMPER * sub)
    m[FAST, 2] = 0.0
    m /= m.sum(1, keepdims=True)
    return m


def weigh_parts(model: RecallClassifier, parts: Array, c: int) -> None:
    """Decayed log loss of the parts of the experts that answer for the present; the others keep what was found then.

    The whole memory answers for all lives: its parts are judged over two and a half times as many labels, at the same mean.

    Parameters
    ----------
    parts, c
        What the parts said [expert, part, class], and the class that it was.
    """
    now = [FAST, model._current, WHOLE]
    sub = KEEP_PARTS * model._sub[now] - GAIN_PARTS * np.log(np.maximum(parts[now, :, c], LEAST))
    model._sub[now] = sub - sub.min(1, keepdims=True)


def weights(model: RecallClassifier, near: Array, mass: Array) -> Array:
    """Weights of the experts at x [expert].

    The weight of an expert counts as far as it is at home at x: binomial likelihood ratio of its share of the neighbours, its
    usual share u against u / 5. It counts less where x may be of a class that the expert has never seen, unless the expert owns
    the neighbours: then it knows what is there now. The rest goes to the experts that own the neighbours.

    Parameters
    ----------
    near, mass
        An expert's share of the neighbours of x, and the probability that x is of a class that it knows [expert].
    """
    u = np.minimum(np.maximum(model._usual, 0.02), 0.95)
    away = np.log((1.0 - u) / (1.0 - u / 5.0))
    gate = 1.0 / (1.0 + np.exp(-model.k_gate * (near * (math.log(5.0) - away) + away) - 1.0))
    gate[WHOLE] = 1.0
    strange = (1.0 - mass**model.vouch) * np.maximum(1.0 - near * near, 0.0)
    knows = (1.0 - strange) * model._used
    gate *= knows
    w = np.exp(model._logw)
    w /= w.sum()
    owners = near * knows
    owners[FAST] = 0.0
    out: Array = w * gate + owners * ((1.0 - w @ gate) / owners.sum())
    return out


def reweigh(model: RecallClassifier, loss: Array) -> None:
    """Weigh the experts by their log loss of a label [expert], and share out among those that were right before."""
    lw = model._logw - model.eta * loss
    lw[WHOLE] += model.eta * model.tol
    w = np.exp(lw - lw.max()) * model._used
    w /= w.sum()
    model._past += (w - model._past) / min(model._n, PRIOR_MEMORY)
    prior = (0.5 / max(float(model._past.sum()), 1e-12)) * model._past + 0.5 / np.count_nonzero(model._used)
    model._logw = np.log(np.maximum((1 - model.share) * w + model.share * prior * model._used, 1e-12))
