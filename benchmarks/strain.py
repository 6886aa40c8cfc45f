"""Resting heart rate of the night on people with COVID-19, beside the published detectors, and whether it should damp the pulse rule.

    python -m benchmarks.strain

First table: per person the first alert between 14 days before and 7 after the onset (day 0), and false episodes (runs of alert
days that touch none of the days from 14 before to 21 after) per 30 nights outside. Kairos's nights come from the stream's own
machine (`Minutes`). NightSignal and CuSum: the authors' code on the same files (`../shared/data/covid_fitbit/reference`).
Second table: heart-rate episodes with and without subtracting the strain of ill nights from the expected pulse.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import numpy as np

from benchmarks import fitbit
from benchmarks.calibration import (
    Found,
    Recording,
    Rule,
    choose,
    follow,
    ill_days,
    recordings,
    share_found,
)
from pipelines.context.calendar import DAY_MS
from pipelines.learning.expected_heart_rate import DayBehind, ExpectedHeartRate, Floats
from pipelines.learning.resting_heart_rate import RED, YELLOW, RestingHeartRate
from pipelines.support.evidence import MINUTE_MS
from pipelines.support.minutes import Minutes

BEFORE, AFTER, OVER = 14, 7, 21  # days around the onset: alert counts; nothing is false
ONSET = {"AS2MVDL": "2020-11-07", "A3OU183": "2020-07-05", "AURCTAK": "2020-05-09"}  # labels.csv; the last by diagnosis
NAIVE_SD, NAIVE_NIGHTS = 1.5, 7
REFERENCE = fitbit.SHARED / "covid_fitbit" / "reference"


class Diary(RestingHeartRate):
    """Keeps every night and what was said of it."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[int, float] = {}
        self.said: dict[int, str] = {}

    def learn_one(self, day: int, bpm: float) -> None:
        super().learn_one(day, bpm)
        self.values[day + 1] = bpm  # the night at the end of a day has the date of the next
        self.said[day + 1] = self.strain(day).state


class Damped(DayBehind):
    """Expectation raised by the strain known on the day."""

    def __init__(self, head: ExpectedHeartRate, nights: RestingHeartRate) -> None:
        super().__init__(head)
        self.nights = nights

    def expected(self, day: int, x: Floats) -> tuple[Floats, float] | None:
        result, strain = super().expected(day, x), self.nights.known_on(day)
        if result is None or not strain.raised or strain.bpm is None or strain.usual is None:
            return result
        return result[0] + (strain.bpm - strain.usual.median), result[1]


def diary(person: Recording) -> Diary:
    """Nights of a person as the stream's machine learned them."""
    kept = Diary()

    def prepare(minutes: Minutes) -> None:
        minutes.nights = kept

    follow(person, Rule(12, 2.5), prepare=prepare)
    return kept


def damp(minutes: Minutes) -> None:
    minutes.models = Damped(minutes.models.head, minutes.nights)


def naive(values: dict[int, float]) -> set[int]:
    """Nights above the mean + 1.5 sd of all nights before."""
    days = sorted(values)
    out = set()
    for i, day in enumerate(days):
        past = [values[d] for d in days[:i]]
        if i >= NAIVE_NIGHTS and values[day] > np.mean(past) + NAIVE_SD * np.std(past):
            out.add(day)
    return out


