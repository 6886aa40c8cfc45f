"""Naming practice (programs.md 6): what to name next, cues, mistakes shown, fatigue, practising alone, growth of the pool."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pipelines.gate.desk import Desk
from pipelines.learning.ability import CREDIT, eap, p_correct
from pipelines.programs import guard
from pipelines.programs.catalogue import Catalogue, Entry
from pipelines.programs.naming import (
    ACTIVE,
    LEARNED,
    MIX,
    NEW,
    Group,
    Item,
    effort,
    furthest_behind,
    learn,
    promise,
    success,
)
from pipelines.programs.session import Session

POLICY = "aphasia-1"
KEPT = 200  # items of a person; the LEARNED due last give way
ANSWERS_KEPT = 60  # for the standard error of a group
WINDOW, EASIER = 10, 10
LIKELY = 6  # place of the predicted success in a row of answers
OTHERS_A_NEW = 2
TIRED_ACCURACY, TIRED_LATENCY = 0.20, 1.5
HELPED, UNAIDED, ACCURATE, RELOCK, LAST_CUE = 3, 0.80, 0.60, 0.50, 3
GROWN, HARDER = 0.80, 0.5


class Practice:
    """What is known of a person's naming: items, groups, sessions for the gate of practising alone."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.groups: dict[str, Group] = {}
        self.answers: dict[str, list[list[float]]] = {}  # group → [score, difficulty] of the last first attempts
        self.sessions: list[list[float]] = []  # [helped, unaided share, accuracy] of the last ones since the last lock
        self.solo = False

    def know(self, item_id: str, group: str, b: float) -> Item:
        """The item's entry, made if new. Groups begin at ability 0."""
        if item_id not in self.items:
            self.items[item_id] = Item(group, b)
            if len(self.items) > KEPT:
                done = [k for k, v in self.items.items() if v.state == LEARNED and k != item_id]
                del self.items[max(done or [k for k in self.items if k != item_id], key=lambda k: self.items[k].due)]
        self.groups.setdefault(group, Group())
        return self.items[item_id]

    def state(self) -> dict[str, Any]:
        return {
            "items": {k: list(asdict(v).values()) for k, v in self.items.items()},
            "groups": {k: [v.theta, v.n] for k, v in self.groups.items()},
            "answers": self.answers, "sessions": self.sessions, "solo": self.solo,
        }  # fmt: skip

    @staticmethod
    def from_state(state: dict[str, Any]) -> Practice:
        out = Practice()
        out.items = {str(k): Item(*v) for k, v in state["items"].items()}
        out.groups = {str(k): Group(*v) for k, v in state["groups"].items()}
        out.answers, out.sessions, out.solo = state["answers"], state["sessions"], bool(state["solo"])
        return out


# -- what comes next ----------------------------------------------------------------------------------------------------


def decide(session: Session, mem: Practice, desk: Desk, catalogue: Catalogue, case_open: bool) -> None:
    """NEXT_ITEM, or HOLD with the reason why nothing may come."""
    cause = guard.obstacle(session, desk, case_open)
    if cause is not None:
        session.say(desk, "HOLD", {"cause": cause}, "THERAPIST", POLICY)
        return
    approved = {e.item_id: e for e in catalogue.entries("APHASIA_ITEM", "APHASIA", desk)}
    approved = {k: e for k, e in approved.items() if guard.inside(session.lock, {"group": e.tags.get("group", "")})}
    if not approved:
        session.say(desk, "HOLD", {"cause": "NOTHING_APPROVED"}, "THERAPIST", POLICY)
        return
    for k, e in approved.items():
        mem.groups.setdefault(_group(e), Group())
        if k in mem.items:
            mem.groups.setdefault(mem.items[k].group, Group())
    tired = _tired(session)
    if tired == "STOP":
        session.stopped = "FATIGUE"
        session.say(desk, "STOP", {}, "FATIGUE", POLICY)
        return
    item_id, reason = _easiest(session, mem, approved, desk.now) if tired else _choose(session, mem, approved, desk)
    _ask(session, mem, approved[item_id], "FATIGUE" if tired else reason, 0, desk)


