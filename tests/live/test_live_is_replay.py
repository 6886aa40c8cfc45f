"""A live run over Kafka says record for record what the replay of the same log says, also when it is killed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.broker import Broker
from pipelines.live import Live
from pipelines.live_options import LiveOptions
from pipelines.waiting import RISKY
from tests.graph.logs import HOUR, both, life
from tests.live.stage import end_of, live, replayed, said, stage, without_dlq


class Killed(BaseException):
    """The power went."""


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
