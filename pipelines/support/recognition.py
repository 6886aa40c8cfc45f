"""The personal recogniser in the machine: evidence of ten minutes in, supporting evidence and its own status out.

Answers are learned when their day is over (day-behind, design 4): those of day D-2 at the start of day D, in event-time order,
from the minutes as they are known then. So neither the order of arrival within a day nor where a run ends can show.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipelines.gate.desk import Desk
from pipelines.learning.recogniser import Recogniser as Recogniser
from pipelines.learning.recogniser import label_of
from pipelines.support import places
from pipelines.support.evidence import CAPACITY, MINUTE_MS
from pipelines.support.minutes import Minutes

TEN = 10


def evidence(minutes: Minutes, t: int, local_minute: int, weekend: bool) -> dict[str, float]:
    """Features of the ten whole minutes before `t` (ms); what is not known is left out, {} without any heart rate or step.

    Returns
    -------
    dict
        `residual` and `residual_max` in sigmas, `pulse` in bpm, `steps` a minute (10 min) and `steps_30`, `still` share of known
        minutes, `away` 0/1, `hour_sin`, `hour_cos`, `weekend`.
    """
    stop = min(t // MINUTE_MS - minutes.grid.base, CAPACITY)
    if stop < 30:
        return {}
    ten, half = slice(stop - TEN, stop), slice(stop - 30, stop)
    d, out = minutes.derived, {}
    seen = ~np.isnan(d.bpm[ten])
    if seen.any():
        out["pulse"] = float(np.median(d.bpm[ten][seen]))
        z = ((d.bpm[ten] - d.expected[ten]) / d.sigma[ten])[seen]
        if not np.isnan(z).all():
            out["residual"], out["residual_max"] = float(np.nanmean(z)), float(np.nanmax(z))
    for name, part in (("steps", ten), ("steps_30", half)):
        steps = minutes.grid.steps[part]
        if not np.isnan(steps).all():
            out[name] = float(np.nanmean(steps))
    if not out:
        return {}
    still = d.sedentary[ten]
    if (still >= 0).any():
        out["still"] = float((still[still >= 0] == 1).mean())
    place = int(d.place[stop - 1])
    if place != places.UNKNOWN:
        out["away"] = float(place == places.OTHER)
    angle = 2 * math.pi * local_minute / 1440
    return out | {"hour_sin": math.sin(angle), "hour_cos": math.cos(angle), "weekend": float(weekend)}


class Recognition:
    """The recogniser of one person and what the rooms see of it."""

    def __init__(self, model: Recogniser | None = None) -> None:
        self.model = model if model is not None else Recogniser()

    def take(self, record: dict[str, Any], asked: dict[str, dict[str, Any]], desk: Desk) -> None:
        """A `selfreport`; one that answers a prompt is about the instant at which it was asked."""
        value = record["value"]
        label = label_of(value)
        if label is None:
            return
        prompt = asked.get(value.get("prompt_id") or "")
        t = int(prompt["at"]) if prompt is not None else int(record["event_time"])
        days = desk.days
        assert days is not None
        today = days.today().index
        oldest = min((d.start_time for d in days.days() if d.index >= today - 1), default=0)
        self.model.answer(record["event_id"], t, label, oldest)

    def learn(self, until: int, minutes: Minutes, desk: Desk) -> None:
        """Learn the answers about instants before `until` (ms), before their evidence is let go."""
        before = self.model.on
        for t, event_id, label in self.model.due(until):
            x = self._evidence(minutes, t, desk)
            if x:
                self.model.learn_one(event_id, x, label)
        if self.model.on != before:
            state, reason = ("OK", "OK") if self.model.on else ("ABSENT", "BASE_RATE_BETTER")
            value = {"modality": "RECOGNISER", "state": state, "since_time": desk.now, "reason": reason}
            desk.emit("monitoring.status", desk.now, value, "RECOGNISER", desk.now)

    def states(self, t: int, minutes: Minutes, desk: Desk) -> dict[str, float]:
        """Probability of each state in the ten minutes before instant `t` (ms); {} while the recogniser is off."""
        found: dict[str, float] = self.of(t, minutes, desk).get("state_prob", {})
        return found

    def of(self, t: int, minutes: Minutes, desk: Desk) -> dict[str, Any]:
        """Optional fields of a `risk.signal` about instant `t` (ms); {} while the recogniser is off."""
        if not self.model.on:
            return {}
        found = self.model.recognise(self._evidence(minutes, t, desk))
        if found is None:
            return {}
        return {
            "state_prob": found["proba"],
            "state_context": found["context"],
            "state_confidence": found["confidence"],
        }

    @staticmethod
    def _evidence(minutes: Minutes, t: int, desk: Desk) -> dict[str, float]:
        days = desk.days
        assert days is not None
        index = days.day_index(t)
        weekend = index is not None and (index + 3) % 7 >= 5  # day 0 of 1970 was a Thursday
        return evidence(minutes, t, days.local_minute(t), weekend)