def _choose(session: Session, mem: Practice, approved: dict[str, Entry], desk: Desk) -> tuple[str, str]:
    """Due LEARNED first, then ACTIVE, NEW only while the mix stays within 60-85 % predicted success: at most one for two others
    while any wait, so that a long list is begun early and not only when nothing waits (decision 0067).

    Repeats within a session come last, after what the session has not asked yet and after new items: right answers spread over
    sessions hold better than as many within one (Schuchard et al. 2020, Cognition 198:104216). The minutes between the three right
    answers are the least there may be. What was missed is not drilled on; it comes again in its turn.
    """
    known = {k: v for k, v in mem.items.items() if k in approved and v.state != NEW}
    last = session.own.get("asked", [None])[0]
    due = {k: v for k, v in known.items() if v.state == LEARNED and v.due <= desk.now and k != last}
    asked: list[int] = session.own.setdefault("new_and_others", [0, 0])  # of this session
    if due:
        asked[1] += 1
        return _of_group(session, mem, due, desk), "DUE"
    active = {k: v for k, v in known.items() if v.state == ACTIVE}
    waited = {k: v for k, v in active.items() if v.due <= desk.now and v.last < session.start}
    if waited and asked[0] * OTHERS_A_NEW > asked[1]:
        asked[1] += 1
        return _of_group(session, mem, waited, desk), "ACTIVE"
    fresh = {k: Item(_group(e), _b(e)) for k, e in approved.items() if k not in known}
    mix = [v for k, v in known.items() if v.state == ACTIVE or v.last >= session.start]
    new = _new(session, mem, mix, fresh, desk)
    if new is not None:
        asked[0] += 1
        return new, "NEW"
    if waited:
        asked[1] += 1
        return _of_group(session, mem, waited, desk), "ACTIVE"
    if known:
        others = {k: v for k, v in known.items() if k != last} or known
        best = min(others, key=lambda k: (-promise(mem.groups, others[k], desk.now), k))
        return best, "ACTIVE" if best in active else "DUE"
    return min(fresh, key=lambda k: (fresh[k].b, k)), "NEW"  # everything is too hard: the easiest there is


def _new(session: Session, mem: Practice, mix: list[Item], fresh: dict[str, Item], desk: Desk) -> str | None:
    """A new item whose entry leaves the predicted success of the mix within 60-85 %; of those the group's nearest its middle.

    The mix is what the session has asked and what is ACTIVE.
    """
    fits = {}
    for k, item in fresh.items():
        p = success(mem.groups, [*mix, item])
        before = success(mem.groups, mix)
        if p is not None and MIX[0] <= p <= MIX[1] and (before is None or before >= MIX[0]):
            fits[k] = item
    if not fits:
        return None
    group = mem_group(session, mem, fits, desk)
    mine = {k: v for k, v in fits.items() if v.group == group}
    aim = sum(MIX) / 2
    return min(mine, key=lambda k: (abs(p_correct(mem.groups[group].theta, mine[k].b) - aim), k))


def mem_group(session: Session, mem: Practice, found: dict[str, Item], desk: Desk) -> str:
    """The group that is furthest behind its share of the effort."""
    weights = guard.setting(desk, "APHASIA").get("group_weights") or {}
    shares = effort(mem.groups, [i for i in mem.items.values() if i.state != LEARNED] + list(found.values()),
                    weights if isinstance(weights, dict) else {})  # fmt: skip
    return furthest_behind(shares, session.own.get("asked_by_group", {}), sorted({i.group for i in found.values()}))


def _of_group(session: Session, mem: Practice, found: dict[str, Item], desk: Desk) -> str:
    """Of the group that is furthest behind, the item whose practice promises most."""
    group = mem_group(session, mem, found, desk)
    mine = (k for k in found if found[k].group == group)
    return min(mine, key=lambda k: (-promise(mem.groups, found[k], desk.now), k))


