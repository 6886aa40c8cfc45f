"""The bot's room of one person's machine: nobody who writes meets silence (conversation.md 1)."""

from __future__ import annotations

from typing import Any, ClassVar

from content.packs import digest
from pipelines.context.risk import Flag, made
from pipelines.gate.room import Scene

SEVERITY = {3: 3, 2: 1}  # lexicon hit → CHAT_RISK severity: means or plan = HIGH, else UNSCREENED (conversation.md 2)
LEVEL = {0: "NONE", 1: "UNSCREENED", 3: "HIGH"}
REFUSED = "chat.refused"  # what ingest dropped for want of consent: session and times, no text


class Conversation:
    """Fixed, approved replies and risk words."""

    name: ClassVar[str] = "conversation"
    topics: ClassVar[frozenset[str]] = frozenset({"chat.inbound", REFUSED})
    timers: ClassVar[frozenset[str]] = frozenset()

    def take(self, topic: str, record: dict[str, Any], scene: Scene) -> list[Flag]:
        if topic == REFUSED:
            _reply(record, record["session_id"], "NOT_PERMITTED", "not_permitted", "NONE", scene)
            return []
        value = record["value"]
        hit = scene.lexicon.classify(value.get("text") or "", value.get("lang"))
        severity = SEVERITY.get(hit.severity, 0) if hit is not None else 0
        flow, reply = ("RISK", "risk_opening") if severity else ("MENU", "menu")
        _reply(record, value["session_id"], flow, reply, LEVEL[severity], scene)
        return [made(record, "CHAT_RISK", severity, None, record["event_id"] in scene.suspect)] if severity else []

    def due(self, kind: str, key: str, scene: Scene) -> list[Flag]:
        return []

    def finish(self, until: int, scene: Scene) -> list[Flag]:
        return []

    def state(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        if state is not None:
            raise ValueError("not a state of this room")


def _reply(record: dict[str, Any], session: str, flow: str, reply: str, risk: str, scene: Scene) -> None:
    desk = scene.desk
    item = desk.library.get(reply, desk.locale())
    if item is None:
        desk.audit("ITEM_BLOCKED", record["event_id"], "NO_CONTENT")
        return
    value = {
        "session_id": session, "reply_id": item.item_id, "turn_index": 0, "pack_id": item.pack_id, "pack_version": item.version,
        "pack_hash": digest(item.text)[:16], "locale": item.locale, "flow": flow, "risk_level": risk,
    }  # fmt: skip
    desk.emit("chat.outbound", desk.event_time, value, record["event_id"], 0)
