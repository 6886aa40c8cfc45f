"""Crisis messages ahead of the log's clock: while older records are unread, nobody in need waits for them (decision 0070).

A copy of the person's machine takes what is known of risk, consent and chat, which is read before everything else, and says
what can't wait (`pipelines.early`). So a live run still gives what the replay gives. No Beam here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipelines.early import leave_out, said_early, still
from pipelines.ingest.machine import FEW
from pipelines.ledger import Kept
from pipelines.live_content import LiveContent
from pipelines.live_options import LiveOptions
from pipelines.step import Machine, Stepped
from pipelines.waiting import SOON_ROWS, Waiting, earliest

AGAIN_MS = 60_000  # an acknowledgement may become due meanwhile

States = tuple[bytes, bytes] | None


@dataclass
class Early:
    """What was said early to one person.

    Parameters
    ----------
    until
        Up to where the copy has been run (ms).
    again
        When it is to be run again, if the machine itself has not come so far by then (ms); None = only for new risk.
    ids
        Id of what was said → its arrival (ms).
    """

    until: int
    again: int | None = None
    ids: dict[str, int] = field(default_factory=dict)


class Lookahead:
    """Who is looked ahead for, and what has been said that way.

    Parameters
    ----------
    states
        Pseudonym → states as of the last commit.
    kept
        `state()` of the run before.
    """

    def __init__(
        self, live: LiveOptions, content: LiveContent, states: Callable[[str], States], kept: dict[str, Any] | None = None
    ) -> None:
        self.content, self._states = content, states
        self.patience_s = live.hold_s + 2 * live.slice_s
        self.early = {u: Early(e["until"], e["again"], dict(e["ids"])) for u, e in (kept or {}).items()}

    def wanted(self, waiting: dict[str, Waiting], until: int, horizon: int, at: float) -> list[str]:
        """Those in need whom the log's clock or a backlog of their own keeps waiting, who waits longest first.

        Parameters
        ----------
        until
            The log's clock (ms): who is in need before it is run in this slice, unless much is to be taken before.
        horizon
            Up to where nothing is unread of what is read first (ms).
        at
            Now (monotonic seconds).
        """
        found = []
        for user, w in waiting.items():
            much = w.rows > SOON_ROWS
            if w.needs and w.risky_at is not None and (much or at - w.risky_at >= self.patience_s):
                early = self.early.get(user)
                after = max(0 if much else until, 0 if early is None else early.until)
                new = min((n for n in w.needs if after < n <= horizon), default=None)
                if new is not None:
                    found.append((new, user))
                elif early is not None and early.again is not None and early.again <= horizon:
                    found.append((early.again, user))
        return [user for _, user in sorted(found)]

    def look(self, user: str, waiting: Waiting, kept: Kept | None, horizon: int, now: int) -> Stepped:
        """Run a copy of somebody's machine up to `horizon`; what of it is said at once."""
        tables = waiting.up_to(horizon, FEW)
        begin = kept.clock if kept is not None else earliest(tables, horizon) - 1
        machine = Machine(user, self.content.at(begin), self._states(user))
        early = self.early.setdefault(user, Early(horizon))
        out = said_early(user, self.content.run(machine, tables, begin, horizon), early.ids, now)
        due = machine.next_due(horizon)
        early.until, early.again = horizon, None if due is None else max(due, horizon + AGAIN_MS)
        return out

    def leave_out(self, done: list[Stepped]) -> None:
        """Take out of what machines say what has been said already."""
        for s in done:
            if (early := self.early.get(s.user)) is not None:
                leave_out(s, early.ids)

    def passed(self, user: str, clock: int) -> None:
        """The machine itself has come to `clock` (ms): what was said of before then is never said again."""
        early = self.early.get(user)
        if early is not None:
            early.ids = still(early.ids, clock)
            if early.until <= clock and not early.ids:
                del self.early[user]

    def state(self) -> dict[str, Any]:
        return {u: {"until": e.until, "again": e.again, "ids": e.ids} for u, e in sorted(self.early.items())}
