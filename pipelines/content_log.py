"""Content packs that come with the log, and the library and lexicon they make, by instant of the log's clock. No Beam here.

What a pack says acts on what arrives after it, exactly as in replay (`pipelines/graph.py`): a step is cut before each pack.
Every worker reads the topic by itself; packs are few.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from content.lexicon import Lexicon, terms_from_records
from content.library import Library
from pipelines.ingest.machine import record_ids
from pipelines.settings import Settings
from pipelines.step import Shared
from schemas import rows, signing

PACK = "content.pack"
NEVER = -(2**62)


class ContentLog:
    """Library and lexicon as they were at an instant.

    Parameters
    ----------
    fetch
        Gives the table of packs that have come since the last call, and up to which instant (ms) that is all;
        None = there is no such topic.
    """

    def __init__(self, settings: Settings, fetch: Callable[[], tuple[Any, int]] | None = None) -> None:
        self.settings = settings
        self._fetch = fetch
        self._bundled = Library.build(settings.locales, trusted_keys=settings.trusted_keys)
        self._lexicon = Lexicon.load()
        self._packs: list[dict[str, Any]] = []
        self._known: set[str] = set()
        self._complete = NEVER if fetch is not None else 2**62
        self._made: dict[int, Shared] = {}

    def spans(self, after: int, until: int) -> Iterator[tuple[int, int, Shared]]:
        """Parts (a, b] of a step with the content that holds in each."""
        self._refresh(until)
        for at in sorted({int(p["ingest_time"]) for p in self._packs if after < int(p["ingest_time"]) <= until}):
            if at - 1 > after:
                yield after, at - 1, self._shared(at - 1)
            after = max(after, at - 1)
        if until > after:
            yield after, until, self._shared(until)

    def at(self, until: int) -> Shared:
        """The content that holds at an instant."""
        self._refresh(until)
        return self._shared(until)

    def _shared(self, until: int) -> Shared:
        packs = [p for p in self._packs if int(p["ingest_time"]) <= until]
        if len(packs) not in self._made:
            terms = tuple((int(p["ingest_time"]), term) for p in packs for term in terms_from_records([p]))
            library = self._bundled.with_records(packs) if packs else self._bundled
            self._made[len(packs)] = Shared(self.settings, library, self._lexicon, terms)
        return self._made[len(packs)]

    def _refresh(self, until: int) -> None:
        """Ask until all packs up to `until` are known; a broker that does not answer for 10 s is not waited for longer."""
        end = time.monotonic() + 10
        while self._fetch is not None and self._complete < until and time.monotonic() < end:
            table, complete = self._fetch()
            self._complete = max(self._complete, complete)
            if table is not None and len(table):
                self._take(table)

    def _take(self, table: Any) -> None:
        made = zip(rows.to_dicts(PACK, table), record_ids(PACK, "", table), strict=True)
        for record, name in made:
            if name not in self._known and signing.verify(record["value"], self.settings.trusted_keys):
                self._known.add(name)
                self._packs.append({**record, "event_id": name})
        self._packs.sort(key=lambda p: int(p["ingest_time"]))
        self._made = {}
