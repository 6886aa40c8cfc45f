"""Records as they arrive, and ingest as a function from lists to lists."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from content.lexicon import Lexicon, Term
from pipelines.ingest import Ingest, IngestResult, IngestState
from pipelines.settings import Settings
from schemas import rows

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_779_235_200_000  # 2026-05-20, 00:00 UTC
EVERY = (
    "LOCATION", "HEART_RATE", "ACTIVITY", "WELLNESS", "SEARCH", "CONTENT", "PHONE_USAGE", "MUSIC", "SELFREPORT", "THERAPY",
    "CHAT",
)  # fmt: skip
TERMS = (
    (0, Term("zzdeath", "DEATH", 1)),
    (0, Term("zzself", "SELF_HARM", 2)),
    (0, Term("zzmethod", "SUICIDE_METHOD", 3)),
)
CANARY = "canaryword"
Record = tuple[str, dict[str, Any]]  # topic, record in contract form

VALUES: dict[str, dict[str, Any]] = {
    "raw.location": {"latitude": 52.52, "longitude": 13.40, "accuracy_m": 12.0},
    "raw.search": {"query": f"{CANARY} zzself", "lang": "en"},
    "raw.app_usage": {"package": f"org.{CANARY}.chess", "category": "GAME_BOARD", "event": "BACKGROUND", "duration_s": 60.0},
    "device.location": {"place": "OTHER", "accuracy_m": 12.0},
    "device.heart_rate": {"bpm": 70.0, "quality": "LOCKED"},
    "device.activity": {"steps": 0, "period_s": 60.0},
    "device.phone_usage": {"category": "GAME", "event": "BG", "duration_s": 60.0},
    "device.music": {"state": "STOP", "duration_s": 60.0},
    "device.search_flag": {"category": "SUICIDE", "severity": 2, "lexicon_version": "x", "classifier_version": "y"},
    "device.content_flag": {"label": "SELF_HARM_IMAGE", "score": 0.9, "model_version": "m"},
    "device.status": {"device": "PHONE", "worn": "UNKNOWN", "connected": True},
    "chat.inbound": {"session_id": "c1", "text": CANARY},
    "selfreport": {"instrument": "PHQ9", "items": {"1": 1.0}},
}  # fmt: skip


def record(topic: str, t: int, value: dict[str, Any] | None = None, **envelope: Any) -> Record:
    """A record of `t` that arrives two seconds later, with an id of its own unless told otherwise."""
    made = {"user": "p1", "event_time": t, "ingest_time": t + 2_000, "value": VALUES.get(topic, {}) | (value or {})}
    return topic, {k: v for k, v in (made | envelope).items() if v is not None}


def consent(at: int = T0 - 100 * DAY, modalities: Sequence[str] = EVERY, **fields: Any) -> Record:
    """CARE_USER_MSG to SELF, arriving when it begins."""
    envelope: dict[str, Any] = {k: fields.pop(k) for k in ("event_time", "ingest_time") if k in fields}
    value = {
        "consent_id": "c0", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": "SELF",
        "purpose": "CARE_USER_MSG", "modalities": list(modalities), "effect": "PERMIT", "valid_from": at,
        "valid_to": at + 366 * DAY, "signature": "demo", **fields,
    }  # fmt: skip
    whole: dict[str, Any] = {"event_time": at, "ingest_time": at, **envelope}
    return "clinical.consent", {"user": "p1", **whole, "source_id": "clinic", "value": value}


def home(at: int, latitude: float | None = 52.52, longitude: float | None = 13.40, **fields: Any) -> Record:
    value = {"latitude": latitude, "longitude": longitude, "effective_from": at, **fields}
    made = {
        "user": "p1",
        "event_time": at,
        "ingest_time": at,
        "value": {k: v for k, v in value.items() if v is not None},
    }
    return "clinical.home", made


@functools.cache
def lexicon() -> Lexicon:
    return Lexicon.load()


@dataclass
class Came:
    """What ingest gave over all slices."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    dead: list[tuple[str, str, str | None]] = field(default_factory=list)  # topic, reason, field
    duplicates: Counter[str] = field(default_factory=Counter)
    processed: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    suspect: set[str] = field(default_factory=set)
    refused_chat: list[dict[str, Any]] = field(default_factory=list)
    status: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    state: bytes = b""
    states: list[bytes] = field(default_factory=list)
    everything: list[IngestResult] = field(default_factory=list)

    def add(self, result: IngestResult, state: bytes) -> None:
        for topic, table in result.tables.items():
            self.tables[topic] += rows.to_dicts(topic, table)
        self.dead += [d[:3] for d in result.dead]
        self.duplicates += result.duplicates
        self.processed += result.processed
        self.late += result.late
        self.suspect |= result.suspect
        self.refused_chat += result.refused_chat
        self.status += result.status
        self.state = state
        self.states.append(state)
        self.everything.append(result)

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [r["value"] for r in self.tables[topic]]

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.dead]


def as_tables(records: Iterable[Record]) -> dict[str, pa.Table]:
    """Arrival order; every topic is one file whose lines are the records in that order."""
    by_topic: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for topic, r in records:
        by_topic[topic].append(r)
    out = {}
    for topic, rs in by_topic.items():
        rs.sort(key=lambda r: r.get("ingest_time", r["event_time"]))
        table, defects = rows.from_dicts(topic, rs)
        assert not defects, defects
        lines = pa.array(range(1, len(rs) + 1), pa.int64())
        table = table.append_column("_file", pa.array([0] * len(rs), pa.int32()))
        out[topic] = table.append_column("_line", lines)
    return out


def came(
    records: Sequence[Record],
    *,
    cuts: Iterable[int] = (),
    settings: Settings | None = None,
    terms: Sequence[tuple[int, Term]] = TERMS,
    state: bytes | None = None,
) -> Came:
    """Run ingest over all records, cut into slices at instants of the log's clock."""
    settings = settings or Settings()
    ingest = Ingest(settings, lexicon())
    arrivals = [int(r["ingest_time"]) for _, r in records]
    last = max(arrivals, default=0)
    out, after = Came(state=state or b""), -(2**62)
    tables = as_tables(records)
    for until in [*sorted(c for c in set(cuts) if c < last), last]:
        part = {}
        for topic, table in tables.items():
            at = table["ingest_time"].to_numpy()
            part[topic] = table.filter(pa.array((at > after) & (at <= until)))
        held = IngestState.load(out.state, settings) if out.state else IngestState(settings)
        out.add(ingest.run("p1", part, held, terms), held.dump(until))
        after = until
    return out
