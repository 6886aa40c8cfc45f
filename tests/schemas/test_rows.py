"""Records as tables and back: nothing gets lost, nothing is guessed."""

import math
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import TOPICS, Topic, avro, rows
from tests.schemas.cases import T0, examples, record

HEART, STEPS = "device.heart_rate", "device.activity"
BEAT = {"bpm": 84, "quality": "LOCKED", "sample_period_s": 5.0}
CONSENT = TOPICS["clinical.consent"].examples[0]


def defects(name: str, *records: Any) -> list[tuple[int, str, str]]:
    return [(d.index, d.reason, d.field) for d in rows.from_dicts(name, list(records))[1]]


def defect(name: str, value: dict[str, Any], **envelope: Any) -> tuple[str, str] | None:
    found = defects(name, record(name, value, **envelope))
    return found[0][1:] if found else None


# -- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOPICS)
def test_examples_survive_json_avro_and_arrow(name: str) -> None:
    given_ = examples(name)
    table, bad = rows.from_dicts(name, given_)
    assert not bad
    assert table.schema == TOPICS[name].table_schema
    assert rows.to_dicts(name, table) == given_
    assert [orjson.loads(line) for line in rows.to_json_lines(name, table).splitlines()] == given_
    assert [avro.decode(name, avro.encode(name, r)) for r in given_] == given_


@pytest.mark.parametrize("name", TOPICS)
def test_examples_survive_parquet_form(name: str) -> None:
    table, _ = rows.from_dicts(name, examples(name) * 3)
    again, bad = rows.conform(name, table)
    assert not bad
    assert again.equals(table)


@pytest.mark.parametrize("name", TOPICS)
def test_json_lines_are_byte_for_byte_what_orjson_writes(name: str) -> None:
    many = [
        {**r, "event_id": text, "seq": i} for i, text in enumerate(['a"b', "ü\\", "\n", ""]) for r in examples(name)
    ]
    many.append(record(name, TOPICS[name].examples[0]))
    table, _ = rows.from_dicts(name, many)
    want = b"".join(orjson.dumps(r) + b"\n" for r in rows.to_dicts(name, table))
    assert rows.to_json_lines(name, table) == want
    part = table.slice(1, 3)
    assert rows.to_json_lines(name, part) == b"".join(want.splitlines(keepends=True)[1:4])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(
    st.floats(30, 220), st.sampled_from(["LOCKED", "STRAP", "NO_LOCK", "UNKNOWN"]), st.none() | st.floats(0.1, 100),
    st.text(min_size=1).filter(lambda s: not s.startswith("_")), st.none() | st.integers(-(2**63), 2**63 - 1),
), max_size=30))  # fmt: skip
def test_any_clean_heart_rate_survives(beats: list[tuple[float, str, float | None, str, int | None]]) -> None:
    given_ = []
    for bpm, quality, period, user, seq in beats:
        value = {"bpm": bpm, "quality": quality} | ({} if period is None else {"sample_period_s": period})
        envelope = {"user": user, "event_time": T0, "ingest_time": T0, "tz_offset_min": 0}
        given_.append(envelope | ({} if seq is None else {"seq": seq}) | {"value": value})
    table, bad = rows.from_dicts(HEART, given_)
    assert not bad
    assert rows.to_dicts(HEART, table) == given_
    assert rows.to_json_lines(HEART, table) == b"".join(orjson.dumps(r) + b"\n" for r in given_)


