"""Safeguarding classes told to the bot: a signal, a message to the person, and to the therapist by ACUTE consent only.

Abuse, violence, eating disorder, psychosis, substance. Overdose and medical emergency get the crisis card through the rule of
support.md 3 instead of the message here (conversation.md 1).
"""

from __future__ import annotations

from typing import Any

from pipelines.gate.desk import Message
from pipelines.gate.room import Scene
from schemas.ids import derive

TOO_LATE_MS = 24 * 3_600_000
RULE = "safeguard-1"


def tell(record: dict[str, Any], category: str, card: bool, scene: Scene) -> None:
    """Say what follows from a message of this class. The words of the message are not passed on.

    Parameters
    ----------
    card
        The crisis card is given by the rule for acute risk; only the signal is written here.
    """
    desk, t, ref = scene.desk, int(record["event_time"]), str(record["event_id"])
    suspect = ref in scene.suspect
    signal = derive("risk.signal", desk.user, "SAFEGUARD", category, t)
    value = {
        "signal_id": signal, "revision": 0, "kind": "SAFEGUARD", "state": "ON", "start_time": t, "end_time": t, "category": category,
        "count": 1, "missing": [], "refs": [ref], "clock_suspect": suspect, "versions": {"rule": RULE},
    }  # fmt: skip
    key = f"SAFEGUARD_SIGNAL|{signal}"
    if key in desk.keys:
        return
    desk.keys[key] = desk.now
    desk.emit("risk.signal", t, value, signal, 0)
    if card:
        return
    met = {
        "name": f"SAFEGUARD_{category}",
        "met": True,
        "signal_id": signal,
        "start_time": t,
        "end_time": t,
        "refs": [ref],
    }
    late = int(record["ingest_time"]) - t
    if late > TOO_LATE_MS:  # S26: a note for the therapist, no "now" text
        met_late = {"name": "LATE_EVIDENCE", "met": True, "refs": [ref]}
        note = Message("CASE_NOTE", t, "CHAT", [met, met_late], signal, t, late=True, suspect=suspect)
        desk.to_therapist(note, "THERAPIST_ALERT_ACUTE")
        return
    message = Message("SAFEGUARD", t, "CHAT", [met], signal, t, late=late > 3_600_000, suspect=suspect)
    desk.to_person(message)
    desk.to_therapist(message, "THERAPIST_ALERT_ACUTE")
