"""Rows written column by column are the bytes that fastavro writes record by record, for every topic."""

from __future__ import annotations

import pyarrow as pa
import pytest

from schemas import TOPICS, avro, avro_rows, rows
from schemas.topics import Topic
from tests.schemas.cases import records, table_of


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
