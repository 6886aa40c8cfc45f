"""Ability of a person and difficulty of an item: the one-parameter logistic model (Rasch 1960), online and with its error.

Online both sides move by the Elo rule with a falling step, K = 0.4 / (1 + 0.05 n) (programs.md 6; Pelanek 2016, "Applications
of the Elo rating system in adaptive educational systems"). For a summary the expectation a posteriori (EAP, Bock and Mislevy
1982) over a grid gives ability with its standard error; the Philadelphia Naming Test's own computer-adaptive version does the
same with the common discrimination 1.258 (Fergadiotis, Hula et al.). Pure functions, no state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_expit, logsumexp

K, K_FALL = 0.4, 0.05  # programs.md 6
GRID = np.linspace(-6.0, 6.0, 241)
PNT_DISCRIMINATION = 1.258
CREDIT = (1.0, 0.66, 0.33, 0.0)  # of a right answer by cue level 0-3 (programs.md 6)


def p_correct(theta: float, b: float, a: float = 1.0) -> float:
    """P = 1 / (1 + exp(-a (theta - b))).

    Examples
    --------
    >>> p_correct(0.5, 0.5)
    0.5
    """
    z = a * (theta - b)
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def elo(theta: float, n_theta: int, b: float, n_b: int, score: float) -> tuple[float, float]:
    """(ability, difficulty) after one answer.

    Parameters
    ----------
    n_theta, n_b
        Answers that each has learnt from before.
    score
        Credit of the answer, 0-1.
    """
    error = score - p_correct(theta, b)
    return theta + K / (1 + K_FALL * n_theta) * error, b - K / (1 + K_FALL * n_b) * error


def eap(
    scores: Sequence[float],
    difficulties: Sequence[float],
    a: float = 1.0,
    prior_sd: float = 1.0,
    prior_mean: float = 0.0,
) -> tuple[float, float]:
    """(ability, standard error): mean and standard deviation of the posterior under the prior N(prior_mean, prior_sd^2).

    Parameters
    ----------
    scores
        1 = right, 0 = wrong; part credit counts as that share of each.
    difficulties
        In logits, one an answer.

    Examples
    --------
    >>> eap([], [])[0]
    0.0
    """
    b, s = np.asarray(difficulties, np.float64), np.asarray(scores, np.float64)
    z = a * (GRID[:, None] - b[None, :])
    log_p = (s * log_expit(z) + (1 - s) * log_expit(-z)).sum(1) - 0.5 * ((GRID - prior_mean) / prior_sd) ** 2
    p = np.exp(log_p - logsumexp(log_p))
    mean = float(p @ GRID)
    return round(mean, 12) + 0.0, math.sqrt(float(p @ (GRID - mean) ** 2))


def most_informative(theta: float, difficulties: Sequence[float]) -> int:
    """Index of the item of least |difficulty - ability|: the most informative one of the Rasch model; ties: the first.

    Raises
    ------
    ValueError
        No item.
    """
    if not len(difficulties):
        raise ValueError("no item is left")
    return int(np.argmin(np.abs(np.asarray(difficulties, np.float64) - theta)))
