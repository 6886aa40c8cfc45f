"""One replay of a story serves all tests of a worker that ask about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.scenarios import build
from tests.scenarios.harness import Clock, Told, play

Play = Callable[[str], Told]
WEEKS = "04-28"  # 20 days of baseline for stories that last days: 14 valid ones are needed
DAYS = "05-11"  # eight days learned for the acute ones: the heart rate needs seven
LONG = {"g5", "g6", "g7", "g8", "g9"}


def span(name: str) -> dict[str, str]:
    """First and last day of a story with a shorter history and end."""
    if name.split("_")[0] in LONG:
        return {"first_day": WEEKS, "last_day": "05-27"}
    return {"first_day": DAYS, "last_day": "05-22"}


@pytest.fixture(scope="session")
def as_written(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """The story with its whole history of 37 days."""
    return _player(tmp_path_factory.mktemp("written"), {})


@pytest.fixture(scope="session")
def shorter(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """The story with a shorter history, to hold variants against."""
    return _player(tmp_path_factory.mktemp("shorter"), {"short": True})


def _player(folder: Path, how: dict[str, bool]) -> Play:
    told: dict[str, Told] = {}

    def give(name: str) -> Told:
        if name not in told:
            log = build(name, **span(name)) if how else build(name)
            told[name] = play(log, folder / name, clock=Clock())
        return told[name]

    return give
