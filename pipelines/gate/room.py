"""What the machine asks of a room that stands after the signals (programs, conversation): records in, risk evidence out.

A room never sees another room: it is handed what it asks for, speaks through the desk, and returns the risk it found, which
only the rule of support.md 3 judges. Its state is plain JSON data and stays within its share of a person's 64 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from content.lexicon import Lexicon
from pipelines.context.columns import Columns
from pipelines.context.risk import Flag
from pipelines.gate.desk import Desk, Message


@dataclass
class Scene:
    """What a room is shown at one instant of the log's clock (`desk.now`).

    Parameters
    ----------
    desk
        Consent, profile, days, timers, and the one way to speak.
    columns
        High-rate rows of this run by topic, in arrival order: also those that arrive later in it, so take what arrived by
        `desk.now` only.
    case_open
        An ACUTE case with tier L3 or L4 is open.
    suspect
        Ids of records whose device clock was wrong (topics.md 2.3).
    lexicon
        Risk words by language.
    invite
        (kind of decision point, trigger, message) → whether the trial let the message be said (trial.md 1, 2).
    acted
        The person did what a prompt of this kind of decision point asked for.
    """

    desk: Desk
    lexicon: Lexicon
    columns: Mapping[str, Columns] = field(default_factory=dict)
    case_open: bool = False
    suspect: frozenset[str] = frozenset()
    invite: Callable[[str, tuple[Any, ...], Message], bool] = lambda kind, trigger, message: False
    acted: Callable[[str], None] = lambda kind: None


class PersonRoom(Protocol):
    """A room of one person's machine. Nothing may show of where a run ends.

    Attributes
    ----------
    name
        Key of its state.
    topics
        Low-rate topics whose records it takes one by one, in the order of the log.
    timers
        Kinds of timers (`pipelines.gate.timers.ORDER`) that are its own.
    """

    name: ClassVar[str]
    topics: ClassVar[frozenset[str]]
    timers: ClassVar[frozenset[str]]

    def take(self, topic: str, record: dict[str, Any], scene: Scene) -> list[Flag]:
        """A record that arrived at `scene.desk.now`."""

    def due(self, kind: str, key: str, scene: Scene) -> list[Flag]:
        """A timer of its own."""

    def finish(self, until: int, scene: Scene) -> list[Flag]:
        """End of a run: remember of the high-rate rows that arrived by `until` (ms) what a later instant needs."""

    def state(self) -> Any:
        """Everything known, as JSON data."""

    def restore(self, state: Any) -> None:
        """Take up what `state` gave; KeyError, TypeError or ValueError for anything else."""
