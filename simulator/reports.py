"""What a made-up person tells and does now and then: searches, mood, sleep, music. Record dicts, seconds apart."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from simulator.devices import PHONE, WATCH
from simulator.diary import Diary
from simulator.life import DAY_MIN, MINUTE
from simulator.persona import REPORTS, Person, rng_of
from simulator.rows import SYNC_MS, Log, Record, event_ids

HOUR_MS = 60 * MINUTE
ORDINARY = (
    *("train times to the coast", "weather tomorrow", "how long to boil an egg", "opening hours library"),
    *("cheap flights in july", "football results", "pancake recipe", "bus 100 timetable", "how to fix a bike tyre"),
    *("best headphones", "translate good morning", "phone battery drains fast", "yoga for beginners", "jobs near me"),
    *("birthday present ideas", "dentist appointment", "movie times tonight", "how to grow tomatoes", "exchange rate"),
)
# Plain phrases a lexicon should know, per severity (topics.md, device.search_flag), and the fixture's own terms.
# There is no plain phrase of severity 3 on purpose: methods are not spelt out here.
PLAIN = {
    0: ("how to find a therapist", "someone to talk to", "crisis hotline number"),
    1: ("what happens when you die", "thinking about death"),
    2: ("i want to kill myself", "suicidal thoughts", "i want to die", "self harm"),
}
FIXTURE = {0: "zz-help", 1: "zz-death", 2: "zz-self", 3: "zz-method"}
Told = tuple[int, int, str, Record]  # event_time, ingest_time, source, value


def reports(person: Person, diary: Diary, seed: int) -> Log:
    """Low-rate records by topic; adds the searches that mean something to the diary's truth."""
    rng = rng_of(seed, person.index, REPORTS)
    told: dict[str, list[Told]] = {
        "raw.search": _searches(person, diary, rng),
        "selfreport": _answers(diary, rng),
        "device.wellness": _wellness(person, diary, rng),
        "device.music": _music(diary, rng),
        "device.content_flag": _pictures(diary, rng),
    }
    return {topic: _records(topic, person.user, diary, rows) for topic, rows in told.items() if rows}


def _records(topic: str, user: str, diary: Diary, rows: list[Told]) -> list[Record]:
    """Envelopes, in order of arrival; counters per source in the order in which it happened."""
    counts: dict[str, int] = defaultdict(int)
    out = []
    utc, offset = diary.utc, diary.offset
    for event, ingest, source, value in sorted(rows, key=lambda r: (r[0], r[1])):
        seq = counts[source]
        counts[source] += 1
        minute = int(np.clip(np.searchsorted(utc, event, side="right") - 1, 0, len(utc) - 1))
        out.append(
            {
                "user": user,
                "event_time": event,
                "ingest_time": ingest,
                "tz_offset_min": int(offset[minute]),
                "source_id": source,
                "seq": seq,
                "event_id": event_ids(topic, user, source, [seq])[0],
                "value": value,
            }
        )
    return sorted(out, key=lambda r: int(r["ingest_time"]))


def _searches(person: Person, diary: Diary, rng: np.random.Generator) -> list[Told]:
    rows: list[Told] = []
    life, utc, days = diary.life, diary.utc, diary.life.days
    lang = "en"
    for day, count in enumerate(rng.poisson(6 * diary.share, days).tolist()):
        for _ in range(count):
            minute = int(rng.integers(diary.wake[day], diary.bed[day]))
            query = ORDINARY[int(rng.integers(len(ORDINARY)))]
            if life.phone[minute]:
                at = int(utc[minute]) + int(rng.integers(MINUTE))
                rows.append((at, at + SYNC_MS, PHONE, {"query": query, "lang": lang}))
    told = []
    for minute, severity in _thoughts(diary, rng):
        plain = rng.random() < 0.5 and severity in PLAIN
        query = str(rng.choice(PLAIN[severity])) if plain else FIXTURE[severity]
        at = int(utc[minute]) + int(rng.integers(MINUTE))
        rows.append((at, at + SYNC_MS, PHONE, {"query": query, "lang": lang}))
        told.append({"event_time": at, "ingest_time": at + SYNC_MS, "severity": severity, "fixture": not plain})
    if person.persona == "WRONG_CLOCK":
        for shift in (3 * HOUR_MS, -20 * HOUR_MS, -9 * 24 * HOUR_MS):
            arrival = int(utc[int(diary.wake[int(days * 0.6)]) + 90])
            rows.append((arrival + shift, arrival, PHONE, {"query": FIXTURE[2], "lang": lang}))
            told.append({"event_time": arrival + shift, "ingest_time": arrival, "severity": 2, "fixture": True})
    diary.truth["searches"] = sorted(told, key=lambda s: (s["ingest_time"], s["event_time"]))
    return rows


