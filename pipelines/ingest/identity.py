"""Which records are the same record: identities of many rows at once (contracts.md 1, `event_id`).

Identity = event_id, else (topic, user, source_id, seq), else the whole record with its occurrence number among equal
records of one file. An event_id that is just what the contract derives from source and counter counts as the counter.
Hashes are fixed functions of the bytes: they stand in a person's state.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import ids

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
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


@dataclass(frozen=True)
class Told:
    """How rows are told from each other; arrays of shape (n,).

    Parameters
    ----------
    counted
        By the counter of their source: `line` (hash of topic and source) and `seq`.
    named
        By `identity`, the hash of an id, so that a copy may come at any time. The rest, neither counted nor named, equal
        another only if the whole record does, arrival included: such copies come together.
    """

    counted: Bools
    line: U64
    seq: Ints
    named: Bools
    identity: U64


def told(topic: str, target: str, user: str, table: pa.Table, names: pa.Array | None, raw: str | None) -> Told:
    """How the rows of a topic of many records are told apart.

    Parameters
    ----------
    topic, target
        The topic they came on, and the one they go on as.
    names
        Their event_ids after ingest, if all of them must have one.
    raw
        The raw topic whose records become records of `topic`, if there is one: their ids are derived from it.
    """
    n = len(table)
    counted, line = _counted(topic, user, table, raw)
    seq = table["seq"].fill_null(0).to_numpy() if table["seq"].null_count else table["seq"].to_numpy()
    if counted.all():
        return Told(counted, line, seq, np.zeros(n, np.bool_), np.zeros(n, np.uint64))
    named, identity = ~counted, np.zeros(n, np.uint64)
    if names is None:
        names = table["event_id"]
        named &= pc.is_valid(names).to_numpy()
    if named.any():
        identity[named] = by_id(target, names.filter(pa.array(named)))
    bare = ~(counted | named)
    if bare.any():
        identity[bare] = _whole(topic, table if bare.all() else table.filter(pa.array(bare)))
    return Told(counted, line, seq, named, identity)


def _counted(topic: str, user: str, table: pa.Table, raw: str | None) -> tuple[Bools, U64]:
    """(by source and counter, hash of topic and source)."""
    n, given, seq = len(table), table["event_id"], table["seq"]
    counter = pc.is_valid(seq).to_numpy() if seq.null_count else np.ones(n, np.bool_)
    if not counter.any():
        return counter, np.zeros(n, np.uint64)
    line = mix(seed(topic + "|seq"), strings(table["source_id"]))
    if given.null_count == n:
        return counter, line
    counted = counter & pc.is_null(given).to_numpy() if given.null_count else np.zeros(n, np.bool_)
    for origin in (topic, raw) if raw is not None else (topic,):
        still = np.flatnonzero(counter & ~counted & _version_5(given))
        if not len(still):
            break
        columns = [table[name].combine_chunks() for name in ("source_id", "seq", "event_id")]
        if len(still) < n:
            columns = [c.take(pa.array(still)) for c in columns]
        derived = ids.output_ids(origin, user, columns[0], columns[1])  # as `input_ids`, of one person
        if origin != topic:
            derived = ids.output_ids(topic, user, derived)
        same = still[pc.equal(columns[2], derived).to_numpy(zero_copy_only=False)]
        counted[same] = True
        if origin != topic and len(same):
            line[same] = mix(seed(origin + "|seq"), strings(table["source_id"]))[same]
    return counted, line


def _version_5(given: pa.ChunkedArray) -> Bools:
    """Ids that look like what the contract derives."""
    long = pc.equal(pc.binary_length(given), 36).fill_null(False).to_numpy()
    if not long.any():
        return np.asarray(long)
    return np.asarray(long & pc.equal(pc.utf8_slice_codeunits(given, 14, 15), "5").fill_null(False).to_numpy())


def hashed(target: str, table: pa.Table, names: pa.Array | None) -> U64:
    """Identity of rows as the first version of the state has it: by id, else by hash of source and counter."""
    if names is not None:
        return by_id(target, names)
    n = len(table)
    out = by_id(target, table["event_id"]) if table["event_id"].null_count < n else np.zeros(n, np.uint64)
    of_seq = mix(mix(seed(target + "|seq"), strings(table["source_id"])), numbers(table["seq"]))
    return np.where(pc.is_null(table["event_id"]).to_numpy(), of_seq, out)


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