def thin(t: Topic, value: dict[str, Any], keep: int) -> dict[str, Any]:
    """Some of the optional fields only."""
    return {
        k: v
        for i, (k, v) in enumerate(value.items())
        if keep >> i & 1 or next(f for f in t.fields if f.name == k).required
    }


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(TOPICS)), st.lists(st.integers(0, 2**24), min_size=1, max_size=5), st.integers(0, 2))
def test_absent_fields_are_absent_in_every_form(name: str, keeps: list[int], start: int) -> None:
    t = TOPICS[name]
    values = [thin(t, t.examples[0], keep) for keep in keeps]
    table, bad = rows.from_dicts(name, [record(name, v, **({"seq": i} if i % 2 else {})) for i, v in enumerate(values)])
    part = table.slice(start)
    assert [r["value"] for r in rows.to_dicts(name, table)] == [
        values[i] for i in range(len(values)) if i not in {d.index for d in bad}
    ]
    assert rows.to_json_lines(name, part) == b"".join(orjson.dumps(r) + b"\n" for r in rows.to_dicts(name, part))
    assert rows.conform(name, table)[0].equals(table)


def test_no_rows_are_a_table_without_rows() -> None:
    table, bad = rows.from_dicts(HEART, [])
    assert (len(table), bad, rows.to_dicts(HEART, table), rows.to_json_lines(HEART, table)) == (0, [], [], b"")
    assert rows.empty(HEART).schema == TOPICS[HEART].table_schema


def test_the_envelope_is_completed() -> None:
    table, _ = rows.from_dicts(HEART, [record(HEART, BEAT)])
    assert rows.to_dicts(HEART, table)[0] == {
        "user": "p01", "event_time": T0, "ingest_time": T0, "tz_offset_min": 0, "value": BEAT,
    }  # fmt: skip


# -- strictness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "change", "field"), [
    (HEART, {"bpm": True}, "bpm"), (HEART, {"bpm": "84"}, "bpm"), (HEART, {"bpm": None}, "bpm"),
    (HEART, {"bpm": math.nan}, "bpm"), (HEART, {"bpm": math.inf}, "bpm"), (HEART, {"bpm": [84]}, "bpm"),
    (HEART, {"bpm": 10**400}, "bpm"), (HEART, {"quality": "GOOD"}, "quality"), (HEART, {"quality": 1}, "quality"),
    (HEART, {"quality": None}, "quality"), (HEART, {"mood": 1}, "(unknown)"),
    (STEPS, {"steps": 1.0}, "steps"), (STEPS, {"steps": False}, "steps"), (STEPS, {"steps": 2**31}, "steps"),
    ("device.music", {"calm_tag": 1}, "calm_tag"), ("device.music", {"track_token": "\ud800"}, "track_token"),
    ("device.status", {"covers": ["HEART_RATE", None]}, "covers"),
    ("device.status", {"covers": "HEART_RATE"}, "covers"),
    ("device.status", {"battery_pct": "71"}, "battery_pct"),
    ("device.wellness", {"unit": "ML"}, "unit"),
    ("selfreport", {"items": {"1": "2"}}, "items"), ("selfreport", {"items": {"1": True}}, "items"),
    ("clinical.consent", {"recipient_ref": "*"}, "recipient_ref"),
    ("clinical.consent", {"recipient_ref": " "}, "recipient_ref"),
    ("clinical.consent", {"valid_to": CONSENT["valid_from"] + 366 * 86_400_000 + 1}, "valid_to"),
    ("clinical.consent", {"purpose": "MARKETING"}, "purpose"),
    ("clinical.consent", {"modalities": ["LOCATION", "BLOOD"]}, "modalities"),
    ("chat.inbound", {"text": None}, "text"),
])  # fmt: skip
def test_a_wrong_type_or_name_is_a_schema_error_with_its_field(name: str, change: dict[str, Any], field: str) -> None:
    assert defect(name, {**TOPICS[name].examples[0], **change}) == ("SCHEMA", field)


