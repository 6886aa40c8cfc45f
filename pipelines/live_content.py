"""Content packs that come while running: what a pack says acts on what arrives after it, as in replay. No Beam here."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from connectors.kafka.codec import Letter
from connectors.kafka.reader import Part
from pipelines.content_log import PACK, Packs
from pipelines.ingest.machine import record_ids
from pipelines.outgoing import letter
from pipelines.report import OPS
from pipelines.settings import Settings
from pipelines.step import Machine, Stepped
from pipelines.waiting import within
from schemas import rows


class LiveContent(Packs):
    """Library and lexicon of an embedded run, by instant of the log's clock.

    Attributes
    ----------
    changed
        Whether `packs` must be kept anew.
    """

    def __init__(self, settings: Settings, packs: list[dict[str, Any]]) -> None:
        super().__init__(settings, packs)
        self.changed = False
        self._letters: list[dict[str, Any]] = []

    def take(self, table: pa.Table, clock: int, parts: list[Part]) -> None:
        """Packs that have come; one from behind the log's clock acts from now on."""
        names = record_ids(PACK, "", table)
        places = zip(table["_file"].to_pylist(), table["_line"].to_pylist(), strict=True)
        for record, name, (file, line) in zip(rows.to_dicts(PACK, table), names, places, strict=True):
            if name in self.known:
                continue
            event, arrival = int(record["event_time"]), int(record["ingest_time"])
            if not self.signed(record):
                x = Letter(PACK, "UNSIGNED", "signature", OPS, event, arrival, parts[file][1], line)
                self._letters.append(letter(x, OPS))
                continue
            self.add(record, name, max(arrival, clock + 1))
            self.changed = True

    def letters(self) -> list[dict[str, Any]]:
        """Dead letters since the last call."""
        out, self._letters = self._letters, []
        return out

    def run(self, machine: Machine, tables: dict[str, pa.Table], after: int, until: int) -> list[Stepped]:
        """Step a machine over (after, until], in parts between content packs; `tables` in arrival order."""
        return [machine.step(within(tables, a, b), b, shared) for a, b, shared in self.spans(after, until)]
