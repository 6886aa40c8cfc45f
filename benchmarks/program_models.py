"""Simulated patients of known truth against one room of the programs each, on a desk without the rest of the machine.

Parts of `python -m benchmarks.programs`: spider, music, speaking, messages, naming, pnt. Made-up people.
"""

from __future__ import annotations

import csv
import functools
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from content.library import Library
from pipelines.context.calendar import DayClock
from pipelines.gate.desk import Desk
from pipelines.learning import ability
from pipelines.learning.lin_ts import LinTS
from pipelines.programs import aphasia, evidence, music
from pipelines.programs.aphasia import Practice
from pipelines.programs.catalogue import Catalogue, Entry
from pipelines.programs.exposure import LADDER
from pipelines.programs.ladder import Arousal
from pipelines.programs.memory import Memory
from pipelines.programs.session import Session
from pipelines.programs.speaking import LADDER as SCENES
from pipelines.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
NOON = 1_779_278_400_000  # 2026-05-20, 12:00 UTC
DAY = 86_400_000
Line = tuple[str, float, str, float]  # what, figure, <= or >=, threshold


@functools.cache
def catalogue() -> Catalogue:
    return Catalogue(Library.build(Settings().locales))


def desk_of(user: str) -> Desk:
    settings = Settings(study_data=True)
    desk = Desk(user, settings, catalogue().library, DayClock.first(NOON, 0))
    desk.now = desk.event_time = NOON
    return desk


def mean_of(values: Any) -> float:
    return statistics.fmean(float(v) for v in values)


# -- spider ---------------------------------------------------------------------------------------------------------------


def spider_patient(seed: int, truth: str) -> tuple[float, float, set[str], bool]:
    """(regret with both outcomes, of raw means, factors linked, whether the first entry stimulus avoids the driver)."""
    rng = np.random.default_rng(seed)
    desk, session, memory = desk_of(f"spider-{seed}"), Session("s", "SPIDER", NOON, NOON), Memory().of("SPIDER")
    entries = catalogue().entries("STIMULUS", "SPIDER", desk)
    shown = [e.factors("SPIDER") for e in entries]
    names = {f: sorted({s[f] for s in shown}) for f in shown[0]}
    effects = {f: dict.fromkeys(v, 0.0) for f, v in names.items()}
    if truth == "all":
        effects = {f: dict(zip(v, rng.normal(0, 4, len(v)), strict=True)) for f, v in names.items()}
    elif truth == "colour":
        effects["colour"] = {"BLACK": 14.0, "BROWN": 2.0, "GREY": 0.0, "WHITE": 0.0}
    true = np.array([sum(effects[f][v] for f, v in s.items()) for s in shown])
    LADDER.decide(session, memory, desk, catalogue(), False)
    seen: dict[int, list[float]] = {}
    for i in range(24):
        at = next(k for k, e in enumerate(entries) if e.item_id == session.pending[1]["item_id"])  # type: ignore[index]
        felt = 6 + true[at] - 0.4 * i
        y = felt + rng.normal(0, 5)
        suds = float(np.clip(30 + 4 * (felt - 6) + rng.normal(0, 20), 0, 100))
        seen.setdefault(at, []).append(y)
        row = {"f": shown[at], "trial": i, "session": 0, "previous": 0, "stage": "ASSESS", "music": 0, "distance": 2.0,
               "hr": None if rng.random() < 0.1 else y, "suds": suds}  # fmt: skip
        memory["rows"].append(row)
        LADDER.decide(session, memory, desk, catalogue(), False)
    arousal = Arousal(LADDER, session, memory["rows"], entries)
    best = int(arousal.draws(desk).mean(0).argmin())
    raw = min(seen, key=lambda k: statistics.fmean(seen[k]))
    linked = {a["value"]["factor"] for a in desk.out["therapy.attribution"] if a["value"]["claim"] == "LINKED"}
    entry = desk.out["therapy.command"][-1]["value"]["params"]
    return float(true[best] - true.min()), float(true[raw] - true.min()), linked, entry["colour"] != "BLACK"


def spider(n: int) -> Iterator[Line]:
    every = [spider_patient(s, "all") for s in range(n)]
    yield (
        f"spider: regret of the least-fear stimulus after 24 trials, bpm ({n} patients)",
        mean_of(e[0] for e in every),
        "<=",
        1.4,
    )
    yield "spider: the same by raw means, bpm", mean_of(e[1] for e in every), ">=", 0.0
    driven = [spider_patient(s, "colour") for s in range(n)]
    yield (
        "spider: patients in whom the colour that drives fear is named",
        mean_of("colour" in e[2] for e in driven),
        ">=",
        0.9,
    )
    yield "spider: first entry stimulus is not of the driving colour", mean_of(e[3] for e in driven), ">=", 0.9
    none = [spider_patient(s, "none") for s in range(n)]
    yield "spider: not determined where no property drives fear", mean_of(not e[2] for e in none), ">=", 0.9