@pytest.mark.parametrize(("name", "change", "field"), [
    (HEART, {"bpm": 29.9}, "bpm"), (HEART, {"bpm": 220.1}, "bpm"), (HEART, {"bpm": 300}, "bpm"),
    (STEPS, {"steps": -1}, "steps"), (STEPS, {"period_s": 0.5}, "period_s"), (STEPS, {"period_s": 3601}, "period_s"),
    ("raw.location", {"latitude": 90.5}, "latitude"), ("raw.location", {"longitude": -181.0}, "longitude"),
    ("selfreport", {"item9": 4}, "item9"), ("device.status", {"battery_pct": 101}, "battery_pct"),
    ("device.content_flag", {"score": 1.01}, "score"), ("therapy.event", {"suds": 101}, "suds"),
])  # fmt: skip
def test_a_value_beyond_its_range_is_told_with_its_field(name: str, change: dict[str, Any], field: str) -> None:
    assert defect(name, {**TOPICS[name].examples[0], **change}) == ("OUT_OF_RANGE", field)


@pytest.mark.parametrize(("change", "field"), [
    ({"user": ""}, "user"), ({"user": None}, "user"), ({"user": 7}, "user"), ({"user": "_ops"}, "user"),
    ({"event_time": None}, "event_time"), ({"event_time": "1"}, "event_time"), ({"event_time": 1.5}, "event_time"),
    ({"event_time": 2**63}, "event_time"), ({"event_time": True}, "event_time"), ({"ingest_time": "x"}, "ingest_time"),
    ({"seq": 2**63}, "seq"), ({"source_id": 4}, "source_id"), ({"mood": 1}, "(unknown)"), ({"value": None}, "value"),
    ({"value": [1]}, "value"), ({"value": "x"}, "value"),
])  # fmt: skip
def test_a_wrong_envelope_is_a_schema_error_with_its_field(change: dict[str, Any], field: str) -> None:
    assert defects(HEART, {**record(HEART, BEAT), **change}) == [(0, "SCHEMA", field)]


def test_zones_end_at_18_hours() -> None:
    assert defect(HEART, BEAT, tz_offset_min=1080) is None
    assert defect(HEART, BEAT, tz_offset_min=1081) == ("OUT_OF_RANGE", "tz_offset_min")


def test_a_missing_record_part_is_told() -> None:
    assert defects(HEART, {"event_time": T0, "value": BEAT}) == [(0, "SCHEMA", "user")]
    assert defects(HEART, {"user": "p01", "value": BEAT}) == [(0, "SCHEMA", "event_time")]
    assert defects(HEART, {"user": "p01", "event_time": T0}) == [(0, "SCHEMA", "value")]


def test_only_content_packs_and_dead_letters_are_about_nobody() -> None:
    pack, dead = TOPICS["content.pack"].examples[0], TOPICS["dlq"].examples[0]
    assert defect("content.pack", pack) is None
    assert defect("dlq", dead) is None
    assert defect("content.pack", pack, user="_ops") == ("SCHEMA", "user")
    assert defect("dlq", dead, user="_content/x") == ("SCHEMA", "user")


@pytest.mark.parametrize(
    "name", ["raw.search", "device.search_flag", "device.content_flag", "chat.inbound", "selfreport"]
)
def test_a_risk_bearing_record_is_not_lost_to_a_field_that_nobody_knows(name: str) -> None:
    value = TOPICS[name].examples[0]
    table, bad = rows.from_dicts(name, [{**record(name, {**value, "new": 1}), "hop": "x"}])
    assert not bad
    assert rows.to_dicts(name, table)[0]["value"] == value


def test_a_12_month_consent_to_one_person_is_fine() -> None:
    assert defect("clinical.consent", {**CONSENT, "valid_to": CONSENT["valid_from"] + 366 * 86_400_000}) is None


def test_guard_rails_of_a_profile_are_not_schema_errors() -> None:
    profile = TOPICS["clinical.profile"].examples[0]
    wild = {**profile, "hr": {**profile["hr"], "floor_bpm": 60, "z": 9}, "valid_to": profile["effective_from"] + 2**40}
    assert defect("clinical.profile", wild) is None


def test_whole_numbers_beyond_2_to_53_are_doubles_like_any_other() -> None:
    table, bad = rows.from_dicts("therapy.flag", [record("therapy.flag", {
        "program": "SPARX", "session_id": "s", "code": "FATIGUE", "evidence": {"n": 2**60 + 1},
    })])  # fmt: skip
    assert not bad
    assert rows.to_dicts("therapy.flag", table)[0]["value"]["evidence"] == {"n": float(2**60)}


