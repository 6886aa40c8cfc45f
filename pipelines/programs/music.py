"""Music during exposure: which fragment lets the pulse fall more than silence does (programs.md 3).

A pulse falls by itself; so every fifth slot or so is silent, drawn at random, and a fragment is judged against the person's own
silent slots at the same excess over rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.gate.desk import Desk
from pipelines.learning import factor_effects as fe
from pipelines.programs import evidence, guard
from pipelines.programs.catalogue import Catalogue
from pipelines.programs.session import CONSOLIDATE, Session, pick
from pipelines.trial import draw

POLICY = "music-1"
EDGE_MS = 10_000  # heart rate at the beginning and at the end of a slot
LONGEST_MS = 180_000
BLOCK, SILENT = 10, 2  # of ten slots two are silent, at random places: 20 %
MAX_SHARE, SHARE_FROM = 0.6, 5
PLAYS, SILENCES = 5, 5  # before any claim
KEEP = 0.98
FAVOURITE = 0.5  # prior, in standard deviations
FADE, FADE_SESSIONS = (1.0, 0.2), 4
KEPT = 240
DRAWS = 200
Slot = list[Any]  # [token or None, excess over rest, fall of the pulse]


def music_share(session_number: int) -> float:
    """P(music) of the n-th consolidation session (0, 1 …): from 1.0 to 0.2 over four.

    Examples
    --------
    >>> [round(music_share(i), 2) for i in range(5)]
    [1.0, 0.73, 0.47, 0.2, 0.2]
    """
    step = (FADE[0] - FADE[1]) / (FADE_SESSIONS - 1)
    return max(FADE[1], FADE[0] - step * session_number)


def slot_event(session: Session, kind: str, value: dict[str, Any], t: int) -> bool:
    """Take SLOT_START or SLOT_END; True if a slot has just ended. The same told twice counts once."""
    own = _own(session)
    if kind == "SLOT_START":
        if not any(abs(s[0] - t) < 5_000 for s in own["slots"]):
            own["slots"].append([t, None, value.get("track_token")])
            own["slots"].sort(key=lambda s: s[0])
        return False
    begun = [s for s in own["slots"] if s[0] < t and s[1] is None]
    if not begun:
        return False
    slot = begun[-1]
    slot[1] = t
    slot[2] = slot[2] if slot[2] is not None else value.get("track_token")
    return True


def playing(session: Session, a: int, b: int) -> bool:
    """Whether a fragment was played in [a, b)."""
    slots = session.own.get("music", {}).get("slots", [])
    return any(s[2] is not None and s[0] < b and (s[1] is None or s[1] > a) for s in slots)


def slots_of(session: Session) -> list[Slot]:
    """Slots of an open session with known heart rate at both ends."""
    out: list[Slot] = []
    rest = session.resting()
    for a, b, token in session.own.get("music", {}).get("slots", []):
        if b is None or not 2 * EDGE_MS <= b - a <= LONGEST_MS or rest is None:
            continue
        first, last = ((x, x + EDGE_MS) for x in (a, b - EDGE_MS))
        if session.heart.lost_s(*first) > 5 or session.heart.lost_s(*last) > 5:
            continue
        begin, end = session.heart.average(*first), session.heart.average(*last)
        if begin is not None and end is not None:
            out.append([token, round(begin - rest, 3), round(begin - end, 3)])
    return out


def decide(session: Session, memory: dict[str, Any], desk: Desk, catalogue: Catalogue, case_open: bool) -> None:
    """PLAY a fragment or SILENCE, for the next slot."""
    if guard.obstacle(session, desk, case_open) is not None:
        session.say(desk, "SILENCE", {}, "THERAPIST", POLICY)
        return
    own = _own(session)
    tracks = [e.tags.get("track_token", e.item_id) for e in catalogue.entries("TRACK", session.program, desk)]
    free = [k for k in tracks if not _too_often(own, k)]
    silence = _silence(session, memory, own) if free else 1.0
    u = session.draw(desk, POLICY)
    own["n"] += 1
    if u < silence:
        own["silent"] += 1
        session.say(desk, "SILENCE", {}, "CONTROL_SLOT", POLICY, silence)
        return
    p = _thompson(session, memory, desk, free)
    i = pick((u - silence) / (1 - silence), p)
    own["plays"][free[i]] = own["plays"].get(free[i], 0) + 1
    session.say(desk, "PLAY", {"track_token": free[i]}, "CALMING", POLICY, (1 - silence) * p[i])


def _own(session: Session) -> dict[str, Any]:
    own: dict[str, Any] = session.own.setdefault("music", {"slots": [], "n": 0, "silent": 0, "plays": {}})
    return own


def _silence(session: Session, memory: dict[str, Any], own: dict[str, Any]) -> float:
    """Probability of silence: in each block of ten two, whatever came before in the block; fading in CONSOLIDATE."""
    if session.stage == CONSOLIDATE:
        return 1 - music_share(max(0, memory["consolidated"] - 1))
    at = own["n"] % BLOCK
    if at == 0:
        own["silent"] = 0
    return max(0.0, (SILENT - int(own["silent"])) / (BLOCK - int(at)))


def _too_often(own: dict[str, Any], token: str) -> bool:
    slots, plays = int(own["n"]) + 1, int(own["plays"].get(token, 0)) + 1
    return slots >= SHARE_FROM and plays > MAX_SHARE * slots


def _thompson(session: Session, memory: dict[str, Any], desk: Desk, free: list[str]) -> list[float]:
    """Share of posterior draws in which each free fragment lets the pulse fall most; newer slots weigh more."""
    slots = [*memory["slots"], *slots_of(session)]
    favourites = guard.setting(desk, session.program).get("favourite_tracks") or []
    found, tokens = _fit(slots, free, KEEP, favourites if isinstance(favourites, list) else [])
    x = np.zeros((len(free), len(found.mean)))
    for i, token in enumerate(free):
        x[i, found.layout.place("track", token)[0]] = 1
    normals = draw.normals(desk.settings.study_key, session.parts(desk, POLICY), DRAWS, len(found.mean))
    prior = np.array([FAVOURITE * fe.EFFECT_SD * (t in tokens) for t in free])
    return [float(p) for p in fe.shares(found.draws(x, normals) + prior, lowest=False)]


def _fit(slots: list[Slot], also: list[str], keep: float, favourites: list[str]) -> tuple[fe.Fit, list[str]]:
    """Fall = own + slope x excess + fragment; a favourite's prior mean is taken off before and given back by the caller."""
    tokens = sorted({*also, *(s[0] for s in slots if s[0] is not None)})
    layout = fe.Layout({"track": tokens}, {"excess": 0.3})
    x = np.array([layout.row({"track": s[0]} if s[0] is not None else {}, {"excess": s[1]}) for s in slots])
    x = x.reshape(len(slots), 2 + len(tokens))
    y = np.array([s[2] - (FAVOURITE * fe.EFFECT_SD if s[0] in favourites else 0.0) for s in slots], np.float64)
    return fe.fit(layout, x, y, weights=fe.discount(len(slots), keep)), favourites


def attribute(session: Session, memory: dict[str, Any], desk: Desk) -> None:
    """`therapy.attribution` HR_DROP of every fragment played: extra fall against silence, all slots alike."""
    slots = [*memory["slots"], *slots_of(session)]
    silent = sum(s[0] is None for s in slots)
    tokens = sorted({s[0] for s in slots if s[0] is not None})
    if not tokens:
        return
    found, _ = _fit(slots, tokens, 1.0, [])
    for token in tokens:
        plays = sum(s[0] == token for s in slots)
        c = np.zeros(len(found.mean))
        c[found.layout.place("track", token)[0]] = 1
        e = found.contrast(c)
        calming = plays >= PLAYS and silent >= SILENCES and e.low > 0
        told = fe.Effect(e.effect, e.low, e.high, e.p_gt, plays + silent)
        evidence.tell(session, desk, "HR_DROP", "track", token, told, claim="LINKED" if calming else "NOT_DETERMINED")


def close(session: Session, memory: dict[str, Any]) -> None:
    memory["slots"] = [*memory["slots"], *slots_of(session)][-KEPT:]
