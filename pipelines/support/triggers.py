"""Evidence of acute risk: search episodes, item 9, content flags, chat risk; and the cases they form. Pure.

support.md 2 (search episode), 3 (tiers), 8 (case). Everything here is a function of the set of known records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.context.risk import Flag
from schemas.ids import derive

MERGE_MS = 10 * 60_000
CASE_GAP_MS = 24 * 3_600_000
COUNT_WINDOW_MS = 24 * 3_600_000
RANK = {"NONE": 0, "RESOURCES": 1, "CASE_NOTE": 2, "L1": 3, "L2": 4, "L3": 5, "L4": 6}


@dataclass(frozen=True)
class Trigger:
    """Flags of one kind and category within ten minutes of the first (only searches merge)."""

    kind: str
    category: str | None
    start: int
    end: int
    severity: int
    count: int
    refs: tuple[str, ...]
    arrival: int
    suspect: bool
    note: bool
    signal_id: str

    @property
    def modality(self) -> str:
        return {"SEARCH": "SEARCH", "ITEM9": "SELFREPORT", "CONTENT": "CONTENT", "CHAT_RISK": "CHAT"}[self.kind]

    @property
    def opens_case(self) -> bool:
        """Search episodes >= 2, chat risk, item9 >= 1, content (support.md 8)."""
        return self.kind != "SEARCH" or self.severity >= 2


def signal_id(user: str, kind: str, category: str | None, start: int) -> str:
    """Id of a signal: kind, category, start (support.md 8)."""
    return derive("risk.signal", user, kind, category or "", start)


def merge(user: str, flags: Iterable[Flag]) -> list[Trigger]:
    """Search episodes and single triggers, by start.

    The result depends on the set of flags only, not on their order.
    """
    groups: dict[tuple[str, str | None, bool], list[Flag]] = {}
    for f in flags:
        groups.setdefault((f.kind, f.category, f.late), []).append(f)
    out: list[Trigger] = []
    for (kind, category, late), members in groups.items():
        members.sort(key=lambda f: (f.t, f.event_id))
        run: list[Flag] = []
        for f in members:
            if run and (kind != "SEARCH" or f.t - run[0].t > MERGE_MS):
                out.append(_trigger(user, kind, category, late, run))
                run = []
            run.append(f)
        out.append(_trigger(user, kind, category, late, run))
    return sorted(out, key=lambda tr: (tr.start, tr.refs[0]))


def _trigger(user: str, kind: str, category: str | None, late: bool, run: list[Flag]) -> Trigger:
    start = run[0].t
    name = category if not late else f"{category or ''}:late"
    return Trigger(
        kind, category, start, run[-1].t, max(f.severity for f in run), len(run), tuple(f.event_id for f in run),
        max(f.arrival for f in run), any(f.suspect for f in run), late, signal_id(user, kind, name, start),
    )  # fmt: skip


def count_24h(trigger: Trigger, triggers: Iterable[Trigger]) -> int:
    """Search episodes >= 2 in the 24 h that end with this one."""
    if trigger.kind != "SEARCH" or trigger.severity < 2:
        return 0
    since = trigger.start - COUNT_WINDOW_MS
    return sum(
        1
        for t in triggers
        if t.kind == "SEARCH" and t.severity >= 2 and not t.note and since < t.start <= trigger.start
    )


def own_tier(trigger: Trigger, n_24h: int) -> str:
    """Tier by the trigger alone, without watch, place or profile (support.md 3)."""
    if trigger.note:
        return "CASE_NOTE" if trigger.opens_case else "NONE"
    if trigger.kind == "SEARCH":
        if trigger.severity >= 3 or n_24h >= 3:
            return "L4"
        return {2: "L2", 0: "RESOURCES"}.get(trigger.severity, "NONE")
    if (trigger.kind == "ITEM9" and trigger.severity >= 3) or (trigger.kind == "CHAT_RISK" and trigger.severity >= 3):
        return "L4"
    return "L2"


@dataclass(frozen=True)
class Case:
    """A maximal run of triggers less than 24 h apart by event time, cut by a closing acknowledgement."""

    case_id: str
    triggers: tuple[Trigger, ...]

    @property
    def last(self) -> int:
        return max(t.end for t in self.triggers)


def cases(user: str, triggers: Iterable[Trigger], cuts: Iterable[int] = ()) -> list[Case]:
    """Group triggers that open a case; `cuts` are event times of closing acknowledgements."""
    marks = sorted(cuts)
    out: list[Case] = []
    run: list[Trigger] = []
    for t in sorted((t for t in triggers if t.opens_case), key=lambda t: (t.start, t.refs[0])):
        if run and (t.start - run[-1].start >= CASE_GAP_MS or any(run[-1].start < c <= t.start for c in marks)):
            out.append(_case(user, run))
            run = []
        run.append(t)
    if run:
        out.append(_case(user, run))
    return out


def _case(user: str, run: list[Trigger]) -> Case:
    return Case(derive("case.file", user, "ACUTE", run[0].refs[0]), tuple(run))
