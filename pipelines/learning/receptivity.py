"""Will this person answer within ten minutes? Per-person logistic model and its own running median (support.md 11).

River's `LogisticRegression` on a handful of inputs, from 20 prompts on; before that everybody counts as receptive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from river import linear_model, optim

WARM_UP_PROMPTS = 20
LEARNING_RATE = 0.1
L2 = 0.001
MEMORY = 50  # scores of the last decision points, for the running median


class Receptivity:
    """Answers of one person to prompts.

    Examples
    --------
    >>> model = Receptivity()
    >>> model.receptive({"hour_sin": 0.5})
    True
    """

    def __init__(self) -> None:
        self.model = _logistic({}, 0.0)
        self.n_prompts = 0
        self.scores: list[float] = []

    def score_one(self, x: Mapping[str, float]) -> float:
        """Probability of an answer within 10 min."""
        return float(self.model.predict_proba_one(dict(x)).get(True, 0.5))

    def learn_one(self, x: Mapping[str, float], answered: bool) -> None:
        """One prompt and whether it was answered within 10 min."""
        self.scores = [*self.scores, round(self.score_one(x), 6)][-MEMORY:]
        self.model.learn_one(dict(x), answered)
        self.n_prompts += 1

    def receptive(self, x: Mapping[str, float]) -> bool:
        """score >= own running median, from 20 prompts on."""
        if self.n_prompts < WARM_UP_PROMPTS or not self.scores:
            return True
        ordered = sorted(self.scores)
        return self.score_one(x) >= ordered[len(ordered) // 2]

    def state(self) -> dict[str, Any]:
        weights = {k: float(v) for k, v in sorted(self.model.weights.items())}
        return {
            "weights": weights,
            "intercept": float(self.model.intercept),
            "n": self.n_prompts,
            "scores": self.scores,
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Receptivity:
        out = Receptivity()
        out.model = _logistic({str(k): float(v) for k, v in state["weights"].items()}, float(state["intercept"]))
        out.n_prompts = int(state["n"])
        out.scores = [float(s) for s in state["scores"]]
        return out


def _logistic(weights: dict[str, float], intercept: float) -> linear_model.LogisticRegression:
    model = linear_model.LogisticRegression(optimizer=optim.SGD(LEARNING_RATE), l2=L2, intercept_init=intercept)
    model._weights.update(weights)
    return model
