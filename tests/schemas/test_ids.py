"""Ids follow from what a record is about."""

import json
import uuid

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas import ids

JSON = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(JSON, max_size=5))
def test_an_id_is_the_uuid5_of_the_compact_json_of_its_parts(parts: list[object]) -> None:
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    assert ids.derive(*parts) == str(uuid.uuid5(ids.NAMESPACE, text))


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(max_size=4)), max_size=5),
)
def test_many_ids_are_those_of_each(user: str, parts: list[tuple[int, str]]) -> None:
    numbers, texts = np.array([n for n, _ in parts], np.int64), [t for _, t in parts]
    assert ids.output_ids("audit", user, numbers, texts).to_pylist() == [
        ids.output_id("audit", user, n, t) for n, t in parts
    ]


def test_many_input_ids_are_those_of_each_also_without_a_source() -> None:
    users, sources, seqs = pa.array(["a", 'b"', "ü"]), pa.array(["w", None, "x"]), np.array([1, 2, -3])
    want = [
        ids.input_id("device.music", u, s, int(q))
        for u, s, q in zip(users.to_pylist(), sources.to_pylist(), seqs, strict=True)
    ]
    assert ids.input_ids("device.music", users, sources, seqs).to_pylist() == want


def test_equal_records_of_one_file_differ_by_their_number() -> None:
    record = {"user": "p", "event_time": 1, "value": {"state": "PLAY"}}
    same = {"value": {"state": "PLAY"}, "event_time": 1, "user": "p"}
    assert ids.content_id("device.music", record, 0) == ids.content_id("device.music", same, 0)
    assert ids.content_id("device.music", record, 0) != ids.content_id("device.music", record, 1)
