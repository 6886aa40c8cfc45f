"""Who a made-up person is: place, clock, body, habits. Everything follows from (seed, number of the person)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.devices import M_PER_DEGREE
from simulator.life import DAY, DAY_MIN, MINUTE
from simulator.rows import Ints

# Every twelfth person is of one kind, so that a dozen people already show everything; the rest is left to chance.
PERSONAS = (
    *("ROUTINE", "PANIC", "WITHDRAWAL", "MINOR", "NO_THERAPIST", "REVOKES"),
    *("ILL", "WATCH_OFF", "PHONE_SILENT", "WRONG_CLOCK", "GAMING", "LATE_SYNC"),
)
FACTS, DIARY, NOISE, FIXES, APPS, TRANSPORT, REPORTS, CONSENTS = range(8)  # random streams of a person


@dataclass(frozen=True)
class City:
    """Where people live; `offset_min` in winter, `summer_time` EU, US or none."""

    latitude: float
    longitude: float
    offset_min: int
    summer_time: str


CITIES = (
    City(52.50, 13.40, 60, "EU"),
    City(51.50, -0.12, 0, "EU"),
    City(60.17, 24.94, 120, "EU"),
    City(41.88, -87.63, -360, "US"),
    City(-1.29, 36.82, 180, ""),
)
Place = tuple[float, float]


@dataclass(frozen=True)
class Person:
    """Facts that hold for the whole time.

    Parameters
    ----------
    wake_min, bed_min
        Usual minutes of the local day.
    outings_day
        Usual outings besides work.
    batch_min
        The watch sends every so many minutes; 0 = at once.
    """

    index: int
    user: str
    persona: str
    city: City
    home: Place
    other: Place
    work: Place
    rest_bpm: float
    slope: float
    steps_day: float
    outings_day: int
    wake_min: int
    bed_min: int
    worker: bool
    wears_at_night: bool
    medicated: bool
    batch_min: int


def rng_of(seed: int, index: int, what: int) -> np.random.Generator:
    """The generator of one person and purpose; independent of how many people there are."""
    return np.random.default_rng([seed, index, what])


def meet(seed: int, index: int) -> Person:
    """The person of that number (from 0)."""
    rng = rng_of(seed, index, FACTS)
    persona = PERSONAS[index % len(PERSONAS)]
    city = CITIES[int(rng.choice(len(CITIES), p=[0.5, 0.2, 0.1, 0.1, 0.1]))]
    home = _somewhere(rng, (city.latitude, city.longitude), 500.0, 6_000.0)
    return Person(
        index=index,
        user=f"p{index + 1:04d}",
        persona=persona,
        city=city,
        home=home,
        other=_somewhere(rng, home, 800.0, 4_000.0),
        work=_somewhere(rng, home, 2_000.0, 12_000.0),
        rest_bpm=float(rng.uniform(56, 78)),
        slope=float(rng.uniform(0.18, 0.34)),
        steps_day=float(np.clip(rng.normal(7_500, 2_000), 3_000, 13_000)),
        outings_day=int(rng.integers(2, 5)),
        wake_min=int(rng.normal(425, 40)),
        bed_min=int(rng.normal(1_380, 25)),
        worker=bool(rng.random() < 0.6) and persona != "MINOR",
        wears_at_night=bool(rng.random() < 0.4),
        medicated=bool(rng.random() < 0.3),
        batch_min=int(rng.choice([0, 15, 60], p=[0.5, 0.3, 0.2])),
    )


def _somewhere(rng: np.random.Generator, centre: Place, near_m: float, far_m: float) -> Place:
    distance, angle = rng.uniform(near_m, far_m), rng.uniform(0, 2 * np.pi)
    latitude = centre[0] + distance * np.sin(angle) / M_PER_DEGREE
    longitude = centre[1] + distance * np.cos(angle) / (M_PER_DEGREE * np.cos(np.radians(centre[0])))
    return round(float(latitude), 6), round(float(longitude), 6)


def offsets(city: City, first: int, days: int, trip: tuple[int, int, int] | None) -> npt.NDArray[np.int32]:
    """Minutes east of UTC, per minute.

    Parameters
    ----------
    first
        Local midnight of the first day (ms, as if local time were UTC).
    trip
        (first day, day after the last, minutes further east); the watch changes at midnight.
    """
    out = np.full(days * DAY_MIN, city.offset_min, np.int32)
    local = first + np.arange(days * DAY_MIN, dtype=np.int64) * MINUTE
    for year in range(_year(first), _year(first + days * DAY) + 1):
        if city.summer_time:
            begin, end = _summer(city.summer_time, year)
            out[(local >= begin) & (local < end)] += 60
    if trip is not None:
        out[trip[0] * DAY_MIN : trip[1] * DAY_MIN] += trip[2]
    return out


def exists(first: int, offset: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.bool_], Ints]:
    """(minutes that the clock really shows, their UTC instants): a clock put forward skips minutes."""
    utc = first + (np.arange(len(offset), dtype=np.int64) - offset) * MINUTE
    before = np.concatenate(([np.iinfo(np.int64).min], np.maximum.accumulate(utc)[:-1]))
    return utc > before, utc


def _year(ms: int) -> int:
    return (dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=ms)).year


def _summer(rule: str, year: int) -> tuple[int, int]:
    """[begin, end) of summer time in local ms: EU last Sundays of March and October, US second of March and first of
    November; forward at 02:00, back at 03:00 (EU) or 02:00 (US)."""
    if rule == "EU":
        begin, end = _sunday(year, 3, 31, -1), _sunday(year, 10, 31, -1)
        return begin + 2 * 60 * MINUTE, end + 3 * 60 * MINUTE
    begin, end = _sunday(year, 3, 8, 1), _sunday(year, 11, 1, 1)
    return begin + 2 * 60 * MINUTE, end + 2 * 60 * MINUTE


def _sunday(year: int, month: int, day: int, step: int) -> int:
    date = dt.date(year, month, day)
    while date.weekday() != 6:
        date += dt.timedelta(days=step)
    return (date - dt.date(1970, 1, 1)).days * DAY
