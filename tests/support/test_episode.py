"""The heart-rate episode: five of ten clock minutes, risen above the last hour; against a slow machine that walks minute by minute."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from pipelines.support.episode import (
    COUNT,
    END_RUN,
    HOUR,
    LOWEST,
    REST,
    WINDOW,
    Episode,
    Scan,
    scan,
    usual_of_hour,
)

Bools = npt.NDArray[np.bool_]


def marks(text: str) -> tuple[Bools, Bools, Bools]:
    """H = high at rest, l = below half the threshold, . = no data, anything else = observed, neither."""
    chars = np.array(list(text))
    return chars == "H", chars == "l", chars == "."


def episodes(text: str, base: int = 1000) -> list[tuple[int, int, int | None, str | None]]:
    """(start, on, end, reason) by minutes from the beginning of `text`."""
    found, _ = scan(*marks(text), base, base, Scan())
    return [(e.start - base, e.on - base, None if e.end is None else e.end - base, e.reason) for e in found]


def test_five_high_minutes_of_ten_begin_an_episode_at_the_first_of_them() -> None:
    assert episodes("-" * 12 + "HHHHH") == [(12, 16, None, None)]
    assert episodes("-" * 12 + "H-H-HH---H") == [(12, 21, None, None)]


def test_four_of_ten_do_not() -> None:
    assert episodes("-" * 12 + "HHHH" + "-" * 6 + "HHHH") == []


def test_five_of_eleven_do_not() -> None:
    assert episodes("-" * 12 + "H-HH-H-----H") == []


def test_the_denominator_stays_ten_when_minutes_are_missing() -> None:
    assert episodes("-" * 12 + "HHHH....HHHHH"[:8]) == []
    assert episodes("-" * 12 + "HHHH.....H") == [(12, 21, None, None)]


def test_five_low_minutes_end_it_at_the_first_of_them() -> None:
    assert episodes("-" * 12 + "HHHHH" + "lllll" + "----") == [(12, 16, 17, "BELOW")]
    assert episodes("-" * 12 + "HHHHH" + "llll-llll" + "----") == [(12, 16, None, None)]


def test_five_minutes_without_data_end_it_as_a_gap() -> None:
    assert episodes("-" * 12 + "HHHHH" + "-----" + "....." + "lllll") == [(12, 16, 22, "GAP")]


def test_low_and_missing_minutes_do_not_add_up_to_an_end() -> None:
    assert episodes("-" * 12 + "HHHHH" + "ll..." + "ll...") == [(12, 16, None, None)]


def test_the_next_episode_begins_at_least_two_hours_after_the_last_began() -> None:
    ended = "-" * 12 + "HHHHH" + "lllll"  # ON at 16
    second = ended + "-" * (16 + REST - len(ended) - 5) + "HHHHH"
    assert [on for _, on, _, _ in episodes(second)] == [16]
    assert [on for _, on, _, _ in episodes(second + "-")] == [16, 16 + REST]


def test_a_long_episode_is_one_however_often_five_of_ten_are_high() -> None:
    assert episodes("-" * 12 + "H" * 300 + "lllll") == [(12, 16, 312, "BELOW")]


def slowly(flag: Bools, low: Bools, empty: Bools) -> list[Episode]:
    """The rule told again, minute by minute."""
    out: list[Episode] = []
    last_on, start, on = -(2**40), None, None
    for t in range(len(flag)):
        window = range(max(0, t - WINDOW + 1), t + 1)
        high = [i for i in window if flag[i]]
        if start is None:
            if len(high) >= COUNT and t - last_on >= REST:
                start, on, last_on = high[0], t, t
            continue
        assert on is not None
        run = range(t - END_RUN + 1, t + 1)
        if run[0] > on:
            below, gap = all(low[i] for i in run), all(empty[i] for i in run)
            if below or gap:
                out.append(Episode(start, on, run[0], t, "BELOW" if below else "GAP"))
                start = on = None
    if start is not None and on is not None:
        out.append(Episode(start, on, None, None, None))
    return out


runs = st.lists(st.tuples(st.sampled_from("HHHl.-"), st.integers(1, 40)), max_size=30).map(
    lambda parts: "-" * WINDOW + "".join(c * n for c, n in parts)
)


@given(runs)
def test_the_columns_say_what_a_walk_minute_by_minute_says(text: str) -> None:
    found, _ = scan(*marks(text), 0, WINDOW, Scan())
    assert found == slowly(*marks(text))


@given(runs, st.data())
def test_carrying_the_state_over_a_cut_is_the_same_as_one_scan(text: str, data: st.DataObject) -> None:
    flag, low, empty = marks(text)
    cut = data.draw(st.integers(WINDOW, len(text)))
    whole, end = scan(flag, low, empty, 0, WINDOW, Scan())
    first, carried = scan(flag[:cut], low[:cut], empty[:cut], 0, WINDOW, Scan())
    lo = cut - WINDOW
    second, after = scan(flag[lo:], low[lo:], empty[lo:], lo, cut, carried)
    assert [e for e in first if e.end is not None] + second == whole
    assert after == end


@given(runs, st.data())
def test_lost_minutes_can_only_take_episodes_away_from_the_minutes_that_are_left(
    text: str, data: st.DataObject
) -> None:
    """S3: every ON rests on five high minutes that were really there."""
    flag, low, empty = marks(text)
    lost = np.array(data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text))))
    found, _ = scan(flag & ~lost, low & ~lost, empty | lost, 0, WINDOW, Scan())
    for e in found:
        assert flag[max(0, e.on - WINDOW + 1) : e.on + 1].sum() >= COUNT
        assert flag[e.start]


residuals = st.lists(st.floats(-20, 60).map(lambda x: round(x, 1)) | st.just(np.nan), min_size=1, max_size=150)


@given(residuals, st.data())
def test_the_usual_of_the_last_hour_is_the_fifth_lowest_of_what_is_known(values: list[float], data: st.DataObject) -> None:
    t = data.draw(st.integers(0, len(values) - 1))
    known = sorted(v for v in values[max(0, t - HOUR) : t] if not np.isnan(v))
    expected = known[LOWEST - 1] if len(known) >= LOWEST else np.inf
    assert usual_of_hour(np.array(values), np.array([t]))[0] == expected


@given(residuals, st.data())
def test_lost_minutes_never_lower_the_usual_of_the_last_hour(values: list[float], data: st.DataObject) -> None:
    """S3: what is lost of the hour before can only ask for a higher pulse."""
    lost = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    every = np.arange(len(values))
    whole = usual_of_hour(np.array(values), every)
    assert (usual_of_hour(np.where(lost, np.nan, np.array(values)), every) >= whole).all()
