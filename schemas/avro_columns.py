"""Avro bodies of a topic as a table, column by column: what `fastavro` reads record by record, many times as fast.

Avro specification 1.11: long = zigzag and base-128, string = length and UTF-8, union = number of its branch and the value,
array and map = blocks of a count and its items, ended by a zero.

All records are read at once: `at` holds where each of them is being read, `ends` where each of them ends; every read moves `at`.
Whatever is not plain (a byte beyond the end, a number that does not fit, text that is no UTF-8, several blocks) raises
`NotColumnsError`: each record must then be looked at by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.avro_rows import NotColumnsError
from schemas.checks import LIMITS
from schemas.topics import ENVELOPE, Field, topic

Places: TypeAlias = npt.NDArray[np.int64]
MOST_ROUNDS = 512  # of reading items, about 30 ms: what has more of them is quicker read one by one


def table(name: str, values: Sequence[bytes], head: bytes) -> pa.Table:
    """Rows of values that all begin with `head`, as `Topic.table_schema`; ranges and the like are not checked.

    Parameters
    ----------
    values
        Kafka values.
    head
        Marker and fingerprint, or the registry's framing.

    Raises
    ------
    NotColumnsError
        At least one value is not plainly a record of the topic.
    """
    given = pa.array(values, pa.binary())
    if not len(given) or isinstance(given, pa.ChunkedArray) or not pc.all(pc.starts_with(given, head)).as_py():
        raise NotColumnsError("head")
    offsets = np.frombuffer(given.buffers()[1], np.int32).astype(np.int64)
    bodies = _Bodies(given.buffers()[2])
    at, ends = offsets[:-1] + len(head), offsets[1:]
    columns = []
    for f in ENVELOPE:
        column, at = bodies.column(f, at, ends)
        columns.append(column)
    value, at = bodies.record(topic(name).fields, at, ends)
    if (at != ends).any():
        raise NotColumnsError("end")
    return pa.Table.from_arrays([*columns, value], schema=topic(name).table_schema)


class _Bodies:
    """Bytes of many records, one after another.

    The methods read one value of each record that begins `at` and must not reach beyond `ends`: the values, and where the
    records go on.
    """

    def __init__(self, data: pa.Buffer) -> None:
        self.buffer = data
        self.data = np.frombuffer(data, np.uint8)
        self.rounds = 0

    def column(self, f: Field, at: Places, ends: Places) -> tuple[pa.Array, Places]:
        """A field; before one that may be null stands the number of its branch."""
        if f.required:
            return self.values(f, at, ends)
        branch, at = self.bytes(at, ends)
        there = branch == 2
        n, some = len(at), np.flatnonzero(there)
        if np.count_nonzero(branch) != len(some):
            raise NotColumnsError(f.name)
        if not len(some):
            return pa.nulls(n, f.arrow), at
        if len(some) == n:
            return self.values(f, at, ends)
        found, at[some] = self.values(f, at[some], ends[some])
        return found.take(pa.array(np.cumsum(there) - 1, mask=~there)), at

    def values(self, f: Field, at: Places, ends: Places) -> tuple[pa.Array, Places]:
        """Values that are there."""
        if f.kind in ("int", "long"):
            return self.whole_numbers(f, at, ends)
        if f.kind == "double":
            return self.doubles(at, ends)
        if f.kind == "string":
            return self.strings(at, ends)
        if f.kind == "record":
            return self.record(f.fields, at, ends)
        if f.kind in ("array", "map"):
            return self.blocks(f, at, ends)
        if f.kind == "enum":
            code, at = self.longs(at, ends)
            _within(code, 0, len(f.symbols) - 1)
            return pa.array(f.symbols, pa.string()).take(pa.array(code)), at
        truth, at = self.bytes(at, ends)
        _within(truth, 0, 1)
        return pa.array(truth.astype(np.bool_)), at

    def record(self, fields: Sequence[Field], at: Places, ends: Places) -> tuple[pa.Array, Places]:
        parts = []
        for f in fields:
            part, at = self.column(f, at, ends)
            parts.append(part)
        return pa.StructArray.from_arrays(parts, fields=[pa.field(f.name, f.arrow) for f in fields]), at

    def bytes(self, at: Places, ends: Places) -> tuple[npt.NDArray[np.uint8], Places]:
        """One byte each; `at` as an array of its own."""
        if (at >= ends).any():
            raise NotColumnsError("end")
        return self.data[at], at + 1

    def longs(self, at: Places, ends: Places) -> tuple[npt.NDArray[np.int64], Places]:
        """Zigzag numbers of up to 64 bits; more bits than that are nobody's."""
        byte, at = self.bytes(at, ends)
        bits = byte.astype(np.uint64) & np.uint64(0x7F)
        more: Any = np.flatnonzero(byte & 0x80)
        for shift in range(7, 64, 7):
            if not len(more):
                break
            where = slice(None) if len(more) == len(at) else more  # a slice is quicker than an index
            byte, at[where] = self.bytes(at[where], ends[where])
            if shift == 63:
                _within(byte, 0, 1)
            bits[where] |= (byte.astype(np.uint64) & np.uint64(0x7F)) << np.uint64(shift)
            more = more[byte >= 0x80]
        return (bits >> np.uint64(1)).view(np.int64) ^ -(bits & np.uint64(1)).view(np.int64), at

    def whole_numbers(self, f: Field, at: Places, ends: Places) -> tuple[pa.Array, Places]:
        numbers, at = self.longs(at, ends)
        if f.kind == "long":
            return pa.array(numbers), at
        _within(numbers, *LIMITS["int"])
        return pa.array(numbers.astype(np.int32)), at

    def doubles(self, at: Places, ends: Places) -> tuple[pa.Array, Places]:
        if (at + 8 > ends).any():
            raise NotColumnsError("end")
        raw = self.data[at[:, None] + np.arange(8)]
        return pa.array(raw.view("<f8").ravel().astype(np.float64, copy=False)), at + 8

    def strings(self, at: Places, ends: Places) -> tuple[pa.Array, Places]:
        """Text, valid UTF-8.

        Notes
        -----
        The bytes are seen as one array of gap, text, gap, text, …, of which Arrow takes every second.
        """
        size, at = self.longs(at, ends)
        if (size < 0).any() or (size > ends - at).any():
            raise NotColumnsError("end")
        n, beyond = len(at), at + size
        edges = np.zeros(2 * n + 1, np.int32)
        edges[1::2], edges[2::2] = at, beyond
        both = pa.Array.from_buffers(pa.binary(), 2 * n, [None, pa.py_buffer(edges), self.buffer])
        try:
            return both.take(pa.array(np.arange(1, 2 * n, 2))).cast(pa.string()), beyond
        except pa.ArrowInvalid:
            raise NotColumnsError("UTF-8") from None

    def blocks(self, f: Field, at: Places, ends: Places) -> tuple[pa.Array, Places]:
        """Arrays and maps of one block, or of none: the first items of all, the second items of all, …"""
        assert f.items is not None
        counts, at = self.longs(at, ends)
        if (counts < 0).any():
            raise NotColumnsError(f.name)
        whose, keys, items = [], [], []
        for i in range(int(counts.max(initial=0))):
            self.rounds += 1
            if self.rounds > MOST_ROUNDS:
                raise NotColumnsError(f.name)
            some = np.flatnonzero(counts > i)
            whose.append(some)
            if f.kind == "map":
                key, at[some] = self.strings(at[some], ends[some])
                keys.append(key)
            item, at[some] = self.values(f.items, at[some], ends[some])
            items.append(item)
        if whose:
            some = whose[0]
            zero, at[some] = self.bytes(at[some], ends[some])
            _within(zero, 0, 0)
        edges = pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))
        rows = np.concatenate(whose) if whose else np.zeros(0, np.int64)
        order = pa.array(np.argsort(rows, kind="stable"))
        values = pa.concat_arrays(items).take(order) if items else pa.nulls(0, f.items.arrow)
        if f.kind == "array":
            return pa.ListArray.from_arrays(edges, values, type=f.arrow), at
        names = pa.concat_arrays(keys) if keys else pa.nulls(0, pa.string())
        _once(rows, names)
        return pa.MapArray.from_arrays(edges, names.take(order), values, type=f.arrow), at


def _within(numbers: npt.NDArray[Any], low: int, high: int) -> None:
    if len(numbers) and (numbers.min() < low or numbers.max() > high):
        raise NotColumnsError("range")


def _once(rows: Places, names: pa.Array) -> None:
    """No name twice in a row's map."""
    codes = names.dictionary_encode()
    pairs = rows * max(1, len(codes.dictionary)) + codes.indices.to_numpy()
    if len(np.unique(pairs)) < len(pairs):
        raise NotColumnsError("key")
