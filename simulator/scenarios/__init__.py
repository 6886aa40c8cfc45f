"""Golden scenarios g1-g17 by name: `build("g1")` gives the log of a made-up person.

The stories are YAML files beside this module, copied from the specification; `story` reads them, `play` turns them into
minutes, this module into records. Research software. Not a medical device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator import devices
from simulator.life import DAY, DAY_MIN, MINUTE
from simulator.rows import SYNC_MS, Block, Log, Record, dicts, event_ids, in_arrival_order
from simulator.scenarios import control, sessions
from simulator.scenarios.play import APPS, FIXES, Played, play_story, stream
from simulator.scenarios.story import (
    Event,
    ScenarioError,
    Story,
    add_profile,
    check_events,
    instant,
    names,
    needs,
    raw,
    resolve,
    split,
)

__all__ = ["ScenarioError", "Story", "build", "instant", "names", "needs", "raw", "resolve", "split"]

FIRST_DAY = "04-13"
LAST_DAY_ACUTE = "05-23"
LAST_DAY_LONG = "05-31"  # a second W2 would show by then
SEED = 1


def build(
    name: str,
    *,
    user: str | None = None,
    seed: int = SEED,
    tz_offset_min: int = 120,
    contrast: str | None = None,
    without: Sequence[str] = (),
    consents: Mapping[str, Mapping[str, Any]] | None = None,
    profile: bool = True,
    profile_add: Mapping[str, Any] | None = None,
    events: Sequence[Event] = (),
    first_day: str = FIRST_DAY,
    last_day: str | None = None,
) -> Log:
    """The log of a golden scenario: 37 ordinary days from 2026-04-13 on, then what is told, then ordinary days again.

    Parameters
    ----------
    name
        `g1` … `g17`, a variant (`g1_no_consent`), a contrast (`g7_without_profile_add`), or `base` (nothing happens).
    user
        Person; default: the scenario's name.
    seed
        Of the history's noise; the told events do not depend on it.
    tz_offset_min
        Minutes east of UTC; local times stay as told.
    contrast
        A contrast named by the scenario, e.g. `without_profile_add` of g7.
    without, consents
        consent_ids left out; further consents (fields as in base.yaml, defaults as there), also to replace one.
    profile, profile_add
        False = no clinician profile at all; further fields of it.
    events
        Further events in the verbs of the scenarios, e.g. `{"at": "05-21 10:00", "search": "zz-method"}`; also
        `record: {topic, value}` for a ready-made record, and `arrives: "05-21 12:00"` on any single record.
    first_day, last_day
        First simulated day, not before 04-13 (a day is the same whenever the log begins); last simulated day;
        default 05-23, for stories over days 05-31, for longer ones two days after what is told last.

    Returns
    -------
    Records by topic, in order of arrival; instants in ms UTC.

    Raises
    ------
    ScenarioError
        Unknown scenario, contrast or verb.
    """
    story = resolve(name, contrast)
    story.consents |= {k: dict(v) for k, v in (consents or {}).items()}
    for consent_id in without:
        story.consents.pop(consent_id)
    add_profile(story, profile_add or {})
    story.profile = story.profile if profile else None
    story.events = story.events + [dict(e) for e in events]
    check_events(name, story.events)
    base = raw("base")
    first = instant(first_day)
    long = any("days" in event for event in story.events)
    told = max((instant(event["at"]) for event in story.events if "at" in event), default=0) // DAY * DAY + 2 * DAY
    last = instant(last_day) if last_day else max(instant(LAST_DAY_LONG if long else LAST_DAY_ACUTE), told)
    days = (last - first) // DAY + 1
    history = base["history"]
    week = history["outings_day"]
    begin = (first - instant(FIRST_DAY)) // DAY % len(week)
    history["outings_day"] = week[begin:] + week[:begin]
    played = play_story(story, history, first, days, seed)
    who = user or name
    log: Log = defaultdict(list)
    for block in _device_blocks(played, base["person"], seed, tz_offset_min):
        log[block.topic] += dicts(block, who)
    for topic, records in control.records(story, base, who, tz_offset_min).items():
        log[topic] += records
    _single_records(log, story, who, tz_offset_min)
    for late in story.late:
        _arrive_late(log, late, tz_offset_min)
    if story.program:
        sessions.add(log, story.program, who, seed, tz_offset_min)
    return in_arrival_order(log)


def _device_blocks(played: Played, person: dict[str, Any], seed: int, offset: int) -> list[Block]:
    life = played.life
    places = np.array([[person[p]["latitude"], person[p]["longitude"]] for p in ("home", "other")])
    days = range(life.first, life.first + life.days * DAY, DAY)
    sessions = devices.usual_sessions([stream(seed, d, APPS) for d in days], life.games)
    blocks = [
        devices.heart_rows(life, played.noise, offset),
        devices.activity_rows(life, offset),
        *devices.status_rows(life, played.says_worn, offset),
        devices.fixes(life, places, [stream(seed, d, FIXES) for d in days], offset),
        devices.app_rows(life, *sessions, offset),
    ]
    # the counter of the minute streams is the minute
    return [b.take(~played.silent[b.topic][b.seq]) if b.topic in played.silent else b for b in blocks]


def _single_records(log: Log, story: Story, user: str, offset: int) -> None:
    for event in sorted((e for e in story.events if "at" in e), key=lambda e: instant(e["at"])):
        for topic, source, value in _told(event, story, offset):
            at = instant(event["at"]) - offset * MINUTE
            seq = len(log[topic])  # told records are few and come after the blocks: free numbers
            if topic in ("device.heart_rate", "device.activity", "device.status", "raw.location"):
                seq += 100 * DAY_MIN  # beyond the minutes that number the streams
            record: Record = {
                "user": user,
                "event_time": at,
                "ingest_time": instant(event["arrives"]) - offset * MINUTE if "arrives" in event else at + SYNC_MS,
                "tz_offset_min": offset,
                "source_id": source,
                "seq": seq,
                "event_id": event_ids(topic, user, source, [seq])[0],
                "value": value,
            }
            log[topic].append(record)


def _told(event: Event, story: Story, offset: int) -> list[tuple[str, str, Record]]:
    """(topic, source, value) of the single records that an event stands for."""
    out: list[tuple[str, str, Record]] = []
    source = devices.COMPUTER if event.get("source") == "computer" else devices.PHONE
    if "search" in event:
        out.append(("raw.search", source, {"query": event["search"], "lang": event.get("lang", "en")}))
    if "chat" in event:
        session = "c" + event["at"].replace("-", "").replace(":", "").replace(" ", "-")
        chat = {"session_id": session, "text": event["chat"], "lang": event.get("lang", "en")}
        out.append(("chat.inbound", devices.PHONE, chat))
    if "consent" in event:
        old = story.consents.get(event["consent"]["consent_id"], {})
        out.append(("clinical.consent", devices.CLINIC, control.consent_value(event["consent"], old, offset)))
    if "profile" in event:
        value = control.profile_value((story.profile or {}) | event["profile"], offset)
        out.append(("clinical.profile", devices.CLINIC, value))
    if "record" in event:
        out.append((event["record"]["topic"], event["record"].get("source", source), event["record"]["value"]))
    return out


def _arrive_late(log: Log, late: dict[str, Any], offset: int) -> None:
    """Rows of the topics whose event time lies in the span of that day arrive at one later instant."""
    date = late["at"].split(" ")[0]
    frm, to = (instant(f"{date} {clock}") - offset * MINUTE for clock in late["span"].split("-"))
    arrival = instant(late["at"]) - offset * MINUTE
    for topic in late["topics"]:
        for record in log[topic]:
            if frm <= record["event_time"] < to:
                record["ingest_time"] = arrival
