"""Sums by local day, and what is not known has no amount (support.md 1, 4)."""

from __future__ import annotations

import json
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.context.calendar import DAY_MS, DayClock
from pipelines.support.daily import HOUR_MS, KEPT_ROWS, Daily, DayRow
from pipelines.support.evidence import LEAD, MINUTE_MS
from pipelines.support.minutes import Minutes

DAYS = DayClock.first(20_000 * DAY_MS + 5 * HOUR_MS, 0)
START = DAYS.today().start_time
Row = tuple[int, int, str, int]  # arrival and event after the day's start (ms), sum, amount


def fed(rows: list[Row], daily: Daily | None = None) -> Daily:
    """One part a name, each in arrival order, as `inbox.sums` gives them."""
    parts = []
    for name in sorted({r[2] for r in rows}):
        mine = sorted(r for r in rows if r[2] == name)
        arrival, event, _, amount = zip(*mine, strict=True)
        parts.append(
            (np.array(arrival, np.int64) + START, np.array(event, np.int64) + START, name, np.array(amount, np.int64))
        )
    daily = daily or Daily()
    daily.feed(parts)
    return daily


def row_of(daily: Daily) -> DayRow:
    return daily.summarise(DAYS.today(), Minutes(START // MINUTE_MS - LEAD, START), START + DAY_MS)


def test_what_arrived_later_is_not_known_yet() -> None:
    daily = fed([(10, 5, "phone", 60_000), (50, 6, "phone", 1_000)])
    daily.advance(START + 10, DAYS)
    assert daily.sums[20_000]["phone"] == 60_000
    daily.advance(START + 50, DAYS)
    assert daily.sums[20_000]["phone"] == 61_000


def test_only_days_held_are_summed() -> None:
    daily = fed([(10, -1, "phone", 1), (10, DAY_MS, "phone", 1)])
    daily.advance(START + DAY_MS, DAYS)
    assert daily.sums == {}


def test_nothing_known_is_absent_and_not_zero() -> None:
    row = row_of(Daily())
    assert row.amounts == {}
    assert set(row.states.values()) == {"ABSENT"}
    assert not row.valid
    assert row.missing == ["LOCATION", "ACTIVITY"]


def test_a_phone_that_sends_heartbeats_must_send_twenty_hours_of_them() -> None:
    def beats(hours: int) -> DayRow:
        rows: list[Row] = [(h * HOUR_MS + 1, h * HOUR_MS, "beat", 1) for h in range(hours)]
        daily = fed([*rows, (DAY_MS, 5, "phone", 120_000)])
        daily.advance(START + DAY_MS, DAYS)
        return row_of(daily)

    assert "PHONE_USAGE" in beats(19).missing
    assert beats(19).states["phone_min"] == "DEGRADED"
    assert "PHONE_USAGE" not in beats(20).missing
    assert beats(20).states["phone_min"] == "OK"
    assert beats(20).amounts["phone_min"] == 2.0


def test_a_phone_that_never_sent_one_is_judged_by_its_usage_alone() -> None:
    daily = fed([(10, 5, "n_phone", 1), (10, 5, "phone", 60_000)])
    daily.advance(START + DAY_MS, DAYS)
    row = row_of(daily)
    assert "PHONE_USAGE" not in row.missing
    assert row.states["phone_min"] == "OK"
    assert row.amounts["game_min"] == 0.0


def test_forty_rows_are_kept() -> None:
    daily = Daily()
    for i in range(60):
        daily.keep(DayRow(i, False, i, i + 1))
    assert sorted(daily.rows) == list(range(60 - KEPT_ROWS, 60))


rows = st.lists(
    st.tuples(
        st.integers(0, 2 * DAY_MS), st.integers(-HOUR_MS, DAY_MS + HOUR_MS),
        st.sampled_from(["phone", "game", "beat", "n_phone", "bed", "n_bed"]), st.integers(0, 100_000),
    ),
    max_size=20,
)  # fmt: skip


@given(rows, st.lists(st.integers(0, 2 * DAY_MS), max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_slices_order_and_restarts_do_not_matter(
    given_rows: list[Row], cuts: list[int], shuffle: random.Random
) -> None:
    whole = fed(given_rows)
    whole.advance(START + 2 * DAY_MS, DAYS)
    parts, after = Daily(), -1
    for until in [*sorted(cuts), 2 * DAY_MS]:
        mine = [r for r in given_rows if after < r[0] <= until]
        shuffle.shuffle(mine)
        parts = fed(mine, Daily.from_state(json.loads(json.dumps(parts.state()))))
        parts.advance(START + until, DAYS)
        after = until
    assert parts.state() == whole.state()
    kept = row_of(whole)
    whole.keep(kept)
    assert Daily.from_state(json.loads(json.dumps(whole.state()))).rows[kept.index] == kept
