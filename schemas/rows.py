"""Records of a topic as Arrow tables: from JSON dicts and Parquet, checked strictly, and back.

A record that does not fit is a `Defect`: its number, a closed reason, the field; never its payload (contracts.md 4).
Clean rows are checked by columns; rows are looked at one by one only in the few hundred around one that is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from schemas.checks import (
    ALLOWED,
    LIMITS,
    NAMES,
    SCHEMA,
    UNKNOWN,
    check,
    check_field,
    faults,
    finite,
    names,
    needs_a_look,
)
from schemas.json_lines import to_json_lines
from schemas.topics import ENVELOPE, TOPICS, Field, Topic, topic

__all__ = [
    "AS_COLUMNS",
    "Defect",
    "check",
    "complete",
    "conform",
    "empty",
    "from_dicts",
    "from_lines",
    "to_dicts",
    "to_json_lines",
]

BLOCK = 512  # rows that are looked at one by one when one of them is off
_INT, _FLOAT = frozenset({int, type(None)}), frozenset({int, float, type(None)})


@dataclass(frozen=True)
class Defect:
    """Why record number `index` can't be used."""

    index: int
    reason: str
    field: str


# -- from JSON --------------------------------------------------------------------------------------------------------


def from_dicts(name: str, records: Sequence[Any]) -> tuple[pa.Table, list[Defect]]:
    """Records in contract form as a table, and those that don't fit.

    Parameters
    ----------
    records
        Parsed JSON objects.

    Returns
    -------
    table, defects
        Rows in order, `Topic.table_schema`; `ingest_time` absent = `event_time`, `tz_offset_min` absent = 0.
    """
    t = topic(name)
    table = _fast(t, records)
    if table is not None:
        return table, []
    tables, defects = [], []
    spoilt = len(records) <= BLOCK  # where one block was mostly wrong the next is not tried as a whole
    for start in range(0, len(records), BLOCK):
        block = records[start : start + BLOCK]
        table = None if spoilt else _fast(t, block)
        if table is None:
            table, found = _one_by_one(t, block, start)
            spoilt = len(found) > len(block) // 2
            defects += found
        tables.append(table)
    return pa.concat_tables(tables).combine_chunks() if tables else empty(name), defects


def _one_by_one(t: Topic, records: Sequence[Any], start: int) -> tuple[pa.Table, list[Defect]]:
    good, defects = [], []
    for i, record in enumerate(records, start):
        problem = check(t, record)
        if problem is not None:
            defects.append(Defect(i, *problem))
        else:
            good.append(_plain_numbers(t, _known(t, record) if t.risk_bearing else record))
    return complete(_raw_table(t, good)), defects


def _fast(t: Topic, records: Sequence[Any]) -> pa.Table | None:
    """The table if every record is clean, None if somebody has to look."""
    if t.control:
        return None
    try:
        keys = {tuple(r) for r in records}
        values = [r["value"] for r in records]
        inner = {tuple(v) for v in values}
    except (TypeError, KeyError):
        return None
    if not all(ALLOWED.issuperset(k) for k in keys) or not all(names(t.name).issuperset(k) for k in inner):
        return None
    if not _types_fit(t, records, values):
        return None
    try:
        table = _raw_table(t, records)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None
    return None if any(mask.any() for mask, _, _ in faults(t, table)) else complete(table)


def _types_fit(t: Topic, records: Sequence[Any], values: Sequence[Any]) -> bool:
    """What Arrow would convert silently: truth values and fractions into numbers, and anything nested."""
    for holder, fields in ((records, ENVELOPE), (values, t.fields)):
        for f in fields:
            if f.kind in ("int", "long"):
                if not _INT.issuperset({type(r.get(f.name)) for r in holder}):
                    return False
            elif f.kind == "double":
                if not _FLOAT.issuperset({type(r.get(f.name)) for r in holder}):
                    return False
            elif f.nested and any(check_field(f, r.get(f.name)) is not None for r in holder):
                return False
    return True


