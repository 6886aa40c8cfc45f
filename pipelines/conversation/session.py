"""What the bot knows of one conversation: codes, counts and ids, never a word of what was said."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.conversation.language_metrics import EMPTY

KEEP_MS = 24 * 3_600_000
MAX_SESSIONS = 8


@dataclass
class Session:
    """One conversation.

    Parameters
    ----------
    last
        Instant (ms, log clock) of the last record.
    level
        Highest level of risk so far; never lowered.
    asked
        Question of the screener that waits for a tap, "" = none.
    screened
        Screener question → yes.
    repeated
        The waiting question has been repeated once.
    tapped
        Referral question → answer; `referring` while questions wait.
    unclear
        Messages in a row that were not understood.
    gaps
        Clusters already told as content gap.
    reply
        [topic, item_id] of the last ordinary reply, for HELPFUL taps.
    sums
        Running sample of `language_metrics`; `told` once it has been given out.
    """

    last: int = 0
    level: str = "NONE"
    asked: str = ""
    screened: dict[str, bool] = field(default_factory=dict)
    repeated: bool = False
    tapped: dict[str, str] = field(default_factory=dict)
    referring: bool = False
    unclear: int = 0
    gaps: list[str] = field(default_factory=list)
    reply: list[str] = field(default_factory=list)
    sums: list[float] = field(default_factory=lambda: list(EMPTY))
    told: bool = False


class Sessions:
    """The newest conversations of one person."""

    def __init__(self) -> None:
        self.by_id: dict[str, Session] = {}

    def of(self, session_id: str, now: int) -> Session:
        """The session, a new one if need be; old ones go."""
        keep = {k: s for k, s in self.by_id.items() if now - s.last < KEEP_MS}
        session = keep.pop(session_id, None) or Session()
        session.last = now
        while len(keep) >= MAX_SESSIONS:
            del keep[min(keep, key=lambda k: (keep[k].last, k))]
        keep[session_id] = session
        self.by_id = keep
        return session

    def state(self) -> dict[str, Any]:
        return {k: asdict(s) for k, s in sorted(self.by_id.items())}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Sessions:
        out = Sessions()
        out.by_id = {str(k): Session(**s) for k, s in state.items()}
        return out
