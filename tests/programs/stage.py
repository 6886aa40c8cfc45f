"""The programs' room of one person with a clock that the test moves: real desk, real content, heart rate as rows."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np

from content.lexicon import Lexicon
from content.library import Library
from pipelines.context.calendar import DayClock
from pipelines.context.columns import Columns
from pipelines.gate.desk import Desk
from pipelines.gate.room import Scene
from pipelines.programs.room import Programs
from pipelines.settings import Settings
from schemas import rows

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NOON = 1_779_235_200_000 + 12 * HOUR  # 2026-05-20, 12:00 UTC
SETTINGS = Settings()


@functools.cache
def library() -> Library:
    return Library.build(SETTINGS.locales)


@functools.cache
def lexicon() -> Lexicon:
    return Lexicon.load()


def consent(purpose: str = "CARE_USER_MSG", to: str = "SELF", **fields: Any) -> dict[str, Any]:
    value = {
        "consent_id": f"{purpose}-{fields.get('grantor', 'SELF')}", "version": 1, "status": "ACTIVE", "grantor": "SELF",
        "recipient_ref": to, "purpose": purpose, "modalities": ["THERAPY", "HEART_RATE", "SELFREPORT"], "effect": "PERMIT",
        "valid_from": NOON - DAY, "valid_to": NOON + 300 * DAY, "signature": "demo",
    }  # fmt: skip
    return {"user": "p1", "event_time": NOON - DAY, "ingest_time": NOON - DAY, "value": {**value, **fields}}


class Stage:
    """A session on stage; instants are seconds after noon."""

    def __init__(self, program: str = "SPIDER", profile: dict[str, Any] | None = None, permitted: bool = True) -> None:
        self.program = program
        self.desk = Desk("p1", SETTINGS, library(), DayClock.first(NOON, 0))
        self.room = Programs()
        self.case_open = False
        self.heart: list[tuple[int, int, float]] = []
        self.session = "s1"
        if permitted:
            self.desk.consents.add(consent())
        if profile is not None:
            value = {"profile_id": "pr1", "version": 1, "effective_from": NOON - DAY, "valid_to": NOON + 60 * DAY, "author_ref": "dr_a",
                     "signature": "demo", **profile}  # fmt: skip
            assert self.desk.profiles.add({"event_time": NOON - DAY, "value": value})
        self.at(0)

    def scene(self) -> Scene:
        columns = {}
        if self.heart:
            ordered = sorted(self.heart)
            records = [
                {"user": "p1", "event_time": t, "ingest_time": a, "event_id": str(i), "value": {"bpm": b, "quality": "STRAP"}}
                for i, (a, t, b) in enumerate(ordered)
            ]
            columns["device.heart_rate"] = Columns(rows.from_dicts("device.heart_rate", records)[0])
        return Scene(self.desk, lexicon(), columns, self.case_open)

    def beats(self, a: float, b: float, bpm: float, *, every: float = 1.0, late: float = 1.0) -> Stage:
        """Heart rate in [a, b) seconds; to be sent before the clock gets there."""
        for s in np.arange(a, b, every):
            t = NOON + int(s * SECOND)
            self.heart.append((t + int(late * SECOND), t, bpm))
        return self

    def at(self, s: float) -> Stage:
        """Move the clock; what is due fires on the way. What was sent is taken like a run of its own."""
        until = NOON + int(s * SECOND)
        scene = self.scene()
        while (due := self.desk.timers.next_due()) is not None and due <= until:
            _, kind, key = self.desk.timers.pop()
            self.desk.now = self.desk.event_time = due
            scene.case_open = self.case_open
            if kind == "PROGRAM":
                self.room.due(kind, key, scene)
        self.desk.now = self.desk.event_time = until
        self.room.finish(until, scene)
        self.heart = [h for h in self.heart if h[0] > until]
        return self

    def event(self, kind: str, s: float, *, arrives: float | None = None, **fields: Any) -> Stage:
        """One therapy.event, which arrives when it happens unless told otherwise."""
        self.at(s if arrives is None else arrives)
        value = {"program": self.program, "session_id": self.session, "kind": kind, **fields}
        self.desk.event_time = NOON + int(s * SECOND)
        return self._take("therapy.event", {"event_time": self.desk.event_time, "value": value})

    def report(self, instrument: str, total: float, s: float, session: str | None = None) -> Stage:
        self.at(s)
        value = {"instrument": instrument, "total": total, **({"session_id": session} if session else {})}
        return self._take("selfreport", {"event_time": NOON + int(s * SECOND), "value": value})

    def _take(self, topic: str, record: dict[str, Any]) -> Stage:
        scene = self.scene()
        self.room.take(topic, record, scene)
        self.room.finish(self.desk.now, scene)
        return self

    def begin(self, **fields: Any) -> Stage:
        """Session and two minutes of rest at 66 bpm; it ends at second 120."""
        self.event("SESSION_START", 0, **fields).event("BASELINE_START", 0)
        return self.beats(0, 122, 66).event("BASELINE_END", 120)

    def trial(self, name: str, a: float, b: float, suds: float | None = None, bpm: float = 70, **fields: Any) -> Stage:
        """A trial as commanded, with heart rate before, in it and shortly after."""
        shown = next((c["params"] for c in reversed(self.commands()) if "colour" in c["params"] or "count" in c["params"]), {})
        factors = {k: v for k, v in shown.items() if k in ("colour", "type", "size", "count", "gender", "age")}
        self.beats(a - 31, a, 66).beats(a, b + 3, bpm)
        self.event("TRIAL_START", a, trial_id=name, factors=factors)
        return self.event("TRIAL_END", b, trial_id=name, factors=factors, **({} if suds is None else {"suds": suds}), **fields)

    def restart(self) -> Stage:
        """Kill and come back with what stood in the state."""
        fresh = Programs()
        fresh.restore(json.loads(json.dumps(self.room.state())))
        self.room = fresh
        return self

    def said(self, topic: str) -> list[dict[str, Any]]:
        return [r["value"] for r in self.desk.out.get(topic, [])]

    def commands(self) -> list[dict[str, Any]]:
        return self.said("therapy.command")

    def last(self) -> dict[str, Any]:
        return self.commands()[-1]


__all__ = ["DAY", "HOUR", "MINUTE", "NOON", "SECOND", "Stage", "consent"]
