"""Which records are the same record: 64-bit identities of many rows at once (contracts.md 1, `event_id`).

Identity = event_id, else (topic, user, source_id, seq), else the whole record with its occurrence number among equal
records of one file. Hashes are fixed functions of the bytes: they stand in a person's state.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

U64 = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(29)
_NULL = np.uint64(0x5BD1E9955BD1E995)


def seed(text: str) -> np.uint64:
    """Start value of a hash."""
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def mix(h: Any, x: U64) -> U64:
    """One round of splitmix64 over (h, x)."""
    with np.errstate(over="ignore"):
        z = (h ^ x) * _GOLDEN
        z = (z ^ (z >> _SHIFT)) * _MIX
        return np.asarray(z ^ (z >> np.uint64(32)), np.uint64)


def strings(column: pa.ChunkedArray | pa.Array) -> U64:
    """Hash of each string; nulls get a value of their own."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if array.null_count == len(array):
        return np.full(len(array), _NULL)
    encoded = array.dictionary_encode()
    few = encoded.dictionary
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    hashes = np.append(_bytes(few.cast(pa.binary())), _NULL)
    return np.asarray(hashes[codes], np.uint64)


def _bytes(values: pa.Array) -> U64:
    listed = values.to_pylist()
    width = -(-max((len(v) for v in listed), default=1) // 8) * 8 or 8
    if width > 256 or any(v.endswith(b"\0") for v in listed):
        return np.array(
            [int.from_bytes(hashlib.blake2b(v, digest_size=8).digest(), "little") for v in listed], np.uint64
        )
    blocks = np.array(listed, dtype=f"S{width}").view(np.uint64).reshape(len(listed), -1)
    h = np.full(len(listed), np.uint64(width))
    h = mix(h, np.array([len(v) for v in listed], np.uint64))
    for i in range(blocks.shape[1]):
        h = mix(h, blocks[:, i])
    # the width depends on the company a string is in: fold the empty blocks out
    return h if _same_width(listed, width) else _one_by_one(listed)


def _same_width(listed: list[bytes], width: int) -> bool:
    return all(len(v) > width - 8 for v in listed)


def _one_by_one(listed: list[bytes]) -> U64:
    out = np.empty(len(listed), np.uint64)
    by_width: dict[int, list[int]] = {}
    for i, v in enumerate(listed):
        by_width.setdefault(-(-len(v) // 8) * 8 or 8, []).append(i)
    for where in by_width.values():
        out[where] = _bytes(pa.array([listed[i] for i in where], pa.binary()))
    return out


def numbers(column: pa.ChunkedArray | pa.Array) -> U64:
    """Bits of each number; nulls get a value of their own."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = np.float64 if pa.types.is_floating(array.type) else np.int64
    filled = (
        pc.fill_null(array.cast(pa.float64() if kind is np.float64 else pa.int64()), 0) if array.null_count else array
    )
    bits = np.ascontiguousarray(filled.to_numpy(zero_copy_only=False), kind).view(np.uint64)
    if array.null_count:
        bits = np.where(array.is_null().to_numpy(zero_copy_only=False), _NULL, bits)
    return bits


def by_id(topic: str, event_id: pa.ChunkedArray | pa.Array) -> U64:
    """Identity of rows that carry an event_id."""
    return mix(seed(topic), strings(event_id))


def identities(topic: str, table: pa.Table) -> tuple[U64, npt.NDArray[np.bool_]]:
    """(identity, named) of rows; named = by event_id or seq, so that a copy may come at any time.

    A row without either equals another only if the whole record does, arrival included: such copies come together.
    """
    n = len(table)
    has_id = pc.is_valid(table["event_id"]).to_numpy() if table["event_id"].null_count < n else np.zeros(n, np.bool_)
    has_seq = ~has_id
    if table["seq"].null_count:
        has_seq &= pc.is_valid(table["seq"]).to_numpy()
    out = np.zeros(n, np.uint64)
    if has_id.any():
        out = np.where(has_id, by_id(topic, table["event_id"]), out)
    if has_seq.any():
        out = np.where(has_seq, mix(mix(seed(topic + "|seq"), strings(table["source_id"])), numbers(table["seq"])), out)
    bare = ~(has_id | has_seq)
    if bare.any():
        out[bare] = _whole(topic, table if bare.all() else table.filter(pa.array(bare)))
    return out, ~bare


def _whole(topic: str, table: pa.Table) -> U64:
    h = mix(seed(topic + "|all"), numbers(table["event_time"]))
    for name in ("ingest_time", "tz_offset_min"):
        h = mix(h, numbers(table[name]))
    h = mix(h, strings(table["source_id"]))
    value = table["value"].combine_chunks()
    for field in value.type:
        h = mix(h, _column(value.field(field.name)))
    return _occurrences(
        h, table["_file"].to_numpy() if "_file" in table.column_names else np.zeros(len(table), np.int32)
    )


def _column(array: pa.Array) -> U64:
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return strings(array)
    if pa.types.is_boolean(array.type):
        return numbers(array.cast(pa.int8()))
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        return numbers(array)
    return strings(pa.array([json.dumps(v, sort_keys=True) for v in array.to_pylist()], pa.string()))


def _occurrences(h: U64, file: npt.NDArray[Any]) -> U64:
    """Mix in how many equal records of the same file came before."""
    order = np.lexsort((np.arange(len(h)), file, h))
    hs, fs = h[order], file[order]
    new = np.ones(len(h), np.bool_)
    new[1:] = (hs[1:] != hs[:-1]) | (fs[1:] != fs[:-1])
    if new.all():
        return h
    start = np.maximum.accumulate(np.where(new, np.arange(len(h)), 0))
    rank = np.empty(len(h), np.uint64)
    rank[order] = (np.arange(len(h)) - start).astype(np.uint64)
    return np.where(rank > 0, mix(h, rank), h)
