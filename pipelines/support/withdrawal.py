"""Rule A2, withdrawal: activity and outings both low against the person's own last weeks (support.md 4). Pure.

A low day counts, a missing day does not; the denominator stays, so that lost data can only switch the rule off (S3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pipelines.context.profile import Profile
from pipelines.learning.baselines import Baseline, Weekly, binomial_tail, robust, weekly
from pipelines.support.daily import DayRow

BASELINE_DAYS, GAP_DAYS = 28, 5
ENOUGH_HOURS = 0.7  # of the own median of observed hours
STABLE_OF, STABLE_DAYS = 14, 8  # [pub: RADAR-MDD]
Z_LOW = -0.8
OUT_RATIO, OUT_MIN_A_DAY = 0.5, 1.0
TAIL = 0.05
EXIT_RATIO, EXIT_DAYS = 0.85, 2
MODALITY = {"act": "ACTIVITY", "out": "LOCATION"}
SUPPORT_LOW, SUPPORT_HIGH = 0.5, 1.5


@dataclass(frozen=True)
class Usual:
    """What is normal for this person: frozen while the signal is ON."""

    act: Weekly | None
    out: Weekly | None
    act_hours: float
    out_hours: float
    out_a_day: float
    act_p0: float
    out_p0: float
    days: int

    @property
    def ready(self) -> bool:
        return self.act is not None and self.out is not None and self.act.ready and self.out.ready


@dataclass
class Verdict:
    """ON, OFF or UNKNOWN for one day, and why."""

    state: str
    missing: list[str] = field(default_factory=list)
    low: dict[str, list[int]] = field(default_factory=dict)  # act, out → indices of low days among the last n
    needed: tuple[str, ...] = ()
    recovered: bool = False


def usual(rows: Mapping[int, DayRow], day: int, ratio: float) -> Usual:
    """Baseline of the 28 days that end 5 days before `day`."""
    first = day - GAP_DAYS - BASELINE_DAYS + 1
    valid = [rows[i] for i in range(first, day - GAP_DAYS + 1) if i in rows and rows[i].valid]
    act_hours = median([r.act_hours for r in valid]) if valid else 0.0
    out_hours = median([r.out_hours for r in valid]) if valid else 0.0
    good = [r for r in valid if r.act_hours >= ENOUGH_HOURS * act_hours and r.out_hours >= ENOUGH_HOURS * out_hours]
    act = weekly([(r.weekend, r.act) for r in good if r.act is not None])
    out = weekly([(r.weekend, r.out) for r in good if r.out is not None])
    a_day = median([r.amounts.get("outings", 0.0) for r in good]) if good else 0.0
    act_low = [low_act(r, act, ratio) for r in good] if act is not None else []
    out_low = [low_out(r, out) for r in good] if out is not None else []
    return Usual(
        act, out, act_hours, out_hours, a_day, sum(act_low) / max(len(act_low), 1), sum(out_low) / max(len(out_low), 1), len(good),
    )  # fmt: skip


def low_act(row: DayRow, base: Weekly, ratio: float) -> bool:
    """x <= ratio x median and robust z <= -0.8."""
    own = base.of(row.weekend)
    return row.act is not None and row.act <= ratio * own.median and own.z(row.act) <= Z_LOW


def low_out(row: DayRow, base: Weekly) -> bool:
    """At most half the median."""
    return row.out is not None and row.out <= OUT_RATIO * base.of(row.weekend).median


def enough(row: DayRow, normal: Usual) -> bool:
    """A valid day with enough observed hours for this person."""
    return (
        row.valid
        and row.act_hours >= ENOUGH_HOURS * normal.act_hours
        and row.out_hours >= ENOUGH_HOURS * normal.out_hours
    )


def judge(rows: Mapping[int, DayRow], day: int, profile: Profile, normal: Usual) -> Verdict:
    """Evaluate local day `day` (index) against `normal`."""
    row = rows.get(day)
    needed = tuple({"steps": "act", "outings": "out"}[f] for f in profile.required_features)
    stable = sum(1 for i in range(day - STABLE_OF + 1, day + 1) if i in rows and rows[i].valid)
    if row is None or not enough(row, normal) or stable < STABLE_DAYS:
        return Verdict("UNKNOWN", list(row.missing) if row is not None else [], needed=needed)
    if not normal.ready or not needed or ("out" in needed and normal.out_a_day < OUT_MIN_A_DAY):
        return Verdict("UNKNOWN", needed=needed)
    assert normal.act is not None
    assert normal.out is not None
    recent = [rows[i] for i in range(day - profile.n + 1, day + 1) if i in rows and enough(rows[i], normal)]
    low = {
        "act": [r.index for r in recent if low_act(r, normal.act, profile.ratio)],
        "out": [r.index for r in recent if low_out(r, normal.out)],
    }
    p0 = {"act": normal.act_p0, "out": normal.out_p0}
    on = all(len(low[f]) >= profile.k and binomial_tail(len(low[f]), profile.n, p0[f]) <= TAIL for f in needed)
    last = [rows[i] for i in sorted(rows) if i <= day and enough(rows[i], normal)][-EXIT_DAYS:]
    recovered = len(last) == EXIT_DAYS and all(_back(r, normal, needed) for r in last)
    return Verdict("ON" if on else "OFF", low=low, needed=needed, recovered=recovered)


def _back(row: DayRow, normal: Usual, needed: tuple[str, ...]) -> bool:
    assert normal.act is not None
    assert normal.out is not None
    act = row.act is not None and row.act >= EXIT_RATIO * normal.act.of(row.weekend).median
    out = row.out is not None and row.out >= EXIT_RATIO * normal.out.of(row.weekend).median
    return all({"act": act, "out": out}[f] for f in needed)


def conditions(
    rows: Mapping[int, DayRow], day: int, profile: Profile, normal: Usual, verdict: Verdict
) -> list[dict[str, Any]]:
    """What the rule rests on, against the person's own baseline (support.md 10)."""
    out = [_required(rows, day, profile, normal, verdict, f) for f in verdict.needed]
    return out + _supporting(rows, day, profile)


