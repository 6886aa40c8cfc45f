"""What every connector promises; the contract tests in `tests/connectors/contract.py` hold each of them to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TypeAlias

import pyarrow as pa

DEAD = pa.schema([
    ("topic", pa.string()), ("reason", pa.string()), ("field", pa.string()), ("user", pa.string()),
    ("event_time", pa.int64()), ("ingest_time", pa.int64()), ("_file", pa.int32()), ("_line", pa.int64()),
])  # fmt: skip


Whose: TypeAlias = Callable[[str], bool]


class NotALog(ValueError):  # noqa: N818 (says what it is)
    """The place given holds no records; the message is one clear line for the operator."""


class Source(ABC):
    """Records by the log's clock. Everything that can't be used is counted and told with its position.

    Attributes
    ----------
    files
        Names for positions: `_file` is an index into it.
    bytes
        Size of what is read, 0 if not known.
    first, last
        Smallest and largest ingest_time (ms), None of an empty source.
    records_in
        Records by topic, also those that can't be used.
    users
        Keys of the records, as they stand there.
    """

    files: list[str]
    users: set[str]
    bytes: int
    first: int | None
    last: int | None
    records_in: Counter[str]

    @property
    def places(self) -> list[str]:
        """What stands before the colon of a position (`path:line`, `partition:offset`), by `_file`."""
        return self.files

    @abstractmethod
    def plan(self, max_rows: int = 250_000) -> list[tuple[int, int]]:
        """Slices (from, to] of the log's clock of about `max_rows` rows: contiguous, covering (first - 1, last]."""

    @abstractmethod
    def read(
        self, after: int, until: int, *, ordered: bool = True, topics: Collection[str] | None = None, whose: Whose | None = None
    ) -> dict[str, pa.Table]:
        """Rows that arrived in (after, until] by topic; `schemas` form plus `_file`, `_line`.

        Parameters
        ----------
        ordered
            In arrival order, or (false, cheaper) in any.
        topics, whose
            Only these topics, only the rows of these users.
        """

    @abstractmethod
    def dead(self, after: int, until: int) -> pa.Table:
        """What could not be used and belongs into (after, until]; columns `DEAD`."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Sink(ABC):
    """Where output records go, slice by slice, in the order of the log's clock.

    Attributes
    ----------
    counts
        Records written by topic.
    """

    counts: Counter[str]

    @abstractmethod
    def write(self, topic: str, tables: list[pa.Table]) -> None:
        """Rows of one slice; later slices hold later ingest_times. Written by (ingest_time, event_id)."""

    @abstractmethod
    def close(self) -> None:
        """Finish what is open."""
