"""Items of naming practice: what each is due for, and how likely a group's next answer is right (programs.md 6). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.learning.ability import elo, p_correct

DAY_MS, MINUTE_MS = 86_400_000, 60_000
NEW, ACTIVE, LEARNED = "NEW", "ACTIVE", "LEARNED"
REPEATS_MS = (0, MINUTE_MS, 5 * MINUTE_MS)  # three right in a row: at once, after a minute, after five
FLOOR = 0.10  # of the effort, each group
MIX = (0.60, 0.85)
MISS_POWER = 0.3


@dataclass
class Item:
    """One item of one person.

    Parameters
    ----------
    b, n
        Difficulty (logits) and answers it has learnt from.
    state, streak, due
        NEW, ACTIVE (right answers in a row, when the next is due) or LEARNED (reviews passed, when the next is due).
    last
        When it was answered last, ms; 0 = never.
    """

    group: str
    b: float
    n: int = 0
    state: str = NEW
    streak: int = 0
    due: int = 0
    last: int = 0

    def answered(self, right: bool, now: int) -> None:
        """Move between the states after an answer without a cue; a right one before its time shows nothing of the interval."""
        self.last = now
        if not right:
            self.state, self.streak, self.due = ACTIVE, 0, now
        elif self.due > now:
            pass
        elif self.state == LEARNED:
            self.streak += 1
            self.due = now + DAY_MS * 2**self.streak
        elif self.streak + 1 >= len(REPEATS_MS):
            self.state, self.streak, self.due = LEARNED, 0, now + DAY_MS
        else:
            self.state, self.streak = ACTIVE, self.streak + 1
            self.due = now + REPEATS_MS[self.streak]


@dataclass
class Group:
    """Ability in one thematic group: theta in logits, and answers it has learnt from."""

    theta: float = 0.0
    n: int = 0


def learn(group: Group, item: Item, score: float) -> None:
    """Elo on both sides."""
    group.theta, item.b = elo(group.theta, group.n, item.b, item.n, score)
    group.n, item.n = group.n + 1, item.n + 1


def success(groups: Mapping[str, Group], items: Iterable[Item]) -> float | None:
    """Predicted success of a mix of items; None of an empty one."""
    p = [p_correct(groups[i.group].theta, i.b) for i in items]
    return sum(p) / len(p) if p else None


def promise(groups: Mapping[str, Group], item: Item, now: int) -> float:
    """How much one more practice of the item promises: time since the last one, less of it for what succeeds by itself.

    Time counts because spaced practice lasts longer (Schuchard et al. 2020); the share of failures to the power of 0.3 [choice:
    benchmarks/program_models.py, simulated learners of two kinds; 0 to 0.8 tried] leaves easy items some of the trials.
    """
    miss = max(1e-3, 1 - p_correct(groups[item.group].theta, item.b))
    return float((now - item.last) * miss**MISS_POWER)


def effort(groups: Mapping[str, Group], open_items: Iterable[Item], weights: Mapping[str, float]) -> dict[str, float]:
    """Share of the practice of each group: softmax of the expected gain x the clinician's weight, none below 10 %.

    Expected gain = sum over the group's open items of P (1 - P).
    """
    gain: dict[str, float] = {}
    for item in open_items:
        p = p_correct(groups[item.group].theta, item.b)
        gain[item.group] = gain.get(item.group, 0.0) + p * (1 - p)
    if not gain:
        return {}
    top = max(gain.values())
    raw = {g: math.exp(v - top) * max(0.0, weights.get(g, 1.0)) for g, v in gain.items()}
    total = sum(raw.values())
    shares = {g: v / total if total else 1 / len(raw) for g, v in raw.items()}
    return with_floor(shares, min(FLOOR, 1 / len(shares)))


def with_floor(shares: Mapping[str, float], floor: float) -> dict[str, float]:
    """Shares of at least `floor` that sum to 1."""
    low = {g for g, v in shares.items() if v < floor}
    while True:
        rest = sum(v for g, v in shares.items() if g not in low)
        left = 1 - floor * len(low)
        out = {g: floor if g in low else v / rest * left for g, v in shares.items()}
        more = {g for g, v in out.items() if v < floor - 1e-12}
        if not more:
            return out
        low |= more


def furthest_behind(shares: Mapping[str, float], done: Mapping[str, int], among: Sequence[str]) -> str:
    """Of the groups the one whose practice lags most behind its share; ties by name."""
    total = sum(done.values()) + 1
    return min(sorted(among), key=lambda g: done.get(g, 0) - shares.get(g, 0.0) * total)