# -- music ------------------------------------------------------------------------------------------------------------------

SLOTS = 120  # the evidence of two sessions of g14


def music_patient(seed: int) -> dict[str, str]:
    """Fragment → claim after two sessions of 60 slots; the first has a true extra fall of 2 bpm."""
    rng = np.random.default_rng(seed)
    desk, memory = desk_of(f"music-{seed}"), Memory().of("SPIDER")
    session = Session("s", "SPIDER", NOON, NOON)
    tokens = [e.tags["track_token"] for e in catalogue().entries("TRACK", "SPIDER", desk)][:2]
    only = Catalogue(catalogue().library)
    only.entries = lambda kind, program, d: [  # type: ignore[method-assign]
        e for e in catalogue().entries(kind, program, d) if e.tags.get("track_token") in tokens
    ]
    for i in range(SLOTS):
        if i == SLOTS // 2:
            session = Session("s2", "SPIDER", NOON, NOON)
        music.decide(session, memory, desk, only, False)
        token = desk.out["therapy.command"][-1]["value"]["params"].get("track_token")
        excess = 12 + rng.normal(0, 3)
        fall = 2.2 + 0.05 * (excess - 12) + (2.0 if token == tokens[0] else 0.0) + rng.normal(0, 3)
        memory["slots"].append([token, excess, fall])
    music.attribute(session, memory, desk)
    told = {a["value"]["level"]: a["value"]["claim"] for a in desk.out["therapy.attribution"]}
    return {"true": told.get(tokens[0], ""), "useless": told.get(tokens[1], "")}


def music_lines(n: int) -> Iterator[Line]:
    every = [music_patient(s) for s in range(n)]
    found = mean_of(e["true"] == "LINKED" for e in every)
    yield f"music: true extra fall of 2 bpm called calming, {SLOTS} slots ({n} patients)", found, ">=", 0.8
    yield "music: useless fragment called calming", mean_of(e["useless"] == "LINKED" for e in every), "<=", 0.05
    shares = [music.music_share(i) for i in range(4)]
    yield "music: share in the fourth consolidation session (first: 1.0)", shares[-1], "<=", 0.2


# -- speaking -------------------------------------------------------------------------------------------------------------------


def speaking_patient(seed: int, draw: bool, driven: bool = False) -> tuple[list[bool], bool]:
    """(whether each 90 % interval covers the truth, whether anything is linked) after 36 trials of four phases.

    `driven`: men listening drive fear before the speech by 12 bpm, mixed company by 3 (the truth of g13); then whether that is
    linked.
    """
    rng = np.random.default_rng(seed)
    desk, session, memory = desk_of(f"speech-{seed}"), Session("s", "SPEECH", NOON, NOON), Memory().of("SPEECH")
    names = {
        "count": ["0", "12", "24", "3", "48", "6"],
        "gender": ["MEN", "MIXED", "WOMEN"],
        "age": ["MIXED", "OLDER", "YOUNG"],
    }
    sd = (evidence.MAIN_SD, evidence.INTERACTION_SD) if draw else (0.0, 0.0)
    main = {(f, v): rng.normal(0, sd[0]) for f, vs in names.items() for v in vs}
    inter = {(f, v, p): rng.normal(0, sd[1]) for f, vs in names.items() for v in vs for p in evidence.PHASES}
    if driven:
        inter["gender", "MEN", "ANTICIPATION"], inter["gender", "MIXED", "ANTICIPATION"] = 12.0, 3.0
    SCENES.decide(session, memory, desk, catalogue(), False)
    rows = []
    for i in range(36):
        f = {k: session.pending[1][k] for k in names}  # type: ignore[index]
        shared = rng.normal(0, 2)
        phases = {
            p: 8 + sum(main[k, v] + inter[k, v, p] for k, v in f.items()) + shared + rng.normal(0, 4) - 0.1 * i
            for p in evidence.PHASES
        }
        rows.append(
            {
                "f": f,
                "trial": i,
                "session": 0,
                "previous": 0,
                "music": 0,
                "distance": 0.0,
                "phases": phases,
                "stage": "ASSESS",
            }
        )
        if i < 35:
            SCENES._balanced(session, memory, desk, catalogue().entries("STIMULUS", "SPEECH", desk))
    covered = []
    effects = evidence.phase_effects(names, rows)
    for (p, k, v), e in effects.items():
        true = {level: main[k, level] + inter[k, level, p] for level in names[k]}
        covered.append(e.low <= true[v] - statistics.fmean(true.values()) <= e.high)
    if driven:
        return covered, effects["ANTICIPATION", "gender", "MEN"].linked
    return covered, any(e.linked for e in effects.values())


