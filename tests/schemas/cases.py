"""Records that the tests of schemas share."""

import random
from typing import Any

import pyarrow as pa

from schemas import TOPICS
from schemas.topics import Field, Topic

T0 = 1_772_445_305_000
NOBODY = {"content.pack": "_content/core/help/en-GB", "dlq": "_ops"}


def record(name: str, value: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    return {"user": NOBODY.get(name, "p01"), "event_time": T0, **envelope, "value": value}


def examples(name: str) -> list[dict[str, Any]]:
    """Complete records made from the examples of the spec, in the key order of the contract."""
    return [
        {
            "user": NOBODY.get(name, "p01"), "event_time": T0, "ingest_time": T0 + 1200, "tz_offset_min": 60,
            "source_id": "watch-1", "seq": 812, "event_id": "e-1", "value": value,
        }
        for value in TOPICS[name].examples
    ]  # fmt: skip


# -- made-up values of all kinds, in range or not ---------------------------------------------------------------------

HARD: dict[str, list[Any]] = {
    "string": ["", "a", "häßlich – 心", "x" * 200], "int": [0, -1, 63, 64, -64, -65, 8191, 8192, 2**31 - 1, -(2**31)],
    "long": [0, -1, 2**35, 2**62, -(2**63), 2**63 - 1], "double": [0.0, -0.0, 1e300, 5e-324, -1.5], "boolean": [True, False],
}  # fmt: skip


def made_up(f: Field, draw: random.Random) -> Any:
    if f.kind == "enum":
        return draw.choice(f.symbols)
    if f.kind == "array":
        assert f.items is not None
        return [made_up(f.items, draw) for _ in range(draw.choice((0, 1, 3)))]
    if f.kind == "map":
        assert f.items is not None
        return {f"k{i}": made_up(f.items, draw) for i in range(draw.choice((0, 1, 70)))}
    if f.kind == "record":
        return fields(f.fields, draw)
    return draw.choice(HARD[f.kind])


def fields(of: tuple[Field, ...], draw: random.Random) -> dict[str, Any]:
    return {f.name: made_up(f, draw) for f in of if f.required or draw.random() < 0.5}


def records(t: Topic, n: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(f"{t.name} {seed}")
    out = []
    for i in range(n):
        envelope = {
            "user": f"p{i}", "event_time": i, "ingest_time": draw.choice((None, i)), "tz_offset_min": draw.choice((None, 60, -300)),
            "source_id": draw.choice((None, "s")), "seq": draw.choice((None, i, 2**40)), "event_id": draw.choice((None, f"e-{i}")),
        }  # fmt: skip
        out.append({k: v for k, v in envelope.items() if v is not None} | {"value": fields(t.fields, draw)})
    return out


def table_of(t: Topic, given: list[dict[str, Any]]) -> pa.Table:
    """Without the checks of ranges: what fits the types is to be written."""
    return pa.Table.from_pylist([{**r, "value": {k: list(v.items()) if isinstance(v, dict) and f.kind == "map" else v
                                                for f in t.fields for k, v in r["value"].items() if k == f.name}}
                                 for r in given], schema=t.table_schema)  # fmt: skip
