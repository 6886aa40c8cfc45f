"""`model.snapshot`: every model of a person as explicit bytes at the start of a local day, and the way back to one.

A snapshot holds what was learned, no evidence and no record. Going back replaces the models and nothing else: consent, cases
and the audit chain stay, and the chain says that it happened.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.gate.desk import Desk
from pipelines.learning import packing
from pipelines.learning.expected_heart_rate import DayBehind
from pipelines.learning.receptivity import Receptivity
from pipelines.learning.recogniser import Recogniser

KIND, VERSION = "models", 1
MAX_BYTES = 65_536


@dataclass
class Models:
    """What a person's machine has learned."""

    heart: DayBehind
    receptivity: Receptivity
    recogniser: Recogniser


def pack(models: Models) -> tuple[bytes, list[dict[str, Any]]]:
    """Bytes of all models, and what they hold as `model.snapshot` lists it."""
    heart = models.heart.dump()
    recogniser = models.recogniser.state()
    receptivity = models.receptivity.state()
    parts = {
        "hr_expected": (heart, models.heart.head.n_learned),
        "receptivity": (packing.pack("receptivity", 1, receptivity, {}), models.receptivity.n_prompts),
        "recogniser": (models.recogniser.written(), models.recogniser.model.n_learned),
    }
    state = packing.pack(
        KIND,
        VERSION,
        {"receptivity": receptivity, "recogniser": recogniser},
        {"hr_expected": np.frombuffer(heart, np.uint8)},
    )
    listed = [
        {"model": name, "version": "1", "digest": hashlib.sha256(data).hexdigest()[:16], "n_learned": int(n), "size_bytes": len(data)}
        for name, (data, n) in parts.items()
    ]  # fmt: skip
    return state, listed


def unpack(state: bytes) -> Models:
    """Models of a snapshot; StateError for anything else."""
    meta, arrays = packing.unpack(KIND, state)
    heart = packing.take(arrays, "hr_expected", "|u1", None)
    packing.done(arrays)
    try:
        receptivity = Receptivity.from_state(meta["receptivity"])
        recogniser = meta["recogniser"]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise packing.StateError("snapshot cannot be read") from None
    return Models(DayBehind.load(heart.tobytes()), receptivity, Recogniser.from_state(recogniser))


def tell(models: Models, local_date: str, desk: Desk) -> None:
    """Say the snapshot of the local day that starts now; nothing before anything has been learned."""
    learned = models.heart.head.n_learned or models.recogniser.model.n_learned or models.receptivity.n_prompts
    if not learned:
        return
    state, listed = pack(models)
    if len(state) > MAX_BYTES:
        raise packing.StateError("models of a person are larger than 64 KiB")
    value = {"local_date": local_date, "models": listed, "state": base64.b64encode(state).decode("ascii")}
    desk.emit("model.snapshot", desk.now, value, local_date)


def roll_back(now: Models, then: Models, desk: Desk, object_id: str) -> Models:
    """The models to go on with: those of the snapshot; days that are being scored are scored by them from now on."""
    scored = sorted(now.heart.frozen)
    heart = then.heart
    if heart.head.warm and heart.head.sigma > 0:
        heart.frozen = {d: (heart.head.coefficients(), heart.head.sigma) for d in scored}
    else:
        heart.frozen = {}
    # answers that came since are still waiting for their day, and an answer that was learned is not learned twice
    then.recogniser.waiting = now.recogniser.waiting
    desk.audit("MODEL_ROLLED_BACK", object_id, actor="clinic")
    return then


