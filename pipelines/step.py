"""One step of one person: ingest, then the machine, with explicit state before and after. No Beam here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from content.lexicon import Lexicon
from content.library import Library
from pipelines.ingest import Ingest, IngestResult
from pipelines.ingest.machine import TimedTerm
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
    """What one person's slice gave: new states, output rows by topic, and the counts of ingest."""

    user: str
    ingest_state: bytes
    person_state: bytes
    tables: dict[str, pa.Table] = field(default_factory=dict)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    came: IngestResult = field(default_factory=IngestResult)


def step(
    user: str, tables: dict[str, pa.Table], states: tuple[bytes, bytes] | None, until: int, shared: Shared
) -> Stepped:
    """Take what arrived of `user` up to `until` (ms of the log's clock).

    Parameters
    ----------
    tables
        Topic → rows in arrival order, as a source gives them.
    states
        (ingest, person) as the last step left them; None for somebody new.
    """
    came = Ingest(shared.settings, shared.lexicon).run(user, tables, states[0] if states else None, until, shared.terms)
    if states:
        person = Person.load(states[1], user, shared.settings, shared.library, shared.lexicon)
    else:
        person = Person(user, shared.settings, shared.library, shared.lexicon)
    said = person.run(came, until)
    out = Stepped(user, came.state, person.dump(until), came=came)
    for topic, rows in said.items():
        if isinstance(rows, list):
            if rows:
                out.records[topic] = rows
        else:
            out.tables[topic] = rows
    for topic, table in came.tables.items():
        if not TOPICS[topic].control and topic not in NEVER_ARCHIVED:
            out.tables[topic] = table
    came.tables, came.state = {}, b""
    return out
