"""How many prompts a person gets, over all sources (support.md 3, 5). Crisis tiers never pass here (design 7)."""

from __future__ import annotations

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_BUDGET = 3
UNCOUNTED = frozenset({"L2", "L3", "L4", "RESOURCES", "SAFEGUARD", "CASE_NOTE"})
L1_A_DAY, L1_GAP_MS = 2, 3 * HOUR_MS
RECENT_MS = 60 * MINUTE_MS
KEEP_MS = 48 * HOUR_MS


class Limiter:
    """Prompts said to one person lately.

    Examples
    --------
    >>> limiter = Limiter()
    >>> limiter.said("W1", 0)
    >>> limiter.left(day_start=0), limiter.recent(30 * 60_000), limiter.recent(61 * 60_000)
    (2, True, False)
    """

    def __init__(self, sent: list[tuple[int, str]] | None = None) -> None:
        self.sent = sent or []

    def said(self, tier: str, now: int) -> None:
        """Count a prompt; forgets those of two days ago."""
        if tier not in UNCOUNTED:
            self.sent = [s for s in self.sent if s[0] > now - KEEP_MS] + [(now, tier)]

    def left(self, day_start: int) -> int:
        """Prompts left in the local day that began at `day_start`."""
        return max(0, DAY_BUDGET - sum(1 for t, _ in self.sent if t >= day_start))

    def recent(self, now: int) -> bool:
        """A prompt in the last 60 min."""
        return any(now - RECENT_MS < t <= now for t, _ in self.sent)

    def l1_left(self, day_start: int) -> int:
        return max(0, L1_A_DAY - sum(1 for t, tier in self.sent if tier == "L1" and t >= day_start))

    def l1_too_soon(self, now: int) -> bool:
        """The last check-in is less than three hours ago."""
        return any(tier == "L1" and t > now - L1_GAP_MS for t, tier in self.sent)

    def state(self) -> list[list[int | str]]:
        return [[t, tier] for t, tier in self.sent]

    @staticmethod
    def from_state(state: list[list[int | str]]) -> Limiter:
        return Limiter([(int(t), str(tier)) for t, tier in state])
