"""Values read column by column are what fastavro reads record by record, and anything odd is left to it."""

from __future__ import annotations

import math
import random
import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import TOPICS, avro, avro_columns, rows
from schemas.avro_rows import NotColumnsError, bodies
from schemas.topics import Topic
from tests.schemas.cases import T0, examples, records, table_of

HEART = "device.heart_rate"


def read(name: str, *values: bytes) -> pa.Table:
    return avro_columns.table(name, values, avro.mark(name))


def one_by_one(name: str, values: list[bytes]) -> pa.Table:
    """Without the checks of ranges."""
    return table_of(TOPICS[name], [avro.decode(name, v) for v in values])


@pytest.mark.parametrize("t", TOPICS.values(), ids=lambda t: t.name)
def test_what_is_written_is_read_back_for_every_topic(t: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_columns, "MOST_ROUNDS", 100_000)  # there are maps of seventy in maps of seventy
    table = table_of(t, records(t, 40))
    for part in (table, table.slice(7, 20), table.slice(3, 1)):
        again = read(t.name, *bodies(t.name, part, avro.mark(t.name)))
        again.validate(full=True)
        assert again.equals(part)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(TOPICS)), st.integers(0, 2**32), st.integers(1, 12))
def test_any_records_are_read_as_fastavro_reads_them(name: str, seed: int, n: int) -> None:
    values = [avro.encode(name, r) for r in records(TOPICS[name], n, seed)]
    try:
        assert read(name, *values).equals(one_by_one(name, values))
    except NotColumnsError:
        assert name == "clinical.profile", "only maps in maps have too many items"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(TOPICS)), st.integers(0, 2**32), st.data())
