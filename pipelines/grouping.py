"""Rows of a slice by person: one Beam element is a person's micro-batch, never one event (design 5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from connectors.spool import in_order
from pipelines.ingest import Pseudonyms


def by_person(tables: dict[str, pa.Table], pseudonyms: Pseudonyms) -> dict[str, dict[str, pa.Table]]:
    """Pseudonym → topic → rows, each in arrival order (ingest_time, file, line).

    Parameters
    ----------
    tables
        Rows of a slice in any order. Ids that lead to one pseudonym are one person.
    """
    out: dict[str, dict[str, list[pa.Table]]] = defaultdict(lambda: defaultdict(list))
    for topic, table in tables.items():
        for batch in table.to_batches():
            if batch.num_rows:
                for user, part in _split(batch):
                    out[pseudonyms.of(user)][topic].append(part)
    return {
        user: {topic: in_order(pa.concat_tables(parts)) for topic, parts in sorted(topics.items())}
        for user, topics in sorted(out.items())
    }


def _split(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Table]]:
    """(user, rows) of a batch; most batches are of one person and are passed on as they are."""
    encoded = batch.column("user").dictionary_encode()
    users = encoded.dictionary.to_pylist()
    table = pa.Table.from_batches([batch])
    if len(users) == 1:
        yield users[0], table
        return
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ordered = table.take(pa.array(order))
    edges = np.searchsorted(codes[order], np.arange(len(users) + 1))
    for i, user in enumerate(users):
        yield user, ordered.slice(int(edges[i]), int(edges[i + 1] - edges[i]))
