"""Which property of a stimulus moves heart rate or distress: a Bayesian additive Gaussian model of one person's trials.

y = intercept + one effect for each level of each factor + covariates (trend over trials, level before, music …) + noise.
Level effects have the prior N(0, 4^2) bpm (programs.md 2), so that what was seen once or twice is drawn towards none; the
noise is not known and is averaged over (Gelman et al., Bayesian Data Analysis, ch. 14: the linear model with known prior
variances, here with the residual scale on a grid). The trend is what raw means lack: habituation lowers whatever comes late.
Everything is computed afresh from the trials, which are the state; the functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr, ndtri

Floats = npt.NDArray[np.float64]
EFFECT_SD = 4.0  # programs.md 2, bpm
INTERCEPT_SD = 25.0
TRIAL_SD = (0.5, 1.5, 3.0, 6.0)  # grid of what a trial's rows share, where a trial has more than one row, bpm
NOISE = np.geomspace(1.0, 25.0, 25)  # grid of the residual standard deviation, bpm
NOISE_TYPICAL, NOISE_LOG_SD = 5.0, 0.6  # its prior, log-normal [choice: programs.md 2 works with 5 bpm]
QUANTILE = float(ndtri(0.95))  # of a 90 % interval
LINK_BPM, LINK_P, LINK_N = 2.0, 0.9, 12  # programs.md 2.6


@dataclass(frozen=True)
class Effect:
    """What a level adds against the mean of its factor's levels.

    Parameters
    ----------
    effect, low, high
        Posterior mean and 90 % interval, in the outcome's unit.
    p_gt
        P(effect > 2 bpm); in another unit than bpm, P(effect > 2 scales).
    n
        Trials of this outcome in the model.
    """

    effect: float
    low: float
    high: float
    p_gt: float
    n: int

    @property
    def linked(self) -> bool:
        """The claim of programs.md 2.6: P(> 2 bpm) > 0.9 and at least 12 trials."""
        return self.p_gt > LINK_P and self.n >= LINK_N


@dataclass(frozen=True)
class Layout:
    """Columns of the model.

    Parameters
    ----------
    factors
        Factor → its levels.
    covariates
        Name → prior standard deviation of its slope, in the outcome's unit a unit of the covariate (scaled by `scale`).
    effect_sd
        Factor → prior standard deviation of its level effects; those not named have 4.
    scale
        Of the outcome: 1 for bpm; what 1 bpm corresponds to for others.
    """

    factors: Mapping[str, Sequence[str]]
    covariates: Mapping[str, float]
    effect_sd: Mapping[str, float] | None = None
    scale: float = 1.0

    def row(self, levels: Mapping[str, str], covariates: Mapping[str, float]) -> Floats:
        """One trial; a factor that was not shown or a covariate that is not known adds nothing."""
        parts = [1.0]
        for factor, known in self.factors.items():
            parts += [float(levels.get(factor) == level) for level in known]
        parts += [float(covariates.get(name, 0.0)) for name in self.covariates]
        return np.array(parts)

    def place(self, factor: str, level: str) -> tuple[int, range]:
        """Column of a level, and the columns of its factor; ValueError if there is none."""
        start = 1
        for name, known in self.factors.items():
            if name == factor:
                return start + list(known).index(level), range(start, start + len(known))
            start += len(known)
        raise ValueError(f"no factor {factor}")

    def prior_sd(self) -> Floats:
        given = self.effect_sd or {}
        sd = [INTERCEPT_SD]
        for factor, known in self.factors.items():
            sd += [given.get(factor, EFFECT_SD)] * len(known)
        return np.array(sd + list(self.covariates.values())) * self.scale


@dataclass(frozen=True)
class Fit:
    """Posterior of the coefficients, as one Gaussian with the moments of the mixture over the noise.

    Parameters
    ----------
    mean, cov
        Of the columns of `layout`.
    noise
        Posterior mean of the residual standard deviation.
    n
        Trials.
    log_evidence
        Logarithm of the marginal likelihood of the outcomes, up to a constant that depends on the outcomes alone.
    """

    layout: Layout
    mean: Floats
    cov: Floats
    noise: float
    n: int
    log_evidence: float = 0.0

    def effect(self, factor: str, level: str) -> Effect:
        """Effect of a level against the mean of its factor's levels."""
        at, columns = self.layout.place(factor, level)
        c = np.zeros(len(self.mean))
        c[list(columns)] = -1 / len(columns)
        c[at] += 1
        return self.contrast(c)

    def contrast(self, c: Floats) -> Effect:
        """Any linear combination of the coefficients."""
        m, sd = float(c @ self.mean), math.sqrt(max(float(c @ self.cov @ c), 1e-12))
        beyond = float(ndtr((m - LINK_BPM * self.layout.scale) / sd))
        return Effect(m, m - QUANTILE * sd, m + QUANTILE * sd, beyond, self.n)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """(means, standard deviations of a new outcome) for rows `x` (n, columns)."""
        spread = np.einsum("ij,jk,ik->i", x, self.cov, x)
        return x @ self.mean, np.sqrt(np.maximum(spread, 0.0) + self.noise**2)

    def draws(self, x: Floats, normals: Floats) -> Floats:
        """Posterior draws of the expected outcome of rows `x` (n, columns); `normals` (draws, columns); → (draws, n)."""
        root = np.linalg.cholesky(self.cov + 1e-9 * np.eye(len(self.cov)))
        out: Floats = (self.mean + normals @ root.T) @ x.T
        return out


