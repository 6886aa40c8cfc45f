"""Expected heart rate of one person, and the models of past days that score the present one.

Per-person linear regression of the minute's heart rate on activity (now, trailing 5-min and 30-min means, now x 5 min) and
two daily harmonics (support.md 2; models.md 1), and how long one has been still: the pulse goes on falling for half an hour after
the last step [own: benchmarks/calibration.py]. Only finite windows, so that a gap can't reach far. The regression is kept
as sufficient statistics and solved in closed form: the same solution as River's `BayesianLinearRegression`, whatever the
order of the minutes within a day, and three hundred times cheaper for a day of them (test_expected_heart_rate compares).

Verbs are River's: `learn_one`, `predict_one`, and `learn_many`, `predict_many` for columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.learning import packing
from pipelines.learning.packing import StateError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FEATURES = (
    "one", "steps", "steps_5_min", "steps_30_min", "steps_x_5_min",
    "day_sin", "day_cos", "half_day_sin", "half_day_cos", "still_30_min",
)  # fmt: skip
N = len(FEATURES)
LONGEST_MIN = 30  # no input looks further back
STEP_SCALE = 0.01  # steps a minute in hundreds, so that all inputs are of the order of one
RIDGE = 1.0  # prior precision over noise precision, in minutes; vanishes in the first hour
FORGET = 0.06  # share of the past that goes a learned day [own: benchmarks/calibration.py]
WINSOR_Z = 3.0  # residuals are clipped here before they teach (support.md 2)
WARM_UP_DAYS = 7  # valid days before anything is scored (support.md 2)
VALID_WORN_MIN = 600  # a valid day has >= 10 h worn
MAD_TO_SIGMA = 1.4826
BIN_BPM, BINS = 0.1, 300  # histogram of |residual| up to 30 bpm for the running median
SIGMA_MIN_BPM = 1.0  # a watch that repeats one value must not make the threshold vanish
VERSION = 2
NAME = f"hr_expected:{VERSION}"  # as notifications, signals and snapshots name the model


def activity_features(steps: Floats, minute_of_day: npt.NDArray[np.int64]) -> Floats:
    """Inputs of the regression, one row a minute.

    Parameters
    ----------
    steps
        Steps of consecutive clock minutes, NaN = not known; shape (n,).
    minute_of_day
        Minutes after local midnight, shape (n,).

    Returns
    -------
    X
        Shape (n, 10), columns `FEATURES`. NaN where a window of 30 min is not fully known (also in the first 29 rows).
    """
    x = np.empty((len(steps), N))
    now = steps * STEP_SCALE
    x[:, 0] = 1.0
    x[:, 1] = now
    x[:, 2] = _trailing_mean(now, 5)
    x[:, 3] = _trailing_mean(now, 30)
    x[:, 4] = now * x[:, 2]
    x[:, 5:9] = _HARMONICS[minute_of_day % 1440]
    x[:, 9] = _still(steps)
    return x


def _still(steps: Floats) -> Floats:
    """Minutes without a step up to and with each, as a share of 30; finite: 1 from 30 still minutes on, whatever came before."""
    at = np.arange(len(steps))
    last = np.maximum.accumulate(np.where(steps == 0, -1, at))  # an unknown minute counts as a step; its row is unknown anyway
    return np.minimum(at - last, LONGEST_MIN) / LONGEST_MIN


def _trailing_mean(values: Floats, n: int) -> Floats:
    """Mean of the last `n` values; NaN while one of them is not known."""
    known = ~np.isnan(values)
    total = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    count = np.concatenate(([0], np.cumsum(known)))
    out = np.full(len(values), np.nan)
    if len(values) >= n:
        full = (count[n:] - count[:-n]) == n
        out[n - 1 :] = np.where(full, np.round((total[n:] - total[:-n]) / n, 9), np.nan)
    return out


_ANGLE = np.arange(1440) / 1440 * 2 * np.pi
_HARMONICS = np.column_stack([np.sin(_ANGLE), np.cos(_ANGLE), np.sin(2 * _ANGLE), np.cos(2 * _ANGLE)])


class ExpectedHeartRate:
    """Online ridge regression with forgetting by the day, and the robust spread of its residuals at rest.

    Parameters
    ----------
    forget
        Share of the past that goes with each learned day, 0-1.

    Examples
    --------
    >>> model = ExpectedHeartRate()
    >>> x = dict.fromkeys(FEATURES, 0.0) | {"one": 1.0}
    >>> for _ in range(500):
    ...     model.learn_one(x, 60.0)
    >>> round(model.predict_one(x), 1)
    59.9
    """

    def __init__(self, forget: float = FORGET) -> None:
        self.forget = forget
        self.xx = np.zeros((N, N))
        self.xy = np.zeros(N)
        self.histogram = np.zeros(BINS)
        self.valid_days = 0
        self.n_learned = 0

    # -- River's verbs ------------------------------------------------------------------------------------------------

    def learn_one(self, x: Mapping[str, float], y: float) -> None:
        """Learn one minute: `x` by the names of `FEATURES`, `y` in bpm."""
        self.learn_many(np.array([[x[name] for name in FEATURES]]), np.array([y]))

    def predict_one(self, x: Mapping[str, float]) -> float:
        """Expected bpm of one minute."""
        return float(self.predict_many(np.array([[x[name] for name in FEATURES]]))[0])

    def learn_many(self, x: Floats, y: Floats, sedentary: Bools | None = None) -> None:
        """Learn minutes, shapes (n, 10), (n,) and (n,); residuals beyond 3 sigma of what is known are winsorised first."""
        sigma = self.sigma
        if self.n_learned:
            expected = self.predict_many(x)
            residual = y - expected
            if sedentary is not None and self.warm:
                residual = np.clip(residual, -WINSOR_Z * sigma, WINSOR_Z * sigma) if sigma else residual
                y = np.where(sedentary, expected + residual, y)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.n_learned += len(y)
        if sedentary is not None and sedentary.any():
            self._spread(x[sedentary], y[sedentary])

    def predict_many(self, x: Floats) -> Floats:
        """Expected bpm, shape (n,)."""
        return x @ self.coefficients()

    # -- what is known ------------------------------------------------------------------------------------------------

    def coefficients(self) -> Floats:
        return np.asarray(np.linalg.solve(self.xx + RIDGE * np.eye(N), self.xy), np.float64)

    @property
    def warm(self) -> bool:
        """Whether seven valid days have been learned."""
        return self.valid_days >= WARM_UP_DAYS

    @property
    def sigma(self) -> float:
        """1.4826 x running median of |residual| on sedentary minutes, bpm; 0 before any."""
        total = np.cumsum(self.histogram)
        if total[-1] <= 0:
            return 0.0
        at = int(np.searchsorted(total, total[-1] / 2))
        before = total[at - 1] if at else 0.0
        part = (total[-1] / 2 - before) / max(self.histogram[at], 1e-12)
        return max(SIGMA_MIN_BPM, MAD_TO_SIGMA * BIN_BPM * (at + float(part)))

    def fade(self) -> None:
        """Forget a share of the past; once before each learned day."""
        keep = 1.0 - self.forget
        self.xx *= keep
        self.xy *= keep
        self.histogram *= keep

    def _spread(self, x: Floats, y: Floats) -> None:
        size = np.abs(y - self.predict_many(x))
        bins = np.minimum((size / BIN_BPM).astype(np.int64), BINS - 1)
        self.histogram += np.bincount(bins, minlength=BINS)


def _with_stillness(meta: Any, arrays: packing.Arrays) -> tuple[Any, packing.Arrays]:
    """Version 1 had no `still_30_min`: nobody was ever still. It scores as before, and learns the new input from now on."""
    out = dict(arrays)
    out["xx"] = np.pad(packing.take(arrays, "xx", "<f8", N - 1, N - 1), (0, 1))
    out["xy"] = np.pad(packing.take(arrays, "xy", "<f8", N - 1), (0, 1))
    out["weights"] = np.pad(packing.take(arrays, "weights", "<f8", None, N - 1), ((0, 0), (0, 1)))
    return meta, out


class DayBehind:
    """The head that learns, and the frozen models of the last three days (support.md 2, day-behind rule).

    The model that scores local day D has learned only minutes of days before D-1: `start_day(D, minutes of D-2)`.
    """

    KEEP = 3

    def __init__(self, head: ExpectedHeartRate | None = None) -> None:
        self.head = head if head is not None else ExpectedHeartRate()
        self.frozen: dict[int, tuple[Floats, float]] = {}

    def has(self, day: int) -> bool:
        """Whether day `day` (days since 1970) can be scored."""
        return day in self.frozen

    def expected(self, day: int, x: Floats) -> tuple[Floats, float] | None:
        """(expected bpm, shape (n,); sigma in bpm) by the model of `day`, or None before warm-up."""
        model = self.frozen.get(day)
        if model is None:
            return None
        # column by column: the rounding of a matrix product depends on how many rows there are, and a minute must not
        out = np.zeros(len(x))
        for column, weight in zip(x.T, model[0], strict=True):
            out += column * weight
        return out, model[1]

    def start_day(self, day: int, lesson: tuple[Floats, Floats, Bools, Bools, int] | None) -> None:
        """Learn what may be learned by now and freeze the model of `day`.

        Parameters
        ----------
        day
            Days since 1970.
        lesson
            (X, bpm, sedentary, excluded, worn minutes) of day D-2; excluded = in an episode or a high minute. None = no data.
        """
        if lesson is not None:
            x, y, sedentary, excluded, worn = lesson
            kept = ~excluded
            if kept.any():
                self.head.fade()
                self.head.learn_many(x[kept], y[kept], sedentary[kept])
            if worn >= VALID_WORN_MIN:
                self.head.valid_days = min(self.head.valid_days + 1, 9999)
        if self.head.warm and self.head.sigma > 0:
            self.frozen[day] = (self.head.coefficients(), self.head.sigma)
        for old in [d for d in self.frozen if d <= day - self.KEEP]:
            del self.frozen[old]

    # -- state --------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Explicit bytes (about 2 KB)."""
        days = sorted(self.frozen)
        head = self.head
        meta: dict[str, Any] = {
            "days": days, "forget": head.forget, "valid_days": head.valid_days, "n_learned": head.n_learned,
            "sigmas": [self.frozen[d][1] for d in days],
        }  # fmt: skip
        weights = np.array([self.frozen[d][0] for d in days]).reshape(len(days), N)
        arrays = {"xx": head.xx, "xy": head.xy, "histogram": head.histogram, "weights": weights}
        return packing.pack("expected_heart_rate", VERSION, meta, arrays)

    @staticmethod
    def load(data: bytes) -> DayBehind:
        """Read what `dump` wrote.

        Raises
        ------
        StateError
            Damaged, of another kind or version, of impossible values.
        """
        meta, arrays = packing.unpack("expected_heart_rate", data, versions={1: _with_stillness, 2: None})
        head = ExpectedHeartRate(packing.number(meta, "forget", 0.0, 1.0))
        head.valid_days = packing.whole(meta, "valid_days", 0, 9999)
        head.n_learned = packing.whole(meta, "n_learned", 0, 1 << 50)
        head.xx = packing.take(arrays, "xx", "<f8", N, N)
        head.xy = packing.take(arrays, "xy", "<f8", N)
        head.histogram = packing.take(arrays, "histogram", "<f8", BINS)
        weights = packing.take(arrays, "weights", "<f8", None, N)
        packing.done(arrays)
        days, sigmas = meta.get("days"), meta.get("sigmas")
        if (
            not isinstance(days, list)
            or not isinstance(sigmas, list)
            or not len(days) == len(sigmas) == len(weights) <= 8
        ):
            raise StateError("versions of expected heart rate do not fit")
        if not all(type(d) is int for d in days) or not all(isinstance(s, float) and s > 0 for s in sigmas):
            raise StateError("versions of expected heart rate do not fit")
        if (head.histogram < 0).any():
            raise StateError("spread of expected heart rate is negative")
        out = DayBehind(head)
        out.frozen = {d: (w, s) for d, w, s in zip(days, weights, sigmas, strict=True)}
        return out
