"""Small random logs of one or two people, written as files, and what a replay made of them."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from pipelines.graph import replay
from pipelines.settings import Settings

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_779_235_200_000  # 2026-05-20, 00:00 UTC
EVERY = (
    "LOCATION", "HEART_RATE", "ACTIVITY", "WELLNESS", "SEARCH", "CONTENT", "PHONE_USAGE", "MUSIC", "SELFREPORT", "THERAPY",
    "CHAT",
)  # fmt: skip
HOME = (52.52, 13.40)
Log = dict[str, list[dict[str, Any]]]


def control(user: str, *, therapist: bool = True, at: int = T0 - HOUR) -> Log:
    """Everything permitted, a home and a profile."""
    log: Log = defaultdict(list)
    for i, (purpose, to) in enumerate(
        [("CARE_USER_MSG", "SELF"), ("RESEARCH", "STUDY"), *([("THERAPIST_ALERT_ACUTE", "dr_a")] if therapist else [])]
    ):
        value = {
            "consent_id": f"c{i}", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": to, "purpose": purpose,
            "modalities": list(EVERY), "effect": "PERMIT", "valid_from": at, "valid_to": at + 300 * DAY, "signature": "demo",
        }  # fmt: skip
        log["clinical.consent"].append(row(user, "clinic", i, at, value, at))
    where = {"latitude": HOME[0], "longitude": HOME[1], "effective_from": at}
    log["clinical.home"].append(row(user, "clinic", 9, at, where, at))
    profile = {
        "profile_id": "pr1", "version": 1, "effective_from": at, "valid_to": at + 60 * DAY, "author_ref": "dr_a", "signature": "demo",
        "contact": {"therapist_ref": "dr_a", "backup_ref": "dr_b",
                    "hours": [{"weekday": d, "from_min": 480, "to_min": 1080} for d in range(1, 8)]},
    }  # fmt: skip
    log["clinical.profile"].append(row(user, "clinic", 8, at, profile, at))
    return log


def row(user: str, source: str, seq: int, at: int, value: dict[str, Any], arrives: int) -> dict[str, Any]:
    return {
        "user": user, "event_time": at, "ingest_time": arrives, "tz_offset_min": 60, "source_id": source, "seq": seq, "value": value,
    }  # fmt: skip


def lexicon(at: int, term: str = "zzself", severity: int = 2) -> dict[str, Any]:
    value = {
        "pack_id": "fixture", "pack_version": "1.0", "item_id": term, "locale": "en-GB", "kind": "LEXICON", "text_id": term,
        "tags": {"term": term, "category": "SELF_HARM", "severity": str(severity)}, "author": "dr_a", "reviewer": "dr_b",
        "evidence_ref": "fixture", "valid_from": T0 - DAY, "valid_to": T0 + 60 * DAY, "signature": "demo",
    }  # fmt: skip
    return row(f"_content/fixture/{term}/en-GB", "pack", 1, at, value, at)


def life(user: str, seed: int, hours: float = 30, messy: bool = True, steady: bool = False) -> Log:
    """Pulse, steps, fixes, searches, usage of some hours: gaps, late rows, copies.

    `steady`: no minute of activity is missing and the pulse rises now and then, so that after ten days it is an episode.
    """
    rng = random.Random(seed)
    log = control(user)
    seq: Counter[str] = Counter()

    def add(topic: str, at: int, value: dict[str, Any]) -> None:
        late = rng.choice([0] * (300 if steady else 12) + [7, 61, 700, 1_600, 3_000]) * MINUTE if messy else 0
        made = row(user, "device", seq[topic], at, value, at + 2_000 + late)
        seq[topic] += 1
        log[topic].append(made)
        if messy and rng.random() < (0.002 if steady else 0.08):
            log[topic].append(made | {"ingest_time": made["ingest_time"] + rng.choice([0, 5, 300, 1_500]) * MINUTE})

    minutes, excited = int(hours * 60), rng.randrange(400, 900)
    gap, silence = rng.randrange(0, minutes), rng.choice([40, 250 if minutes > 900 else 90])
    for m in range(0, minutes, 2):
        at = T0 + m * MINUTE + rng.randrange(0, 50_000)
        if m % 44 == 0:
            worn = rng.choice(["YES"] * (60 if steady else 2) + ["NO"])
            add("device.status", at, {"device": "WATCH", "worn": worn, "connected": True})
        if abs(m - gap) < silence:
            continue
        high = 40 if excited <= m < excited + 15 or (steady and m % 500 < 16) else 0
        add("device.heart_rate", at, {"bpm": 62.0 + high + rng.randrange(0, 5), "quality": "LOCKED"})
        if steady:
            add("device.heart_rate", at + MINUTE, {"bpm": 62.0 + high + rng.randrange(0, 5), "quality": "STRAP"})
        steps = 0 if rng.random() < (0.99 if steady else 0.8) else rng.randrange(1, 90)
        period = 120.0 if steady or rng.random() < 0.5 else 60.0
        add("device.activity", at // MINUTE * MINUTE, {"steps": steps, "period_s": period})
        if m % 10 == 0:
            away = 0.02 if m // 200 % 2 else 0.0
            fix = {"latitude": HOME[0] + away, "longitude": HOME[1], "accuracy_m": float(rng.choice([10, 40, 70, 200]))}
            add("raw.location", at, fix)
        if m % 60 == 0:
            add("device.status", at, {"device": "PHONE", "worn": "UNKNOWN", "connected": True})
            add("raw.app_usage", at, {"package": "org.example.chess", "event": "BACKGROUND", "duration_s": 30.0})
    for _ in range(rng.randrange(1, 5)):
        at = T0 + rng.randrange(0, minutes) * MINUTE
        add("raw.search", at, {"query": rng.choice(["zzself now", "train times", "zzself"]), "lang": "en"})
    if rng.random() < 0.5:
        answered = {"instrument": "PHQ9", "items": {"9": 1.0}, "item9": 1}
        add("selfreport", T0 + rng.randrange(0, minutes) * MINUTE, answered)
    if rng.random() < 0.5:  # a profile that reaches back and makes the pulse rule wider or narrower
        again = log["clinical.profile"][0]
        at = T0 + rng.randrange(60, minutes) * MINUTE
        value = again["value"] | {"version": 2, "effective_from": at - rng.randrange(0, 300) * MINUTE}
        value["hr"] = {"floor_bpm": rng.choice([8.0, 25.0]), "z": rng.choice([2.0, 4.0])}
        log["clinical.profile"].append(row(user, "clinic", 18, at, value, at))
    log["content.pack"].append(lexicon(T0 - 2 * HOUR))
    return log


def both(*logs: Log) -> Log:
    out: Log = defaultdict(list)
    for log in logs:
        for topic, records in log.items():
            out[topic] += [r for r in records if topic != "content.pack" or r not in out[topic]]
    return out


def write(log: Log, folder: Path, shuffle: random.Random | None = None) -> Path:
    """A log folder; every topic in one or two files, its lines in any order."""
    for topic, records in log.items():
        place = folder / topic
        place.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(r) for r in records]
        if shuffle is not None:
            shuffle.shuffle(lines)
        half = len(lines) // 2 if shuffle is not None else len(lines)
        for i, part in enumerate((lines[:half], lines[half:])):
            if part:
                (place / f"part-{i}.jsonl").write_text("\n".join(part) + "\n", encoding="utf-8")
    return folder


def outputs(out: Path) -> dict[str, bytes]:
    """Every output file."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.jsonl"))}


def records(out: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for p in sorted((out / topic).glob("*.jsonl")) for line in p.read_bytes().splitlines()]


def played(log: Path, out: Path, slice_rows: int = 10**6, **more: Any) -> dict[str, Any]:
    settings = Settings(**{"slice_rows": slice_rows, **more.pop("settings", {})})
    return replay([log], out, settings=settings, **more)


def counted(report: dict[str, Any]) -> dict[str, Any]:
    """The report without how long it took."""
    return {k: v for k, v in report.items() if k not in ("wall_s", "cpu_s")}
