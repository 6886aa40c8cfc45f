"""The golden scenarios as data: reading the YAML, `like`, `change` and contrasts, until plain events are left."""

from __future__ import annotations

import copy
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from simulator.life import MINUTE
from simulator.scenarios import lives

FOLDER = Path(__file__).parent
YEAR = 2026
Event = dict[str, Any]
MOVES = ("walk", "run", "still", "hr_plus", "go")
VERBS = {
    *MOVES,
    *("search", "source", "chat", "lang", "status", "off", "steps_factor", "outings", "game_factor"),
    *("consent", "profile", "record", "arrives", "no"),
}
WHEN = {"at", "from", "days"}
CHANGES = {"status", "no", "replace_from", "run", "then_walk", "arrives", "search_at", "consent"}
KEYS = {
    *("like", "events", "events_add", "change", "without", "profile_add", "consents_replace", "consents_add"),
    *("expect", "never", "contrast"),
}
PROGRAM_KEYS = {"program", "truth", "catalogue"}


PROGRAMS: dict[str, Any] = {  # a program by its name: one of the golden sessions, or two weeks of the game
    "spider": "g12",
    "speech": "g13",
    "aphasia": "g15",
    "sparx": {
        "program": "SPARX",
        "truth": {"likes": "WARM_SHORT"},
        "events": [{"at": f"05-{day:02} 17:00", "session": f"sx{i + 1}"} for i, day in enumerate((7, 8, 10, 11, 13, 16, 17))],
    },
}


class ScenarioError(ValueError):
    """The scenario cannot be generated; one sentence says why."""


