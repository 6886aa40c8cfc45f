"""Body strain in the stream: learned a day behind, shown beside an episode, and never a reason for a message by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.context.calendar import DAY_MS, DayClock
from pipelines.gate.disclosure import visible
from pipelines.learning.baselines import Baseline
from pipelines.learning.resting_heart_rate import Strain
from pipelines.support import conditions as cond
from pipelines.support.arrivals import Queue
from pipelines.support.daily import Daily
from pipelines.support.evidence import LEAD, MINUTE_MS
from pipelines.support.minutes import Minutes

FIRST = 20_000  # day index
T0 = FIRST * DAY_MS  # local midnight of it, which is UTC here
HOUR_MS = 3_600_000
RAISED = Strain("YELLOW", FIRST, 66.0, Baseline(60.0, 1.0, 20))
Floats = npt.NDArray[np.float64]


class Profiles:
    def change_times(self) -> list[int]:
        return []

    def thresholds(self, t: int) -> tuple[float, float]:
        return 12.0, 2.5


def pulse_of(nights: list[float]) -> Floats:
    """One pulse a minute: that of each night from 00 to 04, 75 at day."""
    bpm = np.full(len(nights) * 1440, 75.0)
    for i, rest in enumerate(nights):
        bpm[i * 1440 : i * 1440 + 240] = rest
    return bpm


def lived(bpm: Floats | list[float], late: npt.NDArray[np.int64] | None = None) -> tuple[Minutes, DayClock]:
    """A watch worn all the time without a step; `bpm` a minute (NaN = lost), or a list of nights; `late` = delay a minute, ms."""
    bpm = pulse_of(bpm) if isinstance(bpm, list) else bpm
    n = len(bpm)
    event = T0 + np.arange(n) * MINUTE_MS + 30_000
    arrival = event if late is None else event + late
    order = np.argsort(arrival, kind="stable")
    days = DayClock.first(T0 - DAY_MS, 0)
    while days.next_boundary <= T0:
        days.advance(0)
    minutes = Minutes(days.days()[0].start_time // MINUTE_MS - LEAD, T0 - MINUTE_MS)
    zero = np.zeros(n, np.int64)
    minutes.feed({
        "hr": Queue(arrival[order], event[order], (np.nan_to_num(bpm[order], nan=1.0), ~np.isnan(bpm[order]))),
        "act": Queue(event, event, (zero, np.full(n, 60.0), zero - 1, np.zeros(n, np.bool_))),
    })  # fmt: skip
    learned, last = days.days()[0].index - 1, T0 + n * MINUTE_MS
    while days.next_boundary <= last:
        go(minutes, days.next_boundary, days)
        today = days.advance(0)
        if today is None:  # the first boundary closes the day before the log
            continue
        over = [d for d in days.days() if learned < d.index <= today.index - 2]
        minutes.start_day(today.index, [(d.start_time, d.end_time) for d in over], today.start_time - DAY_MS, days)
        learned = over[-1].index if over else learned
        minutes.take_rows()
    go(minutes, last, days)
    return minutes, days


def go(minutes: Minutes, until: int, days: DayClock) -> None:
    while minutes.tick < until // MINUTE_MS * MINUTE_MS:
        minutes.advance(until, days, Profiles())


NIGHTS = [60.0, 61.0, 60.0, 59.0, 60.0, 61.0, 60.0, 59.0, 60.0, 67.0, 67.0, 60.0, 60.0]


def test_nights_are_learned_when_their_lateness_is_over() -> None:
    minutes, _ = lived(NIGHTS)
    # the last local day began on date 12; day FIRST + 10, whose night is that of date 11, has been learned
    assert minutes.nights.days == list(range(FIRST - 1, FIRST + 11))
    assert minutes.nights.bpm == NIGHTS[:12]


def test_an_episode_is_explained_by_what_was_known_two_days_before() -> None:
    minutes, days = lived(NIGHTS)
    told = {d.index - FIRST: minutes.strain(d.start_time + HOUR_MS, days).state for d in days.days()}
    assert told[11] == "RED"  # by the night of day FIRST + 9, date 10
    assert told[12] == "GREEN"


def test_the_order_of_arrival_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    n = len(NIGHTS) * 1440
    late = np.where(rng.random(n) < 0.01, rng.integers(0, 20 * HOUR_MS, n), 0)
    assert lived(NIGHTS, late)[0].nights.dump() == lived(NIGHTS)[0].nights.dump()


def test_the_row_of_a_day_tells_its_night_and_the_state() -> None:
    minutes, days = lived(NIGHTS[:11])
    yesterday = next(d for d in days.days() if d.index == FIRST + 9)
    row = Daily().summarise(yesterday, minutes, days.days()[-1].start_time + 5 * HOUR_MS)
    assert row.amounts["resting_hr"] == 67.0
    assert row.states["resting_hr"] == "OK"
    assert row.strain == "RED"
    kept = Daily()
    kept.keep(row)
    again = Daily.from_state(kept.state()).rows[row.index]
    assert again == row


def test_a_row_of_before_it_was_told_is_read_as_not_known() -> None:
    kept = Daily()
    minutes, days = lived(NIGHTS[:3])
    kept.keep(Daily().summarise(days.days()[0], minutes, minutes.tick))
    state = kept.state()
    for stored in state["rows"]:
        stored[10], stored[11] = stored[10][:13], stored[11][:13]
        del stored[12:]
    row = Daily.from_state(state).rows[days.days()[0].index]
    assert "resting_hr" not in row.amounts
    assert row.states["resting_hr"] == "ABSENT"
    assert row.strain == "UNKNOWN"


def test_state_comes_back_and_one_of_before_nights_were_learned_is_read() -> None:
    minutes, days = lived(NIGHTS)
    state, arrays = minutes.dump(minutes.tick)
    back = Minutes.load(state, dict(arrays), days, Profiles())
    assert back.nights.dump() == minutes.nights.dump()
    del arrays["nights"]
    assert Minutes.load(state, arrays, days, Profiles()).nights.days == []


def test_strain_is_a_supporting_condition_that_changes_no_tier() -> None:
    raised = cond.strain(RAISED)
    assert [c["name"] for c in raised] == ["RESTING_HR_RAISED"]
    assert raised[0]["amount"] == 6.0
    assert cond.tier_of(raised) == "NONE"
    both = [{"name": "HR_EPISODE", "met": True}, {"name": "AWAY_FROM_HOME", "met": True}]
    assert cond.tier_of([*both, *raised]) == cond.tier_of(both) == "L1"
    assert visible(raised, frozenset({"SEARCH"})) == []


def test_usual_and_unknown_nights_are_no_condition() -> None:
    assert cond.strain(Strain()) == []
    assert cond.strain(Strain("GREEN", FIRST, 66.0, Baseline(60.0, 1.0, 20))) == []
