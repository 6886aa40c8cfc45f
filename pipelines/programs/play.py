"""Reminders to play (programs.md 5): after 48 h without the game, at most one a day, as decision points of the trial."""

from __future__ import annotations

from typing import Any

from pipelines.gate.desk import Message
from pipelines.gate.room import Scene

HOUR_MIN = 16 * 60  # local time of a reminder [choice: after school, outside quiet hours]
MINUTE_MS, DAY_MS = 60_000, 86_400_000
MOST = 7  # reminders in a row that nobody followed; then silence until the game is played again [choice]


def remind(mem: dict[str, Any], scene: Scene) -> None:
    """48 h are over, or a day later: at 16:00 local ask the trial whether to remind."""
    desk, last = scene.desk, mem["last_play"]
    if last is None:
        return
    wait = (HOUR_MIN - desk.local_minute()) % 1_440
    if wait:
        due = desk.now // MINUTE_MS * MINUTE_MS + wait * MINUTE_MS
        desk.timers.set(due, "PROGRAM", "remind")
        return
    mem["reminded"] = mem.get("reminded", 0) + 1
    gap = {"name": "PLAY_GAP_48H", "met": True, "start_time": last, "end_time": desk.now,
           "amount": round((desk.now - last) / 3_600_000, 2), "threshold": 48.0, "unit": "H", "refs": []}  # fmt: skip
    message = Message("PLAY_REMINDER", desk.now, "THERAPY", [gap], f"play:{last}", desk.now)
    scene.invite("PLAY_REMINDER", ("PLAY_REMINDER", last, mem["reminded"]), message)
    if mem["reminded"] < MOST:
        desk.timers.set(desk.now + DAY_MS, "PROGRAM", "remind")


def played(mem: dict[str, Any], scene: Scene) -> None:
    """The game was begun: no reminder is due, and one that asked for it was followed."""
    mem["reminded"] = 0
    scene.desk.timers.cancel("PROGRAM", "remind")
    scene.acted("PLAY_REMINDER")