def test_spoilt_bytes_are_refused_or_read_as_fastavro_reads_them(name: str, seed: int, data: st.DataObject) -> None:
    values = [avro.encode(name, r) for r in records(TOPICS[name], 3, seed)]
    bad = bytearray(values[1])
    for _ in range(data.draw(st.integers(1, 3))):
        bad[data.draw(st.integers(10, len(bad) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(name, values[0], bytes(bad), values[2])
    except NotColumnsError:
        return
    found.validate(full=True)
    want = rows.to_dicts(name, one_by_one(name, [values[0], bytes(bad), values[2]]))
    assert repr(rows.to_dicts(name, found)) == repr(want), "by their text: NaN equals nothing"


@pytest.mark.parametrize("name", sorted(TOPICS))
def test_a_value_cut_anywhere_or_with_more_behind_it_is_refused(name: str) -> None:
    first, value = (avro.encode(name, r) for r in (examples(name)[-1], examples(name)[0]))
    for size in range(len(value)):
        with pytest.raises(NotColumnsError):
            read(name, first, value[:size], first)
    for more in (b"\x00", b"\x02", value[10:], value):
        with pytest.raises(NotColumnsError):
            read(name, value + more, first)


# -- one byte at a time -----------------------------------------------------------------------------------------------

# fields of the envelope before the value: user p, event_time 1, all else null
SHORT = b"\x02p\x02\x00\x00\x00\x00\x00"
BEAT = struct.pack("<d", 60.0)


def heart(envelope: bytes = SHORT, bpm: bytes = BEAT, quality: bytes = b"\x00", period: bytes = b"\x00") -> bytes:
    return avro.mark(HEART) + envelope + bpm + quality + period


def test_the_shortest_record_is_read() -> None:
    assert rows.to_dicts(HEART, read(HEART, heart())) == [
        {"user": "p", "event_time": 1, "value": {"bpm": 60.0, "quality": TOPICS[HEART].fields[1].symbols[0]}}
    ]


@pytest.mark.parametrize(("why", "value"), [
    ("text that is no UTF-8", heart(b"\x02\xff" + SHORT[2:])),
    ("half a surrogate pair", heart(b"\x06\xed\xa0\x80" + SHORT[2:])),
    ("text longer than the record", heart(b"\x7f" + SHORT[1:])),
    ("text of a negative length", heart(b"\x01" + SHORT[1:])),
    ("text of 2^62 bytes", heart(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01" + SHORT[1:])),
    ("a number that never ends", heart(b"\x02p" + b"\x80" * 40)),
    ("a number of eleven bytes", heart(b"\x02p" + b"\x80" * 10 + b"\x00" + SHORT[3:])),
    ("a number of 65 bits", heart(b"\x02p" + b"\x80" * 9 + b"\x02" + SHORT[3:])),
    ("an int above 2^31 - 1", heart(b"\x02p\x02\x00\x02\x80\x80\x80\x80\x10\x00\x00\x00")),
    ("an int below -2^31", heart(b"\x02p\x02\x00\x02\x81\x80\x80\x80\x10\x00\x00\x00")),
    ("a third branch", heart(SHORT[:3] + b"\x04" + SHORT[4:])),
    ("branch -1", heart(SHORT[:3] + b"\x01" + SHORT[4:])),
    ("a symbol beyond the last", heart(quality=b"\x08")),
    ("symbol -1", heart(quality=b"\x01")),
    ("another fingerprint", b"\xc3\x01" + bytes(8) + heart()[10:]),
    ("nothing", b""),
])  # fmt: skip
def test_what_is_odd_is_left_to_those_who_look_at_each(why: str, value: bytes) -> None:
    with pytest.raises(NotColumnsError):
        read(HEART, heart(), value, heart())


def test_numbers_with_needless_bytes_and_all_64_bits_are_numbers() -> None:
    longest = b"\xff" * 9 + b"\x01"  # -2^63
    values = [heart(b"\x02p" + n + SHORT[3:]) for n in (b"\x82\x00", b"\x82\x80\x80\x00", longest, b"\xfe" + longest[1:], b"\x02")]
    found = read(HEART, *values)
    assert found["event_time"].to_pylist() == [1, 1, -(2**63), 2**63 - 1, 1]
    assert found.equals(one_by_one(HEART, values))


def test_not_a_number_and_infinity_are_read_and_left_to_the_checks() -> None:
    values = [heart(bpm=struct.pack("<d", x)) for x in (60.0, math.nan, -math.inf)]
    table, defects = rows.conform(HEART, read(HEART, *values))
    assert (len(table), [(d.index, d.reason, d.field) for d in defects]) == (1, [(1, "SCHEMA", "bpm"), (2, "SCHEMA", "bpm")])


def flags(calm: bytes) -> bytes:
    """A record of device.music whose `calm_tag` is these bytes."""
    whole = avro.encode("device.music", {"user": "p", "event_time": T0, "value": TOPICS["device.music"].examples[0]})
    draw = [f.name for f in TOPICS["device.music"].fields]
    value: dict[str, Any] = dict(TOPICS["device.music"].examples[0])
    value["calm_tag"] = not value["calm_tag"]
    other = avro.encode("device.music", {"user": "p", "event_time": T0, "value": value})
    (at,) = (i for i in range(len(whole)) if whole[i] != other[i])
    assert "calm_tag" in draw
    return whole[:at] + calm + whole[at + 1 :]


def test_a_truth_value_is_0_or_1() -> None:
    found = read("device.music", flags(b"\x00"), flags(b"\x01"))
    assert found["value"].combine_chunks().field("calm_tag").to_pylist() == [False, True]
    with pytest.raises(NotColumnsError):
        read("device.music", flags(b"\x00"), flags(b"\x02"))


# -- arrays and maps --------------------------------------------------------------------------------------------------


def answers(items: bytes) -> bytes:
    """A record of selfreport whose map `items` is these bytes."""
    name = "selfreport"
    value = {k: v for k, v in TOPICS[name].examples[0].items() if k != "items"}
    marked = avro.encode(name, {"user": "p", "event_time": T0, "value": {**value, "items": {"canary": 0.5}}})
    whole = b"\x02\x0ccanary" + struct.pack("<d", 0.5) + b"\x00"
    assert marked.count(whole) == 1
    return marked.replace(whole, items)


ITEM = b"\x02a" + struct.pack("<d", 1.0)
OTHER = b"\x02b" + struct.pack("<d", 2.0)


def test_maps_of_one_block_or_none_are_read() -> None:
    values = [answers(x) for x in (b"\x02" + ITEM + b"\x00", b"\x00", b"\x04" + OTHER + ITEM + b"\x00", b"\x02" + OTHER + b"\x00")]
    found = read("selfreport", *values)
    assert found.equals(one_by_one("selfreport", values))
    inner = [r["value"]["items"] for r in rows.to_dicts("selfreport", found)]
    assert inner == [{"a": 1.0}, {}, {"b": 2.0, "a": 1.0}, {"b": 2.0}]


@pytest.mark.parametrize(("why", "items"), [
    ("two blocks", b"\x02" + ITEM + b"\x02" + OTHER + b"\x00"),
    ("a block with its size", b"\x01\x14" + ITEM + b"\x00"),
    ("the same key twice", b"\x04" + ITEM + ITEM + b"\x00"),
    ("no end", b"\x02" + ITEM),
    ("2^40 items", b"\x80\x80\x80\x80\x80\x40" + ITEM + b"\x00"),
    ("more items than there are", b"\x06" + ITEM + OTHER + b"\x00"),
])  # fmt: skip
def test_other_blocks_are_left_to_those_who_look_at_each(why: str, items: bytes) -> None:
    with pytest.raises(NotColumnsError):
        read("selfreport", answers(b"\x02" + ITEM + b"\x00"), answers(items), answers(b"\x00"))


def test_more_items_than_rounds_are_worth_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_columns, "MOST_ROUNDS", 1)
    assert len(read("selfreport", answers(b"\x02" + ITEM + b"\x00"))) == 1
    with pytest.raises(NotColumnsError):
        read("selfreport", answers(b"\x04" + ITEM + OTHER + b"\x00"))


def test_which_records_stand_beside_it_does_not_matter() -> None:
    draw = random.Random(7)
    for name in sorted(TOPICS.keys() - {"clinical.profile"}):
        values = [avro.encode(name, r) for r in [*records(TOPICS[name], 5), *examples(name)]]
        draw.shuffle(values)
        assert read(name, *values).equals(pa.concat_tables([read(name, v) for v in values]).combine_chunks())


def test_no_values_are_nothing_to_read_by_columns() -> None:
    with pytest.raises(NotColumnsError):
        read(HEART)
