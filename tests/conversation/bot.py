"""The bot's room of one person with a clock that the test moves: real desk, real content, real models."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import Any

from content.lexicon import Lexicon
from content.library import Library
from pipelines.context.calendar import DayClock
from pipelines.context.risk import Flag
from pipelines.conversation.room import Conversation
from pipelines.gate.desk import Desk
from pipelines.gate.room import Scene
from pipelines.settings import Settings

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOON = 1_779_278_400_000  # 2026-05-20, 12:00 UTC
EVERY = ["CHAT", "SELFREPORT"]


@functools.cache
def library() -> Library:
    return Library.build(Settings().locales)


class Bot:
    """Say something, read what comes back. `profile`: fields of a clinical.profile."""

    def __init__(
        self,
        profile: dict[str, Any] | None = None,
        view: bool = False,
        room: Conversation | None = None,
        lib: Library | None = None,
    ) -> None:
        self.desk = Desk("p1", Settings(), lib or library(), DayClock.first(NOON - DAY, 0))
        self.room = room or Conversation()
        self.now, self.n = NOON, 0
        self.consent("CARE_USER_MSG", "SELF")
        self.consent("THERAPIST_ALERT_ACUTE", "dr_a")
        if view:
            self.consent("THERAPIST_SESSION_VIEW", "dr_a")
        if profile is not None:
            self.profile(profile)
        self.desk.out.clear()

    def consent(self, purpose: str, to: str) -> None:
        value = {
            "consent_id": purpose, "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": to, "purpose": purpose,
            "modalities": EVERY, "effect": "PERMIT", "valid_from": NOON - 20 * DAY, "valid_to": NOON + 200 * DAY, "signature": "x",
        }  # fmt: skip
        self.desk.consents.add({"event_time": NOON - 20 * DAY, "ingest_time": NOON - 20 * DAY, "value": value})

    def profile(self, fields: dict[str, Any]) -> None:
        value = {
            "profile_id": "p", "version": 1, "effective_from": NOON - 20 * DAY, "valid_to": NOON + 60 * DAY, "author_ref": "dr_a",
            "signature": "x", **fields,
        }  # fmt: skip
        assert self.desk.profiles.add({"event_time": NOON - 20 * DAY, "ingest_time": NOON - 20 * DAY, "value": value})

    def give(self, topic: str, value: dict[str, Any], late_ms: int = 0) -> list[Flag]:
        self.n += 1
        self.now += MINUTE
        self.desk.now, self.desk.event_time = self.now, self.now - late_ms
        record = {
            "user": "p1",
            "event_time": self.now - late_ms,
            "ingest_time": self.now,
            "event_id": f"e{self.n}",
            "value": value,
        }
        self.before = {t: len(r) for t, r in self.desk.out.items()}
        if topic == "chat.refused":
            record = {k: v for k, v in record.items() if k != "value"} | value
        return self.room.take(topic, record, Scene(self.desk, Lexicon.load()))

    def says(
        self, text: str, lang: str = "en", session: str = "s1", role: str = "BOT_CHAT", late_ms: int = 0
    ) -> list[Flag]:
        return self.give("chat.inbound", {"session_id": session, "text": text, "lang": lang, "role": role}, late_ms)

    def taps(self, option: str, lang: str = "en", session: str = "s1") -> list[Flag]:
        return self.give("chat.inbound", {"session_id": session, "option_id": option, "lang": lang})

    def later(self, ms: int) -> None:
        """Let time pass; the bot's timers fire."""
        self.now += ms
        while (due := self.desk.timers.next_due()) is not None and due <= self.now:
            _, kind, key = self.desk.timers.pop()
            self.desk.now = self.desk.event_time = due
            if kind in self.room.timers:
                self.room.due(kind, key, Scene(self.desk, Lexicon.load()))

    def fresh(self, topic: str) -> list[dict[str, Any]]:
        """Values of a topic that the last record brought."""
        return [r["value"] for r in self.desk.out.get(topic, [])[self.before.get(topic, 0) :]]

    def replies(self) -> list[str]:
        return [v["reply_id"] for v in self.fresh("chat.outbound")]

    def flows(self) -> list[str]:
        return [v["flow"] for v in self.fresh("chat.outbound")]

    def restart(self) -> None:
        """Through JSON and back, as a state does."""
        state = json.loads(json.dumps(self.room.state()))
        self.room = Conversation(self.room._models)
        self.room.restore(state)


def changed(item_id: str, **fields: Any) -> Library:
    """The library with one item changed in all locales."""
    lib = library()
    return Library(
        lib.locales, tuple(replace(i, **fields) if i.item_id == item_id else i for i in lib.items), lib.lines
    )
