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
    out: dict[str, dict[str, pa.Table]] = defaultdict(dict)
    for topic, table in sorted(tables.items()):
        for user, part in _split(table, pseudonyms):
            out[user][topic] = part
    return dict(sorted(out.items()))


def _split(table: pa.Table, pseudonyms: Pseudonyms) -> Iterator[tuple[str, pa.Table]]:
    """(pseudonym, rows in arrival order); all are put in order at once, for a person often has one row of a slice."""
    encoded = table["user"].combine_chunks().dictionary_encode()
    given = [pseudonyms.of(user) for user in encoded.dictionary.to_pylist()]
    people = sorted(set(given))
    if len(people) < 2:
        yield from ((user, in_order(table)) for user in people)
        return
    number = {user: i for i, user in enumerate(people)}
    whose = np.array([number[user] for user in given])[encoded.indices.to_numpy()]
    order = np.lexsort([*(table[name].to_numpy() for name in ("_line", "_file", "ingest_time")), whose])
    edges = np.searchsorted(whose[order], np.arange(len(people) + 1)).tolist()
    ordered = table.take(pa.array(order)).combine_chunks()
    for user, low, high in zip(people, edges, edges[1:], strict=False):
        yield user, ordered.slice(low, high - low)
