"""`lives`: somebody whose answers teach the personal recogniser, whose life changes, and whose old life comes back.

Eight weeks of two lives that contradict each other, three answers a day. In the old one a racing pulse at rest is a panic attack
and a raised one is stress. In the other (a beta blocker, and sauna and sport for pleasure) a racing pulse is calm and distress
hardly shows. Made up; what pulse means what is a choice.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

OLD, OTHER = "old", "other"
LIVES = ((OLD, 20), (OTHER, 22), (OLD, 14))  # days
FIRST = dt.date(2026, 4, 20)  # a week after the log begins
CALM, STRESSED, PANIC = (
    {"instrument": "EMA", "items": {"panic": 0.0, "stress": 1.0}},
    {"instrument": "EMA", "items": {"panic": 0.0, "stress": 8.0}},
    {"instrument": "EMA", "items": {"panic": 1.0, "stress": 9.0}},
)
SAYS: dict[str, tuple[tuple[int, dict[str, Any]], ...]] = {  # (bpm above rest in the quarter of an hour before, the answer)
    OLD: ((0, CALM), (12, STRESSED), (40, PANIC)),
    OTHER: ((40, CALM), (0, STRESSED), (0, STRESSED)),
}
HOURS = (("09:40", None), ("13:40", "other"), ("18:10", None))  # an hour at rest ends with a question; midday away from home


def story() -> dict[str, Any]:
    """The scenario as YAML would give it."""
    events: list[dict[str, Any]] = []
    day = FIRST
    for life, days in LIVES:
        for n in range(days):
            for k, (clock, away) in enumerate(HOURS):
                bpm, answer = SAYS[life][(n + k) % 3]
                events += _hour(dt.datetime.combine(day, dt.time.fromisoformat(clock)), away is not None, bpm, answer)
            day += dt.timedelta(days=1)
    return {
        "events": events,
        "expect": [{"status": {"modality": "RECOGNISER", "state": "OK"}}, {"status": {"modality": "RECOGNISER", "state": "ABSENT"}}],
        "never": ["audience THERAPIST"],
        "consents_add": {"c2": {"purpose": "RESEARCH", "recipient_ref": "STUDY", "modalities": "ALL"}},
    }  # fmt: skip


def _hour(start: dt.datetime, away: bool, bpm: int, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """There and back if it is away from home, 50 minutes of rest, the last 16 of them with another pulse, and an answer."""

    def at(minute: int) -> str:
        return (start + dt.timedelta(minutes=minute)).strftime("%m-%d %H:%M")

    out: list[dict[str, Any]] = []
    if away:
        out.append({"at": at(-10), "walk": {"min": 10, "steps_min": 100}, "go": "other"})
    out.append({"at": at(0), "still": {"min": 52}})
    if bpm:
        out.append({"at": at(34), "hr_plus": {"bpm": bpm, "min": 16}})
    out.append({"at": at(50), "record": {"topic": "selfreport", "value": answer}})
    if away:
        out.append({"at": at(52), "walk": {"min": 10, "steps_min": 100}, "go": "home"})
    return out
