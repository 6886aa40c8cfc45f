"""A machine kept in memory is the one built anew from its bytes; and it says itself when it must be stepped next."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from content.lexicon import Lexicon
from content.library import Library
from pipelines.settings import Settings
from pipelines.step import Machine, Shared, Stepped
from schemas import rows
from tests.graph.logs import DAY, HOUR, MINUTE, T0, Log, life

Said = dict[str, list[dict[str, Any]]]
END = T0 + 80 * HOUR


@cache
def shared() -> Shared:
    settings = Settings()
    return Shared(settings, Library.build(settings.locales), Lexicon.load())


def tables(log: Log, after: int, until: int) -> dict[str, pa.Table]:
    out = {}
    for topic, records in log.items():
        part = sorted((r for r in records if after < r["ingest_time"] <= until), key=lambda r: r["ingest_time"])
        if part:
            table, defects = rows.from_dicts(topic, part)
            assert not defects
            numbers = pa.array(range(len(part)), pa.int64())
            out[topic] = table.append_column("_file", pa.nulls(len(part), pa.int32()).fill_null(0)).append_column("_line", numbers)
    return out


def add(said: Said, done: Stepped) -> None:
    for topic, records in done.records.items():
        said[topic] += records
    for topic, table in done.tables.items():
        said[topic] += rows.to_dicts(topic, table)


def ordered(records: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(r, sort_keys=True) for r in records)


def walked(
    log: Log, instants: list[int], rng: random.Random | None = None
) -> tuple[dict[str, list[str]], tuple[bytes, bytes]]:
    """All that is said, stepped at the instants; with `rng` the machine is now and then built anew from its bytes."""
    machine, after = Machine("p1", shared()), 0
    said: Said = defaultdict(list)
    for until in [*instants, END]:
        add(said, machine.step(tables(log, after, until), until, shared()))
        if rng is not None and rng.random() < 0.5:
            machine = Machine("p1", shared(), machine.dump(until))
        after = until
    return {t: ordered(rs) for t, rs in said.items()}, machine.dump(END)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_shows_of_whether_it_was_kept_in_memory_or_built_anew(seed: int) -> None:
    rng = random.Random(seed)
    log = life("p1", seed + 3, 12)
    instants = sorted(T0 + rng.randrange(0, 40 * HOUR) for _ in range(25))
    whole, state = walked(log, [])
    kept, state_of_kept = walked(log, instants)
    mixed, state_of_mixed = walked(log, instants, rng)
    assert whole.keys() == kept.keys() == mixed.keys()
    assert whole == kept == mixed
    assert state == state_of_kept == state_of_mixed


def due(log: Log) -> Iterator[tuple[int, Stepped]]:
    """Stepped at each arrival and whenever the machine says so, never in between."""
    machine, after = Machine("p1", shared()), 0
    arrivals = sorted({r["ingest_time"] for rs in log.values() for r in rs})
    while True:
        later = [t for t in (machine.next_due(after), next((a for a in arrivals if a > after), None)) if t is not None]
        if not later or min(later) > END:
            return
        until = min(later)
        assert until > after
        yield until, machine.step(tables(log, after, until), until, shared())
        after = until


def test_stepped_only_when_something_comes_or_is_due_it_says_everything_and_at_once() -> None:
    log = life("p1", 5, 3, steady=True)
    said: Said = defaultdict(list)
    for until, done in due(log):
        now: Said = defaultdict(list)
        add(now, done)
        for topic, records in now.items():
            assert {r["ingest_time"] for r in records} == {until}, topic
            said[topic] += records
    whole, _ = walked(log, [])
    assert {t: ordered(rs) for t, rs in said.items()} == whole


def test_somebody_of_whom_nothing_is_heard_is_stepped_six_times_an_hour_at_most() -> None:
    log = life("p1", 6, 2, messy=False)
    machine = Machine("p1", shared())
    machine.step(tables(log, 0, T0 + 12 * HOUR), T0 + 12 * HOUR, shared())
    clock, steps = T0 + 12 * HOUR, 0
    while (following := machine.next_due(clock)) is not None and following <= T0 + DAY:
        machine.step({}, following, shared())
        clock, steps = following, steps + 1
    assert steps <= 12 * 6 + 3
    assert machine.next_due(clock) - clock <= 10 * MINUTE
