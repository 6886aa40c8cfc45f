"""Records of a topic as Arrow tables: from JSON dicts and Parquet, checked strictly, and back.

A record that does not fit is a `Defect`: its number, a closed reason, the field; never its payload (contracts.md 4). Clean
rows are checked by columns; rows are looked at one by one only where something is off, or where a value is nested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from schemas.topics import ENVELOPE, YEAR_2100, Field, Topic, topic

SCHEMA, OUT_OF_RANGE, UNKNOWN = "SCHEMA", "OUT_OF_RANGE", "(unknown)"
LIMITS = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
UNITS = {"STRESS": "SCORE", "BODY_BATTERY": "SCORE", "FLUID": "ML", "MEDICATION": "TAKEN", "SLEEP": "MIN", "IN_BED": "MIN"}
NAMES = tuple(f.name for f in ENVELOPE)
ALLOWED = frozenset((*NAMES, "value"))
NO_PERSON = {"content.pack": "_content/", "dlq": "_ops"}
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
    table = None if any(f.nested for f in t.fields) else _fast(t, records)
    if table is not None:
        return table, []
    good, defects = [], []
    for i, record in enumerate(records):
        problem = check(t, record)
        if problem is None:
            good.append(record if not t.risk_bearing else _known(t, record))
        else:
            defects.append(Defect(i, *problem))
    return _table(t, good), defects


def _fast(t: Topic, records: Sequence[Any]) -> pa.Table | None:
    """The table if every record is clean, None if somebody has to look."""
    try:
        keys = {tuple(r) for r in records}
        values = [r["value"] for r in records]
        inner = {tuple(v) for v in values}
    except (TypeError, KeyError):
        return None
    names = frozenset(f.name for f in t.fields)
    if any(not ALLOWED.issuperset(k) for k in keys) or any(not names.issuperset(k) for k in inner):
        return None
    if not _types_fit(t, records, values):
        return None
    try:
        table = _raw_table(t, records)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None
    return None if any(mask.any() for mask, _, _ in _faults(t, table)) else complete(table)


def _types_fit(t: Topic, records: Sequence[Any], values: Sequence[Any]) -> bool:
    """What Arrow would convert silently: truth values and fractions into numbers, bytes into text."""
    for holder, fields in ((records, ENVELOPE), (values, t.fields)):
        for f in fields:
            if f.kind in ("int", "long"):
                if not _INT.issuperset({type(r.get(f.name)) for r in holder}):
                    return False
            elif f.kind == "double" and not _FLOAT.issuperset({type(r.get(f.name)) for r in holder}):
                return False
    return True


def _table(t: Topic, records: Sequence[Any]) -> pa.Table:
    return complete(_raw_table(t, records))


def _raw_table(t: Topic, records: Sequence[Any]) -> pa.Table:
    whole = pa.array(records, pa.struct(list(t.table_schema)))
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.combine_chunks()
    return pa.Table.from_arrays(whole.flatten(), schema=t.table_schema)


def complete(table: pa.Table) -> pa.Table:
    """Defaults of the envelope: ingest_time = event_time, tz_offset_min = 0."""
    for name, default in (("ingest_time", table["event_time"]), ("tz_offset_min", pa.scalar(0, pa.int32()))):
        if table[name].null_count:
            table = table.set_column(table.column_names.index(name), name, pc.coalesce(table[name], default))
    return table


def _known(t: Topic, record: dict[str, Any]) -> dict[str, Any]:
    """Without fields that nobody knows: a risk-bearing record is not lost to them."""
    names = {f.name for f in t.fields}
    return {**{k: v for k, v in record.items() if k in NAMES}, "value": {k: v for k, v in record["value"].items() if k in names}}


# -- one record -------------------------------------------------------------------------------------------------------


def check(t: Topic, record: Any) -> tuple[str, str] | None:
    """(reason, field) of what is wrong with a record in contract form, or None."""
    if not isinstance(record, dict):
        return SCHEMA, "value"
    for f in ENVELOPE:
        problem = _check(f, record.get(f.name))
        if problem is not None:
            return problem
    if not _person(t.name, record["user"]):
        return SCHEMA, "user"
    if record.get("ingest_time") is None and not 0 <= record["event_time"] <= YEAR_2100:
        return OUT_OF_RANGE, "event_time"
    value = record.get("value")
    if not isinstance(value, dict):
        return SCHEMA, "value"
    if not t.risk_bearing and (not ALLOWED.issuperset(record) or any(k not in _names(t) for k in value)):
        return SCHEMA, UNKNOWN
    for f in t.fields:
        problem = _check(f, value.get(f.name))
        if problem is not None:
            return problem
    return _together(t, value)


def _person(name: str, user: str) -> bool:
    """A person's id is not empty and does not begin with `_`; records about no person have their own form."""
    if user.startswith("_"):
        return name in NO_PERSON and user.startswith(NO_PERSON[name])
    return bool(user)


