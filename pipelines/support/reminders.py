"""A watch that fell silent: a reminder to the person after a day, with consent NOT_MONITORED after three (support.md 9)."""

from __future__ import annotations

from typing import Any

from pipelines.context.calendar import quiet_end
from pipelines.context.profile import Profile
from pipelines.gate.desk import Desk, Message
from pipelines.gate.limiter import Limiter

HOUR_MS = 3_600_000
REMIND_MS, NOT_MONITORED_MS = 24 * HOUR_MS, 72 * HOUR_MS


class Reminders:
    """When the watch was last heard of, by event time, and what was said about its silence."""

    def __init__(self) -> None:
        self.heard: int | None = None
        self.said: list[str] = []

    @property
    def waiting(self) -> bool:
        """Whether the next sign of the watch matters at once: none came yet, or its silence has been told."""
        return self.heard is None or bool(self.said)

    def look(self, latest: int | None, desk: Desk, limiter: Limiter) -> int | None:
        """Say what is due; when to look again (ms), None = not before the watch is heard.

        Parameters
        ----------
        latest
            Latest event time (ms) of what the watch sent in this run, as known now.
        """
        if latest is not None and (self.heard is None or latest > self.heard):
            self.heard, self.said = latest, []
        if self.heard is None or "NOT_MONITORED" in self.said:
            return None
        if desk.now < self.heard + REMIND_MS:
            return self.heard + REMIND_MS
        if "DEVICE_REMINDER" not in self.said:
            free = quiet_end(desk.profiles.effective(desk.now) or Profile.default(), desk.now, desk.tz())
            if free > desk.now:
                return free
            self.said.append("DEVICE_REMINDER")
            self._remind(desk, limiter)
        if desk.now < self.heard + NOT_MONITORED_MS:
            return self.heard + NOT_MONITORED_MS
        self.said.append("NOT_MONITORED")
        desk.to_therapist(self._message("NOT_MONITORED", 72, desk), "MONITORING_STATUS")
        return None

    def remember(self, latest: int | None) -> None:
        """End of a run: what was heard in it is known in the next. A silence that was told has ended at its own instant."""
        if latest is not None and not self.waiting and self.heard is not None:
            self.heard = max(self.heard, latest)

    def _remind(self, desk: Desk, limiter: Limiter) -> None:
        message = self._message("DEVICE_REMINDER", 24, desk)
        if limiter.left(desk.day_start()) < 1:
            desk.audit("SUPPRESSED", desk.notification_id(message), "LIMIT_DAY")
        elif desk.to_person(message) is not None:
            limiter.said("DEVICE_REMINDER", desk.now)

    def _message(self, tier: str, hours: int, desk: Desk) -> Message:
        assert self.heard is not None
        silent = {
            "name": f"WATCH_SILENT_{hours}H", "met": True, "start_time": self.heard, "end_time": desk.now, "unit": "h",
            "amount": round((desk.now - self.heard) / HOUR_MS, 1), "threshold": float(hours), "refs": [str(self.heard)],
        }  # fmt: skip
        return Message(tier, desk.now, "HEART_RATE", [silent], "watch", self.heard, missing=("HEART_RATE",))

    def state(self) -> list[Any]:
        return [self.heard, self.said]

    @staticmethod
    def from_state(state: list[Any]) -> Reminders:
        out = Reminders()
        out.heard, out.said = state[0], list(state[1])
        return out
