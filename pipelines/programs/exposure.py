"""Spider exposure (programs.md 2): trials, approaches and refusals; the ladder decides what is shown."""

from __future__ import annotations

from typing import Any

from pipelines.gate.desk import Desk
from pipelines.programs import guard
from pipelines.programs.ladder import Ladder
from pipelines.programs.session import Session, Trial

LADDER = Ladder("SPIDER", "SET_STIMULUS", "exposure-1", 24)
REFUSALS = 2  # programs.md 2.5


def trial_event(session: Session, kind: str, value: dict[str, Any], t: int, level: int | None) -> bool:
    """Take a TRIAL_*, APPROACH, REFUSAL or EXPECTANCY_VIOLATED event; True if a trial has just ended for the first time.

    Events of a trial may come in any order and more than once: the earliest start and the first-known values count.
    """
    trial = _trial(session, value)
    if trial is None:
        return False
    ended = trial.end is not None
    if value.get("factors"):
        trial.factors = trial.factors or dict(value["factors"])
    if trial.level is None:
        trial.level = level if level is not None else value.get("level")
    if kind == "TRIAL_START":
        trial.start = t if trial.start is None else min(trial.start, t)
        trial.stage = session.stage if not ended else trial.stage
    elif kind == "TRIAL_END":
        trial.end = t if trial.end is None else trial.end
        if trial.start is None and not ended:
            trial.stage = session.stage
    trial.violated = trial.violated or kind == "EXPECTANCY_VIOLATED"
    if kind in ("TRIAL_END", "SUDS") and value.get("suds") is not None:
        trial.suds = float(value["suds"]) if trial.suds is None else trial.suds
    if kind.startswith("TRIAL") and value.get("distance_m") is not None:
        trial.distance = float(value["distance_m"])
    if value.get("eyes_closed_frac") is not None:
        trial.eyes = float(value["eyes_closed_frac"])
    if value.get("latency_ms") is not None and trial.delay_s is None:
        trial.delay_s = value["latency_ms"] / 1000
    return kind == "TRIAL_END" and not ended


def _trial(session: Session, value: dict[str, Any]) -> Trial | None:
    name = value.get("trial_id")
    if name is None:
        return session.open_trial() or next(iter(reversed(session.in_order())), None)
    if name not in session.trials:
        session.trials[name] = Trial(str(name), stage=session.stage)
    return session.trials[name]


def approach(session: Session, kind: str, value: dict[str, Any], t: int, desk: Desk) -> None:
    """Two refused approaches in a row, the second less far than the first: resignation, which a therapist looks at.

    `distance_m` of APPROACH and REFUSAL is how far the person came (programs.md 2.5).
    """
    trial = _trial(session, value)
    distance = value.get("distance_m")
    if distance is not None:
        session.own["came_m"] = float(distance)
    came = session.own.get("came_m") if distance is None else float(distance)
    refused: list[list[Any]] = session.own.setdefault("refused", [])
    if kind == "REFUSAL":
        name = trial.trial_id if trial is not None else None
        if any(r[1] == name and abs(r[0] - t) < 1_000 for r in refused):
            return  # two devices told the same
        if trial is not None:
            trial.refused = True
        refused.append([t, name, came])
        refused.sort(key=lambda r: (r[0], str(r[1])))
        del refused[:-REFUSALS]
        distances = [r[2] for r in refused]
        if len(refused) == REFUSALS and None not in distances and distances[1] < distances[0] and session.held is None:
            session.held = "RESIGNATION"
            LADDER.hold(session, desk, "RESIGNATION", "RESIGNATION")
            session.flag(desk, "RESIGNATION", refusals=float(REFUSALS), first_m=distances[0], second_m=distances[1])


def accepted(session: Session) -> None:
    """A trial was completed without refusal: refusals in a row begin anew."""
    last = session.done()[-1]
    if not last.refused:
        session.own["refused"] = []


def too_much(session: Session, suds: float | None, desk: Desk) -> bool:
    """SUDS >= 90 stops (guard). True if it did."""
    session.note_suds(suds)
    if suds is not None and suds >= guard.SUDS_STOP:
        guard.stop(session, desk, "SUDS_HIGH", suds=suds)
        return True
    return False
