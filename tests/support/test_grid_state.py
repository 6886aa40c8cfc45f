"""What the minute grid keeps is what was known, to the last bit, and small (design 6)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.learning import packing
from pipelines.support import grid_state
from pipelines.support.evidence import CAPACITY, MINUTE_MS, MinuteGrid
from tests.support.test_evidence import contents, hear, move

BASE = 29_540_000  # a minute since 1970
T0 = BASE * MINUTE_MS
Sample = tuple[int, float, bool]  # ms after T0, bpm, usable
Row = tuple[int, int, int, int, bool, str]  # ms after T0, steps, period_s, intensity, vehicle, source

whole = st.integers(30, 220).map(float)
tenths = st.integers(300, 2200).map(lambda n: n / 10)
any_number = st.floats(30.0, 220.0)
samples = st.one_of(*(
    st.lists(st.tuples(st.integers(0, 6 * MINUTE_MS - 1), bpm, st.booleans()), max_size=30)
    for bpm in (whole, tenths, any_number)
))  # fmt: skip
rows = st.lists(
    st.tuples(
        st.integers(0, 5 * MINUTE_MS), st.integers(0, 200), st.sampled_from([5, 60, 60, 300]), st.integers(-1, 3), st.booleans(),
        st.sampled_from(["phone", "watch"]),
    ),
    max_size=10,
)  # fmt: skip


def kept(grid: MinuteGrid, slots_from: int = BASE) -> MinuteGrid:
    """The grid after a round trip through bytes."""
    meta, arrays = grid_state.dump(grid, slots_from)
    floats = [name for name, a in arrays.items() if a.dtype.kind == "f"]
    return grid_state.load(*packing.unpack("grid", packing.pack("grid", 1, meta, arrays, nan=floats)))


@given(samples, rows, st.integers(0, 3))
@settings(max_examples=150)
def test_what_is_kept_is_what_was_known_and_goes_on_alike(heard: list[Sample], moved: list[Row], ago: int) -> None:
    grid = MinuteGrid(BASE)
    hear(grid, heard)
    move(grid, moved)
    grid.add_fixes(np.array([T0 + 90_000], np.int64))
    again = kept(grid, BASE - ago)
    assert contents(again) == contents(grid)
    hear(again, [(30_000, 77, True)])
    hear(grid, [(30_000, 77, True)])
    assert contents(again) == contents(grid)


def test_slots_that_cannot_change_any_more_are_not_kept_but_their_minutes_are() -> None:
    grid = MinuteGrid(BASE)
    hear(grid, [(i * MINUTE_MS, 60.0 + i, True) for i in range(4)])
    again = kept(grid, BASE + 2)
    assert np.isnan(again.slot_bpm[:2]).all()
    assert again.slot_bpm[2:4, 0].tolist() == [62, 63]
    assert again.hr_bpm[:4].tolist() == [60, 61, 62, 63]


@pytest.mark.parametrize(("every_s", "most"), [(60, 4_000), (5, 20_000)])
def test_two_days_of_a_restless_pulse_are_small(every_s: int, most: int) -> None:
    grid = MinuteGrid(BASE)
    t = np.arange(0, 44 * 3600, every_s) * 1000
    wander = np.cumsum(np.random.default_rng(1).integers(-2, 3, len(t)))
    bpm = np.rint(75 + 25 * np.sin(wander / 25))
    grid.add_heart_rate(t + T0, bpm, np.ones(len(t), np.bool_))
    meta, arrays = grid_state.dump(grid, BASE + 20 * 60)
    assert len(packing.pack("grid", 1, meta, arrays)) < most


@pytest.mark.parametrize("bpm", [61.0, 61.5, 61.000002])
def test_sums_of_whole_beats_take_four_bytes_and_sums_of_before_are_read(bpm: float) -> None:
    grid = MinuteGrid(BASE)
    hear(grid, [(0, 60.0, True), (1_000, bpm, True), (MINUTE_MS, 60.0, True)])
    meta, arrays = grid_state.dump(grid, BASE)
    assert arrays["hr_sum"].itemsize == (4 if bpm == 61 else 8)
    assert contents(grid_state.load(meta, dict(arrays))) == contents(grid)
    older = arrays | {"hr_sum": grid_state._sum_in(arrays["hr_sum"])}
    assert contents(grid_state.load(meta, older)) == contents(grid)


def test_a_grid_of_another_size_is_refused() -> None:
    meta, arrays = grid_state.dump(MinuteGrid(BASE), BASE)
    with pytest.raises(ValueError, match="size"):
        grid_state.load(meta | {"top": CAPACITY + 1}, arrays)
