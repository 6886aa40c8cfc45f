"""Reading an output folder of `replay` for the summary: one topic at a time, one record at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

BATCH = 4_096


def records(folder: Path, topic: str) -> Iterator[dict[str, Any]]:
    """Records of a topic in contract form, in the order written; nothing if the topic is not there."""
    for path in sorted((folder / topic).glob("**/*")):
        if path.suffix == ".jsonl":
            with path.open("rb") as lines:
                yield from (orjson.loads(line) for line in lines)
        elif path.suffix == ".parquet":
            yield from _parquet(path)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            yield from batch.to_pylist(maps_as_pydicts="lossy")
