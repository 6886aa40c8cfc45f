"""Columns of one device stream, and their forms: record dicts (contracts.md 1) and, later on, Arrow tables."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Column = Sequence[Any] | npt.NDArray[Any]
Record = dict[str, Any]
Log = dict[str, list[Record]]

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
SYNC_MS = 2_000  # a record reaches the log two seconds after it happened (scenarios.md)
CONTROL = ("clinical.ack", "clinical.consent", "clinical.home", "clinical.profile", "content.pack")


@dataclass
class Block:
    """Rows of one topic and one source, in the order in which the device made them.

    Parameters
    ----------
    event_time, ingest_time, tz
        ms UTC, ms UTC and minutes east of UTC, one of each a row.
    value
        The topic's fields, each a list as long as the block; None = not known (left out of the record).
    """

    topic: str
    source_id: str
    event_time: Ints
    ingest_time: Ints
    tz: npt.NDArray[np.int32]
    seq: Ints
    value: dict[str, Column]

    def __len__(self) -> int:
        return len(self.event_time)


def event_ids(topic: str, user: str, source_id: str, seq: Iterable[int]) -> list[str]:
    """Ids of input records with a counter: UUIDv5 of (topic, user, source_id, seq), contracts.md 1."""
    head = json.dumps([topic, user, source_id], separators=(",", ":"))[:-1].encode() + b","
    start = hashlib.sha1(NAMESPACE.bytes + head, usedforsecurity=False)
    out = []
    for n in seq:
        digest = start.copy()
        digest.update(b"%d]" % n)
        raw = bytearray(digest.digest()[:16])
        raw[6] = raw[6] & 0x0F | 0x50
        raw[8] = raw[8] & 0x3F | 0x80
        h = raw.hex()
        out.append(f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}")
    return out


def dicts(block: Block, user: str) -> list[Record]:
    """Records of a block in contract form, with event_id; fields that are None are left out."""
    seqs = block.seq.tolist()
    names = list(block.value)
    columns = [c.tolist() if isinstance(c, np.ndarray) else list(c) for c in block.value.values()]
    gaps = any(None in c for c in columns)
    values: Iterable[Record] = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    if gaps:
        values = ({k: v for k, v in value.items() if v is not None} for value in values)
    ids = event_ids(block.topic, user, block.source_id, seqs)
    stream = zip(
        block.event_time.tolist(), block.ingest_time.tolist(), block.tz.tolist(), seqs, ids, values, strict=True
    )
    return [
        {
            "user": user,
            "event_time": event,
            "ingest_time": ingest,
            "tz_offset_min": tz,
            "source_id": block.source_id,
            "seq": seq,
            "event_id": event_id,
            "value": value,
        }
        for event, ingest, tz, seq, event_id, value in stream
    ]


def in_arrival_order(log: Log) -> Log:
    """The log with each topic's records by ingest_time (stable), topics by name."""
    return {topic: sorted(log[topic], key=lambda r: int(r["ingest_time"])) for topic in sorted(log)}
