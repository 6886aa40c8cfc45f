"""Trials as rows of evidence: heart rate and distress side by side, and what they say of each property (programs.md 2, 4).

Rows of an open session are read from it whenever they are needed, so that late heart rate counts; when it ends they are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import expit

from pipelines.gate.desk import Desk
from pipelines.learning import factor_effects as fe
from pipelines.programs.catalogue import FACTORS
from pipelines.programs.session import PRE_MS, Session, Trial

Row = dict[str, Any]
KEPT = 96  # trials of a program
SUDS_PER_BPM = 4.0  # scale of distress against heart rate [choice]
COVARIATES = {"trial": 0.5, "session": 1.0, "previous": 1.0, "music": 4.0, "distance": 1.0}  # prior SD, bpm a unit
PHASES = ("ANTICIPATION", "APPROACH", "SPEECH_0_60", "SPEECH_REST")
MAIN_SD, INTERACTION_SD = 2.0, 3.46  # together 4 bpm: factor x phase with shrinkage (programs.md 4)
INVOLVED = 0.5  # probability beforehand that a factor moves heart rate in any phase [choice: no preference]
OUTCOMES = {"HR": ("hr", 1.0), "SUDS": ("suds", SUDS_PER_BPM), "DELAY": ("delay", 2.0), "EYES_CLOSED": ("eyes", 0.05)}


def hr_change(session: Session, trial: Trial) -> float | None:
    """y1: mean heart rate of the last 30 s of a trial less that of the 30 s before it; None if more than 10 s are lost."""
    if trial.start is None or trial.end is None or trial.end <= trial.start:
        return None
    before = session.heart.mean(trial.start - PRE_MS, trial.start)
    after = session.heart.mean(max(trial.start, trial.end - PRE_MS), trial.end)
    return None if before is None or after is None else after - before


def phase_changes(session: Session, trial: Trial) -> dict[str, float]:
    """Phase → mean heart rate in it less the resting level of the session; what is not known is left out."""
    rest, out = session.resting(), {}
    for phase, (a, b, *_) in trial.phases.items():
        mean = session.heart.mean(int(a), int(b)) if a is not None and b is not None and b > a else None
        if rest is not None and mean is not None:
            out[phase] = round(mean - rest, 3)
    return out


def rows_of(session: Session) -> list[Row]:
    """Evidence of the trials of a session that have ended."""
    out: list[Row] = []
    previous = 0
    for i, t in enumerate(session.done()):
        row: Row = {"f": t.factors, "trial": i, "session": session.number, "previous": previous, "stage": t.stage}
        if session.program == "SPEECH":
            row["phases"] = phase_changes(session, t)
            row["delay"], row["eyes"] = t.delay_s, t.eyes
        else:
            change = hr_change(session, t)
            row["hr"] = None if change is None else round(change, 3)
        row |= {"suds": t.suds, "music": int(t.music), "distance": t.distance or 0.0}
        previous = t.level or 0
        out.append(row)
    return out


def levels(program: str, rows: Iterable[Row], catalogue: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """Factor → levels that were shown or may be shown."""
    found: dict[str, set[str]] = {f: set() for f in FACTORS[program]}
    for shown in [*(r["f"] for r in rows), *catalogue]:
        for factor in found:
            if factor in shown:
                found[factor].add(shown[factor])
    return {f: sorted(v) for f, v in found.items() if v}


def fit(known: Mapping[str, Sequence[str]], rows: Sequence[Row], outcome: str) -> fe.Fit:
    """The additive model of an outcome with one row a trial."""
    name, scale = OUTCOMES[outcome]
    layout = fe.Layout(known, COVARIATES, scale=scale)
    x = np.array([layout.row(r["f"], r) for r in rows]).reshape(len(rows), -1)
    y = np.array([np.nan if r.get(name) is None else float(r[name]) for r in rows])
    return fe.fit(layout, x, y)


def fit_phases(known: Mapping[str, Sequence[str]], rows: Sequence[Row]) -> fe.Fit:
    """Heart rate of all phases at once: factors, factor x phase, what a trial's phases share, trend."""
    factors: dict[str, Sequence[str]] = {"phase": PHASES, **known}
    sd = {"phase": 8.0}
    for factor, values in known.items():
        sd[factor] = MAIN_SD
        for phase in PHASES:
            factors[f"{factor}@{phase}"] = values
            sd[f"{factor}@{phase}"] = INTERACTION_SD
    layout = fe.Layout(factors, COVARIATES, effect_sd=sd)
    x, y, trials = [], [], []
    for i, r in enumerate(rows):
        for phase, value in sorted(r.get("phases", {}).items()):
            shown = {"phase": phase, **r["f"], **{f"{f}@{phase}": v for f, v in r["f"].items()}}
            x.append(layout.row(shown, r))
            y.append(float(value))
            trials.append(i)
    return fe.fit(layout, np.array(x).reshape(len(x), len(layout.prior_sd())), np.array(y), trials=trials)