def _raw_table(t: Topic, records: Sequence[Any]) -> pa.Table:
    whole = pa.array(records, pa.struct(list(t.table_schema)))
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.combine_chunks()
    return pa.Table.from_arrays(whole.flatten(), schema=t.table_schema)


def table_of(name: str, records: Sequence[Any]) -> pa.Table:
    """Records that were rows of this topic before, as a table again; nothing is checked."""
    return complete(_raw_table(topic(name), records)) if records else empty(name)


def complete(table: pa.Table) -> pa.Table:
    """Defaults of the envelope: ingest_time = event_time, tz_offset_min = 0."""
    for name, default in (("ingest_time", table["event_time"]), ("tz_offset_min", pa.scalar(0, pa.int32()))):
        if table[name].null_count:
            table = table.set_column(table.column_names.index(name), name, pc.coalesce(table[name], default))
    return table


def _known(t: Topic, record: dict[str, Any]) -> dict[str, Any]:
    """Without fields that nobody knows: a risk-bearing record is not lost to them."""
    known = names(t.name)
    value = {k: v for k, v in record["value"].items() if k in known}
    return {**{k: v for k, v in record.items() if k in NAMES}, "value": value}


def _plain_numbers(t: Topic, record: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers as doubles where the topic says double: Arrow refuses those above 2^53 otherwise."""
    return {**record, "value": {f.name: _doubles(f, record["value"].get(f.name)) for f in t.fields}}


def _doubles(f: Field, x: Any) -> Any:
    if x is None or not (f.nested or f.kind == "double"):
        return x
    if f.kind == "double":
        return float(x)
    if f.kind == "record":
        return {g.name: _doubles(g, x.get(g.name)) for g in f.fields}
    assert f.items is not None
    if f.kind == "map":
        return {k: _doubles(f.items, v) for k, v in x.items()}
    return [_doubles(f.items, v) for v in x]


def _has_map(f: Field) -> bool:
    return f.kind == "map" or any(map(_has_map, f.fields)) or (f.items is not None and _has_map(f.items))


# Arrow's reader knows no maps; fields of a control record must agree, so each is looked at.
AS_COLUMNS = frozenset(t.name for t in TOPICS.values() if not t.control and not any(map(_has_map, t.fields)))


def from_lines(name: str, data: bytes) -> tuple[pa.Table, list[tuple[Defect, dict[str, Any]]]] | None:
    """What `from_dicts` makes of JSON lines, several times faster; None if somebody has to look at them one by one.

    Parameters
    ----------
    data
        Whole lines, one record each, each with its end.

    Returns
    -------
    table, defects
        As `from_dicts`; each defect with the envelope of its record. None: a line that is no record, a wrong type, a
        name that nobody knows, or a topic that can't be read so.

    Notes
    -----
    Arrow's reader takes several objects on a line, NaN, and text that is no UTF-8: these are ruled out here. It is as
    strict as `check` about types and names.
    """
    t = topic(name)
    n = data.count(b"\n")
    if name not in AS_COLUMNS or not _one_object_a_line(data, n):
        return None
    reading = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
    parsing = pj.ParseOptions(explicit_schema=t.table_schema, unexpected_field_behavior="error")
    try:
        table = pj.read_json(pa.BufferReader(data), read_options=reading, parse_options=parsing).combine_chunks()
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    if len(table) != n or not finite(t, table) or needs_a_look(t, table):
        return None
    good, defects = _without_faults(t, table, {})
    if not defects:
        return good, []
    spoilt = table.drop_columns(["value"]).take([d.index for d in defects]).to_pylist()
    return good, list(zip(defects, spoilt, strict=True))


def _one_object_a_line(data: bytes, n: int) -> bool:
    """Whether each of `n` lines begins with `{` and ends with `}`, and all is UTF-8.

    Lines that begin and end so and are valid JSON one after another hold whole objects; as many rows as lines are then
    exactly one each, for `}` and `{` can only meet between two of them.
    """
    if not (data.startswith(b"{") and data.endswith(b"}\n") and data.count(b"}\n{") == n - 1):
        return False
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# -- from Parquet -----------------------------------------------------------------------------------------------------


def conform(name: str, table: pa.Table) -> tuple[pa.Table, list[Defect]]:
    """A table of envelope columns and a struct column `value` in the form of the topic, and the rows that don't fit.

    Integers of other widths, narrower floats, dictionaries and time stamps are converted; nothing else is. A column of
    another type makes every row of the table a defect.
    """
    t, n = topic(name), len(table)
    given = table.column_names
    if len(set(given)) < len(given) or (not t.risk_bearing and not ALLOWED.issuperset(given)):
        return _none_of(name, n, UNKNOWN)
    value = table["value"].combine_chunks() if "value" in given else None
    if value is None or not pa.types.is_struct(value.type):
        return _none_of(name, n, "value")
    inner = [f.name for f in value.type]
    if len(set(inner)) < len(inner) or (not t.risk_bearing and not names(name).issuperset(inner)):
        return _none_of(name, n, UNKNOWN)
    fields = dict(zip(inner, value.flatten(), strict=True))
    beyond: dict[str, npt.NDArray[np.bool_]] = {}
    try:
        outer = [_cast(f, table[f.name].combine_chunks() if f.name in given else None, n, beyond) for f in ENVELOPE]
        parts = [_cast(f, fields.get(f.name), n, beyond) for f in t.fields]
    except _MisfitError as misfit:
        return _none_of(name, n, str(misfit))
    struct = pa.StructArray.from_arrays(
        parts, fields=list(t.value_type), mask=value.is_null() if value.null_count else None
    )
    return _without_faults(t, pa.Table.from_arrays([*outer, struct], schema=t.table_schema), beyond)


def _none_of(name: str, n: int, field: str) -> tuple[pa.Table, list[Defect]]:
    return empty(name), [Defect(i, SCHEMA, field) for i in range(n)]


def _without_faults(
    t: Topic, table: pa.Table, beyond: dict[str, npt.NDArray[np.bool_]]
) -> tuple[pa.Table, list[Defect]]:
    first: dict[int, tuple[str, str]] = {}
    for field, mask in beyond.items():
        first |= {i: (SCHEMA, field) for i in np.flatnonzero(mask).tolist() if i not in first}
    for mask, reason, field in faults(t, table):
        for i in np.flatnonzero(mask).tolist():
            first.setdefault(i, (reason, field))
    if needs_a_look(t, table):
        for i, record in enumerate(to_dicts(t.name, table, keep_nulls=True)):
            problem = None if i in first else check(t, record)
            if problem is not None:
                first[i] = problem
    if not first:
        return complete(table), []
    keep = np.ones(len(table), np.bool_)
    keep[list(first)] = False
    return complete(table.filter(pa.array(keep))), [Defect(i, *first[i]) for i in sorted(first)]


class _MisfitError(Exception):
    """A column of another type."""


def _cast(f: Field, column: Any, n: int, beyond: dict[str, npt.NDArray[np.bool_]]) -> Any:
    """The column in the topic's type; rows whose number does not fit into it go to `beyond`."""
    if column is None or pa.types.is_null(column.type):
        return pa.nulls(n, f.arrow)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.type == f.arrow:
        return column
    if not _convertible(f, column.type):
        raise _MisfitError(f.name)
    try:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ms"), safe=False)  # finer stamps are cut to the millisecond
        elif f.kind in LIMITS and pa.types.is_integer(column.type):
            column, wide = _within(f, column)
            if wide.any():
                beyond[f.name] = wide
        return column.cast(f.arrow)
    except pa.ArrowException:
        raise _MisfitError(f.name) from None


def _within(f: Field, column: Any) -> tuple[Any, npt.NDArray[np.bool_]]:
    """The column without numbers that the topic's type can't hold, and where they were."""
    low, high = LIMITS[f.kind]
    bits = column.type.bit_width
    signed = pa.types.is_signed_integer(column.type)
    low, high = max(low, -(2 ** (bits - 1)) if signed else 0), min(high, 2 ** (bits - 1 if signed else bits) - 1)
    fits = pc.and_(
        pc.greater_equal(column, pa.scalar(low, column.type)), pc.less_equal(column, pa.scalar(high, column.type))
    )
    wide = pc.invert(pc.fill_null(fits, True)).to_numpy(zero_copy_only=False)
    return (pc.if_else(pa.array(~wide), column, pa.scalar(None, column.type)) if wide.any() else column), wide


def _convertible(f: Field, kind: Any) -> bool:
    """Whether a type says the same as the topic's: "84" is no number, a fraction no count, at every level."""
    is_ = pa.types
    if f.kind in ("int", "long"):
        return bool(is_.is_integer(kind) or (f.kind == "long" and is_.is_timestamp(kind)))
    if f.kind == "double":
        return bool(is_.is_integer(kind) or is_.is_floating(kind))
    if f.kind in ("string", "enum"):
        return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind))
    if f.kind == "array":
        assert f.items is not None
        return bool(is_.is_list(kind) or is_.is_large_list(kind)) and _convertible(f.items, kind.value_type)
    if f.kind == "map":
        assert f.items is not None
        return bool(is_.is_map(kind)) and is_.is_string(kind.key_type) and _convertible(f.items, kind.item_type)
    if f.kind == "record":
        inner = {g.name: g for g in f.fields}
        return bool(is_.is_struct(kind)) and all(g.name in inner and _convertible(inner[g.name], g.type) for g in kind)
    return bool(is_.is_boolean(kind))


