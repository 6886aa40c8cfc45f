"""A live run over Kafka says record for record what the replay of the same log says, also when it is killed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.reader import Part, Reader, reader_of
from deploy.local.broker import Broker
from pipelines.live import Live
from pipelines.live_options import LiveOptions
from pipelines.waiting import RISKY
from tests.graph.logs import HOUR, T0, both, life
from tests.live.stage import end_of, live, replayed, said, stage, without_dlq

FEW = 100  # records that are read at once


class Killed(BaseException):
    """The power went."""


@pytest.mark.usefixtures("library")
def test_a_backlog_gives_the_records_of_the_replay_whatever_the_partitions(broker: Broker, tmp_path: Path) -> None:
    log = both(life("p1", 3, 26), life("p2", 53, 9), life("p3", 54, 5))
    end = end_of(log) + HOUR
    options = stage(broker, log, partitions=3)
    run = live(options, tmp_path / "state.db", end)
    run.run()
    breaks = run.order_breaks
    run.close()
    assert not breaks
    want = replayed(log, tmp_path, end)
    assert {"features.minute", "risk.signal", "audit", "notifications"} <= set(want)
    assert without_dlq(said(options)) == without_dlq(want)


def test_machines_that_a_slice_has_no_time_for_run_in_the_next_and_nothing_shows(broker: Broker, tmp_path: Path) -> None:
    whole = both(life("p1", 3, 5), life("p2", 53, 5), life("p3", 54, 5))
    log = {t: r for t, r in whole.items() if t not in RISKY}  # what bears risk is never left for the next slice
    end = end_of(log) + HOUR
    options = stage(broker, log, partitions=2)
    run = live(options, tmp_path / "state.db", end, LiveOptions(slice_s=0.2, work_s=1e-6, in_memory=2))
    pressed = []
    tick = run.tick
    run.tick = lambda: (tick(), pressed.append(run.turns.pressed))[0]  # type: ignore[method-assign,func-returns-value]
    run.run()
    run.close()
    assert any(pressed)
    assert without_dlq(said(options)) == without_dlq(replayed(log, tmp_path, end))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("seed", [1])
def test_killed_at_any_step_nothing_is_lost_and_nothing_doubled(broker: Broker, tmp_path: Path, seed: int) -> None:
    """The kill falls before or after the commit of a slice, before or after its publication, in turn."""
    log = both(life("p1", seed, 8), life("p2", seed + 50, 6))
    end = end_of(log) + HOUR
    options = stage(broker, log, partitions=2)
    kills = 0
    for number in range(60):
        run = live(options, tmp_path / "state.db", end)
        _mine(run, number % 4, number // 4 % 3 + 1)
        try:
            run.run()
            break
        except Killed:
            kills += 1
        finally:
            run.close()
        if kills == 8:
            run = live(options, tmp_path / "state.db", end)
            run.run()
            run.close()
            break
    assert kills >= 4
    assert without_dlq(said(options)) == without_dlq(replayed(log, tmp_path, end))


def test_killed_while_rows_wait_they_are_read_again_before_anybodys_machine_goes_on(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log's clock is at the end, two of three people have not been run so far; the run after the kill reads little at a time."""
    log = both(life("p1", 3, 12), life("p2", 53, 12), life("p3", 54, 12))
    end = end_of(log) + HOUR
    options = stage(broker, log, partitions=2)
    run = live(options, tmp_path / "state.db", T0 + HOUR)
    run.run()
    run.close()
    run = live(options, tmp_path / "state.db", end, LiveOptions(slice_s=2.0, people=1, work_s=1e-6))
    _mine(run, 1, 1)
    with pytest.raises(Killed):
        run.run()
    behind = [kept.clock for kept in run.people.values() if kept.clock < end]
    run.close()
    assert run.clock == end
    assert behind
    monkeypatch.setattr("connectors.kafka.fetch.reader_of", lambda *a, **k: Few(reader_of(*a, **k)))
    monkeypatch.setattr("pipelines.live.SHORT_LAG", 0)  # or the little there is would be read at once
    run = live(options, tmp_path / "state.db", end, LiveOptions(slice_s=0.2, slice_rows=FEW))
    run.run()
    run.close()
    assert not run.order_breaks
    assert without_dlq(said(options)) == without_dlq(replayed(log, tmp_path, end))


class Few:
    """A reader that hands out little at a time, of one partition."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.held = reader, dict[Part, list[Any]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    def poll(self, wait_ms: int) -> dict[Part, list[Any]]:
        if not self.held:
            self.held = {p: list(r) for p, r in self.reader.poll(wait_ms).items() if r}
        if not self.held:
            return {}
        part, records = self.held.popitem()
        if records[FEW:]:
            self.held[part] = records[FEW:]
        return {part: records[:FEW]}

    def position(self, part: Part) -> int:
        return int(self.held[part][0].offset) if part in self.held else self.reader.position(part)


def _mine(run: Live, where: int, turn: int) -> None:
    """Lay the kill: around the `turn`-th commit (0, 1) or publication (2, 3) of the run."""
    target = run.ledger if where < 2 else run.publisher
    name = "commit" if where < 2 else "publish"
    act, count = getattr(target, name), [0]

    def mined(*args: object) -> object:
        count[0] += 1
        if count[0] < turn:
            return act(*args)
        if where % 2:
            act(*args)
        raise Killed

    setattr(target, name, mined)
