"""Somebody who practises naming and whose memory follows a published model of spacing, fitted to recall over days."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

DECAY, SCALE = 0.177, 0.217  # a and c of the decay: d = c e^m + a
THRESHOLD, NOISE = -0.704, 0.255  # tau and s of recall
BETWEEN = 0.025  # h: time between sessions counts so much less than time within one
SESSION_S = 3_600.0  # a pause as long as this lies between sessions


class Recaller:
    """The activation model of Pavlik & Anderson (2005, Cognitive Science 29:559), with the parameters of that paper.

    Activation m = ln sum t_j^(-d_j) over the practices j, t_j their age in seconds, decay d_j = c e^(m before j) + a: what is
    practised while still fresh fades faster. A word is named by ability alone (Rasch) or, independently, by the trained trace
    with P = 1 / (1 + e^((tau - m) / s)) [choice: two independent routes]. A missed word is heard in the end, which counts as a
    practice, as study and test do in the paper. The parameters are of healthy adults and word pairs, not of aphasia.

    Parameters
    ----------
    theta
        Group → ability without any practice, logits.
    """

    def __init__(self, theta: Mapping[str, float], rng: np.random.Generator) -> None:
        self.theta, self.rng, self.clock, self.seen = dict(theta), rng, 0.0, 0
        self.trace: dict[str, list[tuple[float, float]]] = {}  # item → (time on the scaled clock, s; decay) of each practice

    def p(self, item: str, group: str, b: float, now: int) -> float:
        """Probability of naming the item; `b` in logits, `now` in ms."""
        alone = 1 / (1 + math.exp(b - self.theta.get(group, 0.0)))
        m = self._activation(item, now)
        return alone if m is None else 1 - (1 - alone) / (1 + math.exp((m - THRESHOLD) / NOISE))

    def practise(self, item: str, right: bool, now: int) -> None:
        """A practice of the item, named or heard."""
        m = self._activation(item, now)
        self.clock, self.seen = self._scaled(now), now
        decay = DECAY if m is None else SCALE * math.exp(m) + DECAY
        self.trace.setdefault(item, []).append((self.clock, decay))

    def _activation(self, item: str, now: int) -> float | None:
        at = self._scaled(now)
        past = self.trace.get(item)
        return None if past is None else math.log(sum(max(1.0, at - t) ** -d for t, d in past))

    def _scaled(self, now: int) -> float:
        gap = (now - self.seen) / 1000 if self.seen else 0.0
        return self.clock + (gap if gap < SESSION_S else gap * BETWEEN)
