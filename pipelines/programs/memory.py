"""What is kept of a person's programs between sessions: evidence, stages, bandit, abilities. Plain data, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.programs import sparx
from pipelines.programs.aphasia import Practice
from pipelines.programs.evidence import KEPT
from pipelines.programs.session import ASSESS, CONSOLIDATE, Session

LADDERS = ("SPIDER", "SPEECH")
CLOSED_KEPT = 24  # ids of sessions that are over: what comes late of them opens nothing


def _ladder() -> dict[str, Any]:
    return {
        "rows": [], "counts": {}, "met": {}, "mastered": None, "level": 0, "stage": ASSESS, "sessions": 0, "consolidated": 0,
        "slots": [],
    }  # fmt: skip


class Memory:
    """Between sessions.

    Attributes
    ----------
    ladder
        Program → rows of evidence, counts of the balanced order, mastered level, stage, slots of music.
    sparx, practice
        Of the game and of naming; None until first used.
    closed
        session_ids that are over, newest last.
    """

    def __init__(self) -> None:
        self.ladder: dict[str, dict[str, Any]] = {}
        self._sparx: dict[str, Any] | None = None
        self._practice: Practice | None = None
        self.closed: list[str] = []

    def of(self, program: str) -> dict[str, Any]:
        """What a ladder remembers."""
        return self.ladder.setdefault(program, _ladder())

    @property
    def sparx(self) -> dict[str, Any]:
        if self._sparx is None:
            self._sparx = sparx.memory()
        return self._sparx

    @property
    def practice(self) -> Practice:
        if self._practice is None:
            self._practice = Practice()
        return self._practice

    def begin(self, session: Session) -> None:
        """A session takes up where the last one of its program ended."""
        if session.program not in LADDERS:
            return
        mem = self.of(session.program)
        session.stage, session.level, session.number = mem["stage"], mem["level"], mem["sessions"]
        mem["sessions"] += 1

    def stage(self, session: Session, stage: str) -> None:
        """The therapist moves on (or back)."""
        if session.program not in LADDERS:
            return
        mem = self.of(session.program)
        if stage == CONSOLIDATE and "consolidating" not in session.said:
            session.said.append("consolidating")
            mem["consolidated"] += 1
        session.stage = mem["stage"] = stage

    def keep(self, session: Session, rows: list[dict[str, Any]]) -> None:
        """The evidence of a session that is over."""
        mem = self.of(session.program)
        mem["rows"] = [*mem["rows"], *rows][-KEPT:]
        mem["level"] = min(session.level, mem["level"] if session.stopped else session.level)

    def close(self, session_id: str) -> None:
        self.closed = [*self.closed, session_id][-CLOSED_KEPT:]

    def state(self) -> dict[str, Any]:
        practice = None if self._practice is None else self._practice.state()
        return {"ladder": self.ladder, "sparx": self._sparx, "practice": practice, "closed": self.closed}

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Memory:
        out = Memory()
        out.ladder = {str(k): {**_ladder(), **dict(v)} for k, v in state["ladder"].items()}
        out._sparx = None if state["sparx"] is None else {**sparx.memory(), **dict(state["sparx"])}
        out._practice = None if state["practice"] is None else Practice.from_state(state["practice"])
        out.closed = [str(s) for s in state["closed"]]
        return out
