"""Values of `jitai.decision`: who was available, what was drawn, what came of it (trial.md 1, 2, 4). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.trial import draw
from schemas import ids

MINUTE_MS = 60_000
REASONS = (
    "NO_RESEARCH_CONSENT", "DRIVING", "RECENT_PROMPT", "BUDGET", "QUIET_HOURS", "OPEN_CASE", "MODALITY_MISSING",
    "NOT_RECEPTIVE",
)  # fmt: skip
PRIMARY_OUTCOME = {"SCHEDULED": "EMA_MOOD", "W1": "EMA_MOOD", "L1": "HR_RETURN", "PLAY_REMINDER": "APP_ACTION"}
OUTCOME_WINDOW_MIN = {"EMA_MOOD": 120, "EMA_STRESS": 120, "HR_RETURN": 60, "APP_ACTION": 10}


@dataclass(frozen=True)
class Situation:
    """What availability rests on, as known when the decision point comes (trial.md 2).

    None = not known. What is not known makes the point unavailable (MODALITY_MISSING), it never counts as "no".
    """

    research: bool
    driving: bool | None
    recent_prompt: bool | None  # a prompt in the last 60 min
    budget_left: float  # prompts left today
    quiet: bool | None
    open_case: bool | None  # an OPEN L3 or L4 case
    modalities_ok: bool | None
    receptive: bool | None

    def reasons(self) -> list[str]:
        """Every failed condition, in the order of the topic; [] = available."""
        context = (self.driving, self.recent_prompt, self.quiet, self.open_case, self.modalities_ok, self.receptive)
        failed = {
            "NO_RESEARCH_CONSENT": not self.research,
            "DRIVING": self.driving is True,
            "RECENT_PROMPT": self.recent_prompt is True,
            "BUDGET": not self.budget_left >= 1,
            "QUIET_HOURS": self.quiet is True,
            "OPEN_CASE": self.open_case is True,
            "MODALITY_MISSING": self.modalities_ok is False or any(c is None for c in context),
            "NOT_RECEPTIVE": self.receptive is False,
        }
        return [r for r in REASONS if failed[r]]


def decision_id(user: str, dp_kind: str, *trigger: Any) -> str:
    """UUIDv5 of person, kind and trigger: a signal_id, or local date and slot (trial.md 1)."""
    return ids.derive(user, dp_kind, *trigger)


def decision(
    user: str,
    situation: Situation,
    *,
    dp_kind: str,
    dp_index: int,
    trigger: tuple[Any, ...],
    features: Mapping[str, float | None],
    study_key: str,
    items: Mapping[str, str | None],
    arms: Mapping[str, float] = draw.FIRST_PERIOD,
    policy_version: str = draw.POLICY_VERSION,
    model_digest: str | None = None,
) -> dict[str, Any]:
    """The DECISION value; `value["action"]` is what to do. It stands in the log before any notification.

    Parameters
    ----------
    dp_index
        Number of decision points of this person before this one.
    trigger
        Parts of the id after person and kind.
    features
        State as used; what is None or not finite is left out (unknown = key absent).
    items
        Arm → content item it would show (CLASSIC, ADAPTIVE).
    arms
        Arm → probability, used for this very draw. The default is the fixed policy of the first 7 days.
    model_digest
        Digest of what gave `arms`; None = that of the fixed policy.
    """
    reasons = situation.reasons()
    identity = decision_id(user, dp_kind, *trigger)
    value: dict[str, Any] = {
        "decision_id": identity,
        "stage": "DECISION",
        "dp_kind": dp_kind,
        "dp_index": dp_index,
        "avail": not reasons,
        "reasons_unavailable": reasons,
        "features": {k: float(v) for k, v in sorted(features.items()) if v is not None and math.isfinite(v)},
        "arms": {},
        "action": "NOTHING",
        "policy_version": policy_version,
        "model_digest": draw.digest(arms) if model_digest is None else model_digest,
        "budget_left": float(situation.budget_left),
    }
    if not reasons:
        value["arms"] = {arm: arms[arm] for arm in draw.ARMS}
        value["u"] = draw.u(study_key, user, identity, policy_version)
        value["action"] = draw.choose(arms, value["u"])
        item = items.get(value["action"])
        if item is not None:
            value["item_id"] = item
    return value


def outcome_due(dp_kind: str, decided: int) -> int:
    """Instant (ms) at which the primary outcome of a decision made at `decided` (ms) is over."""
    return decided + OUTCOME_WINDOW_MIN[PRIMARY_OUTCOME[dp_kind]] * MINUTE_MS


def outcome(
    decided: Mapping[str, Any],
    *,
    proximal: float | None = None,
    time: int | None = None,
    missing: str | None = None,
) -> dict[str, Any]:
    """The OUTCOME value of a DECISION value, written once.

    Parameters
    ----------
    proximal, time
        The primary outcome and when it was observed (ms).
    missing
        NOT_ANSWERED, SENSOR_MISSING or LOG_END, when there is none.

    Raises
    ------
    ValueError
        Neither or both of an outcome and a reason for its absence.
    """
    if (proximal is None) == (missing is None) or (proximal is None) != (time is None):
        raise ValueError("an outcome has a value and a time, or the reason why there is none")
    value = {**decided, "stage": "OUTCOME", "outcome_kind": PRIMARY_OUTCOME[decided["dp_kind"]]}
    if proximal is not None:
        value["proximal_outcome"] = float(proximal)
        value["outcome_time"] = time
    else:
        value["outcome_missing_reason"] = missing
    return value
