"""What has been seen already, in bounded memory: duplicates drop out whenever they come (S7).

Risk-bearing and control records are remembered for nine days by their full identity. Of the many others a record is known
by its instant and 16 bits of its identity for 25 hours: a copy later than that is late anyway and decides nothing
(topics.md 2.4). What is summed by day is known as long as its day is open, else a late copy would count twice. Two
different records of one topic, person and millisecond are taken for one in 1 of 65,536 cases.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.ingest.identity import U64

HOUR_MS = 3_600_000
SHORT_MS = 25 * HOUR_MS
SUMMED_MS = 51 * HOUR_MS  # a day of at most 25 h is open until the one after the next begins
SUMMED = frozenset({"device.phone_usage", "device.music", "device.wellness"})
LONG_MS = 9 * 24 * HOUR_MS
MOST_LONG = 4_000

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Seen:
    """Identities of one person."""

    def __init__(self) -> None:
        self._short: dict[str, Ints] = {}  # topic → sorted (event ms << 16 | 16 bits)
        self._long: dict[int, int] = {}  # identity → arrival ms

    def repeats_of_few(self, identity: U64, arrival: Ints) -> Bools:
        """Rows that came before (also within these rows); the others are remembered by full identity."""
        out = np.zeros(len(identity), np.bool_)
        for i, (key, at) in enumerate(zip(identity.tolist(), arrival.tolist(), strict=True)):
            known = self._long.get(key)
            if known is not None and known >= at - LONG_MS:
                out[i] = True
            else:
                self._long[key] = at
        return out

    def repeats_of_many(self, topic: str, identity: U64, named: Bools, event: Ints, arrival: Ints) -> Bools:
        """Rows that came before, by instant and 16 bits; rows that can't be told apart by id only among themselves."""
        out = np.zeros(len(identity), np.bool_)
        bare = ~named
        if bare.any():
            out[bare] = _repeated(identity[bare].view(np.int64))
        young = named & (event >= arrival - _known_for(topic))
        if young.any():
            key = (event[young] << 16) | (identity[young] & np.uint64(0xFFFF)).astype(np.int64)
            known = self._short.get(topic, np.zeros(0, np.int64))
            repeated = _repeated(key)
            if len(known):
                at = np.minimum(np.searchsorted(known, key), len(known) - 1)
                repeated |= known[at] == key
            out[young] = repeated
            fresh = key[~repeated]
            if len(fresh):
                merged = np.concatenate([known, fresh])
                self._short[topic] = np.sort(merged, kind="stable")
        return out

    def forget(self, clock: int) -> None:
        """Drop what no later record can repeat."""
        for topic in list(self._short):
            limit = (clock - _known_for(topic)) << 16
            keys = self._short[topic]
            kept = keys[np.searchsorted(keys, limit) :]
            if len(kept):
                self._short[topic] = kept
            else:
                del self._short[topic]
        self._long = {k: t for k, t in self._long.items() if t >= clock - LONG_MS}
        if len(self._long) > MOST_LONG:
            newest = sorted(self._long.items(), key=lambda e: (-e[1], e[0]))[:MOST_LONG]
            self._long = dict(newest)

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
        names = sorted(self._short)
        arrays: dict[str, npt.NDArray[Any]] = {}
        for i, name in enumerate(names):
            arrays[f"ms{i}"] = self._short[name] >> 16
            arrays[f"fp{i}"] = (self._short[name] & 0xFFFF).astype(np.uint16)
        keys = sorted(self._long)
        arrays["long"] = np.array(keys, np.uint64)
        arrays["long_at"] = np.array([self._long[k] for k in keys], np.int64)
        return names, arrays

    @staticmethod
    def from_state(names: list[str], arrays: dict[str, npt.NDArray[Any]]) -> Seen:
        out = Seen()
        for i, name in enumerate(names):
            out._short[name] = (arrays[f"ms{i}"] << 16) | arrays[f"fp{i}"].astype(np.int64)
        out._long = dict(zip(arrays["long"].tolist(), arrays["long_at"].tolist(), strict=True))
        return out


def _known_for(topic: str) -> int:
    return SUMMED_MS if topic in SUMMED else SHORT_MS


def _repeated(key: Ints) -> Bools:
    """True where an equal key stands at a lower index."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    again = np.zeros(len(key), np.bool_)
    again[order[1:]] = ordered[1:] == ordered[:-1]
    return again
