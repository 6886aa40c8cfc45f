"""The program sessions of g12-g15: a simulated patient of the told truth plays them against the machine, and is recorded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from simulator import patients
from simulator.devices import CLINIC
from simulator.life import MINUTE
from simulator.rows import Log, Record, event_ids
from simulator.scenarios.story import ScenarioError, instant

HEART, REST_MS = "device.heart_rate", 3 * MINUTE
COLOURS, TYPES = ("BLACK", "BROWN", "GREY", "WHITE"), ("HOUSE", "JUMPING", "ORB", "TARANTULA")
ANSWERS, DAYS = 45, 86_400_000
TAUGHT = {"kitchen": 20, "family": 16}
VALID = ("2026-04-01", "2027-03-31")


def add(log: Log, program: dict[str, Any], user: str, seed: int, tz_offset_min: int) -> None:
    """Add the sessions to the log of ordinary days; while a session runs the strap stands in for the watch.

    Raises
    ------
    ScenarioError
        A program that nobody plays.
    """
    packs = catalogue(program)
    log["content.pack"] = [*log.get("content.pack", []), *packs]
    first = min(instant(f"{e.get('at', e.get('from'))}"[:5]) for e in program["events"]) - tz_offset_min * MINUTE
    control: Log = {  # the person's earlier days say nothing to the program
        t: [{**r, "event_time": max(r["event_time"], first), "ingest_time": max(r["ingest_time"], first)} for r in log[t]]
        for t in ("clinical.consent", "clinical.profile")
        if t in log
    }
    player = patients.Player(user, {**control, "content.pack": packs}, tz_offset_min=tz_offset_min)
    play(player, program, seed, tz_offset_min)
    made = player.recorded()
    spans = spans_of(made)
    log[HEART] = [r for r in log.get(HEART, []) if not any(a <= r["event_time"] < b for a, b in spans)]
    for topic, records in made.items():
        log[topic] = [*log.get(topic, []), *records]


def spans_of(made: Log) -> list[tuple[int, int]]:
    """[from, to) of each session, by event time."""
    by_session: dict[str, list[int]] = {}
    for r in made.get("therapy.event", []):
        by_session.setdefault(r["value"]["session_id"], []).append(r["event_time"])
    return [(min(v) - REST_MS, max(v) + MINUTE) for v in by_session.values()]


def play(player: patients.Player, program: dict[str, Any], seed: int, tz: int) -> None:
    """All sessions of a scenario."""
    name, truth = program["program"], program["truth"]
    if name == "APHASIA":
        _naming(player, program, seed, tz)
        return
    if name == "SPARX":
        _game(player, program, seed, tz)
        return
    for event in program["events"]:
        at = instant(event["at"]) - tz * MINUTE
        if "slots" in event:
            patients.slots(player, truth, session=event["session"], at=at, count=event["slots"], seed=seed)
        elif name == "SPIDER":
            patients.exposure(
                player, truth, session=event["session"], at=at, trials=event["trials"], seed=seed, rest_s=event["rest_s"],
                stage=event["stage"],
            )  # fmt: skip
        elif name == "SPEECH":
            patients.speech(player, truth, session=event["session"], at=at, trials=event["trials"], seed=seed)
        else:
            raise ScenarioError(f"nobody plays {name}")


def _naming(player: patients.Player, program: dict[str, Any], seed: int, tz: int) -> None:
    """Six helped sessions, four alone, a pause in which much is lost, two more."""
    first, *later = program["events"]
    difficulties = {i: (g, b) for i, g, b in items(program)}
    learner = patients.Learner(program["truth"]["theta"], np.random.default_rng(seed))
    solo = int(str(first["then"]).split()[0])
    begin = instant(f"{first['from']} 10:00") - tz * MINUTE
    for i in range(first["sessions"] + solo):
        patients.naming(
            player, learner, difficulties, session=f"ap{i + 1}", at=begin + i * DAYS, answers=ANSWERS,
            helper=i < first["sessions"], teach=False,
        )  # fmt: skip
    learner.loss = float(program["truth"]["loss_after_pause"])
    for event in later:
        at = instant(event["at"]) - tz * MINUTE
        patients.naming(
            player, learner, difficulties, session=event["session"], at=at, answers=ANSWERS, helper=False, teach=False
        )


def _game(player: patients.Player, program: dict[str, Any], seed: int, tz: int) -> None:
    """Seven modules; the mood rises more after a message in the style that the player likes."""
    rng = np.random.default_rng(seed)
    for i, event in enumerate(program["events"]):
        at = instant(event["at"]) - tz * MINUTE
        before = float(rng.integers(3, 7))

        def after(style: str | None, before: float = before) -> float:
            return min(10.0, before + (2.0 if style == program["truth"]["likes"] else 0.0) + float(rng.integers(0, 2)))

        patients.game(player, session=event["session"], at=at, module=i + 1, mood_before=before, mood_after=after)


def items(program: dict[str, Any]) -> list[tuple[str, str, float]]:
    """(item_id, group, difficulty) of the naming items of the scenario: spread about the person's ability."""
    out = []
    for group, n in TAUGHT.items():
        theta = float(program["truth"]["theta"][group])
        out += [(f"{group}_{i:02}", group, round(theta - 1.6 + 2.2 * i / (n - 1), 2)) for i in range(n)]
    return out


def catalogue(program: dict[str, Any]) -> list[Record]:
    """content.pack records of what the scenario may show."""
    entries: list[tuple[str, str, dict[str, str]]] = []
    if "catalogue" in program:
        n = program["catalogue"]
        for c, t, s in itertools.product(COLOURS[: n["colour"]], TYPES[: n["type"]], range(n["size"])):
            tags = {"colour": c, "type": t, "size": str(s + 1), "level": str(s)}
            entries.append((f"{c}_{t}_{s + 1}".lower(), "STIMULUS", tags))
    for key in program["truth"]:
        if key.endswith("_extra_drop"):
            token = key.removesuffix("_extra_drop")
            entries.append((token, "TRACK", {"track_token": token}))
    if program["program"] == "APHASIA":
        entries += [(i, "APHASIA_ITEM", {"group": g, "difficulty": str(b)}) for i, g, b in items(program)]
    start, end = (instant(v) for v in VALID)
    out: list[Record] = []
    for name, kind, tags in entries:
        value = {
            "pack_id": "fixture", "pack_version": "1.0", "item_id": name, "locale": "en-GB", "kind": kind, "text_id": name,
            "tags": tags, "author": "dr_a", "reviewer": "dr_b", "evidence_ref": "fixture", "valid_from": start, "valid_to": end,
            "signature": "demo",
        }  # fmt: skip
        user = f"_content/fixture/{name}/en-GB"
        out.append({
            "user": user, "event_id": event_ids("content.pack", user, CLINIC, [0])[0],
            "event_time": start, "ingest_time": start, "tz_offset_min": 0,
            "source_id": CLINIC, "seq": 0, "value": value,
        })  # fmt: skip
    return out
