"""Rows written column by column are the bytes that fastavro writes record by record, for every topic."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from schemas import TOPICS, avro, avro_rows, rows
from schemas.topics import Field, Topic

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


def records(t: Topic, n: int) -> list[dict[str, Any]]:
    draw = random.Random(t.name)
    out = []
    for i in range(n):
        envelope = {"user": f"p{i}", "event_time": i, "ingest_time": draw.choice((None, i)), "source_id": draw.choice((None, "s"))}
        out.append({k: v for k, v in envelope.items() if v is not None} | {"value": fields(t.fields, draw)})
    return out


def table_of(t: Topic, given: list[dict[str, Any]]) -> pa.Table:
    """Without the checks of ranges: what fits the types is to be written."""
    return pa.Table.from_pylist([{**r, "value": {k: list(v.items()) if isinstance(v, dict) and f.kind == "map" else v
                                                for f in t.fields for k, v in r["value"].items() if k == f.name}}
                                 for r in given], schema=t.table_schema)  # fmt: skip


@pytest.mark.parametrize("t", TOPICS.values(), ids=lambda t: t.name)
def test_columns_and_records_give_the_same_bytes(t: Topic) -> None:
    given = records(t, 40)
    table = table_of(t, given)
    wanted = [avro.encode(t.name, r)[10:] for r in rows.to_dicts(t.name, table)]
    assert avro_rows.bodies(t.name, table) == wanted
    assert avro_rows.bodies(t.name, table.slice(7, 20), b"head") == [b"head" + w for w in wanted[7:27]]
    assert [avro.decode(t.name, avro.encode(t.name, given[0])[:10] + wanted[0])] == rows.to_dicts(t.name, table.slice(0, 1))


def test_more_rows_than_are_written_at_once_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_rows, "CHUNK", 7)
    t = TOPICS["device.heart_rate"]
    table = table_of(t, records(t, 40))
    assert avro_rows.bodies(t.name, table) == [avro.encode(t.name, r)[10:] for r in rows.to_dicts(t.name, table)]


def test_a_required_field_that_is_null_is_refused() -> None:
    t = TOPICS["device.heart_rate"]
    table = pa.Table.from_pylist([{"user": "p1", "value": {"bpm": 60.0, "quality": "LOCKED"}}], schema=t.table_schema)
    with pytest.raises(avro_rows.NotColumnsError, match="event_time"):
        avro_rows.bodies(t.name, table)
