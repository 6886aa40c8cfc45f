"""Records that could not be used: who, when and where, as far as it is known; never what they said."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import DEAD

BLOCK = 65_536
TIME = DEAD.get_field_index("ingest_time")


class Graves:
    """Dead records of a source, kept as columns: a log that is wrong from end to end must fit into memory too.

    A record without a readable time stands where the good one before it in its file arrived, else the next one, else where
    the log begins.
    """

    def __init__(self) -> None:
        self._new: list[tuple[str, str, str | None, str | None, int | None, int | None, int, int]] = []
        self._old: list[pa.Table] = []
        self._first_of_file: dict[int, int] = {}
        self._last_of_file: dict[int, int] = {}
        self.table = DEAD.empty_table()

    def add(
        self, topic: str, reason: str, file: int, line: int, *, field: str | None = None, user: str | None = None,
        event_time: int | None = None, ingest_time: int | None = None,
    ) -> None:  # fmt: skip
        """One dead record; without a time it is placed by `settle`."""
        self._new.append((topic, reason, field, user, event_time, ingest_time, file, line))

    def settle(self, file: int, lines: npt.NDArray[np.int64], arrival: npt.NDArray[np.int64]) -> None:
        """Place what was added since the last call beside the good rows of the same chunk (rising line numbers)."""
        if len(lines):
            self._first_of_file.setdefault(file, int(arrival[0]))
        before = self._last_of_file.get(file)
        for k, dead in enumerate(self._new):
            if dead[TIME] is None:
                i = int(np.searchsorted(lines, dead[-1])) - 1
                at = int(arrival[i]) if i >= 0 else before
                self._new[k] = (*dead[:TIME], at, *dead[TIME + 1 :])  # type: ignore[assignment]
        if len(lines):
            self._last_of_file[file] = int(arrival[-1])
        if self._new:
            columns = zip(*self._new, strict=True)
            made = [pa.array(list(c), f.type) for c, f in zip(columns, DEAD, strict=True)]
            self._old.append(pa.table(made, schema=DEAD))
            self._new = []

    def close(self, begin: int, start: int | None, end: int | None) -> Counter[str]:
        """Number by topic of those with start <= ingest_time <= end, now in `table` by (ingest_time, file, line).

        Parameters
        ----------
        begin
            Where the log begins (ms): the place of what has no other.
        """
        if not self._old:
            return Counter()
        table = pa.concat_tables(self._old).combine_chunks()
        files = table["_file"].to_numpy()
        places = np.array([self._first_of_file.get(f, begin) for f in range(int(files.max()) + 1)], np.int64)
        at = pc.coalesce(table["ingest_time"], pa.array(places[files])).to_numpy()
        inside = np.ones(len(at), np.bool_)
        if start is not None:
            inside &= at >= start
        if end is not None:
            inside &= at <= end
        table = table.set_column(TIME, DEAD.field(TIME), pa.array(at, pa.int64()))
        order = np.lexsort((table["_line"].to_numpy(), files, at))
        self.table, self._old = table.take(pa.array(order[inside[order]])), []
        counted = self.table["topic"].value_counts().to_pylist()
        return Counter({c["values"]: c["counts"] for c in counted})

    def clip(self, first: int, last: int) -> None:
        """Nothing lies beyond the ends of the log: a wrong clock of a record that is lost anyway must not move them."""
        at = np.clip(self.table["ingest_time"].to_numpy(), first, last)
        self.table = self.table.set_column(TIME, DEAD.field(TIME), pa.array(at, pa.int64()))

    def between(self, after: int, until: int) -> pa.Table:
        """Those with after < ingest_time <= until."""
        at = self.table["ingest_time"].to_numpy()
        low, high = np.searchsorted(at, [after, until], side="right")
        return self.table.slice(int(low), int(high - low))
