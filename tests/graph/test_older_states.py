"""States of a person that an earlier version wrote: this version goes on from them as if it had written them itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.step import Machine, Stepped
from schemas import rows
from tests.graph.test_step import shared
from tests.ingest.raws import HOUR, MINUTE, T0, consent, record

FIXTURES = Path(__file__).parent / "fixtures"
HALF, END = 3 * HOUR, 4 * HOUR


def feed() -> list[tuple[str, dict[str, Any]]]:
    """Four hours of a watch, a phone and a search, by counter."""
    draw, out = random.Random(5), [consent()]
    for i in range(END // 15_000):
        t = T0 + i * 15_000 + draw.randrange(5_000)
        out.append(record("device.heart_rate", t, {"bpm": float(draw.randint(58, 80))}, seq=i, source_id="watch"))
        if i % 4 == 0:
            out.append(record("device.activity", t, {"steps": draw.choice((0, 0, 20))}, seq=i, source_id="watch"))
        if i % 20 == 0:
            worn = {"device": "WATCH", "worn": draw.choice(("YES", "YES", "NO"))}
            out.append(record("device.status", t, worn, seq=i, source_id="watch"))
            out.append(record("raw.location", t, seq=i, source_id="phone"))
    out.append(record("raw.search", T0 + 2 * HOUR, seq=1, source_id="phone"))
    return sorted(out, key=lambda r: r[1]["ingest_time"])


def run(machine: Machine, after: int, until: int) -> list[str]:
    """What it says, quarter of an hour by quarter of an hour."""
    said: list[str] = []
    log = feed()
    for to in range(after + 15 * MINUTE, until + 1, 15 * MINUTE):
        part: dict[str, list[dict[str, Any]]] = {}
        for topic, r in log:
            if to - 15 * MINUTE < r["ingest_time"] - T0 <= to or (to == 15 * MINUTE and r["ingest_time"] <= T0):
                part.setdefault(topic, []).append(r)
        said += _lines(machine.step({t: _table(t, rs) for t, rs in part.items()}, T0 + to, shared()))
    return said


def _table(topic: str, found: list[dict[str, Any]]) -> pa.Table:
    table, defects = rows.from_dicts(topic, found)
    assert not defects
    table = table.append_column("_file", pa.array([0] * len(found), pa.int32()))
    return table.append_column("_line", pa.array(range(len(found)), pa.int64()))


def _lines(done: Stepped) -> list[str]:
    tables = {t: rows.to_dicts(t, table) for t, table in done.tables.items()}
    return [f"{t} {r}" for t, rs in sorted((tables | done.records).items()) for r in rs]


def test_a_state_of_the_first_version_goes_on_as_one_of_this() -> None:
    whole = Machine("p1", shared())
    run(whole, 0, HALF)
    states = tuple((FIXTURES / f"{part}_first.bin").read_bytes() for part in ("ingest", "person"))
    older = Machine("p1", shared(), (states[0], states[1]))
    said = run(whole, HALF, END)
    assert len(said) > 200
    assert run(older, HALF, END) == said
    assert older.dump(T0 + END)[1] == whole.dump(T0 + END)[1]