def test_one_bad_record_among_many_is_found_and_the_rest_kept_in_order() -> None:
    many = [record(HEART, {**BEAT, "bpm": 40 + i % 100}, seq=i) for i in range(2_000)]
    many[1_300] = record(HEART, {**BEAT, "bpm": "84"})
    many[7] = record(HEART, {**BEAT, "bpm": 19})
    table, bad = rows.from_dicts(HEART, many)
    assert [(d.index, d.reason) for d in bad] == [(7, "OUT_OF_RANGE"), (1_300, "SCHEMA")]
    assert table["seq"].to_pylist() == [i for i in range(2_000) if i not in (7, 1_300)]


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["LOCKED", 84, 5.0])
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["bpm", "quality", "sample_period_s", "x"]), VALUES), min_size=1, max_size=4
    )
)
def test_the_fast_way_and_the_slow_way_say_the_same(values: list[dict[str, Any]]) -> None:
    records = [record(HEART, v) for v in values]
    slow = [(i, *p) for i, r in enumerate(records) if (p := rows.check(TOPICS[HEART], r)) is not None]
    assert defects(HEART, *records) == slow
    apart = [d for i, r in enumerate(records) for _, *d in defects(HEART, r)]
    assert apart == [list(p) for _, *p in slow]


# -- Parquet ----------------------------------------------------------------------------------------------------------


def table_of(value: Any, n: int = 1, **columns: Any) -> pa.Table:
    return pa.table({"user": ["p01"] * n, "event_time": pa.array([T0] * n), **columns, "value": value})


def found(name: str, table: pa.Table) -> list[tuple[int, str, str]]:
    return [(d.index, d.reason, d.field) for d in rows.conform(name, table)[1]]


def test_other_widths_dictionaries_and_time_stamps_are_read_from_parquet() -> None:
    value = pa.StructArray.from_arrays(
        [pa.array([84, 85], pa.int16()), pa.array(["LOCKED", "STRAP"]).dictionary_encode()], ["bpm", "quality"]
    )
    stamps = pa.array([T0 * 1000, T0 * 1000 + 999], pa.timestamp("us"))
    given_ = pa.table({"user": pa.array(["a", "b"], pa.large_string()), "event_time": stamps, "value": value})
    table, bad = rows.conform(HEART, given_)
    assert not bad
    assert table["event_time"].to_pylist() == [T0, T0]
    assert [r["value"]["bpm"] for r in rows.to_dicts(HEART, table)] == [84.0, 85.0]


@pytest.mark.parametrize(("name", "value", "field"), [
    (HEART, [{"bpm": "84", "quality": "LOCKED"}], "bpm"), (HEART, [{"bpm": True, "quality": "LOCKED"}], "bpm"),
    (STEPS, [{"steps": 1.0, "period_s": 60.0}], "steps"), (HEART, [{"bpm": 84.0}], "quality"),
    (HEART, [{"bpm": 84.0, "quality": "LOCKED", "x": 1}], "(unknown)"), (HEART, [3], "value"), (HEART, [None], "value"),
    ("device.status", [{"device": "PHONE", "worn": "YES", "connected": True, "covers": [1]}], "covers"),
    (HEART, [{"bpm": float("nan"), "quality": "LOCKED"}], "bpm"),
])  # fmt: skip
def test_parquet_of_wrong_types_is_told_row_by_row(name: str, value: list[Any], field: str) -> None:
    assert found(name, table_of(pa.array(value))) == [(0, "SCHEMA", field)]


def test_text_in_a_parquet_map_of_numbers_is_no_number() -> None:
    kind = pa.struct([("instrument", pa.string()), ("items", pa.map_(pa.string(), pa.string()))])
    assert found("selfreport", table_of(pa.array([{"instrument": "PHQ9", "items": [("1", "2")]}], kind))) == [
        (0, "SCHEMA", "items")
    ]