def speaking_lines(n: int) -> Iterator[Line]:
    covered = [c for s in range(n) for c in speaking_patient(s, True)[0]]
    yield f"speaking: 90 % intervals that cover the truth ({n} patients)", mean_of(covered), ">=", 0.87
    yield "speaking: the same, not too wide", mean_of(covered), "<=", 0.93
    yield "speaking: patients with any false link", mean_of(speaking_patient(s, False)[1] for s in range(n)), "<=", 0.05
    found = mean_of(speaking_patient(s, False, True)[1] for s in range(n))
    yield "speaking: men who drive fear by 12 bpm before the speech are linked", found, ">=", 0.97


# -- messages --------------------------------------------------------------------------------------------------------------------


def messages_person(seed: int, lowest: float, highest: float, phase: int = 250) -> tuple[float, float, float]:
    """(share of the oracle's reward, of the oracle's under the same bounds, in the 60 decisions after the taste returned)."""
    rng = np.random.default_rng(seed)
    k, d = 4, 4
    tastes = rng.normal(0, 1, (2, k, d))
    model, got, most, bound, back = LinTS([str(i) for i in range(k)], d), 0.0, 0.0, 0.0, []
    top = min(highest, 1 - lowest * (k - 1))
    for part in range(4):
        for i in range(phase):
            x = np.r_[1.0, rng.normal(0, 1, d - 1)]
            mean = 1 / (1 + np.exp(-1.5 * tastes[part % 2] @ x))
            p = np.array(
                list(
                    model.probabilities(list(x), rng.standard_normal((200, k)), lowest=lowest, highest=highest).values()
                )
            )
            arm = int(rng.choice(k, p=p / p.sum()))
            model.learn_one(str(arm), list(x), float(rng.random() < mean[arm]))
            best = float(mean.max())
            limited = top * best + (1 - top) * float(mean.sum() - best) / (k - 1)
            got, most, bound = got + float(mean[arm]), most + best, bound + limited
            if part == 2 and i < 60:
                back.append(float(mean[arm]) / best)
    return got / most, got / bound, statistics.fmean(back)


def messages(n: int) -> Iterator[Line]:
    free = [messages_person(s, 0.0, 1.0) for s in range(n)]
    yield (
        f"messages: share of the oracle's reward, tastes A-B-A-B, no bounds ({n} people)",
        mean_of(f[0] for f in free),
        ">=",
        0.9,
    )
    yield "messages: the same in the 60 decisions after A returned", mean_of(f[2] for f in free), ">=", 0.85
    held = [messages_person(s, 0.1, 0.8) for s in range(n)]
    yield "messages: share of what any policy within [0.1, 0.8] can reach", mean_of(h[1] for h in held), ">=", 0.9
    yield (
        "messages: bounded, share of the unbounded oracle (not reachable: 4 arms, 0.1 each)",
        mean_of(h[0] for h in held),
        ">=",
        0.0,
    )


# -- naming ----------------------------------------------------------------------------------------------------------------------


ADAPTIVE, ROTATION = "ADAPTIVE", "ROTATION"
GROUPS = {"kitchen": 0.3, "family": -0.2, "clothes": 0.0}  # ability of the learner without any practice, logits


def bank(words: int) -> Catalogue:
    """An approved pool of so many words, a third in each group, difficulties the quantiles of N(0, 1)."""
    b = NormalDist().inv_cdf
    tags = [{"group": sorted(GROUPS)[i % 3], "difficulty": f"{b((i + 0.5) / words):.3f}"} for i in range(words)]
    out = [Entry(f"word-{i:03}", "APHASIA_ITEM", t, 0, 2 * NOON) for i, t in enumerate(tags)]
    only = Catalogue(catalogue().library)
    only.entries = lambda kind, program, desk: out  # type: ignore[method-assign]
    return only