def phase_effects(known: Mapping[str, Sequence[str]], rows: Sequence[Row]) -> dict[tuple[str, str, str], fe.Effect]:
    """(phase, factor, level) → its effect, of the phases there are rows of.

    P(> 2 bpm) of a factor one of whose effects would be claimed is that of the whole: the probability that the factor matters
    at all (`involved`) times P(> 2 bpm) if it does. Mean and interval are those if it does. Where nothing would be claimed
    without it the factor is not weighed, for it could only fall: that saves a fit.
    """
    found = fit_phases(known, rows)
    there = [p for p in PHASES if any(p in r.get("phases", {}) for r in rows)]
    out = {(p, f, v): phase_effect(found, f, v, p) for p in there for f, values in known.items() for v in values}
    for factor in sorted({f for (_, f, _), e in out.items() if e.linked}):
        chance = involved(factor, known, rows, found)
        out |= {k: replace(e, p_gt=chance * e.p_gt) for k, e in out.items() if k[1] == factor}
    return out


def involved(factor: str, known: Mapping[str, Sequence[str]], rows: Sequence[Row], found: fe.Fit) -> float:
    """Probability that a factor moves heart rate in any phase at all, beforehand 1/2.

    A point at none against the model `found` of all factors (`fit_phases`), by their marginal likelihoods: spike and slab
    (Mitchell & Beauchamp 1988, J. Am. Stat. Assoc. 83:1023) on a whole factor. It pays for the many effects that are looked
    at: their prior spreads over all of them, so that one which stands out by chance does not raise it.
    """
    without = fit_phases({f: v for f, v in known.items() if f != factor}, rows)
    odds = found.log_evidence - without.log_evidence + math.log(INVOLVED / (1 - INVOLVED))
    return float(expit(odds))


def phase_effect(found: fe.Fit, factor: str, level: str, phase: str) -> fe.Effect:
    """Effect of a level in a phase, against the mean of the factor's levels there."""
    c = np.zeros(len(found.mean))
    for name in (factor, f"{factor}@{phase}"):
        at, columns = found.layout.place(name, level)
        c[list(columns)] -= 1 / len(columns)
        c[at] += 1
    return found.contrast(c)


# -- what the therapist is told -----------------------------------------------------------------------------------------


def attribute(session: Session, rows: Sequence[Row], desk: Desk) -> None:
    """`therapy.attribution` of every level that was shown, for every outcome with data; once a number of trials."""
    known = levels(session.program, rows, [])
    for outcome, (name, _) in OUTCOMES.items():
        if outcome == "HR" and session.program == "SPEECH":
            _phases(session, known, rows, desk)
            continue
        n = sum(r.get(name) is not None for r in rows)
        if not _news(session, outcome, n):
            continue
        found = fit(known, rows, outcome)
        for factor, values in known.items():
            for level in values:
                tell(session, desk, outcome, factor, level, found.effect(factor, level))


def _phases(session: Session, known: Mapping[str, Sequence[str]], rows: Sequence[Row], desk: Desk) -> None:
    n = sum(bool(r.get("phases")) for r in rows)
    if not _news(session, "HR", n):
        return
    for (phase, factor, level), effect in phase_effects(known, rows).items():
        tell(session, desk, "HR", factor, level, effect, phase)


def _news(session: Session, outcome: str, n: int) -> bool:
    told: dict[str, int] = session.own.setdefault("told", {})
    if not n or told.get(outcome) == n:
        return False
    told[outcome] = n
    return True


def tell(
    session: Session, desk: Desk, outcome: str, factor: str, level: str, e: fe.Effect, phase: str | None = None,
    claim: str | None = None,
) -> None:  # fmt: skip
    """One `therapy.attribution` record."""
    value: dict[str, Any] = {
        "program": session.program, "session_id": session.session_id, "outcome": outcome, "factor": factor, "level": level,
        "effect": round(e.effect, 4), "ci90_low": round(e.low, 4), "ci90_high": round(e.high, 4), "n_trials": e.n,
        "claim": claim or ("LINKED" if e.linked else "NOT_DETERMINED"),
    }  # fmt: skip
    if phase is not None:
        value["phase"] = phase
    if outcome in ("HR", "HR_DROP"):
        value["p_gt_2bpm"] = round(e.p_gt, 6)
    desk.emit("therapy.attribution", desk.event_time, value, session.session_id, outcome, phase, factor, level, e.n)
