"""A parcel: the rows of one person out of one fetch, as bytes of one Beam element. No Beam here.

One element is a person's micro-batch of all topics, never one event (design 5). Besides the rows it says up to which instant
of the log's clock everything of that person has come.

A table of many rows lies in it as an Arrow record batch, one of few rows row by row as Avro: a batch of one row takes a kilobyte
and half a millisecond.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from connectors.spool import in_order, spool_schema
from schemas import avro_rows, rows
from schemas.topics import topic as topic_of

MAGIC, VERSION = b"kp", 2
HEAD = struct.Struct("<2sBBqIH")
TABLE = struct.Struct("<BBI")  # length of the topic's name, form, bytes
OLD_TABLE = struct.Struct("<BI")  # of version 1: always a batch
PLACE = struct.Struct("<iqI")  # file, line, bytes of the Avro body
BATCH, ROWS = 0, 1
LIVE, URGENT, LOOK = 1, 2, 8  # 4 was once: released before the clock came to it

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
    look
        A look ahead: these rows come once more, in their order; a copy of the machine says what can't wait (`pipelines.early`).
    """

    clock: int
    live: bool
    tables: dict[str, pa.Table] = field(default_factory=dict)
    look: bool = False

    @property
    def rows(self) -> int:
        return sum(map(len, self.tables.values()))

    def dump(self) -> bytes:
        urgent = not BY_THE_MINUTE.issuperset(self.tables)
        flags = LIVE * self.live | URGENT * urgent | LOOK * self.look
        parts = [HEAD.pack(MAGIC, VERSION, flags, self.clock, self.rows, len(self.tables))]
        for topic, table in self.tables.items():
            (batch,) = table.combine_chunks().to_batches()
            body = batch.serialize()
            parts += [TABLE.pack(len(topic), BATCH, body.size), topic.encode(), body.to_pybytes()]
        return b"".join(parts)


def row_by_row(
    tables: dict[str, pa.Table], of: Callable[[str], str], clock: int, live: bool, look: bool = False
) -> Iterator[tuple[str, bytes]]:
    """(person, parcel) of rows of many people, few of each.

    Parameters
    ----------
    tables
        Topic → rows of everybody, with `_file` and `_line`.
    of
        The person of a user id.

    Raises
    ------
    NotColumnsError
        A row that Avro cannot hold.
    """
    people: dict[str, dict[str, list[bytes]]] = defaultdict(dict)
    for topic, table in sorted(tables.items()):
        bodies = avro_rows.bodies(topic, table)
        columns = (table[c].to_pylist() for c in ("user", "_file", "_line"))
        for user, file, line, body in zip(*columns, bodies, strict=True):
            people[of(user)].setdefault(topic, []).append(PLACE.pack(file, line, len(body)) + body)
    for person, found in sorted(people.items()):
        urgent = not BY_THE_MINUTE.issuperset(found)
        flags = LIVE * live | URGENT * urgent | LOOK * look
        parts = [HEAD.pack(MAGIC, VERSION, flags, clock, sum(map(len, found.values())), len(found))]
        for topic, cells in found.items():
            data = b"".join(cells)
            parts += [TABLE.pack(len(topic), ROWS, len(data)), topic.encode(), data]
        yield person, b"".join(parts)


@dataclass(frozen=True)
class Label:
    """What stands on a parcel.

    Parameters
    ----------
    urgent
        Has rows that decide at once.
    look
        A look ahead.
    """

    clock: int
    live: bool
    urgent: bool
    look: bool
    rows: int
    topics: int


def label(data: bytes) -> Label:
    """Read the outside of a parcel only."""
    if len(data) < HEAD.size:
        raise ParcelError("too short for a parcel")
    magic, version, flags, clock, rows, topics = HEAD.unpack_from(data)
    if magic != MAGIC or version not in (1, VERSION):
        raise ParcelError("not a parcel of this version")
    return Label(clock, bool(flags & LIVE), bool(flags & URGENT), bool(flags & LOOK), rows, topics)


def unpack(parcels: list[bytes], topics: frozenset[str] | None = None) -> dict[str, pa.Table]:
    """Topic → rows of all parcels together, in arrival order; only of some topics if they are named."""
    batches: dict[str, list[pa.RecordBatch]] = defaultdict(list)
    loose: dict[str, list[tuple[int, int, bytes]]] = defaultdict(list)
    for data in parcels:
        for topic, form, body in _tables(data):
            if topics is not None and topic not in topics:
                continue
            if form == BATCH:
                batches[topic].append(pa.ipc.read_record_batch(pa.py_buffer(body), spool_schema(topic)))
            else:
                loose[topic] += _cells(body)
    found = {}
    for topic in sorted(batches.keys() | loose.keys()):
        parts = [pa.Table.from_batches(batches[topic], schema=spool_schema(topic))] if topic in batches else []
        parts += [_table(topic, loose[topic])] if topic in loose else []
        found[topic] = in_order(pa.concat_tables(parts).combine_chunks())
    return found


def _tables(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    """(topic, form, bytes) of what is in a parcel."""
    head = OLD_TABLE if data[2] == 1 else TABLE
    at = HEAD.size
    for _ in range(label(data).topics):
        length, *form, size = head.unpack_from(data, at)
        at += head.size
        topic = data[at : at + length].decode()
        at += length
        yield topic, form[0] if form else BATCH, data[at : at + size]
        at += size


def _cells(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(file, line, Avro) of rows."""
    at = 0
    while at < len(body):
        file, line, size = PLACE.unpack_from(body, at)
        at += PLACE.size
        yield file, line, body[at : at + size]
        at += size


def _table(topic: str, cells: list[tuple[int, int, bytes]]) -> pa.Table:
    schema = _schema(topic)
    table = rows.table_of(topic, [fastavro.schemaless_reader(io.BytesIO(body), schema, None) for _, _, body in cells])
    table = table.append_column("_file", pa.array(np.array([c[0] for c in cells], np.int32)))
    return table.append_column("_line", pa.array(np.array([c[1] for c in cells], np.int64))).cast(spool_schema(topic))


@cache
def _schema(topic: str) -> Any:
    return fastavro.parse_schema(topic_of(topic).avro)
