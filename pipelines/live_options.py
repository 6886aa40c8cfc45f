"""What a site may set of a live run, section `[live]` of kairos.toml, and the clock of the host."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipelines.settings import SettingsError


@dataclass(frozen=True)
class LiveOptions:
    """Section `[live]`.

    Parameters
    ----------
    hold_s
        How long records wait for older ones, seconds; 2 by default, 0.3 where an answer is wanted within a second.
    max_hold_s
        A partition that does not move for so long no longer holds the clock. At most 10.
    slice_s
        How often machines are run.
    work_s
        How long the machines of one slice may run, about; those left run in the next one, who is in need is run at once.
    in_memory
        Machines kept in memory (about 1.2 MB each).
    people
        Machines run in one slice at most; those of whom something is urgent first.
    slice_rows
        Rows read in one slice at most.
    waiting_rows
        When so many wait, partitions that are ahead are not read on.
    name
        Transactional id of the run; two runs of one name fence each other.
    """

    hold_s: float = 2.0
    max_hold_s: float = 10.0
    slice_s: float = 0.5
    work_s: float = 0.4
    in_memory: int = 500
    people: int = 400
    slice_rows: int = 100_000
    waiting_rows: int = 1_000_000
    dead_share: float = 0.5
    dead_rows: int = 1_000
    name: str = "kairos-person"

    def __post_init__(self) -> None:
        if not 0 <= self.hold_s <= self.max_hold_s <= 10:
            raise SettingsError("kairos.toml: 0 <= live.hold_s <= live.max_hold_s <= 10 is expected")
        if not 0.05 <= self.slice_s <= 10:
            raise SettingsError("kairos.toml: live.slice_s must be from 0.05 to 10")

    @staticmethod
    def load(path: Path | None) -> LiveOptions:
        """Read `[live]` of kairos.toml; SettingsError names an unknown setting or a wrong type."""
        given: Any = {}
        if path is not None:
            try:
                given = tomllib.loads(path.read_text(encoding="utf-8")).get("live", {})
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise SettingsError(f"{path}: not a readable TOML file ({type(error).__name__})") from None
        if not isinstance(given, dict):
            raise SettingsError(f"{path}: live must be a [section]")
        kinds = {f.name: type(f.default) for f in fields(LiveOptions)}
        for key, value in given.items():
            if key not in kinds:
                raise SettingsError(f"{path}: unknown setting live.{key}")
            if isinstance(value, bool) or not isinstance(value, (int, float) if kinds[key] is float else kinds[key]):
                raise SettingsError(f"{path}: live.{key} must be a {kinds[key].__name__}")
        return LiveOptions(**given)


class Wall:
    """Now, in ms since 1970; it does not go back when the host's clock is set back."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._base = wall() - steady()

    def now(self) -> int:
        self._base = max(self._base, self._wall() - self._steady())
        return int((self._steady() + self._base) * 1000)
