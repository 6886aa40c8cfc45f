"""Minutes of evidence: the set of known records decides, never their order or repetition (support.md 1, 2)."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import median
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.support.evidence import CAPACITY, FILL, MINUTE_MS, SLOTS, MinuteGrid

BASE = 29_540_000  # a minute since 1970
T0 = BASE * MINUTE_MS
Sample = tuple[int, int, bool]  # ms after T0, bpm, usable
T = TypeVar("T")
Row = tuple[int, int, int, int, bool, str]  # ms after T0, steps, period_s, intensity, vehicle, source


def hear(grid: MinuteGrid, samples: list[Sample]) -> None:
    if samples:
        t, bpm, usable = zip(*samples, strict=True)
        grid.add_heart_rate(np.array(t, np.int64) + T0, np.array(bpm, np.float64), np.array(usable, np.bool_))


def move(grid: MinuteGrid, rows: list[Row]) -> None:
    if rows:
        t, steps, period, intensity, vehicle, source = zip(*rows, strict=True)
        grid.add_activity(
            np.array(t, np.int64) + T0, np.array(steps, np.int64), np.array(period, np.float64),
            np.array(intensity, np.int64), np.array(vehicle, np.bool_), list(source),
        )  # fmt: skip


def contents(grid: MinuteGrid) -> dict[str, bytes]:
    return {n: getattr(grid, n).tobytes() for n in FILL} | {f"fine {s}": a.tobytes() for s, a in grid.fine.items()}


def stepped(rows: list[Row], minutes: int = 6) -> list[float | None]:
    grid = MinuteGrid(BASE)
    move(grid, rows)
    return [None if np.isnan(v) else float(v) for v in grid.steps[:minutes]]


# -- heart rate -------------------------------------------------------------------------------------------------------


def test_a_minute_is_the_median_of_its_usable_samples() -> None:
    grid = MinuteGrid(BASE)
    hear(grid, [(0, 60, True), (5_000, 70, True), (10_000, 90, True), (15_000, 200, False)])
    assert grid.hr_bpm[0] == 70
    hear(grid, [(20_000, 80, True)])
    assert grid.hr_bpm[0] == 75


def test_counts_sums_and_limits_are_over_all_samples_whatever_their_quality() -> None:
    grid = MinuteGrid(BASE)
    hear(grid, [(0, 60, True), (1_000, 61, True), (15_000, 200, False)])
    assert (grid.hr_n[0], grid.hr_sum[0], grid.hr_min[0], grid.hr_max[0]) == (3, 321_000_000, 60, 200)
    hear(grid, [(MINUTE_MS, 99, False)])
    assert grid.hr_n[1] == 1
    assert np.isnan(grid.hr_bpm[1])


def test_a_slot_of_five_seconds_keeps_its_earliest_sample_and_of_two_at_once_the_higher() -> None:
    grid = MinuteGrid(BASE)
    hear(grid, [(4_999, 90, True), (100, 60, True)])
    assert grid.hr_bpm[0] == 60
    hear(grid, [(100, 64, True), (100, 62, True)])
    assert grid.hr_bpm[0] == 64


def test_samples_outside_the_grid_are_left_alone() -> None:
    grid = MinuteGrid(BASE)
    hear(grid, [(-1, 60, True), (CAPACITY * MINUTE_MS, 60, True)])
    move(grid, [(-1, 60, 60, 0, False, ""), (CAPACITY * MINUTE_MS, 60, 30, 0, False, "")])
    assert contents(grid) == contents(MinuteGrid(BASE))


samples = st.lists(
    st.tuples(st.integers(0, 4 * MINUTE_MS - 1), st.integers(30, 220), st.booleans()),
    max_size=60, unique_by=lambda s: s,
)  # fmt: skip
cuts = st.lists(st.integers(0, 60), max_size=4)


def in_parts(rows: list[T], places: list[int]) -> list[list[T]]:
    edges = [0, *sorted(min(c, len(rows)) for c in places), len(rows)]
    return [rows[a:b] for a, b in pairwise(edges)]


@given(samples, st.randoms(use_true_random=False), cuts)
@settings(max_examples=60)
def test_order_and_slicing_of_samples_do_not_matter(
    given_samples: list[Sample], shuffle: random.Random, places: list[int]
) -> None:
    whole, parts = MinuteGrid(BASE), MinuteGrid(BASE)
    hear(whole, sorted(given_samples))
    mixed = list(given_samples)
    shuffle.shuffle(mixed)
    for part in in_parts(mixed, places):
        hear(parts, part)
    assert contents(whole) == contents(parts)


@given(samples)
@settings(max_examples=60)
def test_minutes_say_what_the_definition_says(given_samples: list[Sample]) -> None:
    grid = MinuteGrid(BASE)
    hear(grid, given_samples)
    for minute in range(4):
        slots: dict[int, tuple[int, int]] = {}
        for t, bpm, usable in given_samples:
            if usable and t // MINUTE_MS == minute:
                slot = t // 5_000
                slots[slot] = min(slots.get(slot, (t, -bpm)), (t, -bpm))
        values = [-b for _, b in slots.values()]
        if values:
            assert grid.hr_bpm[minute] == median(values)
        else:
            assert np.isnan(grid.hr_bpm[minute])


# -- activity ---------------------------------------------------------------------------------------------------------


def test_the_largest_record_of_the_largest_source_counts() -> None:
    assert stepped(
        [(0, 20, 60, 1, False, "watch"), (0, 30, 60, 0, False, "phone"), (10, 25, 60, 0, False, "watch")], 1
    ) == [30]


def test_zero_is_a_measurement_and_silence_is_not() -> None:
    assert stepped([(0, 0, 60, 0, False, "w")], 2) == [0, None]


def test_short_records_of_a_source_are_summed_and_sources_are_not() -> None:
    ten = [(i * 10_000, 3, 10, 1, False, "watch") for i in range(6)]
    assert stepped([*ten], 1) == [18]
    assert stepped([*ten, *[(i * 10_000, 2, 10, 1, False, "phone") for i in range(6)]], 1) == [18]


def test_of_two_short_records_in_one_slot_the_larger_counts() -> None:
    assert stepped([(0, 3, 5, 1, False, "w"), (4_000, 5, 5, 1, False, "w"), (5_000, 1, 5, 1, False, "w")], 1) == [6]


@given(st.integers(0, 5_000), st.integers(2, 60))
@settings(max_examples=50)
def test_a_long_record_is_spread_evenly_over_its_minutes_and_its_sum_is_kept(steps: int, minutes: int) -> None:
    got = stepped([(0, steps, minutes * 60, 0, False, "w")], minutes + 1)
    assert got[-1] is None
    parts = [v for v in got if v is not None]
    assert len(parts) == minutes
    assert sum(parts) == steps
    assert max(parts) - min(parts) <= 1


def test_a_long_record_without_steps_gives_still_minutes() -> None:
    assert stepped([(0, 0, 300, 0, False, "w")]) == [0, 0, 0, 0, 0, None]


def test_a_long_record_that_began_before_the_grid_keeps_its_later_minutes() -> None:
    assert stepped([(-2 * MINUTE_MS, 40, 240, 0, False, "w")], 3) == [10, 10, None]


rows = st.lists(
    st.tuples(
        st.integers(-3 * MINUTE_MS, 5 * MINUTE_MS), st.integers(0, 200), st.sampled_from([5, 10, 30, 60, 60, 90, 300]),
        st.integers(-1, 3), st.booleans(), st.sampled_from(["watch", "phone"]),
    ),
    max_size=30,
)  # fmt: skip


@given(rows, st.randoms(use_true_random=False), cuts)
@settings(max_examples=60)
def test_order_and_slicing_of_activity_do_not_matter(
    given_rows: list[Row], shuffle: random.Random, places: list[int]
) -> None:
    whole, parts = MinuteGrid(BASE), MinuteGrid(BASE)
    move(whole, given_rows)
    mixed = list(given_rows)
    shuffle.shuffle(mixed)
    for part in in_parts(mixed, places):
        move(parts, part)
    assert contents(whole) == contents(parts)


def test_a_vehicle_seen_by_any_record_of_a_minute_is_seen_whichever_comes_last() -> None:
    riding, still = (0, 0, 60, 0, True, "watch"), (0, 0, 60, 0, False, "watch")
    for told in ([riding, still], [still, riding], [still, still, riding, still]):
        grid = MinuteGrid(BASE)
        move(grid, told)
        assert np.flatnonzero(grid.vehicle).tolist() == [0], told


# -- sedentary --------------------------------------------------------------------------------------------------------


def rest(text: str) -> str:
    """s = still, w = walking, v = in a vehicle, u = still, intensity not measured, . = no record → Y, N, ? a minute."""
    kinds = {"s": (0, 0, False), "w": (20, 1, False), "v": (0, 0, True), "u": (0, -1, False), "i": (0, 1, False)}
    grid = MinuteGrid(BASE)
    move(
        grid,
        [(i * MINUTE_MS, kinds[c][0], 60, kinds[c][1], kinds[c][2], "w") for i, c in enumerate(text) if c in kinds],
    )
    return "".join({1: "Y", 0: "N", -1: "?"}[v] for v in grid.sedentary(30, len(text)).tolist())


def test_rest_needs_ten_still_minutes_in_a_row() -> None:
    assert rest("w" * 31 + "s" * 11) == "N" * 10 + "YY"


def test_sitting_in_a_vehicle_and_unmeasured_intensity_are_rest_but_moving_without_steps_is_not() -> None:
    assert rest("w" * 30 + "v" * 10 + "u" * 2)[9:] == "YYY"
    assert rest("w" * 30 + "s" * 9 + "i" + "s" * 9) == "N" * 19


def test_all_of_the_last_thirty_minutes_must_be_known() -> None:
    assert rest("s" * 30 + "." + "s" * 31) == "?" * 30 + "YY"
    assert rest("." + "s" * 30) == "Y"


# -- moving on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [1, 3, CAPACITY, CAPACITY + 5])
def test_moving_on_forgets_the_minutes_before_and_keeps_the_others(by: int) -> None:
    grid = MinuteGrid(BASE)
    hear(grid, [(i * MINUTE_MS, 60 + i, True) for i in range(6)])
    move(grid, [(i * MINUTE_MS + 7_000, i, 10, 1, False, "w") for i in range(6)])
    grid.move(BASE + by)
    assert grid.base == BASE + by
    kept = [60 + i for i in range(by, 6)]
    assert grid.hr_bpm[: len(kept)].tolist() == kept
    assert np.isnan(grid.hr_bpm[len(kept) :]).all()
    assert grid.slot_bpm.shape == (CAPACITY, SLOTS)
    move(grid, [(5 * MINUTE_MS + 20_000, 4, 10, 1, False, "w")] if by <= 5 else [])
    if by <= 5:
        assert grid.steps[5 - by] == 9