def _thoughts(diary: Diary, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(minute, severity) of searches that mean something: in withdrawal, after panic, and rarely out of the blue."""
    life, days = diary.life, diary.life.days
    out: list[tuple[int, int]] = []
    for day in range(days):
        low = diary.share[day] < 0.7
        for _ in range(int(rng.poisson(0.35 if low else 0.01))):
            severity = int(rng.choice(4, p=[0.2, 0.5, 0.28, 0.02] if low else [0.45, 0.3, 0.2, 0.05]))
            out.append((int(rng.integers(diary.wake[day], diary.bed[day])), severity))
    for spike in diary.truth["spikes"]:
        if spike["kind"] == "PANIC" and rng.random() < 0.35:
            end = int(np.searchsorted(diary.utc, spike["end_time"]))
            out.append((min(end + int(rng.integers(10, 600)), life.minutes - 1), 2))
    return [(minute, severity) for minute, severity in sorted(out) if life.phone[minute]]


def _answers(diary: Diary, rng: np.random.Generator) -> list[Told]:
    """Mood most evenings, stress some, PHQ-9 every second week, GAD-7 every fourth."""
    rows: list[Told] = []
    mood = float(rng.uniform(5.0, 8.0))
    for day in range(diary.life.days):
        share = float(diary.share[day])
        asked: list[tuple[int, Record]] = []
        evening = day * DAY_MIN + int(rng.integers(1_170, 1_250))
        feeling = float(np.clip(round(mood * (0.4 + 0.6 * share) + rng.normal(0, 1)), 0, 10))
        if rng.random() < 0.3 + 0.35 * share:
            asked.append((evening, {"instrument": "MOOD", "total": feeling}))
        if rng.random() < 0.3:
            asked.append((evening + 1, {"instrument": "STRESS", "total": float(rng.integers(0, 9))}))
        if day % 14 == 7:
            asked.append((evening + 3, _form("PHQ9", 9, 0.12 + 0.5 * (1 - share), rng)))
        if day % 28 == 7:
            asked.append((evening + 6, _form("GAD7", 7, 0.15 + 0.3 * (1 - share), rng)))
        for minute, value in asked:
            if diary.life.phone[minute]:
                at = int(diary.utc[minute])
                rows.append((at, at + SYNC_MS, PHONE, value))
    return rows


def _form(instrument: str, items: int, burden: float, rng: np.random.Generator) -> Record:
    answers = rng.binomial(3, burden, items).tolist()
    value: Record = {"instrument": instrument}
    if instrument == "PHQ9":
        answers[8] = int(rng.random() < burden - 0.2)  # only a heavy burden reaches the ninth question
        value["item9"] = answers[8]
    value["items"] = {str(i + 1): float(a) for i, a in enumerate(answers)}
    value["total"] = float(sum(answers))
    return value


def _wellness(person: Person, diary: Diary, rng: np.random.Generator) -> list[Told]:
    """Sleep and time in bed (known in the morning), drinking, medication, two scores of the watch."""
    rows: list[Told] = []
    life, utc = diary.life, diary.utc

    def add(event: int, known: int, source: str, kind: str, amount: float, unit: str) -> None:
        value = {"kind": kind, "amount": amount, "unit": unit}
        rows.append((int(utc[event]), max(int(utc[known]), int(utc[event])) + SYNC_MS, source, value))

    for day in range(life.days):
        wake = int(diary.wake[day])
        if day and life.worn[diary.bed[day - 1] : wake].all():
            bed = int(diary.bed[day - 1])
            add(bed, wake + 10, WATCH, "IN_BED", float(wake - bed), "MIN")
            add(bed + 15, wake + 10, WATCH, "SLEEP", float(round((wake - bed) * rng.uniform(0.82, 0.95))), "MIN")
        if life.worn[wake + 60]:
            add(wake + 60, wake + 60, WATCH, "BODY_BATTERY", float(rng.integers(40, 101)), "SCORE")
            add(wake + 420, wake + 420, WATCH, "STRESS", float(rng.integers(10, 80)), "SCORE")
        for _ in range(int(rng.integers(0, 4))):
            drink = int(rng.integers(diary.wake[day], diary.bed[day]))
            add(drink, drink, PHONE, "FLUID", float(50 * rng.integers(3, 11)), "ML")
        if person.medicated:
            taken = float(rng.random() < 0.75 + 0.2 * diary.share[day])
            add(wake + 30, wake + 30, PHONE, "MEDICATION", taken, "TAKEN")
    return rows


def _music(diary: Diary, rng: np.random.Generator) -> list[Told]:
    """About one track a day: PLAY, then STOP with its length."""
    rows: list[Told] = []
    likes = rng.random() < 0.6
    for day in range(diary.life.days):
        minute, seconds = int(rng.integers(diary.wake[day], diary.bed[day] - 10)), float(rng.integers(90, 420))
        track: dict[str, Any] = {"track_token": f"t_{int(rng.integers(1, 40))}", "calm_tag": bool(rng.random() < 0.4)}
        if likes and rng.random() < diary.share[day] and diary.life.phone[minute]:
            at = int(diary.utc[minute])
            end = at + int(seconds * 1_000)
            rows.append((at, at + SYNC_MS, PHONE, {"state": "PLAY", **track}))
            rows.append((end, end + SYNC_MS, PHONE, {"state": "STOP", **track, "duration_s": seconds}))
    return rows


def _pictures(diary: Diary, rng: np.random.Generator) -> list[Told]:
    """What a classifier on the phone says about pictures: nearly always SAFE."""
    rows: list[Told] = []
    for day in np.flatnonzero(rng.random(diary.life.days) < 0.05).tolist():
        minute = int(diary.wake[day]) + 200
        value = {"label": "SAFE", "score": round(float(rng.uniform(0.9, 1.0)), 3), "model_version": "img-1"}
        at = int(diary.utc[minute])
        rows.append((at, at + SYNC_MS, PHONE, value))
    return rows
