"""What a copy of a person's machine says before the machine itself comes to it, and what is then not said again. No Beam here.

A copy takes what is known of risk, consent and chat and says only crisis messages and replies of the conversation; it is thrown
away. The machine comes to the same records in their order later: a message has the same derived id both times (decision 0070).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.step import Stepped
from pipelines.waiting import FRESH_MS

SAID = ("notifications", "chat.outbound")
CRISIS = frozenset({"L4", "SAFEGUARD"})  # tiers that no other modality can change


def said_early(user: str, steps: Iterable[Stepped], ids: dict[str, int], now: int) -> Stepped:
    """What of the steps of a copy is said at once.

    Parameters
    ----------
    ids
        Id of what was said before → its arrival (ms); takes the new ones.
    now
        ms: what a backlog says of days ago comes when the log's clock does.
    """
    out = Stepped(user)
    for done in steps:
        for topic in SAID:
            said = [r for r in done.records.get(topic, []) if _is_said(topic, r, now) and r["event_id"] not in ids]
            if said:
                out.records.setdefault(topic, []).extend(said)
                ids |= {r["event_id"]: int(r["ingest_time"]) for r in said}
    return out


def leave_out(done: Stepped, ids: Mapping[str, int]) -> None:
    """Take out of what a machine says what has been said already."""
    for topic in SAID:
        if topic in done.records:
            done.records[topic] = [r for r in done.records[topic] if r["event_id"] not in ids]


def still(ids: Mapping[str, int], clock: int) -> dict[str, int]:
    """Ids that the machine itself, at `clock` (ms), has not come to."""
    return {i: t for i, t in ids.items() if t > clock}


def _is_said(topic: str, record: dict[str, Any], now: int) -> bool:
    """Whether somebody waits for this now."""
    fresh = int(record["ingest_time"]) >= now - FRESH_MS
    return fresh and (topic != "notifications" or record["value"]["tier"] in CRISIS)
