"""Kafka records read by columns give the rows and the letters that they give one by one."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.kafka import codec
from connectors.kafka.codec import OWN, READ, Decoder
from connectors.kafka.registry import Registry, UnknownSchemaError
from schemas import TOPICS, avro, avro_columns
from schemas.avro_rows import NotColumnsError
from schemas.topics import YEAR_2100, topic
from tests.connectors.contract import HEART, T0, beat
from tests.schemas.cases import examples, records

ANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROWS = 6


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MANY_READ", 2)


@pytest.fixture
def by_columns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call has read by columns."""
    counts: list[int] = []
    table = avro_columns.table

    def counted(name: str, values: Sequence[bytes], head: bytes) -> pa.Table:
        found = table(name, values, head)
        counts.append(len(found))
        return found

    monkeypatch.setattr(avro_columns, "table", counted)
    return counts


def arrived(value: bytes | None, i: int = 0, **envelope: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"offset": i, "timestamp": T0 + i, "key": b"p01", "value": value, "headers": [], **envelope})


def sent(name: str, given_: Sequence[dict[str, Any]]) -> list[SimpleNamespace]:
    return [arrived(avro.encode(name, r), i, key=r["user"].encode()) for i, r in enumerate(given_)]


def same_as_one_by_one(name: str, made: Sequence[Any], decoder: Decoder | None = None, *, own: bool = False) -> tuple[pa.Table, Any]:
    decoder = decoder or Decoder()
    table, letters = decoder.read(name, 3, made, 5, own=own)
    parts = [decoder.read(name, 3, [r], 5, own=own) for r in made]
    want = pa.concat_tables([decoder.read(name, 3, [], 5)[0], *(t for t, _ in parts)])
    table.validate(full=True)
    assert table.schema == want.schema
    assert table.combine_chunks().equals(want.combine_chunks())
    assert sorted(letters) == sorted(x for _, some in parts for x in some)
    return table, letters


# -- clean and out of range -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READ)
def test_clean_records_of_every_topic_that_is_read_are_read_by_columns(name: str, by_columns: list[int]) -> None:
    table, letters = same_as_one_by_one(name, sent(name, examples(name) * ROWS))
    n = len(examples(name)) * ROWS
    assert (len(table), letters, by_columns) == (n, [], [n])


@ANY
@given(st.sampled_from(READ), st.integers(0, 2**32), st.integers(2, 12))
def test_records_beyond_their_ranges_give_the_same_letters(name: str, seed: int, n: int) -> None:
    same_as_one_by_one(name, sent(name, [*examples(name), *records(TOPICS[name], n, seed), *examples(name)]))


def test_one_record_beyond_its_range_does_not_make_the_others_slow(by_columns: list[int]) -> None:
    made = sent(HEART, [beat(T0 + i, 500.0 if i == 7 else 60.0) for i in range(20)])
    table, letters = same_as_one_by_one(HEART, made)
    assert (len(table), [(x.reason, x.field, x.user, x.offset) for x in letters]) == (19, [("OUT_OF_RANGE", "bpm", "p01", 7)])
    assert by_columns == [20]


def test_one_record_that_is_none_costs_only_those_around_it(by_columns: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "BLOCK", 10)
    made = sent(HEART, [beat(T0 + i) for i in range(45)])
    made[23].value = b"\xc3\x01canary"
    table, letters = same_as_one_by_one(HEART, made)
    assert (len(table), [(x.reason, x.offset) for x in letters]) == (44, [("UNPARSABLE", 23)])
    assert by_columns == [10, 10, 10, 5]


# -- spoilt -----------------------------------------------------------------------------------------------------------


@ANY
@given(st.sampled_from(READ), st.integers(0, 2**32), st.data())
def test_spoilt_bytes_give_the_same_rows_and_letters(name: str, seed: int, data: st.DataObject) -> None:
    made = sent(name, (examples(name) + records(TOPICS[name], 2, seed) + examples(name) * ROWS)[:ROWS])
    for r in data.draw(st.lists(st.sampled_from(made), min_size=1, max_size=3)):
        value, kind = bytearray(r.value), data.draw(st.sampled_from(["flip", "cut", "more", "twice", "empty"]))
        at = data.draw(st.integers(0, max(0, len(value) - 1)))
        if kind == "flip" and value:
            value[at] = data.draw(st.integers(0, 255))
        r.value = {
            "flip": bytes(value), "cut": bytes(value[:at]), "more": bytes(value) + data.draw(st.binary(min_size=1, max_size=3)),
            "twice": bytes(value) * 2, "empty": b"",
        }[kind]  # fmt: skip
    same_as_one_by_one(name, made)


