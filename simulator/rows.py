"""Columns of one device stream, and their forms: record dicts, JSON lines (contracts.md 1, 2) and Arrow tables."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Record = dict[str, Any]
Log = dict[str, list[Record]]

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
SYNC_MS = 2_000  # a record reaches the log two seconds after it happened (scenarios.md)
CONTROL = ("clinical.ack", "clinical.consent", "clinical.home", "clinical.profile", "content.pack")


@dataclass
class Codes:
    """A column of few different values: words, or lists of words; index -1 = not known."""

    levels: Sequence[Any]
    index: npt.NDArray[np.integer[Any]]

    @staticmethod
    def same(level: Any, n: int) -> Codes:
        """The same value in every row."""
        return Codes([level], np.zeros(n, np.int8))

    def tolist(self) -> list[Any]:
        """The values themselves."""
        levels = [*self.levels, None]
        return [levels[i] for i in self.index.tolist()]


Column = npt.NDArray[Any] | Codes  # NaN = not known


@dataclass
class Block:
    """Rows of one topic and one source, in the order in which the device made them.

    Parameters
    ----------
    event_time, ingest_time, tz
        ms UTC, ms UTC and minutes east of UTC, one of each a row.
    value
        The topic's fields, each as long as the block; what is not known is left out of the record. The first field is
        always known.
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

    def take(self, index: npt.NDArray[Any]) -> Block:
        """The rows of an index or mask; counters keep their gaps, as a device's would."""
        return replace(
            self,
            event_time=self.event_time[index],
            ingest_time=self.ingest_time[index],
            tz=self.tz[index],
            seq=self.seq[index],
            value={
                k: Codes(v.levels, v.index[index]) if isinstance(v, Codes) else v[index] for k, v in self.value.items()
            },
        )


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
    """Records of a block in contract form, with event_id; what is not known is left out."""
    seqs = block.seq.tolist()
    names = list(block.value)
    columns = [_known(c) for c in block.value.values()]
    gaps = any(None in c for c in columns)
    values: Iterable[Record] = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    if gaps:
        values = ({k: v for k, v in value.items() if v is not None} for value in values)
    ids = event_ids(block.topic, user, block.source_id, seqs)
    times = (block.event_time.tolist(), block.ingest_time.tolist(), block.tz.tolist())
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
        for event, ingest, tz, seq, event_id, value in zip(*times, seqs, ids, values, strict=True)
    ]


def _known(column: Column) -> list[Any]:
    if isinstance(column, np.ndarray) and column.dtype.kind == "f" and np.isnan(column).any():
        return [None if x != x else x for x in column.tolist()]
    return column.tolist()


def json_lines(block: Block, user: str) -> bytes:
    """The block as JSON lines without event_id (it follows from source and counter), made column by column.

    Numbers are written as Arrow writes them: the shortest decimal that reads back as the same double.
    """
    if not len(block):
        return b""
    head = orjson.dumps(user).decode()
    source = orjson.dumps(block.source_id).decode()
    pieces: list[Any] = [pa.scalar(f'{{"user":{head},"event_time":'), _text(block.event_time)]
    pieces += [pa.scalar(',"ingest_time":'), _text(block.ingest_time), pa.scalar(',"tz_offset_min":')]
    pieces += [_text(block.tz), pa.scalar(f',"source_id":{source},"seq":'), _text(block.seq), pa.scalar(',"value":{')]
    for number, (name, column) in enumerate(block.value.items()):
        comma = "," if number else ""
        text = _text(column)
        if text.null_count:
            known = pc.binary_join_element_wise(pa.scalar(f'{comma}"{name}":'), text, "")
            pieces.append(pc.fill_null(known, ""))
        else:
            pieces += [pa.scalar(f'{comma}"{name}":'), text]
    lines = pc.binary_join_element_wise(*pieces, pa.scalar("}}\n"), "")
    start, end = np.frombuffer(lines.buffers()[1], np.int32)[[0, len(lines)]]
    return bytes(memoryview(lines.buffers()[2])[start:end])


def _text(column: Column) -> Any:
    """JSON text of every value as a pa.StringArray, null where not known."""
    if isinstance(column, Codes):
        levels = pa.array([orjson.dumps(level).decode() for level in column.levels], pa.string())
        return levels.take(pa.array(column.index, mask=column.index < 0))
    if column.dtype.kind == "b":
        return pa.array(["false", "true"]).take(pa.array(column.astype(np.int8)))
    return pc.cast(pa.array(column, from_pandas=column.dtype.kind == "f"), pa.string())


def table(block: Block, user: str, schema: Any) -> Any:
    """The block as a pa.Table of `schema` (envelope and struct `value`); event_id is null."""
    n = len(block)
    value = schema.field("value").type
    children = []
    for field in value:
        column = block.value.get(field.name)
        if column is None:
            children.append(pa.nulls(n, field.type))
        elif isinstance(column, Codes):
            index = pa.array(column.index, mask=column.index < 0)
            children.append(pa.array(column.levels, field.type).take(index))
        else:
            children.append(pc.cast(pa.array(column, from_pandas=column.dtype.kind == "f"), field.type))
    envelope: dict[str, Any] = {
        "user": pa.array([user]).take(pa.array(np.zeros(n, np.int8))),
        "event_time": pa.array(block.event_time),
        "ingest_time": pa.array(block.ingest_time),
        "tz_offset_min": pa.array(block.tz),
        "source_id": pa.array([block.source_id]).take(pa.array(np.zeros(n, np.int8))),
        "seq": pa.array(block.seq),
        "event_id": pa.nulls(n, pa.string()),
        "value": pa.StructArray.from_arrays(children, fields=list(value)),
    }
    return pa.table([envelope[name] for name in schema.names], schema=schema)


def in_arrival_order(log: Log) -> Log:
    """The log with each topic's records by ingest_time (stable), topics by name."""
    return {topic: sorted(log[topic], key=lambda r: int(r["ingest_time"])) for topic in sorted(log)}
