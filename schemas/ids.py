"""Derived ids: UUIDv5 of what a record is about, never random, never a clock (topics.md 1)."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_VARIANT = {c: "89ab"[int(c, 16) & 3] for c in "0123456789abcdef"}
_BASE = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)


def compact(value: Any) -> str:
    """Compact JSON: no spaces, keys sorted, text as it is."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def derive(*parts: Any) -> str:
    """UUIDv5 of the compact JSON array of `parts`.

    >>> derive("audit", "p01", 12) == str(uuid.uuid5(NAMESPACE, '["audit","p01",12]'))
    True
    """
    return _format(_hash(compact(list(parts))))


def _hash(name: str) -> str:
    h = _BASE.copy()
    h.update(name.encode())
    return h.hexdigest()


def _format(hx: str) -> str:
    return f"{hx[:8]}-{hx[8:12]}-5{hx[13:16]}-{_VARIANT[hx[16]]}{hx[17:20]}-{hx[20:32]}"


def output_id(topic: str, user: str, *parts: Any) -> str:
    """Id of an output record: topic, user and the parts of column "id parts"."""
    return derive(topic, user, *parts)


def output_ids(topic: str, user: str, *columns: Any) -> pa.Array:
    """`output_id` of many records.

    Parameters
    ----------
    columns
        Sequences of equal length (numpy integers, lists of str), one a part.
    """
    return _many(f"{compact([topic, user])[:-1]},", columns)


def input_ids(topic: str, users: Any, sources: Any, seqs: Any) -> pa.Array:
    """`input_id` of many records.

    Parameters
    ----------
    users, sources, seqs
        Sequences of equal length (Arrow or numpy arrays, lists); a source may be None, a seq not.
    """
    return _many(f"{compact([topic])[:-1]},", (users, sources, seqs))


def _many(head: str, columns: Sequence[Any]) -> pa.Array:
    """Ids of JSON arrays that begin with `head` and go on with one part a column."""
    parts = pc.binary_join_element_wise(*(_texts(c) for c in columns), ",")
    names = pc.binary_join_element_wise(parts, "]", "").cast(pa.binary()).to_pylist()
    base = _BASE.copy()
    base.update(head.encode())
    copy, digests = base.copy, []
    for name in names:
        h = copy()
        h.update(name)
        digests.append(h.digest())
    return _uuids(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 20)[:, :16].copy())


_HEX = np.frombuffer("".join(f"{i:02x}" for i in range(256)).encode(), np.uint16)  # two characters a byte
_GROUPS = ((0, 0, 4), (9, 4, 6), (14, 6, 8), (19, 8, 10), (24, 10, 16))  # (place in the text, first byte, last byte)


def _uuids(raw: npt.NDArray[np.uint8]) -> pa.Array:
    """Version 5 UUIDs as text from the first 16 bytes of SHA-1; shape (n, 16)."""
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x50
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    n = len(raw)
    text = np.full((n, 36), ord("-"), np.uint8)
    for place, first, last in _GROUPS:
        text[:, place : place + 2 * (last - first)] = (
            _HEX[raw[:, first:last]].view(np.uint8).reshape(n, 2 * (last - first))
        )
    offsets = np.arange(0, 36 * (n + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text))


def _texts(column: Any) -> pa.Array:
    """Each value as JSON text."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not isinstance(values, pa.Array):
        values = pa.array(values)
    if pa.types.is_integer(values.type) and not values.null_count:
        return values.cast(pa.string())
    coded = values.dictionary_encode(null_encoding="encode")  # users and sources repeat
    return pa.array([compact(v) for v in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)


def input_id(topic: str, user: str, source_id: str | None, seq: int) -> str:
    """Id of an input record that carries a counter (contracts.md 1)."""
    return derive(topic, user, source_id, seq)


def content_id(topic: str, record: Mapping[str, Any], occurrence: int) -> str:
    """Id of an input record without counter: the whole record and its number among equal ones of its file."""
    return derive(topic, dict(record), occurrence)
