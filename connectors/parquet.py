"""Rows of `.parquet` files in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 65_536


class Batch(NamedTuple):
    """Rows from row number `line` (from 1) on; `table` None where the file can't be read on (0: it never could)."""

    line: int
    table: pa.Table | None


def read(path: Path) -> Iterator[Batch]:
    """Batches of a file in order; a damaged one ends with a batch of None."""
    line = 0
    try:
        with pq.ParquetFile(path) as file:
            line = 1
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                batch.validate(full=True)  # Parquet promises UTF-8, a file may break the promise
                yield Batch(line, pa.Table.from_batches([batch]))
                line += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        yield Batch(line, None)


def count(path: Path) -> int:
    """Rows of a file; 0 if it can't be read."""
    try:
        with pq.ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except (pa.ArrowException, OSError):
        return 0
