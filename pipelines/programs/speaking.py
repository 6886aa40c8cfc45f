"""Speaking before an audience (programs.md 4): phases of a speech, delay, eyes; the ladder decides the scene."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from pipelines.gate.desk import Desk
from pipelines.programs import guard
from pipelines.programs.catalogue import Catalogue
from pipelines.programs.evidence import Row
from pipelines.programs.ladder import Ladder
from pipelines.programs.session import ASSESS, Session, Trial

LADDER = Ladder("SPEECH", "SET_SCENE", "speaking-1", 36)
LONG_DELAY, FEWEST_DELAYS = 2.0, 3  # delay against the own median of at least so many


def phase_event(session: Session, kind: str, value: dict[str, Any], t: int) -> None:
    """Take PHASE_START or PHASE_END; the delay is how long ANTICIPATION lasted (prompt to first step)."""
    phase, trial = value.get("phase"), _trial(session, value)
    if phase is None or trial is None:
        return
    span = trial.phases.setdefault(phase, [None, None, None, None])
    if kind == "PHASE_START":
        span[0] = t if span[0] is None else min(span[0], t)
    else:
        span[1] = t if span[1] is None else span[1]
    for i, name in ((2, "eyes_closed_frac"), (3, "suds")):
        if value.get(name) is not None:
            span[i] = float(value[name])
    a, b = span[:2]
    if phase == "ANTICIPATION" and trial.delay_s is None and a is not None and b is not None and b >= a:
        trial.delay_s = (b - a) / 1000
    eyes = [s[2] for s in trial.phases.values() if s[2] is not None]
    if eyes:
        trial.eyes = sum(eyes) / len(eyes)


def _trial(session: Session, value: dict[str, Any]) -> Trial | None:
    name = value.get("trial_id")
    if name is None:
        return session.open_trial() or next(iter(reversed(session.in_order())), None)
    return session.trials.setdefault(str(name), Trial(str(name), stage=session.stage))


def decide(session: Session, memory: dict[str, Any], desk: Desk, catalogue: Catalogue, case_open: bool) -> None:
    """A long delay is trained in a smaller room before listeners are added; else the ladder decides."""
    if session.stage != ASSESS and guard.obstacle(session, desk, case_open) is None and hesitant(session, memory):
        entries = catalogue.entries("STIMULUS", "SPEECH", desk)
        bound = guard.highest(session, desk)
        smaller = [
            e
            for e in entries
            if e.level == max(0, session.level - 1)
            and (bound is None or e.level <= bound)
            and guard.inside(session.lock, e.factors("SPEECH"))
        ]
        if smaller:
            shown = session.pending[1] if session.pending else {}
            same = max(smaller, key=lambda e: sum(e.tags.get(f) == shown.get(f) for f in ("gender", "age")))
            LADDER.show(session, desk, same, "SET_SCENE", "ANTICIPATION_FIRST")
            return
    LADDER.decide(session, memory, desk, catalogue, case_open)


def hesitant(session: Session, memory: dict[str, Any]) -> bool:
    """The last trial's delay is more than twice the own median of those before it."""
    done = session.done()
    if not done or done[-1].delay_s is None:
        return False
    before = [r["delay"] for r in memory["rows"] if r.get("delay") is not None]
    before += [t.delay_s for t in done[:-1] if t.delay_s is not None]
    return len(before) >= FEWEST_DELAYS and done[-1].delay_s > LONG_DELAY * statistics.median(before)


def avoidance(rows: Sequence[Row], number: int) -> float | None:
    """Mean z of delay and of eyes-closed fraction of session `number` against all trials of the person."""
    z = []
    for name in ("delay", "eyes"):
        every = [float(r[name]) for r in rows if r.get(name) is not None]
        mine = [float(r[name]) for r in rows if r.get(name) is not None and r["session"] == number]
        if mine and len(every) >= FEWEST_DELAYS and (sd := statistics.stdev(every)) > 0:
            z.append((statistics.fmean(mine) - statistics.fmean(every)) / sd)
    mean = statistics.fmean(z) if z else None
    return mean if mean is None or math.isfinite(mean) else None
