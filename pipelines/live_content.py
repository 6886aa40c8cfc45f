"""Content packs that come while running: what a pack says acts on what arrives after it, as in replay. No Beam here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.kafka.codec import Letter
from connectors.kafka.reader import Part
from content.lexicon import Lexicon, terms_from_records
from content.library import Library
from pipelines.content_log import PACK
from pipelines.ingest.machine import record_ids
from pipelines.outgoing import letter
from pipelines.report import OPS
from pipelines.settings import Settings
from pipelines.step import Machine, Shared, Stepped
from pipelines.waiting import within
from schemas import rows, signing


class LiveContent:
    """Library and lexicon by instant of the log's clock.

    Parameters
    ----------
    packs
        Records taken before, with their event_id.

    Attributes
    ----------
    changed
        Whether `packs` must be kept anew.
    """

    def __init__(self, settings: Settings, packs: list[dict[str, Any]]) -> None:
        self.settings, self.packs, self.changed = settings, packs, False
        self._known = {p["event_id"] for p in packs}
        self._bundled = Library.build(settings.locales, trusted_keys=settings.trusted_keys)
        self._lexicon = Lexicon.load()
        self._made: dict[int, Shared] = {}
        self._letters: list[dict[str, Any]] = []

    def take(self, table: pa.Table, clock: int, parts: list[Part]) -> None:
        """Packs that have come; one from behind the log's clock acts from now on."""
        names = record_ids(PACK, "", table)
        places = zip(table["_file"].to_pylist(), table["_line"].to_pylist(), strict=True)
        for record, name, (file, line) in zip(rows.to_dicts(PACK, table), names, places, strict=True):
            if name in self._known:
                continue
            event, arrival = int(record["event_time"]), int(record["ingest_time"])
            if not signing.verify(record["value"], self.settings.trusted_keys):
                x = Letter(PACK, "UNSIGNED", "signature", OPS, event, arrival, parts[file][1], line)
                self._letters.append(letter(x, OPS))
                continue
            self._known.add(name)
            self.packs.append({**record, "event_id": name, "ingest_time": max(arrival, clock + 1)})
            self.changed = True
        self.packs.sort(key=lambda p: int(p["ingest_time"]))
        self._made = {}

    def letters(self) -> list[dict[str, Any]]:
        """Dead letters since the last call."""
        out, self._letters = self._letters, []
        return out

    def spans(self, after: int, until: int) -> Iterator[tuple[int, int, Shared]]:
        """Parts (a, b] of a step with the content that holds in each."""
        arrivals = np.array([int(p["ingest_time"]) for p in self.packs], np.int64)
        for at in np.unique(arrivals[(arrivals > after) & (arrivals <= until)]).tolist():
            if at - 1 > after:
                yield after, at - 1, self.at(at - 1)
                after = at - 1
        if until > after:
            yield after, until, self.at(until)

    def run(self, machine: Machine, tables: dict[str, pa.Table], after: int, until: int) -> list[Stepped]:
        """Step a machine over (after, until], in parts between content packs; `tables` in arrival order."""
        return [machine.step(within(tables, a, b), b, shared) for a, b, shared in self.spans(after, until)]

    def at(self, until: int) -> Shared:
        """The content that holds at an instant (ms)."""
        packs = [p for p in self.packs if int(p["ingest_time"]) <= until]
        if len(packs) not in self._made:
            terms = tuple((int(p["ingest_time"]), term) for p in packs for term in terms_from_records([p]))
            library = self._bundled.with_records(packs) if packs else self._bundled
            self._made[len(packs)] = Shared(self.settings, library, self._lexicon, terms)
        return self._made[len(packs)]