class _Loader(yaml.SafeLoader):
    """YAML whose only booleans are true and false: `no`, `off` and `ON` are words of the scenarios."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


@dataclass
class Story:
    """A scenario with everything resolved: what the generator plays.

    Parameters
    ----------
    events
        In the verbs of scenarios.md; `at`/`from` are still texts.
    late
        `arrives` of whole topics: {topics, span, at}.
    """

    name: str
    events: list[Event]
    consents: dict[str, dict[str, Any]]
    profile: dict[str, Any] | None
    late: list[dict[str, Any]] = field(default_factory=list)
    expect: list[dict[str, Any]] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    program: dict[str, Any] = field(default_factory=dict)
    contrast: dict[str, Any] = field(default_factory=dict)


@cache
def _read() -> dict[str, Any]:
    out: dict[str, Any] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        if path.stem == "base":
            data = {"base": data}
        out.update(data)
    return out


def raw(name: str) -> dict[str, Any]:
    """A scenario as written (a copy); `base` is the common part, `lives` (eight weeks) is made by its module.

    Raises
    ------
    ScenarioError
        No scenario of that name.
    """
    data = _read()
    if name == "lives":
        return lives.story()
    if name in PROGRAMS:
        known = PROGRAMS[name]
        return copy.deepcopy(data[known] if isinstance(known, str) else known)
    if name not in data:
        raise ScenarioError(f"no scenario {name!r}; there are {', '.join(names())}")
    found: dict[str, Any] = copy.deepcopy(data[name])
    return found


def split(name: str) -> tuple[str, str | None]:
    """(scenario, contrast): `g7_without_profile_add` is scenario g7 in its contrast `without_profile_add`."""
    data = _read()
    number, _, contrast = name.partition("_")
    if name not in data and contrast in data.get(number, {}).get("contrast", {}):
        return number, contrast
    return name, None


def names() -> list[str]:
    """Names of all scenarios in the order of their numbers, variants and contrasts after their original, no `base`."""
    data = _read()
    plain = [n for n in data if n != "base"]
    contrasts = [f"{n}_{c}" for n in plain for c in data[n].get("contrast", {})]
    return sorted(plain + contrasts, key=lambda n: (int(n[1:].split("_")[0]), n))


def needs(name: str) -> str | None:
    """What is missing to generate a scenario, None = nothing."""
    raw(split(name)[0])
    return None


def resolve(name: str, contrast: str | None = None) -> Story:
    """The story behind a name, optionally its named contrast.

    Raises
    ------
    ScenarioError
        Unknown name, contrast or verb.
    """
    if contrast is None:
        name, contrast = split(name)
    program: dict[str, Any] = {}
    if name == "base":
        data: dict[str, Any] = {}
    else:
        data = raw(name)
        if PROGRAM_KEYS & set(data):  # its sessions are played by `simulator.scenarios.sessions`
            program = {k: data.pop(k) for k in (*PROGRAM_KEYS, "events") if k in data}
        _known(name, data, KEYS)
    base = raw("base")
    if "like" in data:
        story = resolve(data["like"])
        story.name, story.contrast = name, {}
        story.expect, story.never = [], []
    else:
        story = Story(name, [], base["consents"], base["profile"], program=program)
    story.events += data.get("events", []) + data.get("events_add", [])
    story.expect, story.never = data.get("expect", []), data.get("never", [])
    if contrast is not None:  # what the scenario promises is not what its contrast shows
        story.expect, story.never = [], []
    story.contrast = data.get("contrast", {})
    for consent_id in data.get("without", []):
        del story.consents[consent_id]
    for consent_id, fields in data.get("consents_replace", {}).items():
        story.consents[consent_id] |= fields
    story.consents |= data.get("consents_add", {})
    add_profile(story, data.get("profile_add", {}))
    _change(story, data.get("change", {}))
    if contrast is not None:
        if contrast not in story.contrast:
            raise ScenarioError(f"scenario {name} has no contrast {contrast!r}; it has {sorted(story.contrast)}")
        _contrast(story, contrast)
    check_events(name, story.events)
    return story


def check_events(name: str, events: list[Event]) -> None:
    """Raise ScenarioError on a verb that the generator does not play."""
    for event in events:
        _known(name, event, VERBS | WHEN)
        if ("at" in event) == ("from" in event):
            raise ScenarioError(f"scenario {name}: an event needs either 'at' or 'from'")


def add_profile(story: Story, fields: Mapping[str, Any]) -> None:
    """Merge fields into the profile: lists grow, records merge, the rest is replaced."""
    if story.profile is None:
        return
    for key, item in fields.items():
        old = story.profile.get(key)
        if isinstance(old, list):
            story.profile[key] = old + item
        elif isinstance(old, dict):
            story.profile[key] = old | item
        else:
            story.profile[key] = copy.deepcopy(item)


def _known(name: str, data: Mapping[str, Any], allowed: set[str]) -> None:
    unknown = sorted(set(map(str, data)) - allowed)
    if unknown:
        raise ScenarioError(f"scenario {name}: nothing is known about {', '.join(unknown)}")


def _change(story: Story, change: dict[str, Any]) -> None:
    _known(story.name, change, CHANGES)
    if "replace_from" in change:
        _replace_from(story, change)
    if "search_at" in change:
        for event in story.events:
            if "search" in event:
                event["at"] = change["search_at"]
    if "status" in change:
        status = dict(change["status"])
        story.events.append({"at": status.pop("at"), "status": status, "no": change.get("no", [])})
    if "consent" in change:
        consent = dict(change["consent"])
        story.events.append({"at": consent.pop("at"), "consent": consent})
    if "arrives" in change:
        story.late.append(change["arrives"])


def _replace_from(story: Story, change: dict[str, Any]) -> None:
    """From that instant on other movements: the run, then the walk, which leads home; searches stay."""
    start = instant(change["replace_from"])
    kept = [e for e in story.events if "search" in e or instant(e["at"]) < start]
    for event in kept:
        if "still" in event:
            left = (start - instant(event["at"])) // MINUTE
            event["still"] = {"min": min(event["still"]["min"], left)}
    walk_at = start + change["run"]["min"] * MINUTE
    new: list[Event] = [{"at": text(start), "run": change["run"]}]
    new.append({"at": text(walk_at), "walk": {"steps_min": 100} | change["then_walk"], "go": "home"})
    story.events = sorted(kept + new, key=lambda e: instant(e["at"]))


def _contrast(story: Story, contrast: str) -> None:
    if contrast == "without_profile_add":
        story.profile = raw("base")["profile"]
    elif contrast == "direction_NEUTRAL":
        assert story.profile is not None
        for rule in story.profile["behaviour"]:
            rule["direction"] = "NEUTRAL"
    elif contrast == "only_game_factor":
        story.events = [{k: v for k, v in e.items() if k not in ("steps_factor", "outings")} for e in story.events]
    elif contrast == "guardian_permits_from_start":
        story.consents |= {f"{k}_guardian": c | {"grantor": "GUARDIAN"} for k, c in story.consents.items()}
    else:
        raise ScenarioError(f"scenario {story.name}: contrast {contrast!r} is not known to the generator")


def instant(when: str | dt.date) -> int:
    """'05-20 14:00', '05-20', '2026-05-20' or a date → ms, as if local time were UTC."""
    if isinstance(when, dt.date):
        day, clock = when, "00:00"
    else:
        date, _, clock = when.partition(" ")
        day = dt.date.fromisoformat(date if date.count("-") == 2 else f"{YEAR}-{date}")
    hour, minute = (int(x) for x in (clock or "00:00").split(":"))
    epoch_min = (day - dt.date(1970, 1, 1)).days * 1_440 + hour * 60 + minute
    return epoch_min * MINUTE


def text(local_ms: int) -> str:
    """The inverse of `instant` for whole minutes of the scenarios' year."""
    return (dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=local_ms)).strftime("%m-%d %H:%M")
