"""What happens to a made-up person, minute by minute, and the truth about it for evaluation. Vectorised, pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator import life as lives
from simulator.life import DAY, DAY_MIN, HOME, OTHER, OUTING_MIN, WALK_MIN, WORK, Flags, Floats, Life
from simulator.persona import DIARY, NOISE, Person, exists, offsets, rng_of
from simulator.rows import Ints

SLOTS = 510 + 90 * np.arange(8)  # earliest starts of outings, minute of the day
AFTER_WORK = 6  # from this slot on


@dataclass
class Diary:
    """A person's time.

    Parameters
    ----------
    offset, utc
        Per minute: minutes east of UTC; ms.
    noise
        bpm, what the sensor adds per minute.
    share
        Per day: 1 = as ever, less = withdrawn.
    wake, bed
        Per day: minute of the life.
    truth
        What happened, JSON-able, instants in ms UTC.
    """

    life: Life
    offset: npt.NDArray[np.int32]
    utc: Ints
    noise: Floats
    share: Floats
    wake: Ints
    bed: Ints
    truth: dict[str, Any] = field(default_factory=dict)


def keep_diary(person: Person, first: int, days: int, seed: int) -> Diary:
    """Days of a person from a local midnight on (ms, as if local time were UTC)."""
    rng = rng_of(seed, person.index, DIARY)
    weekend = (first // DAY + 3 + np.arange(days)) % 7 >= 5
    wake = np.clip(person.wake_min + rng.normal(0, 20, days) + 60 * weekend, 300, 660).astype(np.int64)
    bed = np.clip(person.bed_min + rng.normal(0, 25, days) + 30 * weekend, 1_260, 1_435).astype(np.int64)
    share, away_from_life = _withdrawal(person, days, rng)
    ill, fever, sick = _illness(person, days, rng)
    trip = _trip(days, rng)
    offset = offsets(person.city, first, days, trip)
    real, utc = exists(first, offset)
    life = lives.blank(first, days)
    starts = _go_out(person, life, weekend, share, ill, rng)
    begin = np.arange(days) * DAY_MIN
    spikes = _spikes(person, starts, begin + wake, begin + bed, rng)
    _move(person, life, share, ill, begin + wake, begin + bed, spikes, rng)
    life.intensity[:] = lives.intensity_of(life.steps)
    minute = np.arange(life.minutes) % DAY_MIN
    asleep = ((minute.reshape(days, DAY_MIN) < wake[:, None]) | (minute.reshape(days, DAY_MIN) >= bed[:, None])).ravel()
    life.pulse[:] = person.rest_bpm + person.slope * life.steps + 2.5 * np.sin(2 * np.pi * (minute - 600) / DAY_MIN)
    life.pulse[:] += np.repeat(fever, DAY_MIN) - 7.0 * asleep
    for start, length, bpm, _ in spikes:
        t = np.arange(length)
        life.pulse[start : start + length] += bpm * np.minimum(1.0, np.minimum((t + 1) / 2, (length - t) / 3))
    off_days = _wear(person, life, asleep, begin + wake, begin + bed, rng)
    silent = _silence(person, life, rng)
    for flags in (life.worn, life.watch, life.phone):
        flags &= real
    white = rng_of(seed, person.index, NOISE)
    slow = np.convolve(white.normal(0, 1, life.minutes + 14), np.full(15, 15**-0.5), "valid")
    noise = white.normal(0, 3.0, life.minutes) + 2.0 * slow
    truth: dict[str, Any] = {
        "spikes": [
            {
                "kind": kind,
                "start_time": int(utc[s]),
                "end_time": int(utc[min(s + n, life.minutes - 1)]),
                "bpm": round(bpm, 1),
                "away": bool(life.place[s] != HOME),
                "worn": bool(life.worn[s : s + n].all()),
            }
            for s, n, bpm, kind in spikes
        ],
        "illness": _span(utc, sick),
        "withdrawal": _span(utc, away_from_life),
        "trip": None if trip is None else _span(utc, trip[:2]) | {"shift_min": trip[2]},  # type: ignore[operator]
        "watch_off_days": off_days,
        "phone_silent": [[int(utc[a]), int(utc[min(b, life.minutes) - 1])] for a, b in silent],
    }
    return Diary(life, offset, utc, noise, share, begin + wake, begin + bed, truth)


def _span(utc: Ints, days: tuple[int, int] | None) -> dict[str, int] | None:
    if days is None:
        return None
    last = min(days[1] * DAY_MIN, len(utc)) - 1
    return {"start_time": int(utc[days[0] * DAY_MIN]), "end_time": int(utc[last]) + lives.MINUTE}


def _withdrawal(person: Person, days: int, rng: np.random.Generator) -> tuple[Floats, tuple[int, int] | None]:
    """Share of the usual life per day: falls within five days to 0.25-0.45, stays so for two to four weeks."""
    share = np.ones(days)
    where, depth, length, chance = rng.uniform(0.45, 0.75), rng.uniform(0.25, 0.45), rng.integers(14, 29), rng.random()
    if days < 7 or not (person.persona in ("WITHDRAWAL", "GAMING") or chance < 0.06):
        return share, None
    first = int(days * where)
    last = min(first + int(length), days)
    fall = np.linspace(1.0, depth, 6)[1:]
    share[first:last] = depth
    share[first : min(first + 5, last)] = fall[: min(5, last - first)]
    return share, (first, last)


def _illness(
    person: Person, days: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], Floats, tuple[int, int] | None]:
    ill, fever = np.zeros(days, bool), np.zeros(days)
    where, length, bpm, chance = rng.uniform(0.2, 0.9), int(rng.integers(3, 7)), rng.uniform(8, 14), rng.random()
    if not (person.persona == "ILL" or chance < 0.08 * days / 30):
        return ill, fever, None
    first = int(days * where)
    last = min(first + length, days)
    ill[first:last] = True
    fever[first:last] = bpm
    return ill, fever, (first, last)


def _trip(days: int, rng: np.random.Generator) -> tuple[int, int, int] | None:
    where, length, chance = rng.uniform(0.1, 0.7), int(rng.integers(3, 8)), rng.random()
    shift = int(rng.choice([-360, -120, 60, 180]))
    if days < 12 or chance > 0.08:
        return None
    first = int(days * where)
    return first, min(first + length, days), shift


def _go_out(
    person: Person,
    life: Life,
    weekend: npt.NDArray[np.bool_],
    share: Floats,
    ill: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ints:
    """Work and outings: places and the walks there; returns the starts of the outings (minutes of the life)."""
    days = life.days
    works = person.worker & ~weekend & ~ill & (rng.random(days) < np.where(share < 0.6, 0.3, 1.0))
    leave, back = 480 + 5 * rng.integers(0, 7, days), 1_010 + 5 * rng.integers(0, 7, days)
    minute = np.arange(DAY_MIN)
    place, steps = life.place.reshape(days, DAY_MIN), life.steps.reshape(days, DAY_MIN)
    at_work = works[:, None] & (minute >= leave[:, None]) & (minute < back[:, None])
    place[at_work] = WORK
    steps[at_work & ((minute < leave[:, None] + 8) | (minute >= back[:, None] - 8))] = 96
    wished = person.outings_day + rng.choice([-1, 0, 0, 0, 1], days) - works
    count = np.maximum(np.round(wished * share).astype(int), 0) * ~ill
    key = rng.random((days, len(SLOTS)))
    key[works, :AFTER_WORK] = 2.0
    rank = np.argsort(np.argsort(key, axis=1), axis=1)
    jitter = 5 * rng.integers(0, 7, (days, len(SLOTS)))
    day, slot = np.nonzero((rank < count[:, None]) & (key < 2.0))
    starts: Ints = day * DAY_MIN + SLOTS[slot] + jitter[day, slot]
    pace = rng.integers(84, 108, len(starts))
    inside = starts[:, None] + np.arange(OUTING_MIN)
    life.place[inside] = OTHER
    walks = np.concatenate([np.arange(WALK_MIN), np.arange(OUTING_MIN - WALK_MIN, OUTING_MIN)])
    life.steps[starts[:, None] + walks] = pace[:, None]
    return starts


def _spikes(
    person: Person, starts: Ints, wake: Ints, bed: Ints, rng: np.random.Generator
) -> list[tuple[int, int, float, str]]:
    """(start, minutes, bpm, kind) of rises of the pulse at rest; panic often happens away from home."""
    days = len(wake)
    out = []
    for kind, rate, bpm, length in (
        ("STRESS", 0.15, (14, 24), (10, 19)),
        ("PANIC", 0.25 if person.persona == "PANIC" else 0.01, (28, 46), (12, 28)),
    ):
        for _ in range(int(rng.poisson(rate * days))):
            n = int(rng.integers(*length))
            away, day, when = rng.random() < 0.5, int(rng.integers(days)), rng.random()
            mine = starts[(starts >= day * DAY_MIN) & (starts < (day + 1) * DAY_MIN)]
            start = int(wake[day] + 90 + when * (bed[day] - wake[day] - 180))
            if kind == "PANIC" and away and len(mine):
                start, n = int(mine[0]) + 14, min(n, 24)
            out.append((start, n, float(rng.uniform(*bpm)), kind))
    return sorted(out)


def _move(
    person: Person,
    life: Life,
    share: Floats,
    ill: npt.NDArray[np.bool_],
    wake: Ints,
    bed: Ints,
    spikes: list[tuple[int, int, float, str]],
    rng: np.random.Generator,
) -> None:
    """Walking bouts through the day up to its steps; none around a rise of the pulse."""
    days = life.days
    goal = np.maximum(
        rng.normal(person.steps_day, 0.12 * person.steps_day, days) * share * np.where(ill, 0.5, 1.0), 500
    )
    budget = np.maximum(goal - life.steps.reshape(days, DAY_MIN).sum(axis=1), 200)
    bouts = np.maximum(np.round(budget / (lives.BOUT_MIN * 60)).astype(int), 1)
    day = np.repeat(np.arange(days), bouts)
    start = (wake[day] + rng.random(len(day)) * (bed[day] - wake[day] - 10)).astype(np.int64)
    length, pace = rng.integers(3, 9, len(day)), rng.uniform(30, 90, len(day))
    inside = start[:, None] + np.arange(8)
    weight = np.zeros(life.minutes)
    on = np.arange(8) < length[:, None]
    weight[inside[on]] = np.broadcast_to(pace[:, None], on.shape)[on]
    weight[life.steps > 0] = 0.0
    for begin, n, _, _ in spikes:
        weight[max(begin - 12, 0) : begin + n + 3] = 0.0
        life.steps[max(begin - 8, 0) : begin + n + 3] = 0
    sums = weight.reshape(days, DAY_MIN).sum(axis=1)
    scale = np.where(sums > 0, budget / np.maximum(sums, 1.0), 0.0)
    life.steps[:] += np.minimum(np.round(weight * np.repeat(scale, DAY_MIN)), 125).astype(np.int16)


def _wear(person: Person, life: Life, asleep: Flags, wake: Ints, bed: Ints, rng: np.random.Generator) -> list[int]:
    """When the watch is on the wrist; returns the numbers of the days on which it is not used at all."""
    days = life.days
    put_on, take_off = wake + rng.integers(5, 40, days), bed - rng.integers(0, 30, days)
    charge, charging = 1_100 + rng.integers(0, 100, days), rng.integers(30, 90, days)
    forgotten = rng.random(days) < (0.2 if person.persona == "WATCH_OFF" else 0.04)
    breaks, gap = rng.random(days) < 0.12, rng.integers(60, 300, days)
    begins = (wake + rng.random(days) * 500).astype(np.int64)
    flat = rng.random(days) < 0.5
    where, length = rng.uniform(0.3, 0.7), int(rng.integers(3, 7))
    minute = np.arange(life.minutes).reshape(days, DAY_MIN)
    if person.wears_at_night:
        begin = np.arange(days) * DAY_MIN + charge
        worn = (minute < begin[:, None]) | (minute >= (begin + charging)[:, None])
    else:
        worn = (minute >= put_on[:, None]) & (minute < take_off[:, None])
    off = (begins * breaks)[:, None]
    worn &= ~(breaks[:, None] & (minute >= off) & (minute < off + gap[:, None]))
    if person.persona == "WATCH_OFF":
        first = int(days * where)
        forgotten[first : first + length] = True
        flat[first : first + length] = True
    worn[forgotten] = False
    life.worn[:] = worn.ravel()
    life.watch[:] = np.repeat(~(forgotten & flat), DAY_MIN)
    return [int(d) for d in np.flatnonzero(forgotten)]


def _silence(person: Person, life: Life, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Spells in which the phone is off or its battery empty."""
    days = life.days
    much = person.persona == "PHONE_SILENT"
    count = int(rng.poisson((0.3 if much else 0.03) * days))
    start, length = rng.integers(0, life.minutes, count), rng.integers(120, 840, count)
    where, block = rng.uniform(0.3, 0.8), int(rng.integers(2, 5))
    spans = [(int(a), int(min(a + n, life.minutes))) for a, n in zip(start, length, strict=True)]
    if much:
        first = int(days * where)
        spans.append((first * DAY_MIN, min(first + block, days) * DAY_MIN))
    for a, b in spans:
        life.phone[a:b] = False
    return sorted(spans)
