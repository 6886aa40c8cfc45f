"""How many prompts a person gets (support.md 3, 5)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gate.limiter import DAY_BUDGET, HOUR_MS, UNCOUNTED, Limiter

MINUTE = 60_000


def test_a_local_day_has_three_prompts_over_all_sources() -> None:
    limiter = Limiter()
    for i, tier in enumerate(["L1", "W1", "DEVICE_REMINDER"]):
        assert limiter.left(day_start=0) == DAY_BUDGET - i
        limiter.said(tier, i * 4 * HOUR_MS)
    assert limiter.left(day_start=0) == 0
    assert limiter.left(day_start=9 * HOUR_MS) == DAY_BUDGET


def test_crisis_help_and_resources_are_never_counted() -> None:
    limiter = Limiter()
    for tier in sorted(UNCOUNTED):
        limiter.said(tier, 0)
    assert limiter.left(day_start=0) == DAY_BUDGET
    assert not limiter.recent(0)


def test_check_ins_come_twice_a_day_and_three_hours_apart() -> None:
    limiter = Limiter()
    limiter.said("L1", 0)
    assert limiter.l1_too_soon(3 * HOUR_MS - 1)
    assert not limiter.l1_too_soon(3 * HOUR_MS)
    assert limiter.l1_left(day_start=0) == 1
    limiter.said("L1", 3 * HOUR_MS)
    assert limiter.l1_left(day_start=0) == 0
    assert limiter.left(day_start=0) == 1


def test_any_prompt_is_recent_for_an_hour() -> None:
    limiter = Limiter()
    limiter.said("W2", 0)
    assert limiter.recent(60 * MINUTE - 1)
    assert not limiter.recent(60 * MINUTE)


@given(st.lists(st.tuples(st.integers(0, 5 * HOUR_MS), st.sampled_from(["L1", "W1", "W2", "L4", "L2"])), max_size=30))
def test_a_restart_between_any_two_prompts_changes_nothing(gaps: list[tuple[int, str]]) -> None:
    straight, restarted, now = Limiter(), Limiter(), 0
    for gap, tier in gaps:
        now += gap
        straight.said(tier, now)
        restarted = Limiter.from_state(restarted.state())
        restarted.said(tier, now)
        for day_start in (now, now - 5 * HOUR_MS, now - 24 * HOUR_MS):
            assert straight.left(day_start) == restarted.left(day_start)
            assert 0 <= straight.left(day_start) <= DAY_BUDGET
        assert straight.l1_too_soon(now) == restarted.l1_too_soon(now)
    assert straight.state() == restarted.state()