def fit(
    layout: Layout, x: Floats, y: Floats, *, trials: Sequence[int] | None = None, weights: Floats | None = None
) -> Fit:
    """Posterior of the coefficients.

    Parameters
    ----------
    x
        Rows of `layout.row`, shape (n, columns).
    y
        Outcomes, shape (n,); NaN = missing, left out.
    trials
        Number of the trial each row belongs to, where a trial has several rows: what they share is noise of the trial.
    weights
        Of the rows, e.g. a discount; None = all 1.
    """
    known = np.isfinite(y)
    x, y = x[known], y[known]
    w = np.ones(len(y)) if weights is None else weights[known]
    sd = layout.prior_sd()
    n = len(y)
    shared: Sequence[float] = (0.0,)
    if trials is not None:
        of = np.asarray(trials)[known]
        names = np.unique(of)
        x = np.hstack([x, (of[:, None] == names[None, :]).astype(np.float64)])
        n, shared = len(names), TRIAL_SD
    gram, xy, yy = x.T @ (w[:, None] * x), x.T @ (w * y), float(y @ (w * y))
    d, extra = len(sd), x.shape[1] - len(sd)
    logs, means, covs, noises = [], [], [], []
    for of_trial in shared:
        prior = np.concatenate([sd, np.full(extra, of_trial * layout.scale)])
        for unit in NOISE[:: 2 if extra else 1]:
            s2 = (unit * layout.scale) ** 2
            root = cho_factor(gram / s2 + np.diag(prior**-2.0), lower=True)
            m = cho_solve(root, xy / s2)
            logs.append(
                -0.5 * float(w.sum()) * math.log(s2) - 0.5 * (yy / s2 - float(xy @ m) / s2)
                - float(np.log(np.diag(root[0])).sum()) - float(np.log(prior).sum())
                - 0.5 * (math.log(unit / NOISE_TYPICAL) / NOISE_LOG_SD) ** 2
            )  # fmt: skip
            means.append(m[:d])
            covs.append(cho_solve(root, np.eye(d + extra)[:, :d])[:d])
            noises.append(unit)
    p = np.exp(np.array(logs) - max(logs))
    log_evidence = max(logs) + math.log(float(p.mean()))
    p /= p.sum()
    mean = p @ np.array(means)
    off = np.array(means) - mean
    cov = np.einsum("i,ijk->jk", p, np.array(covs)) + np.einsum("i,ij,ik->jk", p, off, off)
    return Fit(layout, mean, (cov + cov.T) / 2, float(p @ np.array(noises)) * layout.scale, n, log_evidence)


def discount(n: int, keep: float) -> Floats:
    """Weights of n rows, oldest first, the newest 1."""
    out: Floats = keep ** np.arange(n - 1, -1, -1, dtype=np.float64)
    return out


def shares(draws: Floats, *, lowest: bool) -> Floats:
    """Share of draws (draws, n) in which each of n is the lowest or the highest: the probability of Thompson sampling."""
    best = draws.argmin(1) if lowest else draws.argmax(1)
    out: Floats = np.bincount(best, minlength=draws.shape[1]) / len(draws)
    return out
