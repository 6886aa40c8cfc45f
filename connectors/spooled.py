"""What sources share that read everything once: rows from the spool, dead records from their graves."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from connectors.base import Source, Whose
from connectors.dead import Graves
from connectors.spool import Spool


class SpooledSource(Source):
    """A source that has been read into a spool when it is made."""

    def __init__(self) -> None:
        self._graves, self._spool = Graves(), Spool()

    def read(
        self, after: int, until: int, *, ordered: bool = True, topics: Collection[str] | None = None, whose: Whose | None = None
    ) -> dict[str, pa.Table]:
        return self._spool.read(after, until, ordered=ordered, topics=topics, whose=whose)

    def dead(self, after: int, until: int) -> pa.Table:
        return self._graves.between(after, until)

    def close(self) -> None:
        self._spool.close()
