"""Resting heart rate of the night: its states, by the nights before alone, and what missing nights may not do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.learning.packing import StateError
from pipelines.learning.resting_heart_rate import KEPT_NIGHTS, STALE_DAYS, RestingHeartRate, nightly


def learned(values: list[float | None], first: int = 20_000) -> RestingHeartRate:
    """One night a day from `first` on; None = not seen."""
    model = RestingHeartRate()
    for i, bpm in enumerate(values):
        if bpm is not None:
            model.learn_one(first + i, bpm)
    return model


USUAL: list[float | None] = [60.0, 61.0, 59.0, 60.0, 61.0, 60.0, 59.0, 60.0]


def states(values: list[float | None]) -> str:
    """First letters of the states of all nights."""
    model = learned(values)
    return "".join(model.strain(20_000 + i).state[0] for i in range(len(values)))


def test_two_nights_in_a_row_above_the_own_usual_are_yellow_or_red() -> None:
    assert states([*USUAL, 63.5, 63.5, 60.0]) == "UUUUUUUGGYG"
    assert states([*USUAL, 65.0, 66.0, 67.0]) == "UUUUUUUGGRR"


def test_one_night_is_not_enough_and_the_lower_of_two_counts() -> None:
    assert states([*USUAL, 70.0, 60.0, 70.0]) == "UUUUUUUGGGG"
    assert states([*USUAL, 70.0, 63.5]) == "UUUUUUUGGY"


def test_who_varies_much_needs_a_larger_rise() -> None:
    restless: list[float | None] = [55.0, 66.0, 60.0, 52.0, 68.0, 58.0, 64.0, 61.0]
    assert states([*restless, 65.0, 65.0])[-1] == "G"
    assert states([*USUAL, 65.0, 65.0])[-1] == "R"


def test_nothing_is_known_before_seven_nights() -> None:
    assert set(states([60.0] * 7)) == {"U"}
    assert states([60.0] * 8)[-1] == "G"


def test_what_is_known_on_a_day_is_of_two_days_before() -> None:
    model = learned([*USUAL, 66.0, 66.0])
    assert [model.known_on(20_000 + d).state for d in (9, 10, 11)] == ["GREEN", "GREEN", "RED"]


def test_missing_nights_change_nothing_for_a_week_and_then_nothing_is_known() -> None:
    model = learned([*USUAL, 66.0, 66.0])
    after = [model.known_on(20_011 + d).state for d in range(STALE_DAYS + 2)]
    assert after == ["RED"] * STALE_DAYS + ["UNKNOWN"] * 2
    assert states([*USUAL, 66.0, None, 66.0])[-1] == "R"  # two nights seen in a row


@given(st.lists(st.none() | st.floats(45, 90).map(lambda x: round(x, 1)), max_size=70), st.integers(0, 69))
def test_later_nights_never_change_what_an_earlier_one_said(values: list[float | None], cut: int) -> None:
    """Causal: as said at the time, so it is said for as long as it can be asked."""
    whole, then = learned(values), learned(values[:cut])
    for d in range(max(cut - 14, 0), min(cut, len(values) - 0)):
        if len(values) - d <= 14:
            assert whole.strain(20_000 + d) == then.strain(20_000 + d)


@given(st.lists(st.none() | st.floats(45, 90).map(lambda x: round(x, 1)), min_size=9, max_size=40), st.data())
def test_lost_nights_never_make_one_night_raise_the_alarm(values: list[float | None], data: st.DataObject) -> None:
    lost = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    model = learned([None if gone else v for v, gone in zip(values, lost, strict=True)])
    for d in model.days:
        found = model.strain(d)
        if found.raised:
            assert found.usual is not None
            assert found.bpm is not None
            assert found.bpm >= found.usual.median + 3


def test_a_night_is_the_median_of_its_still_minutes() -> None:
    minute = np.arange(1440)
    bpm, steps = np.full(1440, 75.0), np.zeros(1440)
    bpm[:240] = 55.0
    bpm[100:120], steps[100:120] = 110.0, 80.0  # up in the night
    assert nightly(bpm, steps, minute) == (55.0, 220)


def test_a_night_with_less_than_an_hour_of_still_minutes_is_not_known() -> None:
    minute = np.arange(1440)
    bpm, steps = np.full(1440, np.nan), np.zeros(1440)
    bpm[:59] = 55.0
    assert nightly(bpm, steps, minute) == (None, 59)
    bpm[59] = 55.0
    assert nightly(bpm, steps, minute) == (55.0, 60)
    steps[:30] = np.nan  # missing activity is not rest (S4)
    assert nightly(bpm, steps, minute) == (None, 30)


def test_a_night_is_learned_once_and_in_order() -> None:
    model = learned(USUAL)
    model.learn_one(20_003, 90.0)
    assert model.bpm == USUAL


def test_state_is_small_and_comes_back_as_it_was() -> None:
    rng = np.random.default_rng(1)
    model = learned([round(float(x), 3) for x in rng.normal(60, 3, 400)])
    data = model.dump()
    assert len(model.days) == KEPT_NIGHTS
    assert len(data) < 700
    back = RestingHeartRate.load(data)
    assert back.dump() == data
    assert [back.known_on(d) for d in range(20_386, 20_402)] == [model.known_on(d) for d in range(20_386, 20_402)]


@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=60, deadline=None)  # a busy machine is no defect
def test_a_damaged_state_is_refused_with_an_ordinary_error(place: int, byte: int) -> None:
    data = bytearray(learned(USUAL).dump())
    place %= len(data)
    if data[place] == byte:
        return
    data[place] = byte
    with pytest.raises(StateError):
        RestingHeartRate.load(bytes(data))
