"""A parcel: the rows of one person out of one fetch, as bytes of one Beam element. No Beam here.

One element is a person's micro-batch of all topics, never one event (design 5). Besides the rows it says up to which instant
of the log's clock everything of that person has come.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pyarrow as pa

from connectors.spool import in_order, spool_schema

MAGIC, VERSION = b"kp", 1
HEAD = struct.Struct("<2sBBqIH")
LIVE, URGENT = 1, 2

# Rows that decide nothing before the next whole minute of the log's clock; what is in any other topic decides at once.
BY_THE_MINUTE = frozenset({
    "device.heart_rate", "device.activity", "device.location", "device.phone_usage", "device.music", "device.wellness",
    "device.status", "raw.location", "raw.app_usage",
})  # fmt: skip


class ParcelError(ValueError):
    """Not a parcel, or of another version."""


@dataclass(frozen=True)
class Parcel:
    """Rows of one person.

    Parameters
    ----------
    clock
        Complete up to here (ms).
    live
        Whether the reader had caught up with the present.
    tables
        Topic → rows in arrival order, with `_file` and `_line`.
    """

    clock: int
    live: bool
    tables: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(map(len, self.tables.values()))

    def dump(self) -> bytes:
        urgent = not BY_THE_MINUTE.issuperset(self.tables)
        flags = LIVE * self.live | URGENT * urgent
        parts = [HEAD.pack(MAGIC, VERSION, flags, self.clock, self.rows, len(self.tables))]
        for topic, table in self.tables.items():
            (batch,) = table.combine_chunks().to_batches()
            body = batch.serialize()
            parts += [struct.pack("<BI", len(topic), body.size), topic.encode(), body.to_pybytes()]
        return b"".join(parts)


@dataclass(frozen=True)
class Label:
    """What stands on a parcel."""

    clock: int
    live: bool
    urgent: bool
    rows: int
    topics: int


def label(data: bytes) -> Label:
    """Read the outside of a parcel only."""
    if len(data) < HEAD.size:
        raise ParcelError("too short for a parcel")
    magic, version, flags, clock, rows, topics = HEAD.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise ParcelError("not a parcel of this version")
    return Label(clock, bool(flags & LIVE), bool(flags & URGENT), rows, topics)


def unpack(parcels: list[bytes]) -> dict[str, pa.Table]:
    """Topic → rows of all parcels together, in arrival order."""
    found: dict[str, list[pa.RecordBatch]] = {}
    for data in parcels:
        at = HEAD.size
        for _ in range(label(data).topics):
            name, size = struct.unpack_from("<BI", data, at)
            at += 5
            topic = data[at : at + name].decode()
            at += name
            schema = spool_schema(topic)
            found.setdefault(topic, []).append(pa.ipc.read_record_batch(pa.py_buffer(data[at : at + size]), schema))
            at += size
    return {
        topic: in_order(pa.Table.from_batches(batches, schema=spool_schema(topic)).combine_chunks())
        for topic, batches in sorted(found.items())
    }
