"""One person's machine between steps: ingest, then the rooms. No Beam here.

A carrier may keep a `Machine` in memory from step to step, or build it anew from its bytes each time: nothing shows of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from content.lexicon import Lexicon
from content.library import Library
from pipelines import person_state
from pipelines.ingest import Ingest, IngestResult, IngestState
from pipelines.ingest.machine import MADE_FROM, TimedTerm
from pipelines.person import Person
from pipelines.settings import Settings
from schemas import TOPICS

NEVER_ARCHIVED = frozenset({"chat.inbound"})


@dataclass(frozen=True)
class Shared:
    """What all persons share in a slice.

    Parameters
    ----------
    terms
        Lexicon items that came with the log, by arrival.
    """

    settings: Settings
    library: Library
    lexicon: Lexicon
    terms: tuple[TimedTerm, ...] = ()


@dataclass
class Stepped:
    """What one person's slice gave: output rows by topic, and the counts of ingest.

    Parameters
    ----------
    made
        Topics among `tables` that hold what ingest made of raw records.
    """

    user: str
    made: frozenset[str] = frozenset()
    tables: dict[str, pa.Table] = field(default_factory=dict)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    came: IngestResult = field(default_factory=IngestResult)


class Machine:
    """Ingest and rooms of one person, held in memory.

    Parameters
    ----------
    user
        Pseudonym.
    states
        (ingest, person) as `dump` gave them; None for somebody new.

    Raises
    ------
    StateError
        States that are damaged or of an unknown version.
    """

    def __init__(self, user: str, shared: Shared, states: tuple[bytes, bytes] | None = None) -> None:
        self.user = user
        settings = shared.settings
        if states is None:
            self.held = IngestState(settings)
            self.person = Person(user, settings, shared.library, shared.lexicon)
        else:
            self.held = IngestState.load(states[0], settings)
            self.person = person_state.load(states[1], user, settings, shared.library, shared.lexicon)

    def step(self, tables: dict[str, pa.Table], until: int, shared: Shared) -> Stepped:
        """Take what arrived up to `until` (ms of the log's clock).

        Parameters
        ----------
        tables
            Topic → rows in arrival order, as a source gives them.
        shared
            Content may have changed since the last step.
        """
        came = Ingest(shared.settings, shared.lexicon).run(self.user, tables, self.held, shared.terms)
        self.person.use(shared.library, shared.lexicon)
        said = self.person.run(came, until)
        self.held.forget(until)
        out = Stepped(self.user, frozenset(MADE_FROM[t] for t in tables if t in MADE_FROM), came=came)
        for topic, rows in said.items():
            if isinstance(rows, list):
                if rows:
                    out.records[topic] = rows
            else:
                out.tables[topic] = rows
        for topic, table in came.tables.items():
            if not TOPICS[topic].control and topic not in NEVER_ARCHIVED:
                out.tables[topic] = table
        came.tables = {}
        return out

    def next_due(self, until: int) -> int | None:
        """When the machine must be stepped next even if nothing arrives (ms), None = not before something does.

        Parameters
        ----------
        until
            The log's clock of the last step.
        """
        return self.person.next_due(until)

    def dump(self, until: int) -> tuple[bytes, bytes]:
        """(ingest, person) as explicit bytes; `until` = the log's clock of the last step (ms)."""
        return self.held.dump(until), person_state.dump(self.person, until)


def step(
    user: str, tables: dict[str, pa.Table], states: tuple[bytes, bytes] | None, until: int, shared: Shared
) -> tuple[Stepped, tuple[bytes, bytes]]:
    """One step from bytes to bytes: what it gave, and the new states."""
    machine = Machine(user, shared, states)
    return machine.step(tables, until, shared), machine.dump(until)
