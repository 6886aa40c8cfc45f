"""The room of the rules of one person with a clock that the test moves: real desk, real content, real places."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np

from content.library import Library
from pipelines.context.calendar import DayClock
from pipelines.context.risk import Flag
from pipelines.gate.desk import Desk, Message
from pipelines.settings import Settings
from pipelines.support.acute import Acute
from pipelines.support.arrivals import Queue
from pipelines.support.evidence import LEAD, MINUTE_MS
from pipelines.support.minutes import Minutes
from pipelines.support.prompts import Prompts
from pipelines.support.signals import HR_EPISODE, Signal

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WEDNESDAY = 1_779_235_200_000  # 2026-05-20, 00:00 UTC: the person's local midnight
NOON = WEDNESDAY + 12 * HOUR
EVERY = (
    "LOCATION", "HEART_RATE", "ACTIVITY", "WELLNESS", "SEARCH", "CONTENT", "PHONE_USAGE", "MUSIC", "SELFREPORT", "THERAPY",
    "CHAT",
)  # fmt: skip
SETTINGS = Settings()


@functools.cache
def library() -> Library:
    return Library.build(SETTINGS.locales)


class Room:
    """Everything `support` holds of one person. `hours`: contact hours (from, to) of every weekday."""

    def __init__(self, hours: tuple[int, int] | None = None, profile: dict[str, Any] | None = None) -> None:
        self.desk = Desk("p1", SETTINGS, library(), DayClock.first(NOON, 0))
        self.acute = Acute()
        self.prompts = Prompts()
        self.minutes = Minutes(self.desk.day_start() // MINUTE_MS - LEAD, NOON)
        self.said_before = 0
        self.n = 0
        if profile is not None or hours is not None:
            self.profile(hours, **(profile or {}))
        self.at(NOON)

    def at(self, t: int) -> Room:
        """Move the log's clock; timers that are due fire on the way."""
        desk = self.desk
        while (due := desk.timers.next_due()) is not None and due <= t:
            _, kind, key = desk.timers.pop()
            desk.now = desk.event_time = due
            if kind == "QUEUED":
                case_id = desk.deliver_queued(key)
                if case_id is not None:
                    self.acute.delivered(case_id, desk)
            elif kind == "ACK_DUE":
                desk.escalate(key)
            elif kind in ("CASE_FINAL", "CASE_CLOSE"):
                self.acute.case_timer(kind, key, desk, self.minutes)
            elif kind == "OUTCOME":
                self.prompts.due(key, desk, self.minutes)
        desk.now = desk.event_time = t
        return self

    def restart(self) -> Room:
        """Kill and come back with what stood in the state."""
        self.desk.consents.forget(0)
        out = self.desk.out
        self.desk = Desk.from_state("p1", SETTINGS, library(), _stored(self.desk.state()))
        self.acute = Acute.from_state(_stored(self.acute.state()))
        self.prompts = Prompts.from_state(_stored(self.prompts.state()))
        self.desk.out = out
        return self

    # -- what the person and the clinic do ----------------------------------------------------------------------------

    def consent(self, purpose: str = "CARE_USER_MSG", to: str = "SELF", at: int = 0, **fields: Any) -> Room:
        value = {
            "consent_id": f"{purpose}-{to}", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": to,
            "purpose": purpose, "modalities": list(EVERY), "effect": "PERMIT", "valid_from": at, "valid_to": at + 10**13,
            "signature": "demo", **fields,
        }  # fmt: skip
        self.desk.consents.add({"event_time": at, "ingest_time": at, "value": value})
        return self

    def revoke(self, purpose: str, to: str = "SELF") -> Room:
        return self.consent(purpose, to, self.desk.now, version=2, status="REVOKED")

    def profile(self, hours: tuple[int, int] | None = None, **fields: Any) -> Room:
        contact: dict[str, Any] = {"therapist_ref": "dr_a", "backup_ref": "dr_b"}
        if hours is not None:
            contact["hours"] = [{"weekday": d, "from_min": hours[0] * 60, "to_min": hours[1] * 60} for d in range(1, 8)]
        value = {
            "profile_id": "pr1", "version": 1, "effective_from": WEDNESDAY - 9 * DAY, "valid_to": WEDNESDAY + 60 * DAY,
            "author_ref": "dr_a", "signature": "demo", "contact": contact, **fields,
        }  # fmt: skip
        assert self.desk.profiles.add({"event_time": value["effective_from"], "value": value})
        return self

    def flag(self, severity: int = 2, t: int | None = None, kind: str = "SEARCH", **more: Any) -> Flag:
        """Risk evidence that happened at `t` and arrives now; `arrival` may say otherwise."""
        self.n += 1
        t = self.desk.now if t is None else t
        category = "SUICIDE" if kind == "SEARCH" else None
        made = Flag(t, more.pop("arrival", self.desk.now), more.pop("event_id", f"e{self.n}"), kind, severity, category)
        self.desk.event_time = t
        self.acute.add(made, self.desk, self.minutes)
        self.desk.event_time = self.desk.now
        return made

    def acknowledge(self, case_id: str, action: str = "ACK") -> Room:
        self.acute.acknowledge(case_id, action, self.desk, self.minutes)
        return self

    def pulse(self, start: int, end: int | None) -> Signal:
        """A heart-rate episode that the minutes have found."""
        made = Signal("HR_EPISODE", start, end, "ON" if end is None else "OFF", known_at=start, last=end or start)
        made.amount, made.threshold, made.observed = 24.0, 12.0, 12
        self.minutes.signals.known[HR_EPISODE][start] = made
        return made

    def fixes(self, places: list[tuple[int, int]]) -> Room:
        """Fixes (ms, code of `places`), precise, arrived."""
        time = np.array([t for t, _ in places], np.int64)
        kind = np.array([p for _, p in places], np.int8)
        self.minutes.feed({"fix": Queue(time, time, (kind, np.full(len(time), 10.0)))})
        self.minutes._apply(10**15)
        return self

    # -- what was said ------------------------------------------------------------------------------------------------

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [r["value"] for r in self.desk.out[topic]]

    def said(self, audience: str = "USER") -> list[str]:
        return [v["tier"] for v in self.values("notifications") if v["audience"] == audience]

    def told(self) -> list[tuple[str, str]]:
        """(tier, recipient) of every message, in order."""
        return [(v["tier"], v["recipient_ref"]) for v in self.values("notifications")]

    def audits(self, *actions: str) -> list[tuple[str, str | None]]:
        return [(v["action"], v.get("reason")) for v in self.values("audit") if not actions or v["action"] in actions]

    def case(self) -> dict[str, Any]:
        """The newest revision of the one open case file."""
        return self.values("case.file")[-1]

    def message(self, tier: str = "W2", **more: Any) -> Message:
        t = more.pop("event_time", self.desk.now)
        return Message(tier, t, more.pop("modality", "SEARCH"), [], more.pop("about", "signal"), t, **more)


def _stored(state: Any) -> Any:
    return json.loads(json.dumps(state))


def permitted(**more: Any) -> Room:
    """A person who permits everything to herself, and acute alerts to dr_a and dr_b."""
    room = Room(**more)
    room.consent().consent("THERAPIST_ALERT_ACUTE", "dr_a").consent("THERAPIST_ALERT_ACUTE", "dr_b")
    return room
