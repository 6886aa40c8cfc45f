"""The machine's own timers: in the order of the log's clock, one entry a (kind, key)."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gate.timers import ORDER, Timers


def drained(timers: Timers) -> list[tuple[int, str, str]]:
    out = []
    while timers.next_due() is not None:
        out.append(timers.pop())
    return out


def test_the_earliest_fires_first_and_at_one_instant_the_order_of_the_kinds_decides() -> None:
    timers = Timers()
    timers.set(5, "OUTCOME", "a")
    timers.set(5, "DAY_START")
    timers.set(5, "MORNING")
    timers.set(3, "WATCH")
    assert drained(timers) == [(3, "WATCH", ""), (5, "DAY_START", ""), (5, "MORNING", ""), (5, "OUTCOME", "a")]


def test_setting_a_timer_again_moves_it() -> None:
    timers = Timers()
    timers.set(5, "QUEUED", "a")
    timers.set(9, "QUEUED", "a")
    timers.set(7, "QUEUED", "b")
    assert timers.due("QUEUED", "a") == 9
    assert drained(timers) == [(7, "QUEUED", "b"), (9, "QUEUED", "a")]


def test_a_cancelled_timer_does_not_fire_and_cancelling_nothing_is_no_error() -> None:
    timers = Timers()
    timers.set(5, "ACK_DUE", "a")
    timers.cancel("ACK_DUE", "a")
    timers.cancel("ACK_DUE", "never set")
    assert timers.next_due() is None
    assert timers.due("ACK_DUE", "a") is None


entries = st.dictionaries(st.tuples(st.sampled_from(ORDER), st.sampled_from(["", "a", "b"])), st.integers(0, 9))


@given(entries, st.randoms(use_true_random=False))
def test_the_order_of_setting_and_a_restart_do_not_matter(
    wanted: dict[tuple[str, str], int], shuffle: random.Random
) -> None:
    items = list(wanted.items())
    straight, other = Timers(), Timers()
    for (kind, key), due in items:
        straight.set(due, kind, key)
    shuffle.shuffle(items)
    for (kind, key), due in items:
        other = Timers.from_state(other.state())
        other.set(due, kind, key)
    fired = drained(straight)
    assert fired == drained(other)
    assert [due for due, _, _ in fired] == sorted(wanted.values())
