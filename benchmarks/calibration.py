"""Calibration of the heart-rate episode on nine public recordings (support.md 2), with the day-behind rule.

Signals per observed day without any injection, against the share found of +25, +20 and +15 bpm x 15 min put into minutes at rest,
one a day. Ill days (from ten days before the onset of COVID-19 to recovery, by the labels of Mishra et al.) are shown apart: a
feverish pulse truly rises.

    python -m benchmarks.calibration            # the table
    python -m benchmarks.calibration --halves   # count and rise chosen on half of the people, judged on the other half
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import fitbit
from pipelines.context.calendar import DAY_MS, DayClock
from pipelines.learning.expected_heart_rate import FORGET, DayBehind, ExpectedHeartRate
from pipelines.support import derived, episode
from pipelines.support.arrivals import Queue
from pipelines.support.evidence import LEAD, MINUTE_MS
from pipelines.support.minutes import Minutes

BUMPS_BPM, BUMP_MIN, REACH_MIN = (25.0, 20.0, 15.0), 15, 10
OBSERVED_MIN = 600
ILL_BEFORE_DAYS, ILL_AFTER_DAYS = 10, 21

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    floor: float
    z: float
    count: int = episode.COUNT
    rise: float = episode.RISE_OF_FLOOR  # above the own last hour, in floors; -inf = not asked
    forget: float = FORGET
    loss: float = 0.0  # share of heart-rate minutes lost at random

    def thresholds(self, t: int) -> tuple[float, float]:
        return self.floor, self.z

    def change_times(self) -> list[int]:
        return []


@dataclass
class Found:
    """What one pass over one person gave. Days are days since 1970, instants minutes since 1970."""

    observed: set[int] = field(default_factory=set)
    signals: list[int] = field(default_factory=list)
    resting: dict[int, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """Heart rate and steps of one person, sorted by time."""

    user: str
    hr_time: Ints
    bpm: npt.NDArray[np.float64]
    step_time: Ints
    steps: npt.NDArray[np.float64]


def recordings(users: tuple[str, ...] = fitbit.COVID + fitbit.FITBIT) -> Iterator[Recording]:
    for user in users:
        heart, active = fitbit.streams((user,))
        a, b = np.argsort(heart.time, kind="stable"), np.argsort(active.time, kind="stable")
        yield Recording(user, heart.time[a], heart.value[a], active.time[b], active.value[b])


def follow(
    person: Recording,
    rule: Rule,
    bumps: Ints | None = None,
    bump_bpm: float = BUMPS_BPM[0],
    prepare: Callable[[Minutes], None] | None = None,
) -> Found:
    """Run the minutes of one person through the rule; `bumps` = minutes at which an injected episode begins.

    `prepare` may exchange the models of the empty minutes for others.
    """
    episode.COUNT, derived.RISE_OF_FLOOR = rule.count, rule.rise
    bpm = person.bpm if bumps is None else _with_bumps(person, bumps, bump_bpm)
    first = int(min(person.hr_time[0], person.step_time[0]))
    days = DayClock.first(first - DAY_MS, 0)
    while days.next_boundary <= first:
        days.advance(0)
    minutes = Minutes(days.days()[0].start_time // MINUTE_MS - LEAD, first // MINUTE_MS * MINUTE_MS - MINUTE_MS)
    minutes.models = DayBehind(ExpectedHeartRate(rule.forget))
    if prepare is not None:
        prepare(minutes)
    usable = (bpm >= 30) & (bpm <= 220)
    if rule.loss:
        minute = person.hr_time // MINUTE_MS
        lost = np.random.default_rng(3).random(int(minute[-1] - minute[0]) + 1) < rule.loss
        usable &= ~lost[minute - minute[0]]
    n = len(person.step_time)
    minutes.feed({
        "hr": Queue(person.hr_time, person.hr_time, (bpm, usable)),
        "act": Queue(person.step_time, person.step_time, (
            person.steps.astype(np.int64), np.full(n, 60.0), np.full(n, -1, np.int64), np.zeros(n, np.bool_))),
    })  # fmt: skip
    found, learned = Found(), days.days()[0].index - 1
    last = int(max(person.hr_time[-1], person.step_time[-1])) + 3 * MINUTE_MS
    while days.next_boundary <= last:
        _advance(minutes, days.next_boundary, days, rule, found)
        today = days.advance(0)
        if today is None:
            continue
        over = [d for d in days.days() if learned < d.index <= today.index - 2]
        _observe(minutes, [d for d in days.days() if d.index == today.index - 1], found)
        minutes.start_day(today.index, [(d.start_time, d.end_time) for d in over], today.start_time - DAY_MS, days)
        learned = over[-1].index if over else learned
        minutes.take_rows()
    _advance(minutes, last, days, rule, found)
    return found


def _advance(minutes: Minutes, until: int, days: DayClock, rule: Rule, found: Found) -> None:
    for change in minutes.advance(until, days, rule):
        if change.signal.kind == "HR_EPISODE" and change.signal.revision == 0:
            found.signals.append(change.signal.start // MINUTE_MS)


def _observe(minutes: Minutes, yesterday: list[Any], found: Found) -> None:
    """Days that can be judged: a model, and ten hours of heart rate; and their minutes at rest."""
    for day in yesterday:
        lo, hi = day.start_time // MINUTE_MS - minutes.grid.base, day.end_time // MINUTE_MS - minutes.grid.base
        if not minutes.models.has(day.index) or (minutes.grid.hr_n[lo:hi] > 0).sum() < OBSERVED_MIN:
            continue
        found.observed.add(day.index)
        rest = (minutes.derived.sedentary[lo:hi] == 1) & (minutes.grid.hr_n[lo:hi] > 0)
        run = np.convolve(rest, np.ones(BUMP_MIN), "valid") == BUMP_MIN
        found.resting[day.index] = (np.flatnonzero(run) + lo + minutes.grid.base).tolist()


def _with_bumps(person: Recording, bumps: Ints, bump_bpm: float) -> npt.NDArray[np.float64]:
    minute = person.hr_time // MINUTE_MS
    at = np.searchsorted(bumps, minute, side="right") - 1
    inside = (at >= 0) & (minute - bumps[np.maximum(at, 0)] < BUMP_MIN)
    return np.where(inside, person.bpm + bump_bpm, person.bpm)


def choose(found: Found, seed: int) -> Ints:
    """One start at rest on each observed day, away from what the rule found anyway."""
    rng = np.random.default_rng(seed)
    signals = np.array(found.signals or [0])
    out: list[int] = []
    for day in sorted(found.observed):
        free = [m for m in found.resting[day] if np.abs(signals - m).min() > 150 and (not out or m - out[-1] > 150)]
        if free:
            out.append(int(rng.choice(free)))
    return np.array(out, np.int64)


def share_found(found: Found, bumps: Ints) -> int:
    starts = np.array(sorted(found.signals) or [0])
    at = np.searchsorted(starts, bumps - REACH_MIN)
    near = starts[np.minimum(at, len(starts) - 1)]
    return int(((near >= bumps - REACH_MIN) & (near < bumps + BUMP_MIN)).sum())


def ill_days() -> dict[str, tuple[int, int]]:
    """[first, last] ill day by person, days since 1970."""
    out = {}
    with (fitbit.SHARED / "covid_fitbit" / "labels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            onset = (row.get("onset") or "").split("|")[0][:10]
            if len(onset) != 10:
                continue
            start = _day(onset)
            recovery = (row.get("recovery") or "").split("|")[-1][:10]
            end = _day(recovery) if len(recovery) == 10 else start + ILL_AFTER_DAYS
            out[row["user"]] = (start - ILL_BEFORE_DAYS, end)
    return out


def _day(text: str) -> int:
    moment = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    return int(moment.timestamp() * 1000) // DAY_MS


def table(rules: list[Rule], people: list[Recording]) -> Iterator[str]:
    """Rows of the table in Markdown."""
    ill = ill_days()
    yield " | ".join((
        "floor bpm / z / count / rise in floors / forget a day / heart-rate minutes lost", "signals a day (per person)", "well day",
        "ill day", *(f"found, +{bpm:g} bpm" for bpm in BUMPS_BPM), "bumps",
    ))  # fmt: skip
    yield "-|-|-|-|" + "-|" * len(BUMPS_BPM) + "-"
    for rule in rules:
        yield _row(rule, people, ill)


def _row(rule: Rule, people: list[Recording], ill: dict[str, tuple[int, int]]) -> str:
    rates, well, sick, hits, tried = [], [0, 0], [0, 0], dict.fromkeys(BUMPS_BPM, 0), 0
    for person in people:
        plain = follow(person, rule)
        if not plain.observed:
            continue
        a, b = ill.get(person.user, (0, -1))
        days_ill = {d for d in plain.observed if a <= d <= b}
        by_day = [(m * MINUTE_MS - 4 * 3_600_000) // DAY_MS for m in plain.signals]
        n_well = sum(1 for d in by_day if d in plain.observed and d not in days_ill)
        n_ill = sum(1 for d in by_day if d in days_ill)
        well[0], well[1] = well[0] + n_well, well[1] + len(plain.observed) - len(days_ill)
        sick[0], sick[1] = sick[0] + n_ill, sick[1] + len(days_ill)
        rates.append((n_well + n_ill) / len(plain.observed))
        bumps = choose(plain, 7)
        tried += len(bumps)
        for bpm in BUMPS_BPM:
            hits[bpm] += share_found(follow(person, rule, bumps, bpm), bumps)
    found = " | ".join(f"{hits[bpm] / max(tried, 1):.2f}" for bpm in BUMPS_BPM)
    rise = "none" if rule.rise < 0 else f"{rule.rise:.2f}"
    return (
        f"{rule.floor:g} / {rule.z:g} / {rule.count} of 10 / {rise} / {rule.forget:g} / {rule.loss:.0%} | "
        f"{(well[0] + sick[0]) / max(well[1] + sick[1], 1):.2f} ({min(rates):.2f}-{max(rates):.2f}) | "
        f"{well[0] / max(well[1], 1):.2f} ({well[1]}) | {sick[0] / max(sick[1], 1):.2f} ({sick[1]}) | {found} | {tried}"
    )


ANY = float("-inf")
RULES = [
    *(Rule(12, 2.5, loss=loss) for loss in (0.0, 0.3, 0.5)),
    *(Rule(12, 2.5, 6, ANY, loss=loss) for loss in (0.0, 0.3, 0.5)),
    *(Rule(12, 2.5, count) for count in (4, 6)),
    *(Rule(12, 2.5, rise=rise) for rise in (ANY, 1.0, 5 / 3)),
    *(Rule(12, 2.5, forget=f) for f in (0.0, 0.03, 0.1)),
    *(Rule(12, z) for z in (2.0, 2.25, 3.0)),
    *(Rule(floor, 2.5) for floor in (8, 10, 15)),
]  # fmt: skip


def halves(people: list[Recording], limit: float = 0.25) -> Iterator[str]:
    """Count and rise chosen on four of the people (most found at no more than `limit` signals a day), judged on the others."""
    grid = [Rule(12, 2.5, count, rise) for count in (4, 5, 6) for rise in (1.0, 7 / 6, 4 / 3, 3 / 2, 5 / 3)]
    counts: dict[tuple[Rule, str], Ints] = {}
    for rule in grid:
        for person in people:
            plain = follow(person, rule)
            if plain.observed:
                bumps = choose(plain, 7)
                said = sum((m * MINUTE_MS - 4 * 3_600_000) // DAY_MS in plain.observed for m in plain.signals)
                numbers = [said, len(plain.observed), share_found(follow(person, rule, bumps), bumps), len(bumps)]
                counts[rule, person.user] = np.array(numbers, np.int64)
    users = sorted({user for _, user in counts})
    others, chosen = np.zeros(4, np.int64), Counter[str]()
    for half in itertools.combinations(users, len(users) // 2):
        of = {rule: sum((counts[rule, u] for u in half), np.zeros(4, np.int64)) for rule in grid}
        quiet = [r for r in grid if of[r][0] <= limit * of[r][1]] or [min(grid, key=lambda r: float(of[r][0]))]
        best = max(quiet, key=lambda r: (float(of[r][2] / of[r][3]), -float(of[r][0])))
        chosen[f"{best.count} of 10, rise {best.rise:.2f} floors"] += 1
        others += sum((counts[best, u] for u in users if u not in half), np.zeros(4, np.int64))
    yield f"on the people not chosen on: {others[0] / others[1]:.2f} signals a day, {others[2] / others[3]:.2f} found"
    yield "chosen: " + "; ".join(f"{name} ({n} times)" for name, n in chosen.most_common())


def main() -> None:
    people = list(recordings())
    for line in halves(people) if "--halves" in sys.argv[1:] else table(RULES, people):
        print(line, flush=True)


if __name__ == "__main__":
    main()
