"""Coordinates end here: HOME, BORDER, OTHER by the registered home, and the place where nights are spent (topics.md 4)."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pipelines.ingest.homes import EARTH_M, Homes, distance_m
from tests.ingest.raws import DAY, HOUR, MINUTE, T0, Came, Record, came, consent, home, record

LAT, LON = 52.52, 13.40
METRE = math.degrees(1 / EARTH_M)  # degrees of latitude


def fix(t: int, metres: float = 0.0, seq: int | None = None, **value: float) -> Record:
    """A fix so many metres north of home."""
    where = {"latitude": LAT + metres * METRE, "longitude": LON, **value}
    return record("raw.location", t, where, seq=t if seq is None else seq)


def places(*records: Record) -> list[str]:
    return [v["place"] for v in came([consent(), *records]).values("device.location")]


def test_home_ends_at_its_radius_and_other_begins_fifty_metres_further() -> None:
    steps = [0, 99.9, 100.1, 149.9, 150.1, 5_000]
    found = places(home(0), *[fix(T0 + i, m) for i, m in enumerate(steps)])
    assert found == ["HOME", "HOME", "BORDER", "BORDER", "OTHER", "OTHER"]


def test_a_home_may_have_a_radius_of_its_own() -> None:
    found = places(home(0, radius_m=300.0), fix(T0, 299), fix(T0 + 1, 349), fix(T0 + 2, 351))
    assert found == ["HOME", "BORDER", "OTHER"]


def test_distances_are_those_on_the_earth() -> None:
    berlin_paris = distance_m(np.array([52.5200]), np.array([13.4050]), 48.8566, 2.3522)[0]
    assert berlin_paris == pytest.approx(877_460, rel=1e-3)
    date_line = distance_m(np.array([0.0]), np.array([179.9999]), 0.0, -179.9999)[0]
    assert date_line == pytest.approx(22.24, rel=1e-3)


def test_without_a_home_the_place_is_unknown() -> None:
    assert places(fix(T0)) == ["UNKNOWN"]


def test_each_fix_is_measured_from_the_home_that_held_when_it_happened() -> None:
    moved = home(T0 + HOUR, LAT + 1.0)
    found = places(home(0), moved, fix(T0), fix(T0 + HOUR), fix(T0 + 2 * HOUR, 1.0 / METRE))
    assert found == ["HOME", "OTHER", "HOME"]


def test_a_home_that_arrives_in_the_middle_of_a_slice_acts_on_what_arrives_after_it() -> None:
    assert places(fix(T0), home(T0 + MINUTE), fix(T0 + 2 * MINUTE)) == ["UNKNOWN", "HOME"]


def test_shifted_coordinates_are_compared_only_with_a_home_of_the_same_shift() -> None:
    shifted = home(0, offset_reference=7)
    found = places(shifted, fix(T0, offset_reference=7), fix(T0 + 1, offset_reference=0), fix(T0 + 2))
    assert found == ["HOME", "UNKNOWN", "UNKNOWN"]
    assert places(home(0), fix(T0, offset_reference=0), fix(T0 + 1)) == ["HOME", "HOME"]


def test_a_removed_home_is_no_home_any_more() -> None:
    gone = home(T0 + HOUR, removed=True, latitude=None, longitude=None)
    assert places(home(0), gone, fix(T0), fix(T0 + 2 * HOUR)) == ["HOME", "UNKNOWN"]


def test_a_home_without_coordinates_is_no_record() -> None:
    found = came([consent(), home(T0, latitude=None)])
    assert found.dead == [("clinical.home", "SCHEMA", "latitude")]


def test_the_token_names_a_place_near_home_only_and_speed_becomes_a_class() -> None:
    speeds = [fix(T0 + i, m, speed_m_s=v) for i, (m, v) in enumerate([(0, 0.1), (120, 2.0), (900, 20.0)])]
    found = came([consent(), home(0), *speeds, fix(T0 + 9)]).values("device.location")
    assert [v.get("speed_class") for v in found] == ["STILL", "FOOT", "VEHICLE", None]
    assert [("place_token" in v) for v in found] == [True, True, False, True]
    assert found[0]["place_token"] == found[1]["place_token"]


def test_no_coordinate_leaves_ingest() -> None:
    found = came([consent(), home(0), *[fix(T0 + i, i * 40.0) for i in range(9)]])
    assert set().union(*[v.keys() for v in found.values("device.location")]) <= {
        "place", "place_token", "accuracy_m", "speed_class",
    }  # fmt: skip
    assert "clinical.home" not in found.tables


# -- the place of the nights ------------------------------------------------------------------------------------------


def nights(n: int, metres: float = 0.0, first: int = 0) -> list[Record]:
    """Fixes at 01:00, 02:00 … 05:00 of `n` nights."""
    return [fix(T0 + (first + d) * DAY + h * HOUR, metres) for d in range(n) for h in range(1, 6)]


def proposed(found: Came) -> list[tuple[int, str]]:
    return [(due, v["reason"]) for due, v in found.status]


def test_seven_nights_at_one_place_propose_it_once_at_the_end_of_the_hour() -> None:
    assert proposed(came([consent(), *nights(6)])) == []
    found = came([consent(), *nights(9)])
    assert proposed(found) == [(T0 + 6 * DAY + 2 * HOUR, "HOME_NOT_CONFIRMED")]
    assert {v["place"] for v in found.values("device.location")} == {"UNKNOWN"}


def test_days_coarse_fixes_and_shifted_ones_propose_nothing() -> None:
    days = [fix(T0 + d * DAY + 12 * HOUR) for d in range(9)]
    coarse = [fix(T0 + d * DAY + HOUR, accuracy_m=101.0) for d in range(9)]
    shifted = [fix(T0 + d * DAY + HOUR, offset_reference=3) for d in range(9)]
    for records in (days, coarse, shifted):
        assert proposed(came([consent(), *records])) == []


def test_a_confirmed_proposal_counts_from_its_date_on() -> None:
    confirmed = home(T0 + 8 * DAY, confirm_proposal=True, latitude=None, longitude=None)
    later = [fix(T0 + 8 * DAY + HOUR, m, seq=int(m)) for m in (0.0, 400.0)]
    found = came([consent(), *nights(8), confirmed, *later]).values("device.location")
    assert [v["place"] for v in found[-2:]] == ["HOME", "OTHER"]


def test_the_place_of_most_nights_is_proposed() -> None:
    homes = Homes()
    for metres, n, first in ((0.0, 9, 0), (5_000.0, 7, 9)):
        for _, r in nights(n, metres, first):
            v = r["value"]
            columns = {k: [v[k]] for k in ("latitude", "longitude", "accuracy_m")} | {"offset_reference": [0]}
            homes.sleep_over(np.array([r["event_time"]]), np.array([0]), _struct(columns))
    found = homes.proposal()
    assert found is not None
    assert distance_m(np.array([found[0]]), np.array([found[1]]), LAT, LON)[0] < 60


def _struct(columns: dict[str, list[float]]) -> pa.StructArray:
    return pa.StructArray.from_arrays([pa.array(c) for c in columns.values()], names=list(columns))


slept = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 35), st.sampled_from([0.0, 20.0, 80.0, 3_000.0])),
    min_size=10,
    max_size=40,
)


@given(slept, st.randoms(use_true_random=False), st.lists(st.integers(0, 13 * 24), max_size=3))
@limits(max_examples=40, deadline=None)
def test_slices_and_restarts_do_not_matter(
    given_fixes: list[tuple[int, int, float]], shuffle: random.Random, cuts: list[int]
) -> None:
    fixes = [fix(T0 + d * DAY + s * 10 * MINUTE, m, seq=i) for i, (d, s, m) in enumerate(given_fixes)]
    whole = came([consent(), *fixes])
    shuffle.shuffle(fixes)
    parts = came([consent(), *fixes], cuts=[T0 + c * HOUR for c in cuts])
    assert whole.status == parts.status
    assert whole.state == parts.state


def test_homes_come_back_as_they_were() -> None:
    homes = Homes()
    homes.register({"latitude": 1.0, "longitude": 2.0, "effective_from": 5})
    homes.register({"removed": True, "effective_from": 9})
    again = Homes.from_state(json.loads(json.dumps(homes.state())))
    assert again.state() == homes.state()
    assert again.at_home(8) == homes.at_home(8)
    assert again.at_home(9) is None
