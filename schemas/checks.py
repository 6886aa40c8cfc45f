"""What makes a record unusable: record by record, and by columns where many are clean.

Both forms answer the same; `schemas.rows` takes the fast one and looks at single records only where something is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.topics import ENVELOPE, YEAR_2100, Field, Topic, topic

SCHEMA, OUT_OF_RANGE, UNKNOWN = "SCHEMA", "OUT_OF_RANGE", "(unknown)"
NUMBERS = ("int", "long", "double")
LIMITS = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
LARGEST = 1.7976931348623157e308  # the largest finite double
UNITS = {
    "STRESS": "SCORE", "BODY_BATTERY": "SCORE", "FLUID": "ML", "MEDICATION": "TAKEN", "SLEEP": "MIN", "IN_BED": "MIN",
}  # fmt: skip
NAMES = tuple(f.name for f in ENVELOPE)
ALLOWED = frozenset((*NAMES, "value"))
NO_PERSON = {"content.pack": "_content/", "dlq": "_ops"}
CONSENT_MS = 366 * 86_400_000  # a consent holds for 12 months at most (topics.md, clinical.consent)

Problem = tuple[str, str]  # (reason, field)
Fault = tuple[npt.NDArray[np.bool_], str, str]  # (rows, reason, field)


@cache
def names(topic_name: str) -> frozenset[str]:
    """Names of a topic's own fields."""
    return frozenset(f.name for f in topic(topic_name).fields)


# -- one record -------------------------------------------------------------------------------------------------------


def check(t: Topic, record: Any) -> Problem | None:
    """(reason, field) of what is wrong with a record in contract form, or None."""
    if not isinstance(record, dict):
        return SCHEMA, "value"
    for f in ENVELOPE:
        problem = check_field(f, record.get(f.name))
        if problem is not None:
            return problem
    if not is_person(t.name, record["user"]):
        return SCHEMA, "user"
    if record.get("ingest_time") is None and not 0 <= record["event_time"] <= YEAR_2100:
        return OUT_OF_RANGE, "event_time"
    value = record.get("value")
    if not isinstance(value, dict):
        return SCHEMA, "value"
    if not t.risk_bearing and not (ALLOWED.issuperset(record) and names(t.name).issuperset(value)):
        return SCHEMA, UNKNOWN
    for f in t.fields:
        problem = check_field(f, value.get(f.name))
        if problem is not None:
            return problem
    return _together(t.name, value)


def is_person(topic_name: str, user: str) -> bool:
    """A person's id is not empty and does not begin with `_`; records about no person have their own form."""
    if user.startswith("_"):
        return topic_name in NO_PERSON and user.startswith(NO_PERSON[topic_name])
    return bool(user)


def check_field(f: Field, x: Any) -> Problem | None:
    """(reason, field) of what is wrong with one value, or None."""
    if x is None:
        return (SCHEMA, f.name) if f.required else None
    if not _FITS[f.kind](f, x):
        return SCHEMA, f.name
    if f.kind in NUMBERS:
        if (f.minimum is not None and x < f.minimum) or (f.maximum is not None and x > f.maximum):
            return OUT_OF_RANGE, f.name
    elif f.nested:
        inner = _inside(f, x)
        if inner is not None:
            return inner[0], f"{f.name}.{inner[1]}" if inner[1] else f.name
    return None


def _inside(f: Field, x: Any) -> Problem | None:
    if f.kind == "record":
        if any(k not in {g.name for g in f.fields} for k in x):
            return SCHEMA, UNKNOWN
        return next((p for g in f.fields if (p := check_field(g, x.get(g.name))) is not None), None)
    assert f.items is not None
    for item in x.values() if f.kind == "map" else x:
        problem = (SCHEMA, "") if item is None else check_field(f.items, item)
        if problem is not None:
            return problem
    return None


def _is_text(x: Any) -> bool:
    """Text that can be written as UTF-8; half a surrogate pair can't."""
    if not isinstance(x, str):
        return False
    return x.isascii() or not any("\ud800" <= c <= "\udfff" for c in x)


def _is_int(f: Field, x: Any) -> bool:
    low, high = LIMITS[f.kind]
    return type(x) is int and low <= x <= high


_FITS: dict[str, Callable[[Field, Any], bool]] = {
    "string": lambda f, x: _is_text(x),
    "int": _is_int,
    "long": _is_int,
    "double": lambda f, x: type(x) in (int, float) and -LARGEST <= x <= LARGEST,  # false for NaN
    "boolean": lambda f, x: isinstance(x, bool),
    "enum": lambda f, x: isinstance(x, str) and x in f.symbols,
    "array": lambda f, x: isinstance(x, list),
    "map": lambda f, x: isinstance(x, dict) and all(_is_text(k) for k in x),
    "record": lambda f, x: isinstance(x, dict),
}


