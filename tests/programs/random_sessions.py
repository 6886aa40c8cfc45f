"""Random sessions against a model of what S16 permits: what the model knows is what was sent, not what the room thinks."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.programs.stage import NOON, SECOND, Stage


@dataclass
class Told:
    """A command with what was true when it was given.

    Parameters
    ----------
    fresh
        Heart rate of the last ten seconds had arrived.
    lock
        None, or the bounds in force.
    """

    command: dict[str, Any]
    fresh: bool
    lock: dict[str, Any] | None
    suds: float | None
    stopped: bool


@dataclass
class Seen:
    told: list[Told] = field(default_factory=list)
    stopped: bool = False


def play_random(seed: int) -> Seen:
    """One session of about fifteen random events, mostly in the stage where levels rise."""
    rng = random.Random(seed)
    stage, seen = Stage(), Seen()
    stage.event("SESSION_START", 0, stage=rng.choice(["GRADED", "GRADED", "GRADED", "ENTRY", "CONSOLIDATE", "ASSESS"]))
    s, beating, lock, suds, n, newest = 1.0, True, None, None, 0, None

    def look() -> None:
        for command in stage.commands()[len(seen.told) :]:
            fresh = newest is not None and stage.desk.now - newest <= 10 * SECOND
            seen.told.append(Told(command, fresh, lock, suds, seen.stopped))

    def beat(until: float) -> None:
        nonlocal newest
        if beating:
            stage.beats(s, until, 68 + rng.random() * 8, every=5, late=0.5)
        stage.at(until)
        arrived = [t for t in range(NOON + int(s * SECOND), NOON + int(until * SECOND), 5 * SECOND) if t + 500 <= stage.desk.now]
        if beating and arrived:
            newest = arrived[-1]

    beat(121)
    s = 121.0
    stage.event("BASELINE_END", s)
    look()
    for _ in range(rng.randint(6, 18)):
        what = rng.choices(["trial", "lose", "find", "lock", "unlock", "pause", "resume", "stop", "stage", "refuse", "violated"],
                           [14, 2, 3, 1, 1, 1, 2, 0.4, 1, 1, 1])[0]  # fmt: skip
        t = s + rng.choice([3, 15, 35])
        beat(t)
        look()
        s = t
        if what == "trial":
            shown = next((c["params"] for c in reversed(stage.commands()) if "colour" in c["params"]), {"colour": "BLACK"})
            factors = {k: v for k, v in shown.items() if k in ("colour", "type", "size")}
            n += 1
            stage.event("TRIAL_START", s, trial_id=f"t{n}", factors=factors)
            beat(s + 62)
            s += 62
            look()
            suds = rng.choice([None, 20.0, 30.0, 35.0, 40.0, 41.0, 60.0, 80.0, 85.0, 91.0])
            rng.random() < 0.1 and stage.event("EXPECTANCY_VIOLATED", s, trial_id=f"t{n}")  # type: ignore[func-returns-value]
            seen.stopped = seen.stopped or (suds is not None and suds >= 90)
            stage.event("TRIAL_END", s, trial_id=f"t{n}", factors=factors, **({} if suds is None else {"suds": suds}))
            stopping = [c for c in stage.commands()[len(seen.told) :] if c["action"] == "STOP"]
            if stopping:
                seen.stopped = False
                look()
                seen.stopped = True
        elif what in ("lose", "find"):
            beating = what == "find"
        elif what == "lock":
            lock = rng.choice([{}, {"level": 0}, {"level": 1}, {"size": "1"}, {"size": "2"}])
            bounds = {"level": lock["level"]} if "level" in lock else {"factors": dict(lock)}
            stage.event("THERAPIST_LOCK", s, **bounds)
        elif what == "unlock":
            lock = None
            stage.event("THERAPIST_UNLOCK", s)
        elif what in ("pause", "resume"):
            stage.event(what.upper(), s)
        elif what == "stop":
            stage.event(rng.choice(["STOP_BUTTON", "THERAPIST_STOP"]), s)
            look()
            seen.stopped = True
        elif what == "stage":
            stage.event("RESUME", s, stage=rng.choice(["GRADED", "ENTRY", "CONSOLIDATE"]))
        elif what == "refuse":
            stage.event("REFUSAL", s, distance_m=rng.random() * 3)
        elif what == "violated" and n:
            stage.event("EXPECTANCY_VIOLATED", s, trial_id=f"t{n}")
        if rng.random() < 0.15:
            stage.restart()
        look()
    stage.event("SESSION_END", s + 1)
    look()
    return seen


def broken(seen: Seen) -> list[str]:
    """Everything in which the commands break S16; [] = nothing."""
    out, level = [], 0
    for told in seen.told:
        c = told.command
        if told.stopped:
            out.append(f"{c['action']} after a stop")
        shown = c["params"].get("level")
        if c["action"] == "HOLD" or shown is None:
            continue
        new, assess = int(shown), c["params"].get("stage") == "ASSESS"
        if not assess and new > level:
            if not told.fresh:
                out.append(f"up to {new} without heart rate")
            if new > level + 1:
                out.append(f"from {level} to {new}")
            if told.lock == {}:
                out.append(f"up to {new} under a lock")
        if c["action"] == "STEP_UP" and told.suds is None:
            out.append("a step up without distress")
        if told.lock and (new > told.lock.get("level", 99) or int(c["params"].get("size", 1)) > int(told.lock.get("size", 99))):
            out.append(f"level {new} beyond the lock {told.lock}")
        level = new
    return out
