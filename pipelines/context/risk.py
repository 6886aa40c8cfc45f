"""Risk-bearing records after ingest: what every room may find and only the rule of support.md 3 judges. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TOO_LATE_MS = 24 * 3_600_000
CONTENT_COUNTS_FROM = 0.8  # support.md 3


@dataclass(frozen=True)
class Flag:
    """One risk-bearing record after ingest.

    Parameters
    ----------
    t, arrival
        When it happened, when it arrived (ms).
    kind
        SEARCH, ITEM9, CONTENT, CHAT_RISK, SAFEGUARD.
    suspect
        The device's clock was wrong (topics.md 2.3).
    """

    t: int
    arrival: int
    event_id: str
    kind: str
    severity: int
    category: str | None = None
    suspect: bool = False

    @property
    def late(self) -> bool:
        """It came more than 24 h after the event: a note, no "now" text (S26)."""
        return self.arrival - self.t > TOO_LATE_MS


def flag_of(topic: str, record: dict[str, Any], suspect: bool) -> Flag | None:
    """The record as risk evidence, None if it is none (support.md 3). What somebody wrote is read by conversation."""
    value = record["value"]
    category = None
    if topic == "device.search_flag":
        kind, severity, category = "SEARCH", int(value["severity"]), str(value["category"])
    elif topic == "selfreport" and (value.get("item9") or 0) >= 1:
        kind, severity = "ITEM9", int(value["item9"])
    elif topic == "device.content_flag" and value["label"] != "SAFE" and value["score"] >= CONTENT_COUNTS_FROM:
        kind, severity = "CONTENT", 2
    else:
        return None
    return made(record, kind, severity, category, suspect or bool(value.get("clock_suspect")))


def made(record: dict[str, Any], kind: str, severity: int, category: str | None, suspect: bool) -> Flag:
    """Evidence that a record bears."""
    times = int(record["event_time"]), int(record["ingest_time"])
    return Flag(*times, record["event_id"], kind, severity, category, suspect)
