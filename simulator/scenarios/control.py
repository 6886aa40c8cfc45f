"""Control records of a story: consents, profile, home and the fixture's lexicon. They arrive when they take effect."""

from __future__ import annotations

from typing import Any

from simulator.devices import CLINIC
from simulator.life import MINUTE
from simulator.rows import Log, Record, event_ids
from simulator.scenarios.story import Story, instant

MODALITIES = (
    *("LOCATION", "HEART_RATE", "ACTIVITY", "WELLNESS", "SEARCH", "CONTENT"),
    *("PHONE_USAGE", "MUSIC", "SELFREPORT", "THERAPY", "CHAT"),
)
VALID_FROM, VALID_TO = "2026-04-01", "2027-03-31"  # base.yaml, comment of `consents`
SIGNATURE = "demo"  # counts only where no trusted keys are configured (topics.md 1)
WEEKDAYS = {"Mon": 1, "Tue": 2, "Wed": 3, "Thu": 4, "Fri": 5, "Sat": 6, "Sun": 7}


def records(story: Story, base: dict[str, Any], user: str, offset: int) -> Log:
    """Control records by topic; instants are local midnights of their dates, lexicon records in UTC for all people."""
    start = instant(VALID_FROM) - offset * MINUTE
    home = dict(base["person"]["home"]) | {"effective_from": start}
    consents = [consent_value({"consent_id": k}, fields, offset) for k, fields in story.consents.items()]
    out: Log = {
        "clinical.home": [_record("clinical.home", user, 0, start, offset, home)],
        "clinical.consent": [
            _record("clinical.consent", user, n, value["valid_from"], offset, value) for n, value in enumerate(consents)
        ],
        "content.pack": lexicon(base["lexicon"]),
    }
    if story.profile is not None:
        profile = profile_value(story.profile, offset)
        out["clinical.profile"] = [_record("clinical.profile", user, 0, profile["effective_from"], offset, profile)]
    return out


def _record(topic: str, user: str, seq: int, at: int, offset: int, value: Record) -> Record:
    return {
        "user": user,
        "event_time": at,
        "ingest_time": at,
        "tz_offset_min": offset,
        "source_id": CLINIC,
        "seq": seq,
        "event_id": event_ids(topic, user, CLINIC, [seq])[0],
        "value": value,
    }


def lexicon(terms: dict[str, dict[str, Any]]) -> list[Record]:
    """content.pack records of the fixture's lexicon, one per term; the same for every person."""
    start, end = instant(VALID_FROM), instant(VALID_TO)
    out = []
    for term, entry in terms.items():
        value = {
            "pack_id": "fixture",
            "pack_version": "1.0",
            "item_id": term,
            "locale": "en-GB",
            "kind": "LEXICON",
            "text_id": term,
            "tags": {"term": term, "category": entry["category"], "severity": str(entry["severity"])},
            "author": "dr_a",
            "reviewer": "dr_b",
            "evidence_ref": "fixture",
            "valid_from": start,
            "valid_to": end,
            "signature": SIGNATURE,
        }
        out.append(_record("content.pack", f"_content/fixture/{term}/en-GB", 0, start, 0, value))
    return out


def consent_value(fields: dict[str, Any], defaults: dict[str, Any], offset: int) -> Record:
    """clinical.consent: `fields` over `defaults` over what base.yaml says of all consents."""
    value: Record = {
        "consent_id": "",
        "version": 1,
        "status": "ACTIVE",
        "grantor": "SELF",
        "recipient_ref": "SELF",
        "purpose": "CARE_USER_MSG",
        "modalities": "ALL",
        "effect": "PERMIT",
        "valid_from": VALID_FROM,
        "valid_to": VALID_TO,
        "signature": SIGNATURE,
    }
    value |= defaults
    value |= fields
    value["modalities"] = list(MODALITIES) if value["modalities"] == "ALL" else list(value["modalities"])
    return _instants(value, offset)


def profile_value(fields: dict[str, Any], offset: int) -> Record:
    """clinical.profile from its short form in base.yaml: `hours` and `quiet` as texts, dates as dates."""
    value: Record = {"author_ref": "dr_a", "signature": SIGNATURE} | fields
    contact = dict(value.get("contact", {}))
    if isinstance(contact.get("hours"), str):
        contact["hours"] = _hours(contact["hours"])
    if "quiet" in contact:
        contact["quiet_from_min"], contact["quiet_to_min"] = _span(contact.pop("quiet"))
    if contact:
        value["contact"] = contact
    value["context_note"] = [_instants(dict(note), offset) for note in value.get("context_note", [])]
    return _instants({k: v for k, v in value.items() if v != []}, offset)


def _instants(value: Record, offset: int) -> Record:
    for key in ("valid_from", "valid_to", "effective_from"):
        if key in value and not isinstance(value[key], int):
            value[key] = instant(value[key]) - offset * MINUTE
    return value


def _span(text: str) -> tuple[int, int]:
    frm, to = (int(part[:2]) * 60 + int(part[3:]) for part in text.split("-"))
    return frm, to


def _hours(text: str) -> list[Record]:
    """'Mon-Fri 08:00-18:00' → one entry per weekday."""
    days, clock = text.split(" ")
    first, last = (WEEKDAYS[d] for d in days.split("-"))
    frm, to = _span(clock)
    return [{"weekday": day, "from_min": frm, "to_min": to} for day in range(first, last + 1)]
