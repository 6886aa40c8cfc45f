"""Whole populations of made-up people as a log folder, with the truth beside it.

Sites use it to see latency and alert load before any patient is enrolled; `truth.json` says what really happened.
Research software. Not a medical device.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from simulator import devices, transport
from simulator.diary import Diary, keep_diary
from simulator.folder import CannotWrite, LogWriter
from simulator.life import DAY, MINUTE
from simulator.persona import APPS, FIXES, TRANSPORT, Person, meet, rng_of
from simulator.registry import control_records
from simulator.reports import reports
from simulator.rows import Block, Column, Log
from simulator.scenarios import build, control, raw, resolve

FIRST_DAY = dt.date(2026, 3, 2)
LABEL = "Made-up people. Research software. Not a medical device."
HOUR_MS = 60 * MINUTE
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Simulated:
    """What was written.

    Parameters
    ----------
    rows
        Records by topic.
    truth
        The file that says what happened to whom.
    """

    people: int
    rows: Counter[str]
    truth: Path


def simulate(
    out: Path,
    people: int = 0,
    days: int = 30,
    seed: int = 1,
    start: dt.date = FIRST_DAY,
    scenarios: Sequence[str] = (),
    fmt: str = "jsonl",
    progress: Progress | None = None,
) -> Simulated:
    """Write made-up people into a new log folder, and `<out>.truth.json` beside it.

    Person number i depends on (seed, i, days, start) only: more people change nothing for the others. The same call
    writes the same bytes. One person at a time is in memory.

    Parameters
    ----------
    out
        Log folder; must not hold records yet.
    people, days
        How many people, and days of each, from local midnight of `start` on.
    scenarios
        Golden scenarios, each as a person named after it (`g1`, …), with their own dates (from 2026-04-13 on).
    fmt
        `jsonl` or `parquet`.
    progress
        Called with (people done, people in all).

    Raises
    ------
    CannotWrite
        The folder holds records, the format is unknown, or a number makes no sense.
    ScenarioError
        Unknown scenario.
    """
    if people < 0 or days < 1 or seed < 0 or not (people or scenarios):
        raise CannotWrite(
            "nothing to simulate: give a number of people or a scenario, at least one day, a seed from 0 on"
        )
    stories = {name: build(name) for name in dict.fromkeys(scenarios)}
    first = (start - dt.date(1970, 1, 1)).days * DAY
    total = people + len(stories)
    truth_path = out.with_name(out.name + ".truth.json")
    with LogWriter(out, fmt) as writer, truth_path.open("wb") as truth:
        head = {"label": LABEL, "seed": seed, "start": start.isoformat(), "days": days}
        truth.write(orjson.dumps(head)[:-1] + b',"people":[')
        writer.records("content.pack", control.lexicon(raw("base")["lexicon"]))
        for done, (name, log) in enumerate(stories.items()):
            for topic, records in log.items():
                if topic != "content.pack":
                    writer.records(topic, records)
            story = resolve(name)
            told = {"user": name, "scenario": name, "expect": story.expect, "never": story.never}
            _tell(truth, told, done)
            _report(progress, done + 1, total)
        for index in range(people):
            blocks, log, person_truth = one_person(seed, index, first, days)
            for block in blocks:
                writer.block(block, person_truth["user"])
            for topic in sorted(log):
                writer.records(topic, log[topic])
            _tell(truth, person_truth, len(stories) + index)
            _report(progress, len(stories) + index + 1, total)
        truth.write(b"\n]}\n")
    return Simulated(total, writer.counts, truth_path)


def _tell(truth: Any, entry: dict[str, Any], number: int) -> None:
    truth.write((b",\n" if number else b"\n") + orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def one_person(seed: int, index: int, first: int, days: int) -> tuple[list[Block], Log, dict[str, Any]]:
    """(rows of the devices, low-rate and control records, truth) of person number `index` (from 0).

    Parameters
    ----------
    first
        Local midnight of the first day, ms as if local time were UTC.
    """
    person = meet(seed, index)
    diary = keep_diary(person, first, days, seed)
    diary.truth |= {"user": person.user, "persona": person.persona, "tz_offset_min": person.city.offset_min}
    log = control_records(person, diary, seed) | reports(person, diary, seed)
    blocks = _through_transport(person, diary, _measured(person, diary, seed), seed)
    return blocks, log, diary.truth


def _measured(person: Person, diary: Diary, seed: int) -> list[Block]:
    """What watch and phone measure, before transport."""
    life, offset = diary.life, diary.offset
    places = np.array([person.home, person.other, person.work])
    rng = rng_of(seed, person.index, FIXES)
    located = devices.fixes(life, places, [rng] * life.days, offset)
    coarse = rng.random(len(located)) < 0.06
    value: dict[str, Column] = {
        **located.value,
        "accuracy_m": np.where(coarse, np.round(rng.uniform(60, 180, len(located)), 1), devices.ACCURACY_M),
    }
    rng = rng_of(seed, person.index, APPS)
    hearts = transport.unlock(devices.heart_rows(life, diary.noise, offset), 0.02, rng)
    return [
        transport.lose(hearts, 0.02, rng),
        devices.activity_rows(life, offset),
        *devices.status_rows(life, life.worn, offset),
        transport.lose(replace(located, value=value), 0.03, rng),
        devices.app_rows(life, *_sessions(person, diary, rng), offset),
    ]


def _sessions(person: Person, diary: Diary, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """(start, length, app) of phone sessions: as many as fit the day's share of the usual life; a gamer withdraws
    into games."""
    days = diary.life.days
    mean = np.array([a[2] for a in devices.APPS], float)
    wanted = mean * (0.5 + 0.5 * diary.share[:, None])
    if person.persona == "GAMING":
        wanted[:, devices.GAME] = mean[devices.GAME] * np.where(diary.share < 1, 3.0, 1.0)
    counts = rng.poisson(wanted)
    day, app = (np.repeat(i.ravel(), counts.ravel()) for i in np.indices((days, len(mean))))
    awake = (diary.bed - diary.wake)[day] - 60
    start = diary.wake[day] + rng.random(len(day)) * awake
    length = np.array([a[3] for a in devices.APPS])[app] * rng.uniform(0.4, 1.6, len(day))
    return np.floor(start * MINUTE) / MINUTE, length, app.astype(np.int64)


def _through_transport(person: Person, diary: Diary, blocks: list[Block], seed: int) -> list[Block]:
    """Gaps, batches, repetitions and wrong clocks of watch and phone; adds them to the truth."""
    rng = rng_of(seed, person.index, TRANSPORT)
    begin, end = int(diary.utc[0]), int(diary.utc[-1]) + MINUTE
    late = person.persona == "LATE_SYNC"
    watch_gaps = transport.gaps(begin, end, 0.5 if late else 0.06, (2.0, 10.0), rng)
    if late:  # one that outlasts the joins' lateness of 24 h
        middle = (begin + end) // 2
        gap = np.array([[middle, middle + 32 * HOUR_MS]])
        watch_gaps = np.concatenate([watch_gaps[watch_gaps[:, 1] < middle], gap])
    phone_gaps = transport.gaps(begin, end, 0.03, (1.0, 6.0), rng)
    twice = transport.gaps(begin, end, 0.15, (0.5, 3.0), rng)
    wrong = None
    if person.persona == "WRONG_CLOCK":
        at = int(diary.utc[int(diary.wake[diary.life.days // 2]) + 120])
        wrong = (at, at + 3 * HOUR_MS)
    out = []
    for block in blocks:
        watch = block.source_id == devices.WATCH
        moved = transport.sync(block, person.batch_min if watch else 0, watch_gaps if watch else phone_gaps)
        if wrong is not None and watch:  # half a span hours ahead, half of it days behind
            half = (wrong[0] + wrong[1]) // 2
            moved = transport.wrong_clock(moved, (half, wrong[1]), -8 * DAY)
            moved = transport.wrong_clock(moved, (wrong[0], half), 26 * HOUR_MS)
        out.append(transport.in_order(transport.resend(moved, twice, rng)))
    diary.truth["watch_gaps"] = watch_gaps.tolist()
    diary.truth["phone_gaps"] = phone_gaps.tolist()
    diary.truth["sent_twice"] = twice.tolist()
    diary.truth["wrong_clock"] = wrong
    return out


__all__ = ["CannotWrite", "Simulated", "one_person", "simulate"]