def test_one_number_too_big_for_its_field_loses_one_row() -> None:
    value = pa.array([{"steps": 2**40, "period_s": 60.0}, {"steps": 5, "period_s": 60.0}])
    table, bad = rows.conform(STEPS, table_of(value, 2))
    assert [(d.index, d.reason, d.field) for d in bad] == [(0, "SCHEMA", "steps")]
    assert len(table) == 1


def test_a_parquet_without_persons_or_with_one_column_twice_is_no_log() -> None:
    value = pa.array([BEAT | {"bpm": 84.0}])
    assert found(HEART, pa.table({"event_time": [T0], "value": value})) == [(0, "SCHEMA", "user")]
    twice = pa.Table.from_arrays(
        [pa.array(["p"])] * 2 + [pa.array([T0]), value], ["user", "user", "event_time", "value"]
    )
    assert found(HEART, twice) == [(0, "SCHEMA", "(unknown)")]


@pytest.mark.parametrize("covers", [["HEART_RATE"], [], None, ["HEART_RATE", None], ["SOUL"]])
def test_lists_in_parquet_are_checked_like_those_in_json(covers: list[Any] | None) -> None:
    value = {"device": "PHONE", "worn": "YES", "connected": True, "covers": covers}
    kind = pa.struct([f for f in TOPICS["device.status"].value_type if f.name in value])
    assert found("device.status", table_of(pa.array([value], kind))) == defects(
        "device.status", record("device.status", value)
    )


def test_no_defect_repeats_what_was_written() -> None:
    canary = "canary-7731"
    spoilt = [
        record("raw.search", {"query": canary, "lang": 5}), record(HEART, {"bpm": canary, canary: 1}),
        {"user": [canary], "event_time": canary, canary: 1},
    ]  # fmt: skip
    told = [repr(rows.from_dicts(n, [r])[1]) for n in ("raw.search", HEART) for r in spoilt]
    assert canary not in "".join(told)


# -- lines that are read as columns -------------------------------------------------------------------------------------

NUMBER = st.sampled_from(
    ["84", "84.0", "300", "-0.0", "1e1", "NaN", "Infinity", "1e400", "01", "1.", '"84"', "true", "null", "9" * 25]
)
TEXT = st.sampled_from(['"LOCKED"', '"GOOD"', '"\\ud800"', '"\\u004cOCKED"', "1", "null", '"\udcff"'])
MORE = st.sampled_from(["", "", "", ',"x":1', ',"bpm":1', ',"sample_period_s":5', ",", ',"sample_period_s":[5]'])
END = st.sampled_from(["\n", "\n", "\n", "\r\n", " \n", "\n\n", "", '{"user":"p"}\n', "x\n"])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(NUMBER, TEXT, MORE, END), min_size=1, max_size=4))
def test_lines_read_as_columns_are_those_read_one_by_one(parts: list[tuple[str, str, str, str]]) -> None:
    text = "".join(
        f'{{"user":"p","event_time":1,"value":{{"bpm":{n},"quality":{q}{m}}}}}{end}' for n, q, m, end in parts
    )
    data = text.encode(errors="surrogateescape")
    read = rows.from_lines(HEART, data)
    if read is not None:
        want, bad = rows.from_dicts(HEART, [orjson.loads(line) for line in data.splitlines()])
        assert (read[0].to_pylist(), [d for d, _ in read[1]]) == (want.to_pylist(), bad)
        assert all((e["user"], e["event_time"]) == ("p", 1) for _, e in read[1])


@pytest.mark.parametrize("name", sorted(rows.AS_COLUMNS))
def test_clean_lines_are_read_as_columns(name: str) -> None:
    table, _ = rows.from_dicts(name, examples(name) * 3)
    read = rows.from_lines(name, rows.to_json_lines(name, table))
    assert read is not None
    assert read[0].equals(table)
