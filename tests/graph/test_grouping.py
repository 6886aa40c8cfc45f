"""A slice's rows come to each person in arrival order, however the slice lies."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connectors.spool import spool_schema
from pipelines.grouping import by_person
from pipelines.ingest import Pseudonyms

HEART, STEPS = "device.heart_rate", "device.activity"
Row = tuple[str, int, int]  # user, arrival, file


def table(topic: str, chunks: list[list[Row]]) -> pa.Table:
    """Rows with the line they have in the slice."""
    schema, line = spool_schema(topic), 0
    parts = [schema.empty_table()]
    for chunk in chunks:
        made = []
        for user, arrival, file in chunk:
            made.append({"user": user, "event_time": arrival - 5, "ingest_time": arrival, "_file": file, "_line": line})
            line += 1
        parts.append(pa.Table.from_pylist(made, schema=schema))
    return pa.concat_tables(parts)


chunks = st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6), st.integers(0, 2)), max_size=6), max_size=5)


def by_hand(tables: dict[str, pa.Table], pseudonyms: Pseudonyms) -> dict[str, dict[str, list[tuple[int, int, int]]]]:
    out: dict[str, dict[str, list[tuple[int, int, int]]]] = {}
    for topic, rows in sorted(tables.items()):
        for r in rows.to_pylist():
            place = r["ingest_time"], r["_file"], r["_line"]
            out.setdefault(pseudonyms.of(r["user"]), {}).setdefault(topic, []).append(place)
    return {user: {t: sorted(places) for t, places in topics.items()} for user, topics in sorted(out.items())}


@given(chunks, chunks, st.sampled_from(["", "secret"]))
def test_every_row_comes_to_its_person_once_and_in_order(one: list[list[Row]], two: list[list[Row]], key: str) -> None:
    tables, pseudonyms = {STEPS: table(STEPS, two), HEART: table(HEART, one)}, Pseudonyms(key)
    found, want = by_person(tables, pseudonyms), by_hand(tables, pseudonyms)
    places = {
        user: {t: list(zip(*(x[c].to_pylist() for c in ("ingest_time", "_file", "_line")), strict=True)) for t, x in topics.items()}
        for user, topics in found.items()
    }
    assert places == want
    assert [(u, list(topics)) for u, topics in found.items()] == [(u, list(topics)) for u, topics in want.items()]
    assert all(x.schema == spool_schema(t) for topics in found.values() for t, x in topics.items())


def test_an_id_and_its_pseudonym_are_one_person() -> None:
    pseudonyms = Pseudonyms("secret")
    other = pseudonyms.of("a")
    found = by_person({HEART: table(HEART, [[("a", 3, 0), (other, 1, 0), ("b", 2, 0), ("a", 0, 0)]])}, pseudonyms)
    assert found[other][HEART]["ingest_time"].to_pylist() == [0, 1, 3]
    assert found[other][HEART]["user"].to_pylist() == ["a", other, "a"]
    assert set(found) == {other, pseudonyms.of("b")}


def test_an_empty_slice_has_nobody() -> None:
    assert by_person({}, Pseudonyms("")) == {}
    assert by_person({HEART: spool_schema(HEART).empty_table()}, Pseudonyms("")) == {}
