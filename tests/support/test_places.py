"""Where a person is: a sentence of support.md 2 (Place) a test."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.support.places import CODES, HOME, OTHER, UNKNOWN, Anchor, Track, track

MINUTE = 60_000
Fix = tuple[float, str, float]  # minute, place, metres


def walk(fixes: list[Fix], anchor: Anchor | None = None) -> Track:
    time = np.array([int(m * MINUTE) for m, _, _ in fixes], np.int64)
    place = np.array([CODES[p] for _, p, _ in fixes], np.int8)
    accuracy = np.array([a for _, _, a in fixes], np.float64)
    return track(time, place, accuracy, anchor or Anchor())


def changes(fixes: list[Fix]) -> list[tuple[float, int, int]]:
    return [(t / MINUTE, a, b) for t, a, b in walk(fixes).changes]


def state_at(found: Track, minute: float) -> tuple[int, bool]:
    state, sure = found.at(np.array([int(minute * MINUTE)], np.int64))
    return int(state[0]), bool(sure[0])


AT_HOME: list[Fix] = [(0, "HOME", 10), (1, "HOME", 10)]


def test_leaving_home_takes_two_fixes_and_counts_from_the_second() -> None:
    assert changes([*AT_HOME, (2, "OTHER", 10)]) == [(1, UNKNOWN, HOME)]
    assert changes([*AT_HOME, (2, "OTHER", 10), (5, "OTHER", 50)]) == [(1, UNKNOWN, HOME), (5, HOME, OTHER)]


def test_coming_back_takes_two_fixes_too() -> None:
    away = [*AT_HOME, (2, "OTHER", 10), (3, "OTHER", 10)]
    assert changes([*away, (4, "HOME", 10)])[-1] == (3, HOME, OTHER)
    assert changes([*away, (4, "HOME", 10), (6, "HOME", 10)])[-1] == (6, OTHER, HOME)


def test_a_coarse_fix_cannot_make_somebody_leave() -> None:
    assert changes([*AT_HOME, (2, "OTHER", 51), (3, "OTHER", 51), (4, "OTHER", 99)]) == [(1, UNKNOWN, HOME)]


def test_a_coarse_fix_may_bring_somebody_back() -> None:
    away = [*AT_HOME, (2, "OTHER", 10), (3, "OTHER", 10)]
    assert changes([*away, (4, "HOME", 80), (5, "HOME", 100)])[-1] == (5, OTHER, HOME)


@pytest.mark.parametrize("between", ["BORDER", "HOME"])
def test_what_lies_between_two_fixes_resets_the_count(between: str) -> None:
    assert changes([*AT_HOME, (2, "OTHER", 10), (3, between, 10), (4, "OTHER", 10)]) == [(1, UNKNOWN, HOME)]


def test_the_border_keeps_the_state() -> None:
    found = walk([*AT_HOME, (2, "BORDER", 10), (3, "BORDER", 10), (20, "BORDER", 10)])
    assert state_at(found, 20) == (HOME, False)


def test_a_fix_coarser_than_100_m_is_as_if_it_had_not_come() -> None:
    fixes = [*AT_HOME, (2, "OTHER", 10), (3, "OTHER", 10)]
    assert walk([*fixes, (3.5, "HOME", 101)]).changes == walk(fixes).changes
    assert state_at(walk([*AT_HOME, (40, "HOME", 101)]), 40)[0] == UNKNOWN


def test_after_half_an_hour_without_a_fix_nobody_knows() -> None:
    found = walk(AT_HOME)
    assert state_at(found, 31) == (HOME, False)
    assert state_at(found, 31 + 1 / MINUTE)[0] == UNKNOWN


def test_away_is_held_for_three_hours_without_being_confirmed() -> None:
    found = walk([(0, "OTHER", 10), (1, "OTHER", 10)])
    assert state_at(found, 31) == (OTHER, True)
    assert state_at(found, 32) == (OTHER, False)
    assert state_at(found, 181) == (OTHER, False)
    assert state_at(found, 181 + 1 / MINUTE)[0] == UNKNOWN


def test_a_single_fix_away_confirms_nothing() -> None:
    found = walk([*AT_HOME, (2, "OTHER", 10)])
    assert found.confirmed_other(0, 10 * MINUTE) is None


def test_the_last_confirmed_fix_away_in_a_span_is_found_and_its_ends_count() -> None:
    found = walk([*AT_HOME, (2, "OTHER", 10), (3, "OTHER", 10), (9, "OTHER", 10)])
    assert found.confirmed_other(0, 20 * MINUTE) == 9 * MINUTE
    assert found.confirmed_other(3 * MINUTE, 3 * MINUTE) == 3 * MINUTE
    assert found.confirmed_other(4 * MINUTE, 8 * MINUTE) is None


@pytest.mark.parametrize("place", ["HOME", "BORDER"])
def test_a_fix_that_does_not_show_the_person_away_is_no_confirmation(place: str) -> None:
    """The first fix back at home leaves the state as it was, but it is not a fix away from home."""
    found = walk([(0, "OTHER", 10), (1, "OTHER", 10), (100, place, 10)])
    assert found.confirmed_other(50 * MINUTE, 200 * MINUTE) is None


def test_without_a_home_every_place_is_unknown() -> None:
    found = walk([(i, "UNKNOWN", 10) for i in range(10)])
    assert found.changes == []
    assert state_at(found, 9) == (UNKNOWN, False)


def test_an_outing_lasts_ten_minutes_and_held_time_counts() -> None:
    away: list[Fix] = [*AT_HOME, (2, "OTHER", 10), (3, "OTHER", 10)]
    short = walk([*away, (10, "HOME", 10), (12, "HOME", 10)])
    assert short.outings(0, 300 * MINUTE) == []
    long = walk([*away, (10, "HOME", 10), (13, "HOME", 10)])
    assert long.outings(0, 300 * MINUTE) == [(3 * MINUTE, 13 * MINUTE)]
    silent = walk(away)
    assert silent.outings(0, 300 * MINUTE) == [(3 * MINUTE, 184 * MINUTE)]


kinds = st.sampled_from(["HOME", "OTHER", "BORDER", "UNKNOWN"])
walks = st.lists(
    st.tuples(st.integers(0, 600).map(float), kinds, st.sampled_from([10.0, 50.0, 80.0, 100.0, 150.0])),
    max_size=40,
)


@given(walks, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(fixes: list[Fix], shuffle: random.Random) -> None:
    mixed = list(fixes)
    shuffle.shuffle(mixed)
    a, b = walk(fixes), walk(mixed)
    assert a.changes == b.changes
    assert a.state.tolist() == b.state.tolist()
    assert a.end == b.end


@given(walks, st.integers(0, 600))
def test_forgetting_old_fixes_changes_nothing_that_is_asked_later(fixes: list[Fix], cut: int) -> None:
    whole = walk(fixes)
    old = walk([f for f in fixes if f[0] < cut])
    rest = walk([f for f in fixes if f[0] >= cut], old.end)
    later = np.arange(cut, 900, dtype=np.int64) * MINUTE
    assert [x.tolist() for x in rest.at(later)] == [x.tolist() for x in whole.at(later)]
    assert rest.changes == [c for c in whole.changes if c[0] >= cut * MINUTE]


def slowly(fixes: list[Fix]) -> list[int]:
    """State after each usable fix, told again from the specification fix by fix."""
    state, home, other, out = UNKNOWN, 0, 0, []
    usable = sorted((f for f in fixes if f[2] <= 100), key=lambda f: (f[0], CODES[f[1]], f[2]))
    for _, place, accuracy in usable:
        if place == "UNKNOWN":
            state, home, other = UNKNOWN, 0, 0
        elif place == "HOME":
            home, other = home + 1, 0
        elif place == "OTHER" and accuracy <= 50:
            home, other = 0, other + 1
        else:
            home = other = 0
        state = HOME if home >= 2 else OTHER if other >= 2 else state
        out.append(state)
    return out


@given(walks)
def test_the_columns_say_what_a_walk_fix_by_fix_says(fixes: list[Fix]) -> None:
    assert walk(fixes).state.tolist() == slowly(fixes)
