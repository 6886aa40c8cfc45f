"""Search episodes, tiers and cases as functions of the set of known records (support.md 2, 3, 8)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.context.risk import Flag
from pipelines.support import conditions as cond
from pipelines.support.triggers import Trigger, cases, count_24h, merge, own_tier

MINUTE, HOUR = 60_000, 3_600_000
USER = "p1"


def flag(t: int, severity: int = 2, kind: str = "SEARCH", category: str | None = "SUICIDE", **more: Any) -> Flag:
    arrival = more.pop("arrival", t + 2_000)
    return Flag(t, arrival, more.pop("event_id", f"{kind}-{category}-{t}"), kind, severity, category, **more)


def merged(*flags: Flag) -> list[Trigger]:
    return merge(USER, flags)


def tiers(*flags: Flag) -> list[str]:
    found = merged(*flags)
    return [own_tier(t, count_24h(t, found)) for t in found]


# -- episodes ---------------------------------------------------------------------------------------------------------


def test_searches_of_one_category_within_ten_minutes_of_the_first_are_one_episode() -> None:
    found = merged(flag(0), flag(10 * MINUTE), flag(10 * MINUTE + 1))
    assert [(t.start, t.end, t.count) for t in found] == [(0, 10 * MINUTE, 2), (10 * MINUTE + 1, 10 * MINUTE + 1, 1)]


def test_the_window_hangs_on_the_first_flag_and_does_not_slide() -> None:
    assert [t.start for t in merged(*[flag(i * 6 * MINUTE) for i in range(4)])] == [0, 12 * MINUTE]


def test_the_severity_is_the_highest_and_the_count_is_kept() -> None:
    (found,) = merged(flag(0, 2), flag(MINUTE, 3), flag(2 * MINUTE, 1))
    assert (found.severity, found.count, len(found.refs)) == (3, 3, 3)


def test_categories_do_not_merge() -> None:
    assert len(merged(flag(0), flag(MINUTE, category="SELF_HARM"))) == 2


@pytest.mark.parametrize("kind", ["ITEM9", "CONTENT", "CHAT_RISK"])
def test_only_searches_merge(kind: str) -> None:
    assert len(merged(flag(0, kind=kind, category=None), flag(1, kind=kind, category=None))) == 2


def test_what_came_a_day_late_stays_apart_from_what_came_in_time() -> None:
    found = merged(flag(0), flag(MINUTE, arrival=25 * HOUR))
    assert [(t.note, t.count) for t in found] == [(False, 1), (True, 1)]
    assert len({t.signal_id for t in found}) == 2


# -- tiers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "severity", "tier"),
    [
        ("SEARCH", 0, "RESOURCES"), ("SEARCH", 1, "NONE"), ("SEARCH", 2, "L2"), ("SEARCH", 3, "L4"),
        ("ITEM9", 1, "L2"), ("ITEM9", 2, "L2"), ("ITEM9", 3, "L4"), ("CONTENT", 2, "L2"),
        ("CHAT_RISK", 1, "L2"), ("CHAT_RISK", 2, "L2"), ("CHAT_RISK", 3, "L4"),
    ],
)  # fmt: skip
def test_each_kind_of_evidence_asks_for_its_tier_alone(kind: str, severity: int, tier: str) -> None:
    assert tiers(flag(0, severity, kind, "SUICIDE" if kind == "SEARCH" else None)) == [tier]


def test_the_third_search_episode_in_a_day_is_a_crisis() -> None:
    assert tiers(flag(0), flag(HOUR), flag(24 * HOUR - 1)) == ["L2", "L2", "L4"]
    assert tiers(flag(0), flag(HOUR), flag(24 * HOUR)) == ["L2", "L2", "L2"]


def test_death_terms_and_content_never_count_to_three() -> None:
    content = flag(2 * HOUR, kind="CONTENT", category=None)
    assert tiers(flag(0), flag(HOUR, 1), content, flag(3 * HOUR)) == ["L2", "NONE", "L2", "L2"]


def test_late_evidence_is_a_note_in_the_case_and_says_nothing_now() -> None:
    assert tiers(flag(0, 3, arrival=25 * HOUR), flag(HOUR, 1, arrival=30 * HOUR)) == ["CASE_NOTE", "NONE"]


flags = st.lists(
    st.builds(
        lambda t, s, k, late: flag(
            t * MINUTE,
            max(1, s) if k in ("ITEM9", "CHAT_RISK") else 2 if k == "CONTENT" else s,
            k,
            ("DEATH" if s == 1 else "SUICIDE") if k == "SEARCH" else None,
            arrival=t * MINUTE + (25 * HOUR if late else 2_000),
        ),
        st.integers(0, 5 * 24 * 60),
        st.integers(0, 3),
        st.sampled_from(["SEARCH", "SEARCH", "ITEM9", "CONTENT", "CHAT_RISK"]),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda f: f.event_id,
)


@given(flags)
def test_the_tier_can_be_recomputed_from_the_conditions(given_flags: list[Flag]) -> None:
    """S12: the very conditions that a notification carries give the tier that it has."""
    found = merged(*given_flags)
    for t in found:
        n = count_24h(t, found)
        said = cond.trigger(t, n)
        if t.note:
            said.append({"name": "LATE_EVIDENCE", "met": True, "refs": list(t.refs)})
        if own_tier(t, n) != "NONE":
            assert cond.tier_of(said) == own_tier(t, n)


@given(flags, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(given_flags: list[Flag], shuffle: random.Random) -> None:
    mixed = list(given_flags)
    shuffle.shuffle(mixed)
    assert merged(*mixed) == merged(*given_flags)
    assert cases(USER, merged(*mixed)) == cases(USER, merged(*given_flags))


# -- cases ------------------------------------------------------------------------------------------------------------


def spans(*triggers: Flag, cuts: tuple[int, ...] = ()) -> list[tuple[int, int]]:
    return [(c.triggers[0].start, len(c.triggers)) for c in cases(USER, merged(*triggers), cuts)]


def test_triggers_less_than_a_day_apart_are_one_case() -> None:
    assert spans(flag(0), flag(24 * HOUR - 1), flag(48 * HOUR - 2)) == [(0, 3)]
    assert spans(flag(0), flag(24 * HOUR)) == [(0, 1), (24 * HOUR, 1)]


def test_help_seeking_and_death_terms_open_no_case() -> None:
    assert spans(flag(0, 0), flag(HOUR, 1)) == []


def test_a_closing_acknowledgement_cuts_a_case() -> None:
    assert spans(flag(0), flag(2 * HOUR), cuts=(HOUR,)) == [(0, 1), (2 * HOUR, 1)]
    assert spans(flag(0), flag(2 * HOUR), cuts=(3 * HOUR,)) == [(0, 2)]


def test_a_case_is_named_after_its_first_trigger() -> None:
    first, second = flag(0), flag(HOUR)
    whole, later = cases(USER, merged(first, second)), cases(USER, merged(second))
    assert whole[0].case_id == cases(USER, merged(first))[0].case_id
    assert whole[0].case_id != later[0].case_id
    assert cases("somebody else", merge("somebody else", [first]))[0].case_id != whole[0].case_id


@given(flags, st.lists(st.integers(0, 6 * 24 * HOUR), max_size=3))
def test_every_trigger_that_opens_a_case_is_in_exactly_one(given_flags: list[Flag], cuts: list[int]) -> None:
    found = merged(*given_flags)
    listed = [t.signal_id for c in cases(USER, found, cuts) for t in c.triggers]
    assert sorted(listed) == sorted(t.signal_id for t in found if t.opens_case)
