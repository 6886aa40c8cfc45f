"""Content packs that come with the log, and the library and lexicon they make, by instant of the log's clock. No Beam here.

What a pack says acts on what arrives after it, exactly as in replay (`pipelines/graph.py`): a step is cut before each pack.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from content.lexicon import Lexicon, terms_from_records
from content.library import Library
from pipelines.ingest.machine import record_ids
from pipelines.settings import Settings
from pipelines.step import Shared
from schemas import rows, signing

PACK = "content.pack"
NEVER, FOREVER = -(2**62), 2**62


class Packs:
    """Signed packs by their arrival, and the library and lexicon they make.

    Parameters
    ----------
    packs
        Records taken before, with their event_id.
    bundled
        The library to which they add; None = the bundled one.
    """

    def __init__(self, settings: Settings, packs: Iterable[dict[str, Any]] = (), bundled: Library | None = None) -> None:
        self.settings, self.packs = settings, list(packs)
        self.known = {p["event_id"] for p in self.packs}
        self._bundled = bundled or Library.build(settings.locales, trusted_keys=settings.trusted_keys)
        self._lexicon = Lexicon.load()
        self._made: dict[int, Shared] = {}

    def signed(self, record: dict[str, Any]) -> bool:
        """Whether a pack may be used."""
        return signing.verify(record["value"], self.settings.trusted_keys)

    def add(self, record: dict[str, Any], name: str, arrival: int) -> None:
        """A pack that is signed and new, acting from `arrival` (ms) on."""
        self.known.add(name)
        made = {**record, "event_id": name, "ingest_time": arrival}
        # not sorted in place: while it is, a list looks empty to other threads
        self.packs = sorted([*self.packs, made], key=lambda p: int(p["ingest_time"]))
        self._made = {}

    def spans(self, after: int, until: int) -> Iterator[tuple[int, int, Shared]]:
        """Parts (a, b] of a step with the content that holds in each."""
        for at in sorted({int(p["ingest_time"]) for p in self.packs if after < int(p["ingest_time"]) <= until}):
            if at - 1 > after:
                yield after, at - 1, self.at(at - 1)
            after = max(after, at - 1)
        if until > after:
            yield after, until, self.at(until)

    def at(self, until: int) -> Shared:
        """The content that holds at an instant (ms)."""
        packs = [p for p in self.packs if int(p["ingest_time"]) <= until]
        if len(packs) not in self._made:
            terms = tuple((int(p["ingest_time"]), term) for p in packs for term in terms_from_records([p]))
            library = self._bundled.with_records(packs) if packs else self._bundled
            self._made[len(packs)] = Shared(self.settings, library, self._lexicon, terms)
        return self._made[len(packs)]


class ContentLog:
    """Content of a worker of an engine, which reads the topic of packs by itself; packs are few.

    Parameters
    ----------
    fetch
        Gives the table of packs that have come since the last call, and up to which instant (ms) that is all;
        None = there is no such topic.
    """

    def __init__(self, settings: Settings, fetch: Callable[[], tuple[Any, int]] | None = None) -> None:
        self._packs, self._fetch = Packs(settings), fetch
        self._complete = NEVER if fetch is not None else FOREVER

    def spans(self, after: int, until: int) -> Iterator[tuple[int, int, Shared]]:
        """Parts (a, b] of a step with the content that holds in each."""
        self._refresh(until)
        return self._packs.spans(after, until)

    def at(self, until: int) -> Shared:
        """The content that holds at an instant."""
        self._refresh(until)
        return self._packs.at(until)

    def _refresh(self, until: int) -> None:
        """Ask until all packs up to `until` are known; a broker that does not answer for 10 s is not waited for longer."""
        end = time.monotonic() + 10
        while self._fetch is not None and self._complete < until and time.monotonic() < end:
            table, complete = self._fetch()
            self._complete = max(self._complete, complete)
            if table is not None and len(table):
                self._take(table)

    def _take(self, table: Any) -> None:
        for record, name in zip(rows.to_dicts(PACK, table), record_ids(PACK, "", table), strict=True):
            if name not in self._packs.known and self._packs.signed(record):
                self._packs.add(record, name, int(record["ingest_time"]))