# -- back -------------------------------------------------------------------------------------------------------------


def empty(name: str) -> pa.Table:
    """A table of no rows."""
    return topic(name).table_schema.empty_table()


def to_dicts(name: str, table: pa.Table, *, keep_nulls: bool = False) -> list[dict[str, Any]]:
    """Records in contract form; what is null is absent (`keep_nulls`: in nested values it stays, to be found)."""
    t = topic(name)
    if not len(table):
        return []
    outer = [table[f.name].to_pylist() for f in ENVELOPE]
    value = table["value"].combine_chunks()
    inner = [_plain(f, part, keep_nulls) for f, part in zip(t.fields, value.flatten(), strict=True)]
    inner_names = [f.name for f in t.fields]
    gone = value.is_null().to_pylist() if value.null_count else None
    out = []
    inside = zip(*inner, strict=True) if inner else iter([()] * len(table))
    for i, (envelope, fields) in enumerate(zip(zip(*outer, strict=True), inside, strict=True)):
        record: dict[str, Any] = {k: v for k, v in zip(NAMES, envelope, strict=True) if v is not None}
        if gone is None or not gone[i]:
            record["value"] = {k: v for k, v in zip(inner_names, fields, strict=True) if v is not None}
        out.append(record)
    return out


def _plain(f: Field, column: pa.Array, keep_nulls: bool) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [_unwrap(f, v, keep_nulls) for v in values] if f.nested else values


def _unwrap(f: Field, x: Any, keep: bool) -> Any:
    """Maps as dicts, nulls absent, at every level."""
    if x is None:
        return None
    if f.kind == "map":
        assert f.items is not None
        return {k: _unwrap(f.items, v, keep) for k, v in x if keep or v is not None}
    if f.kind == "array":
        assert f.items is not None
        return [_unwrap(f.items, v, keep) for v in x if keep or v is not None]
    if f.kind == "record":
        return {g.name: _unwrap(g, x[g.name], keep) for g in f.fields if x[g.name] is not None}
    return x