def naming_person(
    seed: int,
    kind: Any,
    schedule: str,
    pool: Catalogue,
    days: Sequence[int],
    answers: int = 45,
    words: int | None = None,
) -> float:
    """Mean probability of a right answer over all words of the pool, seven days after the last session.

    Parameters
    ----------
    kind
        `simulator.patients.Learner` or `simulator.recall.Recaller`.
    schedule
        ADAPTIVE (the room) or ROTATION: every word once in random order, then again, each missed one with its cues not given.
    days
        Of the sessions, `answers` trials each; a trial = one word with all its cues.
    words
        Of the pool, how many random ones ROTATION uses; None = all.
    """
    learner, draw = kind(GROUPS, np.random.default_rng(seed)), np.random.default_rng([seed, 1])
    desk, mem = desk_of(f"naming-{seed}"), Practice()
    true = {
        e.item_id: (e.tags["group"], float(e.tags["difficulty"])) for e in pool.entries("APHASIA_ITEM", "APHASIA", desk)
    }
    mine = [str(k) for k in draw.permutation(sorted(true))[:words]]
    block: list[str] = []

    def name(item: str, cue: int) -> bool:
        group, b = true[item]
        right = bool(learner.rng.random() < learner.p(item, group, b - cue, desk.now))
        learner.practise(item, right and cue == 0, desk.now)
        desk.now = desk.event_time = desk.now + 9_000
        return right

    for day in days:
        desk.now = desk.event_time = NOON + day * DAY
        session = Session(f"s{day}", "APHASIA", desk.now, desk.now)
        if schedule == ROTATION:
            for _ in range(answers):
                block = block or [str(k) for k in draw.permutation(mine)]
                name(block.pop(), 0)
            continue
        aphasia.decide(session, mem, desk, pool, False)
        trials, i = 0, -1
        while True:
            i += 1
            asked = desk.out["therapy.command"][-1]["value"]
            if asked["action"] != "NEXT_ITEM":
                break
            item, cue = asked["params"]["item_id"], int(asked["params"]["cue_level"])
            trials += cue == 0
            if trials > answers:
                break
            right = name(item, cue)
            value = {
                "trial_id": f"{day}-{i - cue}",
                "item_id": item,
                "correct": right,
                "cue_level": cue,
                "error_type": "SEMANTIC",
            }
            aphasia.answer(session, mem, value, desk.now, desk, pool, False)
    later = NOON + (days[-1] + 7) * DAY
    return statistics.fmean(learner.p(i, g, b, later) for i, (g, b) in true.items())


def naming(n: int) -> Iterator[Line]:
    from simulator.patients import Learner
    from simulator.recall import Recaller

    few, small, large = max(1, n // 10), catalogue(), bank(200)
    weeks = [7 * (i // 4) + (0, 1, 3, 4)[i % 4] for i in range(40)]
    for kind, model in ((Recaller, "activation"), (Learner, "half-life")):
        fixed, mine = (
            mean_of(naming_person(s, kind, a, small, range(8)) for s in range(n)) for a in (ROTATION, ADAPTIVE)
        )
        yield (
            f"naming, {model}: rotation of 30 words, 8 daily sessions of 45, after 7 days ({n} learners)",
            fixed,
            ">=",
            0.0,
        )
        yield f"naming, {model}: the room less that rotation", mine - fixed, ">=", 0.001
        # the arms of NCT05653466: 200 words adaptive, 200 in rotation, 40 in rotation; here four sessions a week for ten weeks
        arms = ((ROTATION, None), (ROTATION, 40), (ADAPTIVE, None))
        every, forty, mine = (
            mean_of(naming_person(s, kind, a, large, weeks, 90, w) for s in range(few)) for a, w in arms
        )
        yield (
            f"naming, {model}: rotation of 200 words, 40 sessions of 90 in 10 weeks, after 7 days ({few} learners)",
            every,
            ">=",
            0.0,
        )
        yield f"naming, {model}: rotation of 40 of them", forty, ">=", 0.0
        yield f"naming, {model}: the room less the rotation of 200", mine - every, ">=", 0.001
        yield f"naming, {model}: the room less the rotation of 40", mine - forty, ">=", 0.001


def pnt(n: int) -> Iterator[Line]:
    folder = DATA / "aphasia"
    if not folder.is_dir():
        print(f"pnt: left out, {folder.name} is not there")
        return
    rows = list(csv.DictReader((folder / "pnt_cat30_sessions.csv").open()))
    items = [float(r["Item.Difficulty"]) for r in csv.DictReader((folder / "pnt_item_difficulty.csv").open())]
    off, error, wrong, steps = 0.0, 0.0, 0, 0
    for who in sorted({r["examinee"] for r in rows}):
        mine = sorted((r for r in rows if r["examinee"] == who), key=lambda r: int(r["order"]))
        left, theta, scores, bs = list(items), 0.0, [], []
        for r in mine:
            b = float(r["obs_itemDifficulty"])
            least = left[ability.most_informative(theta, left)]
            wrong += abs(abs(least - theta) - abs(b - theta)) > 1e-3
            left.pop(ability.most_informative(b, left))
            scores.append(1 - float(r["obs_response"]))
            bs.append(b)
            theta, se = ability.eap(scores, bs, ability.PNT_DISCRIMINATION)
            off, error, steps = (
                max(off, abs(theta - float(r["obs_ability"]))),
                max(error, abs(se - float(r["obs_error"]))),
                steps + 1,
            )
    yield f"pnt: ability against the recorded one, largest difference ({steps} steps)", off, "<=", 0.001
    yield "pnt: standard error against the recorded one, largest difference", error, "<=", 0.001
    yield "pnt: steps whose item is not of least |difficulty - ability|", float(wrong), "<=", 0.0
