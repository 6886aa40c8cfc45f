"""Conditions of a notification: what was true, against the person's own baseline, with where to look it up (S12).

`tier_of` recomputes the tier from the conditions alone: a notification that can't be recomputed is a defect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.gate.disclosure import Condition
from pipelines.learning.resting_heart_rate import Strain
from pipelines.support.signals import Signal
from pipelines.support.triggers import Trigger


def heart_rate(signal: Signal, sid: str) -> Condition:
    out: Condition = {
        "name": "HR_EPISODE",
        "met": True,
        "signal_id": sid,
        "start_time": signal.start,
        "unit": "bpm",
        "minutes_observed": signal.observed,
        "minutes_missing": signal.missing,
        "refs": [str(signal.start), str(signal.end or signal.last or signal.start)],
    }
    if signal.end is not None:
        out["end_time"] = signal.end
    if signal.amount is not None:
        out["amount"] = signal.amount
        out["threshold"] = signal.threshold
    return out


def strain(known: Strain) -> list[Condition]:
    """The night's pulse of the last days where it was raised: explains an episode, and changes no tier."""
    if not known.raised or known.usual is None or known.bpm is None:
        return []
    return [{
        "name": "RESTING_HR_RAISED", "met": True, "amount": round(known.bpm - known.usual.median, 1), "unit": "bpm",
        "baseline_median": round(known.usual.median, 1), "baseline_mad": round(known.usual.mad, 1), "baseline_days": known.usual.n,
        "refs": [],
    }]  # fmt: skip


def away(fix_time: int) -> Condition:
    return {"name": "AWAY_FROM_HOME", "met": True, "start_time": fix_time, "refs": [str(fix_time)]}


def trigger(t: Trigger, n_24h: int) -> list[Condition]:
    """The trigger itself, and the count of 24 h where it decides."""
    refs = list(t.refs)
    base = {"met": True, "signal_id": t.signal_id, "start_time": t.start, "end_time": t.end, "refs": refs}
    if t.kind == "SEARCH":
        name = f"SEARCH_SEVERITY_{t.severity}"
        out: list[Condition] = [
            {"name": name, **base, "amount": float(t.severity), "threshold": float(t.severity), "unit": t.category}
        ]
        if n_24h >= 3:
            out.append(
                {
                    "name": "SEARCH_COUNT_24H",
                    "met": True,
                    "signal_id": t.signal_id,
                    "amount": float(n_24h),
                    "threshold": 3.0,
                    "refs": refs,
                }
            )
        return out
    if t.kind == "ITEM9":
        return [{"name": f"ITEM9_{t.severity}", **base, "amount": float(t.severity), "threshold": 1.0}]
    if t.kind == "CONTENT":
        return [{"name": "CONTENT_FLAG", **base, "amount": 2.0, "threshold": 2.0}]
    name = "CHAT_RISK_HIGH" if t.severity >= 3 else "CHAT_RISK"
    return [{"name": name, **base, "amount": float(t.severity), "threshold": 1.0}]


def tier_of(conditions: Iterable[Mapping[str, Any]]) -> str:
    """Tier that these conditions ask for (support.md 3, 4); the rule of record, used by test S12.

    >>> tier_of([{"name": "SEARCH_SEVERITY_2", "met": True}])
    'L2'
    """
    met = {c["name"] for c in conditions if c["met"]}
    withdrawn = any(n.startswith("OUT_LOW_") for n in met)
    if "LATE_EVIDENCE" in met:
        return "CASE_NOTE"
    if met & {"SEARCH_SEVERITY_3", "SEARCH_COUNT_24H", "ITEM9_3", "CHAT_RISK_HIGH"}:
        return "L4"
    if "SEARCH_SEVERITY_2" in met:
        return "L3" if {"HR_EPISODE", "AWAY_FROM_HOME"} <= met else "L2"
    if met & {"ITEM9_1", "ITEM9_2", "CONTENT_FLAG", "CHAT_RISK"}:
        return "L2"
    if withdrawn:
        return "W2" if "SEARCH_7D" in met else "W1"
    if {"HR_EPISODE", "AWAY_FROM_HOME"} <= met:
        return "L1"
    if "SEARCH_SEVERITY_0" in met:
        return "RESOURCES"
    if "WATCH_SILENT_72H" in met:
        return "NOT_MONITORED"
    if "WATCH_SILENT_24H" in met:
        return "DEVICE_REMINDER"
    return "NONE"
