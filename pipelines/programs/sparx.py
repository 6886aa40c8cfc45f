"""Game messages (programs.md 5): which style of message helps this person, reminders to play, when the form is to be reviewed."""

from __future__ import annotations

import base64
import math
import statistics
from typing import Any

from pipelines.gate.desk import Desk
from pipelines.learning.lin_ts import LinTS
from pipelines.programs import guard
from pipelines.programs.catalogue import Catalogue, Entry
from pipelines.programs.session import Session, pick
from pipelines.trial import draw

POLICY = "sparx-1"
STYLES = ("WARM_SHORT", "WARM_LONG", "PLAIN_SHORT", "PLAIN_LONG")  # tone x length; the skill is that of the module
SKILLS = ("HOPE", "ACTIVITY", "EMOTIONS", "PROBLEMS", "THOUGHTS", "THOUGHTS", "HOPE")  # of modules 1-7
FEATURES = 5
DRAWS = 200
RETURN_MS = 48 * 3_600_000
DAY_MS = 86_400_000
MOOD_SD = 2.0  # of a change of mood before five of the person's own are known [choice]
MOODS_KEPT, OWN_FROM = 20, 5
PHQA_HIGH, PHQA_FALL, MODULES_DONE, MISSED = 20.0, 5.0, 4, 2


def memory() -> dict[str, Any]:
    """What is known of a person who never played."""
    return {
        "bandit": None, "pending": None, "moods": [], "last_play": None, "phqa": [], "done": [], "missed": [], "reviewed": [],
    }  # fmt: skip


def context(session: Session, mem: dict[str, Any], module: int, now: int) -> list[float]:
    """Constant, module, mood before, residual heart rate, days since play; scaled to about -1 … 1, 0 = not known."""
    mood, rest = session.mood[0], session.resting()
    newest = session.heart.newest()
    recent = session.heart.average(newest - 60_000, newest + 1) if newest is not None else None
    residual = 0.0 if recent is None or rest is None else (recent - rest) / 10
    last = mem["last_play"]
    days = 0.0 if last is None else (now - last) / DAY_MS / 7
    mood_x = 0.0 if mood is None else (mood - 5) / 5
    return [1.0, (module - 4) / 3, mood_x, max(-2.0, min(2.0, residual)), min(2.0, days)]


def message(
    session: Session, mem: dict[str, Any], module: int, desk: Desk, catalogue: Catalogue, case_open: bool
) -> None:
    """SHOW_MESSAGE of the module's skill in the style drawn; nothing where nothing approved fits."""
    session.own["module"] = module
    if guard.obstacle(session, desk, case_open) is not None:
        session.say(desk, "HOLD", {"cause": str(guard.obstacle(session, desk, case_open))}, "THERAPIST", POLICY)
        return
    there = _messages(catalogue, module, desk)
    if not there:
        return
    model = _model(mem)
    x = context(session, mem, module, desk.now)
    normals = draw.normals(desk.settings.study_key, session.parts(desk, POLICY), DRAWS, len(STYLES))
    p = model.probabilities(x, normals, among=list(there))
    styles = list(p)
    i = pick(session.draw(desk, POLICY), list(p.values()))
    entry = there[styles[i]]
    params = {"item_id": entry.item_id, "module": module, "skill": SKILLS[module - 1], "style": styles[i]}
    session.say(desk, "SHOW_MESSAGE", params, "MESSAGE_BANDIT", POLICY, p[styles[i]])
    session.own["shown"] = [styles[i], [round(v, 6) for v in x]]


def _messages(catalogue: Catalogue, module: int, desk: Desk) -> dict[str, Entry]:
    """Style → message of the module's skill."""
    found: dict[str, Entry] = {}
    for e in catalogue.entries("GAME_MESSAGE", "SPARX", desk):
        style = f"{e.tags.get('tone')}_{e.tags.get('length')}"
        if e.tags.get("skill") == SKILLS[module - 1] and style in STYLES:
            found.setdefault(style, e)
    return {s: found[s] for s in STYLES if s in found}


def _model(mem: dict[str, Any]) -> LinTS:
    return LinTS(STYLES, FEATURES) if mem["bandit"] is None else LinTS.load(base64.b64decode(mem["bandit"]))


def begin(session: Session, mem: dict[str, Any], desk: Desk) -> None:
    """A session within 48 h of the last one is a return: the reward of the message shown then."""
    settle(mem, True, desk)


def settle(mem: dict[str, Any], came_back: bool, desk: Desk) -> None:
    """Learn from the last message: return within 48 h (0 or 1) and the standardised change of mood."""
    pending, mem["pending"] = mem["pending"], None
    desk.timers.cancel("PROGRAM", "return")
    if pending is None:
        return
    style, x, change, _ = pending
    model = _model(mem)
    model.learn_one(style, x, float(came_back) + change)
    mem["bandit"] = base64.b64encode(model.dump()).decode()


def end(session: Session, mem: dict[str, Any], desk: Desk) -> None:
    """The session is over: wait 48 h for the return, and from then on remind."""
    settle(mem, True, desk)
    mem["last_play"] = desk.now
    shown = session.own.get("shown")
    if shown is not None:
        mem["pending"] = [*shown, _mood_change(session, mem), desk.now]
        desk.timers.set(desk.now + RETURN_MS, "PROGRAM", "return")
    desk.timers.set(desk.now + RETURN_MS, "PROGRAM", "remind")
    review(session, mem, desk)


def _mood_change(session: Session, mem: dict[str, Any]) -> float:
    before, after = session.mood
    if before is None or after is None:
        return 0.0
    moods: list[float] = mem["moods"]
    sd = statistics.pstdev(moods) if len(moods) >= OWN_FROM else MOOD_SD
    mem["moods"] = [*moods, after - before][-MOODS_KEPT:]
    z = (after - before) / max(sd, 0.5)
    return max(-2.0, min(2.0, z)) if math.isfinite(z) else 0.0


def module_event(session: Session, mem: dict[str, Any], kind: str, module: int | None, desk: Desk) -> None:
    """Modules done and missed; the same told twice counts once."""
    if module is None:
        return
    book = mem["done"] if kind == "MODULE_END" else mem["missed"]
    if module not in book:
        book.append(module)
    review(session, mem, desk)


def phqa(mem: dict[str, Any], total: float) -> None:
    """A PHQ-A total; the first and the newest are kept."""
    mem["phqa"] = [*mem["phqa"][:1], total] if mem["phqa"] else [total]


def review(session: Session, mem: dict[str, Any], desk: Desk) -> None:
    """REVIEW_THERAPY_FORM (programs.md 5): a high PHQ-A, no fall of 5 after four modules, or two modules missed."""
    done, missed, scores = len(mem["done"]), len(mem["missed"]), mem["phqa"]
    why = []
    if scores and scores[-1] >= PHQA_HIGH:
        why.append("HIGH")
    if len(scores) > 1 and done >= MODULES_DONE and scores[0] - scores[-1] < PHQA_FALL:
        why.append("NO_FALL")
    if missed >= MISSED:
        why.append("MISSED")
    new = [w for w in why if w not in mem["reviewed"]]
    if not new:
        return
    mem["reviewed"] += new
    numbers = {"modules_done": float(done), "modules_missed": float(missed)}
    if scores:
        numbers |= {"phqa_total": scores[-1], "phqa_change": scores[-1] - scores[0]}
    session.flag(desk, "REVIEW_THERAPY_FORM", **numbers)
