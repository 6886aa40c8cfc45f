"""Rows by the day of their arrival, in one file."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.spool import Spool
from schemas import rows
from tests.connectors.contract import DAY, HEART, T0, beat

TIMES = st.lists(st.lists(st.integers(T0, T0 + 5 * DAY), min_size=1, max_size=20), max_size=8)


@settings(max_examples=60, deadline=None)
@given(TIMES, st.lists(st.integers(T0 - 1, T0 + 5 * DAY), min_size=2, max_size=6))
def test_any_slices_give_every_row_once_by_time_file_and_line(files: list[list[int]], cuts: list[int]) -> None:
    spool = Spool()
    want = []
    for number, times in reversed(list(enumerate(files))):
        table, _ = rows.from_dicts(HEART, [beat(t) for t in times])
        table = table.append_column("_file", pa.array(np.full(len(times), number, np.int32)))
        spool.add(HEART, table.append_column("_line", pa.array(np.arange(1, len(times) + 1))))
        want += [(t, number, i) for i, t in enumerate(times, 1)]
    edges = [T0 - 1, *sorted(cuts), T0 + 5 * DAY]
    got = []
    for after, until in pairwise(edges):
        for part in spool.read(after, until).values():
            got += list(zip(*(part[c].to_pylist() for c in ("ingest_time", "_file", "_line")), strict=True))
    spool.close()
    assert got == sorted(want)
    assert sum(spool.rows.values()) == len(want)


def test_only_some_topics_and_users_are_read_on_demand() -> None:
    spool = Spool(3_600_000)
    table, _ = rows.from_dicts(HEART, [beat(T0 + i * 900_000, user=f"p{i % 3}") for i in range(12)])
    spool.add(HEART, table)
    got = spool.read(T0 - 1, T0 + DAY, ordered=False, whose=lambda user: user != "p1")
    assert [r["user"] for r in rows.to_dicts(HEART, got[HEART])] == ["p0", "p2"] * 4
    assert spool.read(T0 - 1, T0 + DAY, ordered=False, topics=("device.music",)) == {}
    assert len(spool.days()) == 3
    spool.close()