def _easiest(session: Session, mem: Practice, approved: dict[str, Entry], now: int) -> tuple[str, str]:
    """The easier block: the easier half of what waits in this session (of what is known, where less than ten wait), and of that
    the item whose practice promises most. So the block is easier and no detour. With nothing known yet, the easiest item there is.
    """
    pool = {k: v for k, v in mem.items.items() if k in approved} or {k: Item(_group(e), _b(e)) for k, e in approved.items()}
    waits = {k: v for k, v in pool.items() if v.last and v.due <= now and v.last < session.start}
    some = waits if len(waits) >= EASIER else pool
    p = {k: p_correct(mem.groups[v.group].theta, v.b) for k, v in some.items()}
    likely = sorted(p, key=lambda k: (-p[k], k))
    half = likely[: max(EASIER, len(likely) // 2)] if any(v.last for v in pool.values()) else likely[:1]
    return min(half, key=lambda k: (-promise(mem.groups, pool[k], now), k)), "FATIGUE"


def _ask(session: Session, mem: Practice, e: Entry, reason: str, cue: int, desk: Desk) -> None:
    params = {"item_id": e.item_id, "group": _group(e), "cue_level": cue}
    if cue == 0:
        counts = session.own.setdefault("asked_by_group", {})
        counts[_group(e)] = counts.get(_group(e), 0) + 1
    session.own["asked"] = [e.item_id, cue]
    session.pending = ["NEXT_ITEM", {k: str(v) for k, v in params.items()}, reason, None, {}]
    session.say(desk, "NEXT_ITEM", params, reason, POLICY)


def _group(e: Entry) -> str:
    return e.tags.get("group", "other")


def _b(e: Entry) -> float:
    try:
        return float(e.tags.get("difficulty", 0.0))
    except ValueError:
        return 0.0


# -- answers --------------------------------------------------------------------------------------------------------------


def answer(
    session: Session, mem: Practice, value: dict[str, Any], t: int, desk: Desk, catalogue: Catalogue, case_open: bool
) -> None:
    """ITEM_RESPONSE: learn from the first attempt of a trial, show a mistake, give the next cue or go on."""
    factors = value.get("factors") or {}
    item_id = value.get("item_id") or factors.get("item_id") or session.own.get("asked", [None])[0]
    if item_id is None or value.get("correct") is None:
        return
    cue = int(value.get("cue_level") or 0)
    key = f"{value.get('trial_id')}|{item_id}|{cue}"
    heard: list[str] = session.own.setdefault("heard", [])
    if key in heard:
        return  # told twice
    heard.append(key)
    del heard[:-20]
    entries = {e.item_id: e for e in catalogue.entries("APHASIA_ITEM", "APHASIA", desk)}
    entry = entries.get(item_id)
    group = factors.get("group") or (_group(entry) if entry is not None else "other")
    mem.know(item_id, group, _b(entry) if entry is not None else 0.0)
    right = bool(value["correct"])
    if session.own.get("trial") != f"{value.get('trial_id')}|{item_id}":
        session.own["trial"] = f"{value.get('trial_id')}|{item_id}"
        _first(session, mem, item_id, value, CREDIT[min(cue, LAST_CUE)] if right else 0.0, right and cue == 0, desk)
    if session.stopped is not None or session.ended:
        return
    if not right:
        error = value.get("error_type") or "UNRELATED"
        session.say(desk, "SHOW_ERROR", {"item_id": item_id, "error_type": error, "cue_level": cue}, "CUE", POLICY)
        if cue < LAST_CUE and entry is not None and guard.obstacle(session, desk, case_open) is None:
            _ask(session, mem, entry, "CUE", cue + 1, desk)
            return
    decide(session, mem, desk, catalogue, case_open)


def _first(
    session: Session, mem: Practice, item_id: str, value: dict[str, Any], score: float, unaided: bool, desk: Desk
) -> None:
    item = mem.items[item_id]
    likely = _likely(session, mem, item_id)
    mem.answers[item.group] = [*mem.answers.get(item.group, []), [score, round(item.b, 4)]][-ANSWERS_KEPT:]
    learn(mem.groups[item.group], item, score)
    item.answered(unaided, desk.now)
    row = [
        item.group,
        score,
        value.get("latency_ms"),
        value.get("helper_present"),
        value.get("unaided"),
        value.get("effort"),
        likely,
    ]
    session.own.setdefault("answers", []).append(row)


def _likely(session: Session, mem: Practice, item_id: str) -> float:
    """Predicted success of an item as the session found it: what is learned in a session does not make its items easier."""
    item = mem.items[item_id]
    theta = session.own.setdefault("ability", {}).setdefault(item.group, round(mem.groups[item.group].theta, 4))
    b = session.own.setdefault("difficulty", {}).setdefault(item_id, round(item.b, 4))
    return round(p_correct(theta, b), 4)


def _tired(session: Session) -> str:
    """'' = no, EASIER = an easier block, STOP = it did not help (programs.md 6). Judged after every ten answers."""
    rows = session.own.get("answers", [])
    if len(rows) < 2 * WINDOW:
        return ""
    since = session.own.get("tired_at")
    if since is not None and len(rows) < since + EASIER:
        return "EASIER"
    if since is None and len(rows) % WINDOW:
        return ""
    if not _worse(rows[:WINDOW], rows[-WINDOW:]):
        session.own["tired_at"] = None
        return ""
    if since is not None:
        return "STOP"
    session.own["tired_at"] = len(rows)
    return "EASIER"


def _worse(first: list[list[Any]], last: list[list[Any]]) -> bool:
    """20 points less accurate, and still 20 after what harder items take away; or half as slow again (decision 0067)."""
    right = [sum(r[1] for r in rows) / len(rows) for rows in (first, last)]
    known = all(len(r) > LIKELY for r in (*first, *last))  # not in a session begun under an earlier release
    harder = sum(r[LIKELY] for r in first) / len(first) - sum(r[LIKELY] for r in last) / len(last) if known else 0.0
    slow = [[r[2] for r in rows if r[2] is not None] for rows in (first, last)]
    slower = all(slow) and sum(slow[1]) / len(slow[1]) >= TIRED_LATENCY * sum(slow[0]) / len(slow[0])
    return right[1] <= right[0] - TIRED_ACCURACY - max(0.0, harder) + 1e-9 or slower


# -- the end of a session ---------------------------------------------------------------------------------------------------


def end(session: Session, mem: Practice, desk: Desk, catalogue: Catalogue) -> None:
    """The gate of practising alone, growth of the pool; SET_SOLO is the last word."""
    rows = session.own.get("answers", [])
    if session.stopped == "FATIGUE":
        session.flag(desk, "FATIGUE", answers=float(len(rows)))
    blocked = bool(guard.setting(desk, "APHASIA").get("solo_blocked"))
    if rows:
        accuracy = sum(r[1] for r in rows) / len(rows)
        helped = all(r[3] is not None for r in rows) and sum(bool(r[3]) for r in rows) > len(rows) / 2
        unaided = sum(r[4] is True for r in rows) / len(rows)
        mem.sessions = [*mem.sessions, [float(helped), unaided, accuracy]][-12:]
        _gate(session, mem, desk)
    if session.stopped is not None and session.stopped != "FATIGUE":
        return
    _grow(session, mem, desk, catalogue)
    allowed = mem.solo and not blocked
    session.say(desk, "SET_SOLO", {"allowed": str(allowed).lower()}, "SOLO_GATE", POLICY)


def _gate(session: Session, mem: Practice, desk: Desk) -> None:
    """Open after three helped sessions, 80 % begun unaided, 60 % right in them; locked again after two below 50 %."""
    last = mem.sessions[-2:]
    if mem.solo and len(last) == 2 and all(s[2] < RELOCK for s in last):
        mem.solo, mem.sessions = False, []
        session.flag(desk, "SOLO_RELOCKED", accuracy_before=last[0][2], accuracy=last[1][2])
        return
    helped = [s for s in mem.sessions if s[0]][-HELPED:]
    if not mem.solo and len(helped) == HELPED:
        mean = [sum(s[i] for s in helped) / HELPED for i in (1, 2)]
        mem.solo = mean[0] >= UNAIDED and mean[1] >= ACCURATE


def _grow(session: Session, mem: Practice, desk: Desk, catalogue: Catalogue) -> None:
    """More than 80 % of a group LEARNED: propose items a little harder than the person's ability; the clinician approves."""
    by_group: dict[str, list[str]] = {}
    for e in catalogue.entries("APHASIA_ITEM", "APHASIA", desk):
        by_group.setdefault(_group(e), []).append(e.item_id)
    for group, ids in sorted(by_group.items()):
        learned = sum(k in mem.items and mem.items[k].state == LEARNED for k in ids)
        if learned > GROWN * len(ids):
            aim = mem.groups.get(group, Group()).theta + HARDER
            session.say(desk, "PROPOSE_ITEMS", {"group": group, "difficulty": f"{aim:.2f}"}, "POOL_GROWTH", POLICY)
            session.flag(desk, "POOL_EXHAUSTED", learned=float(learned), items=float(len(ids)))


def summary(session: Session, mem: Practice, desk: Desk) -> dict[str, Any]:
    """Accuracy and effort by group, ability with its standard error, whether practising alone is allowed."""
    rows = session.own.get("answers", [])
    groups = sorted({r[0] for r in rows})
    rated = {g: [r[5] for r in rows if r[0] == g and r[5] is not None] for g in groups}
    ability = {g: eap([s for s, _ in mem.answers[g]], [b for _, b in mem.answers[g]]) for g in groups}
    return {
        "accuracy": {g: _mean([r[1] for r in rows if r[0] == g]) for g in groups},
        "effort": {g: _mean(v) for g, v in rated.items() if v},
        "ability": {g: round(a, 4) for g, (a, _) in ability.items()},
        "ability_se": {g: round(se, 4) for g, (_, se) in ability.items()},
        "solo_allowed": mem.solo and not guard.setting(desk, "APHASIA").get("solo_blocked"),
        "trials": len(rows),
    }


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)
