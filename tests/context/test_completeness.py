"""What is missing is said once, with its reason, however the log is cut (support.md 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.context.completeness import PAST, Change, Completeness, Observed, spread

MINUTE = 60_000
HOUR = 60 * MINUTE
T0 = 29_540_400 * MINUTE  # a whole hour
ALWAYS = [(0, T0 * 2)]
Rows = list[tuple[int, int]]  # (event, arrival) in ms after T0


def report(at: int, arrives: int | None = None, **value: Any) -> dict[str, Any]:
    value = {"device": "WATCH", "worn": "UNKNOWN", "connected": True, **value}
    return {"event_time": T0 + at, "ingest_time": T0 + (at if arrives is None else arrives), "value": value}


def observed(rows: Rows) -> Observed:
    rows = sorted(rows, key=lambda r: r[1])
    return Observed(np.array([r[0] for r in rows], np.int64) + T0, np.array([r[1] for r in rows], np.int64) + T0)


def every_minute(start: int, stop: int, late: int = 0) -> Rows:
    return [(m * MINUTE, m * MINUTE + late) for m in range(start, stop)]


def told(
    seen: dict[str, Rows],
    reports: list[dict[str, Any]],
    until: int,
    cuts: tuple[int, ...] = (),
    consent: Any = ALWAYS,
) -> tuple[list[Change], Completeness]:
    """All that is said up to `until`, the machine stopped and taken up again at each cut (ms after T0)."""
    judge, out, before = Completeness(), [], -(10**12)
    reports = sorted(reports, key=lambda r: r["ingest_time"])
    for cut in [*sorted(cuts), until]:
        rows = {m: observed([r for r in all_rows if before < r[1] <= cut]) for m, all_rows in seen.items()}
        now = [r for r in reports if before < r["ingest_time"] - T0 <= cut]
        out += judge.advance(T0 + cut, {m: o for m, o in rows.items() if len(o.event_ms)}, now, lambda _: consent)
        judge, before = Completeness.from_state(judge.state()), cut
    return out, judge


def states(changes: list[Change], modality: str = "HEART_RATE") -> list[tuple[float, str, str]]:
    """(minutes after T0 at which it was said, state, reason)."""
    mine = [c for c in changes if c.value["modality"] == modality]
    return [((c.time - T0) / MINUTE, c.value["state"], c.value["reason"]) for c in mine]


def test_nobody_misses_what_was_never_there() -> None:
    changes, judge = told({}, [report(0)], 5 * HOUR)
    assert changes == []
    assert judge.state_of("HEART_RATE") is None


def test_what_a_device_covers_is_missed_when_it_never_comes() -> None:
    changes, _ = told({}, [report(0, covers=["HEART_RATE"])], 5 * HOUR)
    assert states(changes) == [(60, "ABSENT", "NO_DATA")]


def test_a_pulse_that_stops_is_degraded_and_an_hour_later_absent_since_its_last_minute() -> None:
    changes, judge = told({"HEART_RATE": every_minute(0, 120)}, [], 5 * HOUR)
    # 42 of 60 minutes are 70 %: after ten minutes 50 of the last 60 are known, after twenty only 40
    assert states(changes) == [(10, "OK", "OK"), (140, "DEGRADED", "NO_DATA"), (180, "ABSENT", "NO_DATA")]
    assert judge.silent_since("HEART_RATE") == T0 + 120 * MINUTE


def test_a_watch_that_says_it_is_off_the_wrist_gives_the_reason() -> None:
    changes, _ = told({"HEART_RATE": every_minute(0, 120)}, [report(120 * MINUTE, worn="NO")], 5 * HOUR)
    assert states(changes)[-1] == (180, "ABSENT", "NOT_WORN")


def test_unworn_minutes_are_not_expected() -> None:
    off_and_on = [report(90 * MINUTE, worn="NO"), report(115 * MINUTE, worn="YES")]
    rows = every_minute(0, 90) + every_minute(115, 240)
    assert states(told({"HEART_RATE": rows}, off_and_on, 4 * HOUR)[0]) == [(10, "OK", "OK")]


def test_without_consent_it_is_absent_for_that_reason_however_much_comes() -> None:
    changes, _ = told({"HEART_RATE": every_minute(0, 240)}, [], 4 * HOUR, consent=[(0, T0 + 100 * MINUTE)])
    assert states(changes)[-1] == (100, "ABSENT", "NO_CONSENT")


def test_a_late_batch_fills_the_hour_it_belongs_to() -> None:
    late = [(m * MINUTE, 200 * MINUTE) for m in range(120, 200)]
    changes, _ = told({"HEART_RATE": every_minute(0, 120) + late + every_minute(200, 240)}, [], 4 * HOUR)
    assert [s[:2] for s in states(changes)][-2:] == [(180, "ABSENT"), (200, "OK")]


def test_a_record_of_fifteen_minutes_observes_all_of_them() -> None:
    rows = [(q * 15 * MINUTE, (q + 1) * 15 * MINUTE) for q in range(16)]
    o = observed(rows)
    wide = spread(o.event_ms, o.arrival_ms, np.full(16, 900.0))
    judge = Completeness()
    changes = judge.advance(T0 + 4 * HOUR, {"ACTIVITY": wide}, [], lambda _: ALWAYS)
    assert "ABSENT" not in [s[1] for s in states(changes, "ACTIVITY")]
    assert states(changes, "ACTIVITY")[-1][1] == "OK"


def test_what_comes_more_than_a_day_late_changes_nothing() -> None:
    rows = every_minute(0, 60)
    very_late = [(90 * MINUTE, (90 + PAST + 1) * MINUTE)]
    until = 40 * HOUR
    assert told({"HEART_RATE": rows + very_late}, [], until)[0] == told({"HEART_RATE": rows}, [], until)[0]


late = st.sampled_from([0, 0, 0, 500, 3 * MINUTE, 47 * MINUTE, 25 * HOUR, 27 * HOUR])
runs = st.lists(st.tuples(st.integers(0, 1800), st.integers(1, 200), late), min_size=1, max_size=6)
reports = st.lists(
    st.tuples(
        st.integers(0, 2000 * MINUTE), late, st.sampled_from(["YES", "NO", "UNKNOWN"]), st.sampled_from(["WATCH", "STRAP", "PHONE"]),
        st.sampled_from([None, 5.0, 80.0]), st.sampled_from([None, ["HEART_RATE", "MUSIC"], ["MUSIC"]]), st.booleans(),
    ),
    max_size=8,
)  # fmt: skip
cuts = st.lists(st.integers(0, 2400 * MINUTE), max_size=5)


HEARD = (1, 0, "YES", "WATCH", None, ["HEART_RATE", "MUSIC"], False)


@given(runs, runs, reports, cuts, st.integers(0, 2000))
@example([(0, 1, 500)], [(0, 1, 0)], [HEARD], [1], 0)  # two sources known at one instant, cut between them
@settings(max_examples=120, deadline=None)
def test_nothing_shows_of_where_it_was_stopped(
    pulse: list[tuple[int, int, int]],
    fixes: list[tuple[int, int, int]],
    said: list[tuple[Any, ...]],
    where: list[int],
    withdrawn: int,
) -> None:
    seen = {
        "HEART_RATE": sorted({r for start, n, delay in pulse for r in every_minute(start, start + n, delay)}),
        "LOCATION": sorted({r for start, n, delay in fixes for r in every_minute(start, start + n, delay)[::5]}),
    }
    rows = [
        report(at, at + delay, device=device, worn=worn, battery_pct=battery, covers=covers, connected=connected)
        for at, delay, worn, device, battery, covers, connected in said
    ]
    consent = [(0, T0 + withdrawn * MINUTE)]
    until = 72 * HOUR
    whole, judge = told(seen, rows, until, consent=consent)
    parts, again = told(seen, rows, until, tuple(where), consent)
    assert parts == whole
    assert again.state() == judge.state()
