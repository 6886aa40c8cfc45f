"""Which state a person is probably in, learned from this person's own answers: CALM, STRESSED or PANIC (spec/models.md 3).

Supporting evidence only: nothing is said or withheld because of it. It is off until it has beaten the person's running base
rate on answers that it had not seen, and goes off when it stops to. Pure: the caller says when something is learned.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from pipelines.learning import packing
from pipelines.learning.recall import RecallClassifier

CALM, STRESSED, PANIC = "CALM", "STRESSED", "PANIC"
CLASSES = (CALM, STRESSED, PANIC)
VERSION = 2
WAITING = 64  # answers that wait for their day to be over
KNOWN = 128  # ids of answers learned last, for those that come twice
KEEP = 0.98  # of the comparison, an answer: about the last 50 count
KEEP_RECENT = 0.9  # of a second comparison: about the last 10, so that a change of life is noticed within days
FIRST_ANSWERS = 40  # before that it is off whatever the comparison says
LEAD_ON = 0.05  # nats an answer by which it must beat the base rate to go on; below zero in either it goes off
LEAST = 0.02
SIZE = {"memory": 160, "recent": 48, "max_contexts": 4}  # within the 18 KiB of models.md 4


def label_of(value: Mapping[str, Any]) -> str | None:
    """The state that a `selfreport` names, None if it names none clearly.

    An answer "was this a panic attack?" (EMA item `panic` >= 1) is PANIC. SUDS >= 60 and stress >= 6 of 10 are STRESSED, SUDS
    < 40 and stress <= 4 CALM, mood <= 3 STRESSED and >= 6 CALM; what lies between says nothing (a choice, not validated).

    >>> label_of({"instrument": "SUDS", "total": 70.0})
    'STRESSED'
    >>> label_of({"instrument": "EMA", "items": {"panic": 1}})
    'PANIC'
    """
    items = value.get("items") or {}
    if value["instrument"] == "EMA":
        if (items.get("panic") or 0) >= 1:
            return PANIC
        given = {k.upper(): items.get(k) for k in ("suds", "stress", "mood")}
    else:
        given = {value["instrument"]: value.get("total", next(iter(items.values()), None))}
    for name, calm, stressed in (("SUDS", 39.9, 60.0), ("STRESS", 4.0, 6.0)):
        amount = given.get(name)
        if amount is not None:
            return STRESSED if amount >= stressed else CALM if amount <= calm else None
    mood = given.get("MOOD")
    return None if mood is None else STRESSED if mood <= 3 else CALM if mood >= 6 else None


class Recogniser:
    """States of one person.

    Examples
    --------
    >>> r = Recogniser()
    >>> r.answer("a1", 1_000, "CALM", 0)
    True
    >>> r.answer("a1", 1_000, "CALM", 0)
    False
    """

    def __init__(self) -> None:
        self.model = RecallClassifier(**SIZE)
        self.waiting: list[list[Any]] = []  # [time ms, event_id, class], by time
        self.known: list[str] = []
        self.counts = dict.fromkeys(CLASSES, 1.0)  # running base rate, one of each to begin with
        self.lead = 0.0  # decayed sum of (base rate's loss - the model's), nats
        self.weight = 0.0
        self.recent = 0.0  # the same over the last few answers
        self.on = False
        self.n_late = 0  # answers that came after their day had been learned, or when too many waited
        self._written = (0, b"")  # labels learned when the model was last written, and its bytes

    def answer(self, event_id: str, time: int, label: str, oldest: int) -> bool:
        """Keep an answer about `time` (ms) until its day is over; True if it is new and not too late.

        Parameters
        ----------
        oldest
            ms; answers about earlier instants have no evidence any more.
        """
        if event_id in self.known or any(w[1] == event_id for w in self.waiting):
            return False
        if time < oldest or len(self.waiting) >= WAITING:
            self.n_late += 1
            return False
        self.waiting = sorted([*self.waiting, [time, event_id, label]])
        return True

    def due(self, until: int) -> list[tuple[int, str, str]]:
        """Take out the answers about instants before `until` (ms): (time, id, class), in event-time order."""
        out = [(int(t), str(i), str(c)) for t, i, c in self.waiting if t < until]
        self.waiting = [w for w in self.waiting if w[0] >= until]
        return out

    def learn_one(self, event_id: str, x: Mapping[str, float], label: str) -> None:
        """Compare first, then learn (prequential)."""
        said = self.model.predict_proba_one(x).get(label, 0.0) if self.model.n_learned else 0.0
        base = self.counts[label] / sum(self.counts.values())
        if self.model.n_learned:
            gain = math.log(max(said, LEAST)) - math.log(max(base, LEAST))
            self.lead, self.weight = KEEP * self.lead + gain, KEEP * self.weight + 1.0
            self.recent = KEEP_RECENT * self.recent + gain
        self.counts = {c: KEEP * n + (c == label) for c, n in self.counts.items()}
        self.model.learn_one(x, label)
        self.known = [*self.known, event_id][-KNOWN:]
        per_answer = self.lead / self.weight if self.weight else 0.0
        enough = self.model.n_learned >= FIRST_ANSWERS
        self.on = enough and self.recent > 0 and (per_answer > 0 if self.on else per_answer > LEAD_ON)

    def recognise(self, x: Mapping[str, float]) -> dict[str, Any] | None:
        """Probabilities, the context that answers and the confidence; None while off or without evidence.

        Confidence = 1 - entropy / log(classes): 0 = knows nothing, 1 = certain.
        """
        if not self.on or not x:
            return None
        proba = self.model.predict_proba_one(x)
        entropy = -sum(p * math.log(p) for p in proba.values() if p > 0)
        context = self.model.explain_one(x)["context"]
        return {
            "proba": {c: round(p, 4) for c, p in proba.items()},
            "context": "PRESENT" if context is None else f"CONTEXT_{context}",
            "confidence": round(1.0 - entropy / math.log(len(proba)), 4) if len(proba) > 1 else 0.0,
        }

    def written(self) -> bytes:
        """Bytes of the model, written anew only where it has learned; empty before the first answer."""
        n = self.model.n_learned
        if n and self._written[0] != n:
            self._written = (n, self.model.dump())
        return self._written[1] if n else b""

    def state(self) -> dict[str, Any]:
        """Everything known, as JSON data."""
        return {
            "version": VERSION, "model": base64.b64encode(self.written()).decode() if self.model.n_learned else None,
            "waiting": self.waiting, "known": self.known, "counts": [self.counts[c] for c in CLASSES], "lead": self.lead,
            "weight": self.weight, "recent": self.recent, "on": self.on, "n_late": self.n_late,
        }  # fmt: skip

    @staticmethod
    def from_state(state: Any) -> Recogniser:
        """Take up what `state` gave; StateError for anything else."""
        r = Recogniser()
        try:
            if state["version"] == 1:  # knew only the long comparison
                state = {**state, "version": VERSION, "recent": 0.1 if state["on"] else 0.0}
            if state["version"] != VERSION:
                raise packing.StateError("state of the recogniser has an unknown version")
            if state["model"] is not None:
                r.model = RecallClassifier.load(base64.b64decode(state["model"], validate=True))
            r.waiting = [[int(t), str(i), CLASSES[CLASSES.index(c)]] for t, i, c in state["waiting"]]
            r.known = [str(i) for i in state["known"]][-KNOWN:]
            r.counts = {c: float(n) for c, n in zip(CLASSES, state["counts"], strict=True)}
            r.lead, r.weight, r.on = float(state["lead"]), float(state["weight"]), bool(state["on"])
            r.recent = float(state["recent"])
            r.n_late = int(state["n_late"])
        except packing.StateError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError):
            raise packing.StateError("state of the recogniser cannot be read") from None
        if min(r.counts.values()) < 0 or sum(r.counts.values()) <= 0 or not math.isfinite(r.lead + r.weight + r.recent):
            raise packing.StateError("state of the recogniser has a number out of range")
        return r
