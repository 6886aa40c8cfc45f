"""Consents, profile and home of made-up people: who may know what, from when to when. Control records as dicts."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.devices import CLINIC
from simulator.diary import Diary
from simulator.life import DAY
from simulator.persona import CONSENTS, Person, rng_of
from simulator.rows import Log, Record, event_ids

MODALITIES = (
    *("LOCATION", "HEART_RATE", "ACTIVITY", "WELLNESS", "SEARCH", "CONTENT"),
    *("PHONE_USAGE", "MUSIC", "SELFREPORT", "THERAPY", "CHAT"),
)
CONSENT_DAYS, PROFILE_DAYS = 366, 90  # longest validity (topics.md 6)
PURPOSES = (  # purpose, recipient, share of people who agree
    ("CARE_USER_MSG", "SELF", 1.0),
    ("THERAPIST_ALERT_ACUTE", "dr_a", 0.8),
    ("THERAPIST_ALERT_TREND", "dr_a", 0.6),
    ("MONITORING_STATUS", "dr_a", 0.4),
    ("RESEARCH", "study", 0.6),
)
THERAPIST = ("THERAPIST_ALERT_ACUTE", "THERAPIST_ALERT_TREND", "MONITORING_STATUS")


def control_records(person: Person, diary: Diary, seed: int) -> Log:
    """clinical.* of a person, valid from the day before the first; adds what was agreed to the diary's truth."""
    rng = rng_of(seed, person.index, CONSENTS)
    start = int(diary.utc[0]) - DAY
    days = diary.life.days + 1
    consents = _consents(person, diary, start, days, rng)
    home = {
        "latitude": person.home[0],
        "longitude": person.home[1],
        "radius_m": 100.0,
        "effective_from": start,
    }
    log = {
        "clinical.home": [(start, home)],
        "clinical.consent": [(max(value["valid_from"], at), value) for at, value in consents],
        "clinical.profile": _profiles(person, start, days, rng),
    }
    minor = person.persona == "MINOR"
    diary.truth["minor"] = minor
    return {
        topic: [_record(topic, person, n, at, value) for n, (at, value) in enumerate(rows)]
        for topic, rows in log.items()
        if rows
    }


def _record(topic: str, person: Person, seq: int, at: int, value: Record) -> Record:
    return {
        "user": person.user,
        "event_time": at,
        "ingest_time": at,
        "tz_offset_min": person.city.offset_min,
        "source_id": CLINIC,
        "seq": seq,
        "event_id": event_ids(topic, person.user, CLINIC, [seq])[0],
        "value": value,
    }


def _consents(
    person: Person, diary: Diary, start: int, days: int, rng: np.random.Generator
) -> list[tuple[int, Record]]:
    """(arrival, value): agreed purposes, renewed every year; a guardian's beside a minor's; one kind of person
    revokes the therapist's alerts half way; some leave a modality out."""
    left_out = [m for m in ("SEARCH", "LOCATION", "PHONE_USAGE") if rng.random() < 0.04]
    if person.persona != "ROUTINE":
        left_out = []
    listed = [m for m in MODALITIES if m not in left_out]
    agreed = [p for p in PURPOSES if rng.random() < p[2]]
    if person.persona == "NO_THERAPIST":
        agreed = [p for p in agreed if p[0] not in THERAPIST]
    if person.persona in ("REVOKES", "MINOR") and PURPOSES[1] not in agreed:
        agreed.append(PURPOSES[1])
    grantors = ("SELF", "GUARDIAN") if person.persona == "MINOR" else ("SELF",)
    out: list[tuple[int, Record]] = []
    for number, (purpose, recipient, _) in enumerate(agreed):
        for grantor in grantors:
            for year in range(-(-days // (CONSENT_DAYS - 1))):
                since = start + year * (CONSENT_DAYS - 1) * DAY
                value: dict[str, Any] = {
                    "consent_id": f"c{number}{'g' if grantor == 'GUARDIAN' else ''}",
                    "version": year + 1,
                    "status": "ACTIVE",
                    "grantor": grantor,
                    "subject_is_minor": person.persona == "MINOR",
                    "recipient_ref": recipient,
                    "purpose": purpose,
                    "modalities": listed,
                    "effect": "PERMIT",
                    "valid_from": since,
                    "valid_to": since + CONSENT_DAYS * DAY,
                    "signature": "demo",
                }
                out.append((since, value))
    revoked = None
    if person.persona == "REVOKES":
        revoked = int(diary.utc[diary.life.minutes // 2 + 11 * 60])
        for _, value in list(out):
            if value["purpose"] in THERAPIST and value["valid_from"] <= revoked:
                out.append((revoked, value | {"version": 1_000, "status": "REVOKED"}))
    diary.truth["purposes"] = [p[0] for p in agreed]
    diary.truth["not_collected"] = left_out
    diary.truth["revoked_time"] = revoked
    return sorted(out, key=lambda row: row[0])


def _profiles(person: Person, start: int, days: int, rng: np.random.Generator) -> list[tuple[int, Record]]:
    """(arrival, value): one version every 90 days; one person in fifteen has none."""
    none, z = rng.random() < 1 / 15, float(rng.choice([2.5, 3.0], p=[0.8, 0.2]))
    if none and person.persona == "ROUTINE":
        return []
    behaviour = [{"feature": "GAMING", "direction": "RISK_UP", "weight": 1.0}] if person.persona == "GAMING" else []
    out: list[tuple[int, Record]] = []
    for version in range(-(-days // PROFILE_DAYS)):
        since = start + version * PROFILE_DAYS * DAY
        value: dict[str, Any] = {
            "profile_id": "p0",
            "version": version + 1,
            "effective_from": since,
            "valid_to": since + PROFILE_DAYS * DAY,
            "author_ref": "dr_a",
            "hr": {"floor_bpm": 12.0, "z": z, "panic_disorder": False},
            "contact": {
                "therapist_ref": "dr_a",
                "backup_ref": "dr_b",
                "hours": [{"weekday": d, "from_min": 480, "to_min": 1_080} for d in range(1, 6)],
                "quiet_from_min": 1_320,
                "quiet_to_min": 420,
            },
            "tier_to_therapist": "L3",
            "signature": "demo",
        }
        if behaviour:
            value["behaviour"] = behaviour
        if person.persona == "MINOR":
            value["age_years"] = 16
        out.append((since, value))
    return out