def test_every_cut_and_every_byte_changed_gives_the_same() -> None:
    (value,) = (avro.encode(HEART, r) for r in examples(HEART)[:1])
    clean = sent(HEART, examples(HEART)[:1] * 3)
    cut = [value[:i] for i in range(len(value))]
    changed = [value[:i] + bytes([value[i] ^ flip]) + value[i + 1 :] for i in range(len(value)) for flip in (1, 2, 0x80, 0xFF)]
    for bad in cut + changed:
        same_as_one_by_one(HEART, [clean[0], arrived(bad, 1), clean[2]])


def test_a_key_that_is_not_the_user_no_key_and_no_value_give_the_same() -> None:
    for change in ({"key": b"p02"}, {"key": None}, {"key": b""}, {"key": b"\xff"}, {"value": None}):
        made = sent(HEART, [beat(T0 + i) for i in range(ROWS)])
        made[2].__dict__.update(change)
        same_as_one_by_one(HEART, made)


def test_a_broker_without_a_clock_gives_the_same(by_columns: list[int]) -> None:
    for at in (-1, 0, YEAR_2100, YEAR_2100 + 1):
        made = sent(HEART, [beat(T0 + i) for i in range(ROWS)])
        made[2].timestamp = at
        _, letters = same_as_one_by_one(HEART, made)
        assert len(letters) == (not 0 <= at <= YEAR_2100)
        as_json = [arrived(json.dumps(beat(T0 + i)).encode(), i) for i in range(ROWS)]
        as_json[2].timestamp = at
        assert len(same_as_one_by_one(HEART, as_json)[1]) == len(letters)
    assert by_columns == [ROWS] * 4


def test_what_ingest_made_keeps_its_arrival(by_columns: list[int]) -> None:
    made = sent(HEART, [beat(T0 - 7 * i) for i in range(ROWS)])
    late = sent(HEART, [{k: v for k, v in beat(T0).items() if k != "ingest_time"}])
    for r in (mine := [*made, *late]):
        r.headers = [OWN]
    table, _ = same_as_one_by_one(HEART, mine, own=True)
    assert table["ingest_time"].to_pylist() == [*(T0 - 7 * i for i in range(ROWS)), late[0].timestamp]
    assert by_columns[0] == ROWS + 1
    assert len(Decoder().read(HEART, 0, mine, 0)[0]) == 0, "who reads the raw topics leaves them out"


def test_records_of_devices_and_of_ingest_together_give_the_same() -> None:
    made = sent(HEART, [beat(T0 + i) for i in range(2 * ROWS)])
    for r in made[::2]:
        r.headers = [OWN]
    same_as_one_by_one(HEART, made, own=True)
    same_as_one_by_one(HEART, made)


def test_a_value_that_is_too_long_is_none_in_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sent(HEART, [beat(T0 + i, source_id="x" * (100 if i == 3 else 1)) for i in range(ROWS)])
    monkeypatch.setattr(codec, "LONGEST_VALUE", 99)
    assert [x.offset for x in same_as_one_by_one(HEART, made)[1]] == [3]


def test_few_records_are_read_one_by_one(by_columns: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MANY_READ", 10)
    assert len(Decoder().read(HEART, 0, sent(HEART, [beat(T0)] * 9), 0)[0]) == 9
    assert by_columns == []
    assert len(Decoder().read(HEART, 0, sent(HEART, [beat(T0)] * 10), 0)[0]) == 10
    assert by_columns == [10]


# -- in the registry's framing ----------------------------------------------------------------------------------------


class Answers(Registry):
    """A registry whose answers are at hand."""

    def __init__(self, schemas: dict[int, dict[str, Any]]) -> None:
        super().__init__("http://127.0.0.1:9")
        self.given = schemas

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        number = int(path.rsplit("/", 1)[1])
        if number not in self.given:
            raise UnknownSchemaError(path)
        return {"schema": json.dumps(self.given[number])}


def framed(schema: dict[str, Any], number: int, n: int = ROWS) -> list[SimpleNamespace]:
    out = []
    for i in range(n):
        body = io.BytesIO(b"\x00" + number.to_bytes(4, "big"))
        body.seek(5)
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema), beat(T0 + i))
        out.append(arrived(body.getvalue(), i))
    return out


