"""The machine's own timers, run by the log's clock in replay as in life (design 4). Part of a person's state."""

from __future__ import annotations

import bisect

# what fires first when several are due at the same instant
ORDER = (
    "DAY_START", "QUIET_END", "QUEUED", "ACK_DUE", "CASE_FINAL", "CASE_CLOSE", "MORNING", "WATCH", "OUTCOME", "PROGRAM", "CHAT_END",
)  # fmt: skip
Entry = tuple[int, int, str]


class Timers:
    """Sorted (due ms, kind, key); one entry a (kind, key)."""

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self._entries = sorted(entries or [])

    def set(self, due: int, kind: str, key: str = "") -> None:
        self.cancel(kind, key)
        bisect.insort(self._entries, (due, ORDER.index(kind), key))

    def cancel(self, kind: str, key: str = "") -> None:
        rank = ORDER.index(kind)
        self._entries = [e for e in self._entries if (e[1], e[2]) != (rank, key)]

    def next_due(self) -> int | None:
        return self._entries[0][0] if self._entries else None

    def due(self, kind: str, key: str = "") -> int | None:
        """When such a timer is due, None if it is not set."""
        rank = ORDER.index(kind)
        return next((e[0] for e in self._entries if (e[1], e[2]) == (rank, key)), None)

    def pop(self) -> tuple[int, str, str]:
        due, rank, key = self._entries.pop(0)
        return due, ORDER[rank], key

    def state(self) -> list[list[int | str]]:
        return [[d, ORDER[r], k] for d, r, k in self._entries]

    @staticmethod
    def from_state(state: list[list[int | str]]) -> Timers:
        return Timers([(int(d), ORDER.index(str(r)), str(k)) for d, r, k in state])