_name_cache: dict[str, frozenset[str]] = {}


def _names(t: Topic) -> frozenset[str]:
    if t.name not in _name_cache:
        _name_cache[t.name] = frozenset(f.name for f in t.fields)
    return _name_cache[t.name]


def _check(f: Field, x: Any) -> tuple[str, str] | None:
    if x is None:
        return (SCHEMA, f.name) if f.required else None
    if not _CHECKS[f.kind](f, x):
        return SCHEMA, f.name
    if f.kind in ("int", "long", "double") and ((f.minimum is not None and x < f.minimum) or (f.maximum is not None and x > f.maximum)):
        return OUT_OF_RANGE, f.name
    if f.nested:
        inner = _inside(f, x)
        if inner is not None:
            return inner[0], f"{f.name}.{inner[1]}" if inner[1] else f.name
    return None


def _inside(f: Field, x: Any) -> tuple[str, str] | None:
    if f.kind == "record":
        if any(k not in {g.name for g in f.fields} for k in x):
            return SCHEMA, UNKNOWN
        return next((p for g in f.fields if (p := _check(g, x.get(g.name))) is not None), None)
    assert f.items is not None
    for item in x.values() if f.kind == "map" else x:
        problem = (SCHEMA, "") if item is None else _check(f.items, item)
        if problem is not None:
            return problem
    return None


def _is_int(f: Field, x: Any) -> bool:
    low, high = LIMITS[f.kind]
    return type(x) is int and low <= x <= high


_CHECKS: dict[str, Callable[[Field, Any], bool]] = {
    "string": lambda f, x: isinstance(x, str),
    "int": _is_int,
    "long": _is_int,
    "double": lambda f, x: type(x) in (int, float) and -1e308 < x < 1e308 and math.isfinite(x),
    "boolean": lambda f, x: isinstance(x, bool),
    "enum": lambda f, x: isinstance(x, str) and x in f.symbols,
    "array": lambda f, x: isinstance(x, list),
    "map": lambda f, x: isinstance(x, dict) and all(isinstance(k, str) for k in x),
    "record": lambda f, x: isinstance(x, dict),
}


def _together(t: Topic, value: dict[str, Any]) -> tuple[str, str] | None:
    """What two fields say together."""
    if t.name == "device.wellness" and UNITS[value["kind"]] != value["unit"]:
        return SCHEMA, "unit"
    if t.name == "chat.inbound" and value.get("text") is None and value.get("option_id") is None:
        return SCHEMA, "text"
    return None


# -- columns ----------------------------------------------------------------------------------------------------------

Fault = tuple[npt.NDArray[np.bool_], str, str]