def changed(**of_event_time: Any) -> dict[str, Any]:
    schema = copy.deepcopy(topic(HEART).avro)
    (field,) = (f for f in schema["fields"] if f["name"] == "event_time")
    field |= of_event_time
    return schema


def test_records_of_our_own_schema_are_read_by_columns_whatever_it_says_beside_its_types(by_columns: list[int]) -> None:
    same = [topic(HEART).avro, changed(doc="another comment")]
    for number, schema in enumerate(same, 300):
        decoder = Decoder(Answers({number: schema}))
        table, letters = same_as_one_by_one(HEART, framed(schema, number), decoder)
        assert (len(table), letters) == (ROWS, [])
    assert by_columns == [ROWS, ROWS]


def test_records_of_another_schema_are_read_one_by_one(by_columns: list[int]) -> None:
    older = copy.deepcopy(topic(HEART).avro)
    own = older["fields"][-1]["type"]
    own["fields"] = [f for f in own["fields"] if f["name"] != "sample_period_s"]
    stamp = changed(type={"type": "long", "logicalType": "timestamp-millis"})  # read as a point in time: no number
    for schema, dead in ((older, 0), (stamp, ROWS)):
        _, letters = same_as_one_by_one(HEART, framed(schema, 7), Decoder(Answers({7: schema})))
        assert len(letters) == dead
    assert by_columns == []


def test_an_id_that_nobody_registered_is_no_record_and_two_ids_are_two_schemas(by_columns: list[int]) -> None:
    schema = topic(HEART).avro
    decoder = Decoder(Answers({7: schema, 8: schema}))
    assert len(same_as_one_by_one(HEART, framed(schema, 9), decoder)[1]) == ROWS
    mixed = [a if i % 2 else b for i, (a, b) in enumerate(zip(framed(schema, 7), framed(schema, 8), strict=True))]
    assert same_as_one_by_one(HEART, mixed, decoder)[1] == []
    assert by_columns == []
    same_as_one_by_one(HEART, [*framed(schema, 7), arrived(b"\x00\x00"), arrived(b"\x00" * 4)], decoder)


@ANY
@given(st.sampled_from(READ), st.integers(0, 2**32), st.data())
def test_framed_records_of_any_topic_give_the_same(name: str, seed: int, data: st.DataObject) -> None:
    made = sent(name, (examples(name) + records(TOPICS[name], 2, seed) + examples(name) * ROWS)[:ROWS])
    for r in made:
        r.value = b"\x00\x00\x00\x00\x07" + r.value[10:]
    spoilt = data.draw(st.sampled_from([None, *made]))
    if spoilt is not None:
        at = data.draw(st.integers(0, len(spoilt.value) - 1))
        spoilt.value = spoilt.value[:at] + bytes([data.draw(st.integers(0, 255))]) + spoilt.value[at + 1 :]
    same_as_one_by_one(name, made, Decoder(Answers({7: topic(name).avro})))


def test_framed_records_without_a_registry_give_the_same() -> None:
    assert len(same_as_one_by_one(HEART, framed(topic(HEART).avro, 7))[1]) == ROWS


def test_the_plain_reader_refuses_what_the_codec_then_reads_one_by_one() -> None:
    """A record with bytes behind it is taken as it always was; no column reader is asked to judge it."""
    made = sent(HEART, [beat(T0 + i) for i in range(ROWS)])
    made[1].value += b"\x00"
    with pytest.raises(NotColumnsError):
        avro_columns.table(HEART, [r.value for r in made], avro.mark(HEART))
    table, letters = same_as_one_by_one(HEART, made)
    assert (len(table), letters) == (ROWS, [])
