"""Whose turn it is: who is in need first, no step too long, nobody forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ledger import Kept
from pipelines.live_options import LiveOptions
from pipelines.lookahead import Lookahead
from pipelines.turns import Turns
from pipelines.waiting import FRESH_MS, LONGEST_ROWS, SOON_ROWS, Waiting
from schemas import rows
from tests.graph.logs import HOUR, MINUTE, T0, row
from tests.live.test_faults import flag

BEAT = {"bpm": 70.0, "quality": "LOCKED"}


def table(topic: str, records: list[dict[str, Any]]) -> pa.Table:
    made = rows.from_dicts(topic, records)[0]
    made = made.append_column("_file", pa.array(np.zeros(len(made), np.int32)))
    return made.append_column("_line", pa.array(np.arange(len(made), dtype=np.int64)))


def beats(user: str, n: int, at: int = T0, step: int = 1) -> pa.Table:
    one = table("device.heart_rate", [row(user, "w", 0, at, BEAT, at)])
    many = pa.concat_tables([one] * n).combine_chunks()
    place = many.schema.get_field_index("ingest_time")
    return many.set_column(place, many.schema.field(place), pa.array(at + step * np.arange(n)))


def turns(**people: Kept) -> Turns:
    return Turns(LiveOptions(), dict(people))


def test_who_is_in_need_comes_first_then_risk_then_the_rest_by_when_it_is_due() -> None:
    t = turns()
    now = T0 + FRESH_MS
    t.add("c", "device.heart_rate", beats("c", 1), 0.0, now, 1)
    t.add("b", "device.search_flag", table("device.search_flag", [flag("b", T0 - HOUR)]), 0.0, now, 1)
    t.add("a", "device.search_flag", table("device.search_flag", [flag("a", now)]), 0.0, now, 1)
    assert [(w.user, w.must) for w in t.choose(now, now)] == [("a", True), ("b", False), ("c", False)]


def test_who_has_much_to_take_first_is_looked_ahead_for_and_does_not_hold_the_slice() -> None:
    t = turns()
    now = T0 + FRESH_MS
    t.add("a", "device.heart_rate", beats("a", SOON_ROWS + 1), 0.0, now, 1)
    t.add("a", "device.search_flag", table("device.search_flag", [flag("a", now)]), 0.0, now, 1)
    assert [w.must for w in t.choose(now, now)] == [False]
    ahead = Lookahead(LiveOptions(), None, lambda user: None)  # type: ignore[arg-type]
    assert ahead.wanted(t.waiting, now, now, 0.0) == ["a"]
    assert ahead.wanted(t.waiting, now, now - 1, 0.0) == [], "not before what is read first is complete up to there"


def test_who_waits_for_the_clock_is_looked_ahead_for_only_after_the_hold() -> None:
    waiting = {"a": Waiting(1)}
    waiting["a"].add("device.search_flag", table("device.search_flag", [flag("a", T0)]), at=10.0, now=T0)
    ahead = Lookahead(LiveOptions(hold_s=2.0, slice_s=0.5), None, lambda user: None)  # type: ignore[arg-type]
    assert ahead.wanted(waiting, T0 - 1, T0, 12.9) == []
    assert ahead.wanted(waiting, T0 - 1, T0, 13.0) == ["a"]
    assert ahead.wanted(waiting, T0, T0, 13.0) == [], "its machine is run in this slice"


@settings(deadline=None)
@given(st.lists(st.integers(1, 6_000), min_size=1, max_size=5), st.integers(1, 3))
def test_no_step_takes_many_more_rows_than_is_allowed_and_all_are_taken(sizes: list[int], step: int) -> None:
    waiting, at = Waiting(1), T0
    for n in sizes:
        waiting.add("device.heart_rate", beats("a", n, at, step), 0.0)
        at += n * step
    taken, steps = 0, 0
    while waiting.rows:
        target = waiting.stride(at)
        got = sum(len(x) for x in waiting.take(target).values())
        assert 0 < got <= LONGEST_ROWS + 1
        taken, steps = taken + got, steps + 1
    assert taken == sum(sizes)
    assert steps <= taken // LONGEST_ROWS + 1


def test_machines_that_are_put_off_have_their_turn_in_the_next_slice() -> None:
    t = turns(a=Kept(T0, T0 + MINUTE), b=Kept(T0, T0 + MINUTE))
    assert [w.user for w in t.choose(T0 + MINUTE, T0 + MINUTE)] == ["a", "b"]
    assert t.left(T0 + MINUTE)
    t.put_off({"b"})
    assert t.pressed
    assert [w.user for w in t.choose(T0 + MINUTE, T0 + MINUTE)] == ["b"]


def test_where_the_clock_stops_everything_that_came_is_taken_also_within_a_minute() -> None:
    end = T0 + MINUTE + 30_000
    t = Turns(LiveOptions(), {"a": Kept(T0 + MINUTE, None)}, end)
    t.add("a", "device.heart_rate", beats("a", 1, T0 + MINUTE + 5_000), 0.0, end, 1)
    assert t.choose(end - 1, end) == [], "they wait for the minute"
    assert [w.user for w in t.choose(end, end)] == ["a"]