def nightsignal() -> dict[str, dict[int, int]]:
    """State by person and date: 0 green, 1 yellow, 2 red."""
    out: dict[str, dict[int, int]] = {}
    with (REFERENCE / "nightsignal_daily.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            out.setdefault(row["user"], {})[_day(row["date"])] = int(row["nightsignal"])
    return out


def cusum() -> dict[str, set[int]]:
    """Dates of CuSum's alarms by person."""
    out: dict[str, set[int]] = {}
    with (REFERENCE / "cusum_online_alarms.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            out.setdefault(row["user"], set()).add(_day(row["alarming time"][:10]))
    return out


def episodes(days: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive days."""
    out: list[tuple[int, int]] = []
    for day in sorted(days):
        if out and day == out[-1][1] + 1:
            out[-1] = (out[-1][0], day)
        else:
            out.append((day, day))
    return out


def judged(alert: Iterable[int], nights: Iterable[int], onset: int | None) -> tuple[int | None, int, int]:
    """(first alert day of the window relative to onset or None, false episodes, nights on which they could be)."""
    alert, nights = set(alert), set(nights)
    if onset is None:
        return None, len(episodes(alert)), len(nights)
    inside = [d - onset for d in sorted(alert) if -BEFORE <= d - onset <= AFTER]
    false = [e for e in episodes(alert) if e[1] < onset - BEFORE or e[0] > onset + OVER]
    clear = [d for d in nights if not onset - BEFORE <= d <= onset + OVER]
    return (inside[0] if inside else None), len(false), len(clear)


def detection(people: list[Recording]) -> Iterator[str]:
    """Rows of the first table in Markdown."""
    published, alarms = nightsignal(), cusum()
    heads = (*(f"{u}: first alert, false" for u in ONSET), "of 3", "false per 30 nights, these 3", "the other people")
    yield " | ".join(("rule", *heads))
    yield "-|" * (len(ONSET) + 3) + "-"
    diaries = {p.user: diary(p) for p in people}

    def order(user: str) -> int:
        return list(ONSET).index(user) if user in ONSET else len(ONSET)

    def states(*which: str) -> Callable[[str, Diary], set[int]]:
        return lambda user, kept: {d for d, s in kept.said.items() if s in which}

    rules: dict[str, Callable[[str, Diary], set[int] | None]] = {
        "Kairos, yellow or red": states(YELLOW, RED),
        "Kairos, red": states(RED),
        "NightSignal, yellow or red": lambda u, _: {d for d, s in published[u].items() if s} if u in published else None,
        "NightSignal, red": lambda u, _: {d for d, s in published[u].items() if s == 2} if u in published else None,
        "CuSum, online": lambda u, _: alarms.get(u, set()) if u in fitbit.COVID else None,
        "one night > mean + 1.5 sd": lambda _, kept: naive(kept.values),
    }
    for name, rule in rules.items():
        cells, hit, mine, others = [], 0, [0, 0], [0, 0]
        for user in sorted(diaries, key=order):
            kept = diaries[user]
            alert = rule(user, kept)
            if alert is None or not kept.values:
                continue
            first, false, nights = judged(alert, kept.values, _day(ONSET[user]) if user in ONSET else None)
            total = mine if user in ONSET else others
            total[0], total[1] = total[0] + false, total[1] + nights
            if user in ONSET:
                hit += first is not None
                cells.append(f"{first:+d}, {false}" if first is not None else f"none, {false}")
        yield f"{name} | " + " | ".join(cells) + f" | {hit} | {_rate(mine)} | {_rate(others)}"


def damping(people: list[Recording]) -> Iterator[str]:
    """Rows of the second table in Markdown."""
    ill = ill_days()
    yield "expectation | signals a well day | signals an ill day | found well, +25 bpm x 15 min | found ill"
    yield "-|-|-|-|-"
    for name, prepare in (("as it is", None), ("plus the night's strain", damp)):
        signals, days, hits, tried = [0, 0], [0, 0], [0, 0], [0, 0]
        for person in people:
            a, b = ill.get(person.user, (0, -1))
            plain = follow(person, Rule(12, 2.5), prepare=prepare)
            if not plain.observed:
                continue
            bumps = choose(plain, 7)
            bumped = follow(person, Rule(12, 2.5), bumps, prepare=prepare)
            for sick in (0, 1):
                own = {d for d in plain.observed if (a <= d <= b) == bool(sick)}
                days[sick] += len(own)
                signals[sick] += sum(_local(m) in own for m in plain.signals)
                part = np.array([m for m in bumps.tolist() if _local(m) in own], np.int64)
                hits[sick] += _found(bumped, part)
                tried[sick] += len(part)
        rates = [s / max(d, 1) for s, d in zip(signals, days, strict=True)]
        shares = [h / max(t, 1) for h, t in zip(hits, tried, strict=True)]
        yield (
            f"{name} | {rates[0]:.2f} ({days[0]}) | {rates[1]:.2f} ({days[1]}) | {shares[0]:.2f} ({tried[0]}) | "
            f"{shares[1]:.2f} ({tried[1]})"
        )


def _found(found: Found, bumps: np.ndarray) -> int:  # type: ignore[type-arg]
    return share_found(found, bumps) if len(bumps) else 0


def _local(minute: int) -> int:
    return (minute * MINUTE_MS - 4 * 3_600_000) // DAY_MS


def _rate(total: list[int]) -> str:
    return f"{30 * total[0] / total[1]:.2f} ({total[0]} in {total[1]})" if total[1] else "not run"


def _day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) // DAY_MS


def main() -> None:
    people = list(recordings())
    for line in [*detection(people), "", *damping(people)]:
        print(line, flush=True)


if __name__ == "__main__":
    main()