def _faults(t: Topic, table: pa.Table) -> Iterable[Fault]:
    """(rows, reason, field) of everything that is wrong with top-level fields."""
    for f in ENVELOPE:
        yield from _column_faults(f, table[f.name])
    users = table["user"].combine_chunks().dictionary_encode()
    wrong = np.array([not _person(t.name, u) for u in users.dictionary.to_pylist()] + [True])
    yield wrong[users.indices.fill_null(-1).to_numpy(zero_copy_only=False)], SCHEMA, "user"
    if table["ingest_time"].null_count:
        placed = pc.and_(pc.greater_equal(table["event_time"], 0), pc.less_equal(table["event_time"], YEAR_2100))
        yield _mask(pc.fill_null(pc.and_(table["ingest_time"].is_null(), pc.invert(placed)), False)), OUT_OF_RANGE, "event_time"
    value = table["value"].combine_chunks()
    if value.null_count:
        yield value.is_null().to_numpy(zero_copy_only=False), SCHEMA, "value"
    columns = {f.name: value.field(f.name) for f in t.fields}
    for f in t.fields:
        yield from _column_faults(f, columns[f.name])
    if t.name == "device.wellness":
        fits = pc.equal(pc.index_in(columns["unit"], pa.array(list(UNITS.values()))), -1)
        pairs = zip(columns["kind"].to_pylist(), columns["unit"].to_pylist(), strict=True)
        fits = np.array([UNITS.get(k or "") == u for k, u in pairs], np.bool_)
        yield ~fits, SCHEMA, "unit"
    if t.name == "chat.inbound":
        yield pc.and_(columns["text"].is_null(), columns["option_id"].is_null()).to_numpy(zero_copy_only=False), SCHEMA, "text"


def _column_faults(f: Field, column: Any) -> Iterable[Fault]:
    if f.required and column.null_count:
        yield _mask(pc.is_null(column)), SCHEMA, f.name
    if f.kind == "enum":
        unknown = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=pa.array(f.symbols, pa.string()))))
        if pc.any(unknown).as_py():
            yield _mask(unknown), SCHEMA, f.name
    if f.kind not in ("int", "long", "double") or column.null_count == len(column):
        return
    if f.kind == "double":
        finite = pc.is_finite(column)
        if not pc.all(finite).as_py():
            yield _mask(pc.fill_null(pc.invert(finite), False)), SCHEMA, f.name
    ends = pc.min_max(column).as_py()
    if f.minimum is not None and ends["min"] is not None and ends["min"] < f.minimum:
        yield _mask(pc.fill_null(pc.less(column, f.minimum), False)), OUT_OF_RANGE, f.name
    if f.maximum is not None and ends["max"] is not None and ends["max"] > f.maximum:
        yield _mask(pc.fill_null(pc.greater(column, f.maximum), False)), OUT_OF_RANGE, f.name


def _mask(column: Any) -> npt.NDArray[np.bool_]:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    out: npt.NDArray[np.bool_] = array.to_numpy(zero_copy_only=False)
    return out


# -- from Parquet -----------------------------------------------------------------------------------------------------


def conform(name: str, table: pa.Table) -> tuple[pa.Table, list[Defect]]:
    """A table of envelope columns and a struct column `value` in the form of the topic, and the rows that don't fit.

    Integers of other widths, narrower floats, dictionaries and millisecond stamps are converted; nothing else is.
    """
    t, n = topic(name), len(table)
    if not t.risk_bearing and any(c not in ALLOWED for c in table.column_names):
        return empty(name), [Defect(i, SCHEMA, UNKNOWN) for i in range(n)]
    columns: list[Any] = []
    value = table["value"].combine_chunks() if "value" in table.column_names else None
    if value is None or not pa.types.is_struct(value.type):
        return empty(name), [Defect(i, SCHEMA, "value") for i in range(n)]
    given = {f.name for f in value.type}
    if not t.risk_bearing and given - _names(t):
        return empty(name), [Defect(i, SCHEMA, UNKNOWN) for i in range(n)]
    fields = dict(zip((f.name for f in value.type), value.flatten(), strict=True))
    try:
        for f in ENVELOPE:
            columns.append(_cast(f, table[f.name].combine_chunks() if f.name in table.column_names else None, n))
        parts = [_cast(f, fields.get(f.name), n) for f in t.fields]
    except _Misfit as misfit:
        return empty(name), [Defect(i, SCHEMA, str(misfit)) for i in range(n)]
    struct = pa.StructArray.from_arrays(parts, fields=list(t.value_type), mask=value.is_null() if value.null_count else None)
    made = pa.Table.from_arrays([*columns, struct], schema=t.table_schema)
    return _without_faults(t, made)