def _required(
    rows: Mapping[int, DayRow], day: int, profile: Profile, normal: Usual, verdict: Verdict, which: str
) -> dict[str, Any]:
    base = normal.act if which == "act" else normal.out
    assert base is not None
    low = verdict.low[which]
    row = rows[max(low, default=day)]
    own = base.of(row.weekend)
    return {
        "name": f"{which.upper()}_LOW_{profile.k}_OF_{profile.n}",
        "met": len(low) >= profile.k,
        "start_time": rows[min(low, default=day)].start,
        "end_time": row.end,
        "amount": float(len(low)),
        "unit": "days",
        "threshold": float(profile.k),
        "baseline_median": round(own.median, 3),
        "baseline_mad": round(own.mad, 3),
        "baseline_days": own.n,
        "refs": [str(rows[i].start) for i in low],
    }


def _supporting(rows: Mapping[int, DayRow], day: int, profile: Profile) -> list[dict[str, Any]]:
    """Signs that are shown but not required; nothing that the clinician took out."""
    asked = [
        ("MUSIC_LOW", "music_min", "music_min", SUPPORT_LOW),
        ("BROWSING_LOW", "browse_sessions", "browse_sessions", SUPPORT_LOW),
        ("PHONE_LOW", "phone_min", "phone_min", SUPPORT_LOW),
        ("BED_MORE", "bed_min", "bed_min", SUPPORT_HIGH),
    ]
    if profile.risk_up("GAMING"):
        asked.append(("GAMING_ABOVE_OWN", "game_min", "GAMING", SUPPORT_HIGH))
    out = []
    for name, feature, behaviour, ratio in asked:
        if profile.removed(behaviour) or profile.removed(feature):
            continue
        own, now, days = _recent(rows, day, feature, profile.n)
        if own is None or now is None or own.n < 14 or own.median <= 0:
            continue
        met = (
            now <= ratio * own.median
            if ratio < 1
            else now > ratio * own.median
            if name == "GAMING_ABOVE_OWN"
            else now >= ratio * own.median
        )
        if met:
            out.append({
                "name": name, "met": True, "amount": round(now, 3), "threshold": round(ratio * own.median, 3),
                "baseline_median": round(own.median, 3), "baseline_mad": round(own.mad, 3), "baseline_days": own.n, "refs": days,
            })  # fmt: skip
    return out


def _recent(
    rows: Mapping[int, DayRow], day: int, feature: str, n: int
) -> tuple[Baseline | None, float | None, list[str]]:
    own = feature_baseline(rows, day, feature)
    last = [
        rows[i]
        for i in range(day - n + 1, day + 1)
        if i in rows and feature in rows[i].amounts and rows[i].states[feature] == "OK"
    ]
    return own, (median([r.amounts[feature] for r in last]) if last else None), [str(r.start) for r in last]


def feature_baseline(rows: Mapping[int, DayRow], day: int, feature: str) -> Baseline | None:
    """Median and MAD of a feature over the days of the baseline on which it was fully observed."""
    return baselines(rows, day, (feature,))[feature]


def baselines(rows: Mapping[int, DayRow], day: int, features: Sequence[str]) -> dict[str, Baseline | None]:
    """`feature_baseline` of several features."""
    window = [
        r for i in range(day - GAP_DAYS - BASELINE_DAYS + 1, day - GAP_DAYS + 1) if (r := rows.get(i)) is not None
    ]
    out: dict[str, Baseline | None] = {}
    for f in features:
        out[f] = robust([r.amounts[f] for r in window if r.states.get(f) == "OK" and f in r.amounts])
    return out
