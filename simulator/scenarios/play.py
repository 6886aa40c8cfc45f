"""Playing a story: ordinary days, then what is told, as minutes of a life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator import life as lives
from simulator.life import DAY, DAY_MIN, HOME, MINUTE, OTHER, Flags, Life, Span
from simulator.scenarios.story import MOVES, Event, Story, instant

NEAR_MIN = 60  # what is told within an hour of a movement belongs to it: nothing else happens in between
FAR_SD = 2.5  # an undisturbed history has no day that looks like withdrawal by chance
PLANS, NOISE, FIXES, APPS = range(4)  # random streams of a day


@dataclass
class Played:
    """A life with what its devices say about it.

    Parameters
    ----------
    says_worn
        The watch's report about being worn, per minute.
    silent
        Minutes for which a topic has no rows, by topic.
    """

    life: Life
    says_worn: Flags
    silent: dict[str, Flags]
    noise: lives.Floats


def stream(seed: int, day_ms: int, kind: int) -> np.random.Generator:
    """The generator of one day and purpose: an event on one day changes no draw of another."""
    return np.random.default_rng([seed, day_ms // DAY, kind])


def play_story(story: Story, history: dict[str, Any], first: int, days: int, seed: int) -> Played:
    """Minutes of the whole time of a story; `history` as in base.yaml, `first` a local midnight (ms)."""
    life = lives.blank(first, days)
    worn = tuple(_clock(part) for part in history["worn"].split("-"))
    blocked = told_spans(story.events)
    plus = np.full(life.minutes, np.nan)
    for day in range(days):
        _ordinary(life, day, story.events, history, (worn[0], worn[1]), blocked, seed)
    life.intensity[:] = lives.intensity_of(life.steps)
    moves = sorted((e for e in story.events if set(e) & set(MOVES)), key=lambda e: instant(e["at"]))
    for event in moves:
        _move(life, event, plus)
    goes = [e for e in moves if "go" in e]
    for number, event in enumerate(goes):
        until = life.at(instant(goes[number + 1]["at"])) if number + 1 < len(goes) else life.minutes
        if event["go"] == "home":
            until = min(until, _end_of_span(life, life.at(instant(event["at"])), blocked))
        life.place[life.at(instant(event["at"])) : until] = HOME if event["go"] == "home" else OTHER
    for event in story.events:
        _switch_off(life, event)
    rest = float(history["rest_bpm"])
    life.pulse[:] = np.where(np.isnan(plus), rest + lives.REST_SLOPE * life.steps, rest + plus)
    says_worn = life.worn.copy()
    silent: dict[str, Flags] = {}
    for event in story.events:
        if "status" in event:
            _take_off(life, event, says_worn, silent)
    noise = np.concatenate([stream(seed, first + d * DAY, NOISE).normal(0.0, 4.0, DAY_MIN) for d in range(days)])
    return Played(life, says_worn, silent, noise)


def told_spans(events: list[Event]) -> list[tuple[int, int]]:
    """[from, to) in local ms in which only what is told happens: movements, joined over gaps of up to an hour,
    on to a search or message that follows within the hour."""
    spans: list[tuple[int, int]] = []
    told = [(instant(e["at"]), _length(e), bool(set(e) & set(MOVES))) for e in events if "at" in e]
    for start, length, moves in sorted(told):
        if spans and start - spans[-1][1] <= NEAR_MIN * MINUTE:
            spans[-1] = (spans[-1][0], max(spans[-1][1], start + length))
        elif moves:
            spans.append((start, start + length))
    return spans


def _length(event: Event) -> int:
    return max([0, *(int(event[v]["min"]) for v in ("walk", "run", "still", "hr_plus") if v in event)]) * MINUTE


def _clock(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _end_of_span(life: Life, at: int, blocked: list[tuple[int, int]]) -> int:
    ends = [(to - life.first) // MINUTE for frm, to in blocked if (frm - life.first) // MINUTE <= at]
    return max([at, *(int(e) for e in ends)])


def _covers(event: Event, day_ms: int) -> bool:
    return "from" in event and instant(event["from"]) <= day_ms < instant(event["from"]) + int(event["days"]) * DAY


def _ordinary(
    life: Life,
    day: int,
    events: list[Event],
    history: dict[str, Any],
    worn: Span,
    blocked: list[tuple[int, int]],
    seed: int,
) -> None:
    day_ms = life.first + day * DAY
    rng = stream(seed, day_ms, PLANS)
    usual = history["outings_day"]
    outings = int(usual[day % len(usual)])
    mean, sd = history["steps_day"]["mean"], history["steps_day"]["sd"]
    steps = float(np.clip(rng.normal(mean, sd), mean - FAR_SD * sd, mean + FAR_SD * sd))
    for event in events:
        if _covers(event, day_ms):
            outings = int(event.get("outings", outings))
            steps *= float(event.get("steps_factor", 1.0))
            life.games[day] *= float(event.get("game_factor", 1.0))
    told = 0
    for event in events:
        if "at" in event and day_ms <= instant(event["at"]) < day_ms + DAY:
            told += sum(int(event[v]["min"]) * int(event[v]["steps_min"]) for v in ("walk", "run") if v in event)
    spans = [((a - day_ms) // MINUTE, (b - day_ms) // MINUTE) for a, b in blocked if a < day_ms + DAY and b > day_ms]
    here = slice(day * DAY_MIN, (day + 1) * DAY_MIN)
    budget = max(round(steps) - told, 1_000)
    life.steps[here], life.place[here] = lives.ordinary_day(rng, outings, budget, spans, worn)
    life.worn[here][worn[0] : worn[1]] = True
    for frm, to in spans:
        life.quiet[here][max(frm, 0) : to] = True


def _move(life: Life, event: Event, plus: lives.Floats) -> None:
    start = life.at(instant(event["at"]))
    for verb in ("walk", "run", "still", "hr_plus"):
        if verb not in event:
            continue
        what = event[verb]
        span = slice(start, start + int(what["min"]))
        if verb == "hr_plus":
            plus[span] = float(what["bpm"])
            continue
        steps = 0 if verb == "still" else int(what["steps_min"])
        life.steps[span] = steps
        life.intensity[span] = int(what.get("intensity", lives.intensity_of(np.array([steps], np.int16))[0]))
        plus[span] = float(what["hr_plus"]) if "hr_plus" in what else np.nan


def _switch_off(life: Life, event: Event) -> None:
    if "off" not in event:
        return
    start = life.at(instant(event["from"]))
    span = slice(start, start + int(event["days"]) * DAY_MIN)
    for device in event["off"]:
        if device == "PHONE":
            life.phone[span] = False
        elif device == "WATCH":
            life.watch[span] = False
            life.worn[span] = False


def _take_off(life: Life, event: Event, says_worn: Flags, silent: dict[str, Flags]) -> None:
    """The watch reports `worn` until the day is over; topics of `no` have no rows from their hour to midnight."""
    at = life.at(instant(event["at"]))
    midnight = (at // DAY_MIN + 1) * DAY_MIN
    says_worn[at:midnight] &= event["status"]["worn"] == "YES"
    for phrase in event.get("no", []):
        topic, _, clock = phrase.partition(" from ")
        gone = silent.setdefault(topic, np.zeros(life.minutes, bool))
        gone[at // DAY_MIN * DAY_MIN + _clock(clock) : midnight] = True
