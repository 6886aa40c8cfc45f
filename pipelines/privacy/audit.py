"""The audit of one person as a hash chain (topics.md `audit`): nothing can be left out or changed unseen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from schemas.signing import canonical_json

GENESIS = "0" * 64


class Break(NamedTuple):
    """Where a chain does not hold.

    `problem`: MISSING (`chain_seq` is the first number that is absent), CONFLICT (two different records of one number),
    PREV_HASH (does not continue the record before it), HASH (the record itself was changed).
    """

    user: str
    chain_seq: int
    problem: str


class Chain:
    """Hash chain of one person: `next_seq` is the number of the next record, `last_hash` what it continues.

    Examples
    --------
    >>> chain = Chain()
    >>> row = chain.append({"user": "p01", "event_time": 5, "ingest_time": 5}, actor="gate", action="NOTIFIED")
    >>> row["chain_seq"], row["hash"] == chain.last_hash, chain.next_seq
    (0, True, 1)
    >>> verify([{"user": "p01", "event_time": 5, "ingest_time": 5, "value": row}])
    []
    """

    def __init__(self, next_seq: int = 0, last_hash: str = GENESIS) -> None:
        self.next_seq = next_seq
        self.last_hash = last_hash

    def append(
        self,
        envelope: Mapping[str, Any],
        *,
        actor: str,
        action: str,
        reason: str | None = None,
        object_id: str | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The `audit` value that comes next, with its hash.

        Parameters
        ----------
        envelope
            Every envelope field of the record as it will be written (without `value`): the hash covers it.
        actor, action, reason, object_id, versions
            Fields of the topic; those that are None are left out.
        """
        value: dict[str, Any] = {"chain_seq": self.next_seq, "actor": actor, "action": action}
        if reason is not None:
            value["reason"] = reason
        if object_id is not None:
            value["object_id"] = object_id
        value["versions"] = dict(versions or {})
        value["prev_hash"] = self.last_hash
        value["hash"] = record_hash({**envelope, "value": value})
        self.next_seq += 1
        self.last_hash = value["hash"]
        return value

    def state(self) -> list[Any]:
        return [self.next_seq, self.last_hash]

    @staticmethod
    def from_state(state: list[Any]) -> Chain:
        return Chain(int(state[0]), str(state[1]))


def record_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 hex of prev_hash + canonical JSON of the record (envelope and value) without `hash`; nulls are absent."""
    envelope = {k: v for k, v in record.items() if v is not None and k != "value"}
    value = {k: v for k, v in record["value"].items() if v is not None and k != "hash"}
    text = canonical_json({**envelope, "value": value})
    return hashlib.sha256(str(value["prev_hash"]).encode() + text).hexdigest()


def verify(records: Iterable[Mapping[str, Any]]) -> list[Break]:
    """Every break in the chains of the persons in `records` (contract form, any order, repeats allowed); [] = whole.

    The end of a chain cannot be seen from the records alone: compare the last hash with one kept elsewhere
    (the proof of an erasure, a state folder) to notice records missing there.
    """
    chains: dict[str, dict[int, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        same = chains[str(record["user"])][int(record["value"]["chain_seq"])]
        if record not in same:
            same.append(record)
    return [b for user in sorted(chains) for b in _verify_one(user, chains[user])]


def _verify_one(user: str, chain: Mapping[int, list[Mapping[str, Any]]]) -> list[Break]:
    breaks: list[Break] = []
    expected, prev = 0, GENESIS
    for seq in sorted(chain):
        if seq != expected:
            breaks.append(Break(user, expected, "MISSING"))
        if len(chain[seq]) > 1:
            breaks.append(Break(user, seq, "CONFLICT"))
        record = chain[seq][0]
        if seq == expected and record["value"]["prev_hash"] != prev:
            breaks.append(Break(user, seq, "PREV_HASH"))
        if record["value"]["hash"] != record_hash(record):
            breaks.append(Break(user, seq, "HASH"))
        expected, prev = seq + 1, record["value"]["hash"]
    return breaks