def _together(topic_name: str, value: dict[str, Any]) -> Problem | None:
    """What fields say together."""
    if topic_name == "device.wellness" and UNITS[value["kind"]] != value["unit"]:
        return SCHEMA, "unit"
    if topic_name == "chat.inbound" and value.get("text") is None and value.get("option_id") is None:
        return SCHEMA, "text"
    if topic_name == "clinical.consent":
        if "*" in value["recipient_ref"] or not value["recipient_ref"].strip():
            return SCHEMA, "recipient_ref"
        if value["valid_to"] > value["valid_from"] + CONSENT_MS:
            return SCHEMA, "valid_to"
    return None


# -- columns ----------------------------------------------------------------------------------------------------------


def faults(t: Topic, table: pa.Table) -> Iterator[Fault]:
    """(rows, reason, field) of everything that is wrong with fields that are not nested, in the order of `check`."""
    for f in ENVELOPE:
        yield from _column_faults(f, table[f.name])
    users = table["user"].combine_chunks().dictionary_encode()
    wrong = np.array([not is_person(t.name, u) for u in users.dictionary.to_pylist()] + [True])
    yield wrong[users.indices.fill_null(-1).to_numpy(zero_copy_only=False)], SCHEMA, "user"
    if table["ingest_time"].null_count:
        event = table["event_time"]
        placed = pc.and_(pc.greater_equal(event, 0), pc.less_equal(event, YEAR_2100))
        wild = pc.and_(table["ingest_time"].is_null(), pc.invert(placed))
        yield _mask(pc.fill_null(wild, False)), OUT_OF_RANGE, "event_time"
    value = table["value"].combine_chunks()
    if value.null_count:
        yield value.is_null().to_numpy(zero_copy_only=False), SCHEMA, "value"
    columns = dict(zip((f.name for f in t.fields), value.flatten(), strict=True))
    for f in t.fields:
        yield from _column_faults(f, columns[f.name])
    if t.name == "device.wellness":
        pairs = zip(columns["kind"].to_pylist(), columns["unit"].to_pylist(), strict=True)
        yield np.array([UNITS.get(k or "") != u for k, u in pairs], np.bool_), SCHEMA, "unit"
    if t.name == "chat.inbound":
        mute = pc.and_(columns["text"].is_null(), columns["option_id"].is_null())
        yield _mask(mute), SCHEMA, "text"


def needs_a_look(t: Topic, table: pa.Table) -> bool:
    """Whether `faults` does not see everything: something nested is off, or fields of a control record must agree."""
    if t.control:
        return True
    nested = [i for i, f in enumerate(t.fields) if f.nested]
    if not nested:
        return False
    parts = table["value"].combine_chunks().flatten()
    return not all(_clean(t.fields[i], parts[i]) for i in nested)


def _clean(f: Field, column: pa.Array) -> bool:
    """Whether nothing in a column (without its own nulls) and below it is off."""
    if any(mask.any() for mask, _, _ in _column_faults(f, column)):
        return False
    if f.kind in ("array", "map"):
        assert f.items is not None
        items = entries(column).field(1) if f.kind == "map" else column.flatten()
        return not items.null_count and _clean(f.items, items)
    if f.kind == "record":
        there = column.filter(column.is_valid()) if column.null_count else column
        return all(_clean(g, part) for g, part in zip(f.fields, there.flatten(), strict=True))
    return True


def entries(column: pa.MapArray) -> pa.StructArray:
    """(key, value) of a map column in order; `MapArray.items` would ignore that the column is a slice."""
    kind = column.type
    return column.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))).flatten()


def finite(t: Topic, table: pa.Table) -> bool:
    """Whether no double (outside of nested values) is NaN or infinite."""
    parts = zip(t.fields, table["value"].combine_chunks().flatten(), strict=True)
    return all(pc.all(pc.is_finite(part)).as_py() is not False for f, part in parts if f.kind == "double")


def _column_faults(f: Field, column: Any) -> Iterator[Fault]:
    if f.required and column.null_count:
        yield _mask(pc.is_null(column)), SCHEMA, f.name
    if f.kind == "enum":
        unknown = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=pa.array(f.symbols, pa.string()))))
        if pc.any(unknown).as_py():
            yield _mask(unknown), SCHEMA, f.name
    if f.kind not in NUMBERS or column.null_count == len(column):
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
