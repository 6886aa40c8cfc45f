"""Rows of a slice by person, and what travels with them: Arrow IPC bytes (design 5: one element = a person's micro-batch)."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa

from pipelines.ingest import Pseudonyms


def by_person(tables: dict[str, pa.Table], pseudonyms: Pseudonyms) -> dict[str, dict[str, pa.Table]]:
    """Pseudonym → topic → rows, each in arrival order. Ids that lead to one pseudonym are one person."""
    out: dict[str, dict[str, list[pa.Table]]] = defaultdict(dict)
    for topic, table in sorted(tables.items()):
        if not len(table):
            continue
        encoded = table["user"].combine_chunks().dictionary_encode()
        names = [pseudonyms.of(u) for u in encoded.dictionary.to_pylist()]
        people = sorted(set(names))
        number = np.array([people.index(n) for n in names] if len(people) < 32 else _positions(people, names), np.int32)
        codes = number[encoded.indices.to_numpy()]
        if len(people) == 1:
            out[people[0]].setdefault(topic, []).append(table)
            continue
        order = np.argsort(codes, kind="stable")
        ordered = table.take(pa.array(order))
        edges = np.searchsorted(codes[order], np.arange(len(people) + 1))
        for i, person in enumerate(people):
            out[person].setdefault(topic, []).append(ordered.slice(int(edges[i]), int(edges[i + 1] - edges[i])))
    return {u: {t: parts[0] for t, parts in topics.items()} for u, topics in out.items()}


def _positions(people: list[str], names: list[str]) -> list[int]:
    at = {p: i for i, p in enumerate(people)}
    return [at[n] for n in names]


def pack_tables(tables: dict[str, pa.Table]) -> bytes:
    """Tables of several topics as one byte string."""
    sink = pa.BufferOutputStream()
    sink.write(len(tables).to_bytes(4, "little"))
    for topic, table in sorted(tables.items()):
        name = topic.encode()
        body = pa.BufferOutputStream()
        with pa.ipc.new_stream(body, table.schema) as writer:
            writer.write_table(table)
        data = body.getvalue()
        sink.write(len(name).to_bytes(4, "little") + name + data.size.to_bytes(8, "little"))
        sink.write(data)
    return bytes(sink.getvalue())


def unpack_tables(data: bytes) -> dict[str, pa.Table]:
    """What `pack_tables` made; the tables share its memory."""
    buffer = pa.py_buffer(data)
    view = memoryview(data)
    out: dict[str, pa.Table] = {}
    at = 4
    for _ in range(int.from_bytes(view[:4], "little")):
        n = int.from_bytes(view[at : at + 4], "little")
        topic = bytes(view[at + 4 : at + 4 + n]).decode()
        at += 4 + n
        size = int.from_bytes(view[at : at + 8], "little")
        at += 8
        out[topic] = pa.ipc.open_stream(buffer.slice(at, size)).read_all()
        at += size
    return out