def _without_faults(t: Topic, table: pa.Table) -> tuple[pa.Table, list[Defect]]:
    first: dict[int, tuple[str, str]] = {}
    for mask, reason, field in _faults(t, table):
        for i in np.flatnonzero(mask).tolist():
            first.setdefault(i, (reason, field))
    if any(f.nested for f in t.fields):
        for i, record in enumerate(to_dicts(t.name, table)):
            problem = first.get(i) or check(t, record)
            if problem is not None:
                first.setdefault(i, problem)
    if not first:
        return complete(table), []
    keep = np.ones(len(table), np.bool_)
    keep[list(first)] = False
    return complete(table.filter(pa.array(keep))), [Defect(i, *first[i]) for i in sorted(first)]


class _Misfit(Exception):
    """A column of another type."""


def _cast(f: Field, column: Any, n: int) -> Any:
    if column is None or pa.types.is_null(column.type):
        return pa.nulls(n, f.arrow)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if kind == f.arrow:
        return column
    ints, floats = pa.types.is_integer(kind), pa.types.is_floating(kind)
    fits = (
        (f.kind in ("int", "long") and ints)
        or (f.kind == "double" and (ints or floats))
        or (f.kind == "long" and pa.types.is_timestamp(kind))
        or (f.kind in ("string", "enum") and (pa.types.is_large_string(kind) or pa.types.is_string_view(kind)))
        or f.nested
    )
    if not fits:
        raise _Misfit(f.name)
    try:
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("ms"))
        return column.cast(f.arrow)
    except pa.ArrowException:
        raise _Misfit(f.name) from None


# -- back -------------------------------------------------------------------------------------------------------------


def empty(name: str) -> pa.Table:
    """A table of no rows."""
    return topic(name).table_schema.empty_table()


def to_dicts(name: str, table: pa.Table) -> list[dict[str, Any]]:
    """Records in contract form; what is null is absent."""
    t = topic(name)
    if not len(table):
        return []
    outer = [table[f.name].to_pylist() for f in ENVELOPE]
    value = table["value"].combine_chunks()
    inner = [_plain(f, value.field(f.name)) for f in t.fields]
    outer_names, inner_names = NAMES, [f.name for f in t.fields]
    gone = value.is_null().to_pylist() if value.null_count else None
    out = []
    inside = zip(*inner, strict=True) if inner else iter([()] * len(table))
    for i, (envelope, fields) in enumerate(zip(zip(*outer, strict=True), inside, strict=True)):
        record: dict[str, Any] = {k: v for k, v in zip(outer_names, envelope, strict=True) if v is not None}
        if gone is None or not gone[i]:
            record["value"] = {k: v for k, v in zip(inner_names, fields, strict=True) if v is not None}
        out.append(record)
    return out


def _plain(f: Field, column: pa.Array) -> list[Any]:
    values = column.to_pylist()
    return [_unwrap(f, v) for v in values] if f.nested else values


def _unwrap(f: Field, x: Any) -> Any:
    """Maps as dicts, nulls absent, at every level."""
    if x is None:
        return None
    if f.kind == "map":
        assert f.items is not None
        return {k: _unwrap(f.items, v) for k, v in x}
    if f.kind == "array":
        assert f.items is not None
        return [_unwrap(f.items, v) for v in x] if f.items.nested else x
    if f.kind == "record":
        return {g.name: _unwrap(g, x[g.name]) for g in f.fields if x[g.name] is not None}
    return x


def to_json_lines(name: str, table: pa.Table) -> bytes:
    """One JSON object a line, in the key order of the contract."""
    dumps = orjson.dumps
    lines = [dumps(r) for r in to_dicts(name, table)]
    lines.append(b"")
    return b"\n".join(lines)
