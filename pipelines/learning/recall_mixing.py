"""How the experts of RecallClassifier, and the parts of each, are weighed: mixing past posteriors (Bousquet and Warmuth 2002).

Of the few experts there are, plain numbers are several times faster than arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.learning.recall_parts import FAST, WHOLE, Array

if TYPE_CHECKING:
    from pipelines.learning.recall import RecallClassifier

PARTS = 3  # linear, nearest rows, kernel machine
TEMPER = 0.5  # of the loss by which parts are weighed: one part that was best of late must not silence the others
LEAST = 0.02  # probability below which one label cannot count: loss at most 3.9 nats
PRIOR_MEMORY = 2000  # labels over which the usual posterior of the experts is averaged
KEEP_PARTS, GAIN_PARTS = 0.95, 1.0  # labels over which parts are judged: fast, current context
KEEP_WHOLE, GAIN_WHOLE = 0.98, 0.4  # and the whole; so that the decayed sums have one mean
LOG_5 = math.log(5.0)
RARE = 0.15  # power of the rows of a class by which its probability is divided before classes are compared


def decided(proba: Mapping[Any, float], rows: list[int]) -> Any:
    """The class with the largest probability / rows ** RARE: a little of the way from fewest errors to the best mean recall.

    Power 1 maximises the mean recall of the classes (costs of one over the prior; Elkan 2001), power 0 the accuracy, were the
    probabilities calibrated. Those of a rare class are too low where it matters (decision 0074).

    Parameters
    ----------
    proba, rows
        Probability of each class, and rows that the memory and its ring have of it, in the same order.
    """
    of = [p / max(n, 1) ** RARE for p, n in zip(proba.values(), rows, strict=True)]
    return list(proba)[of.index(max(of))]


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
    for e in (FAST, model._current, WHOLE):
        keep, gain = (KEEP_WHOLE, GAIN_WHOLE) if e == WHOLE else (KEEP_PARTS, GAIN_PARTS)
        said = parts[e, :, c].tolist()
        sub = [keep * s - gain * math.log(max(p, LEAST)) for s, p in zip(model._sub[e].tolist(), said, strict=True)]
        least = min(sub)
        model._sub[e] = [s - least for s in sub]


def weights(model: RecallClassifier, near: list[float], mass: list[float]) -> list[float]:
    """Weights of the experts in use at x.

    The weight of an expert counts as far as it is at home at x: binomial likelihood ratio of its share of the neighbours, its
    usual share u against u / 5. It counts less where x may be of a class that the expert has never seen, unless the expert owns
    the neighbours: then it knows what is there now. The rest goes to the experts that own the neighbours.

    Parameters
    ----------
    near, mass
        An expert's share of the neighbours of x, and the probability that x is of a class that it knows, of each expert.
    """
    used = model._n_used
    w = [math.exp(v) for v in model._logw[:used].tolist()]
    total = sum(w)
    owners = []
    for e, usual in enumerate(model._usual[:used].tolist()):
        u = min(max(usual, 0.02), 0.95)
        away = math.log((1.0 - u) / (1.0 - u / 5.0))
        at_home = model.k_gate * (near[e] * (LOG_5 - away) + away) + 1.0
        knows = 1.0 - (1.0 - mass[e] ** model.vouch) * max(1.0 - near[e] * near[e], 0.0)
        w[e] *= (knows if e == WHOLE else knows / (1.0 + math.exp(-at_home))) / total
        owners.append(0.0 if e == FAST else near[e] * knows)
    rest = (1.0 - sum(w)) / sum(owners)
    return [v + rest * owner for v, owner in zip(w, owners, strict=True)]


def reweigh(model: RecallClassifier, loss: list[float]) -> None:
    """Weigh the experts in use by their log loss of a label, and share out among those that were right before."""
    used, share = model._n_used, model.share
    lw = [v - model.eta * of for v, of in zip(model._logw[:used].tolist(), loss[:used], strict=True)]
    lw[WHOLE] += model.eta * model.tol
    top = max(lw)
    w = [math.exp(v - top) for v in lw]
    total = sum(w)
    step = 1.0 / min(model._n, PRIOR_MEMORY)
    past = [p + (v / total - p) * step for p, v in zip(model._past[:used].tolist(), w, strict=True)]
    prior = 0.5 / max(sum(past), 1e-12)
    model._past[:used] = past
    logw = [math.log(max((1 - share) * v / total + share * (prior * p + 0.5 / used), 1e-12)) for v, p in zip(w, past, strict=True)]
    model._logw[:used] = logw
