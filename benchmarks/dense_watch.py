"""What a watch that sends all day costs: ingest's rows per CPU second and the bytes of the person's states.

    python -m benchmarks.dense_watch ingest [--every-s 1] [--jitter-ms 200] [--loss 0.1] [--named seq|derived|own] [--slice-s 60]
    python -m benchmarks.dense_watch person [--hours 52]      # the whole machine, minute by minute; slow

Made-up readings of one person; `seq` = by counter, `derived` = with the id that follows from it, `own` = with ids of its own.
"""

from __future__ import annotations

import argparse
import random
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.live_feed import consent
from content.lexicon import Lexicon
from content.library import Library
from pipelines.ingest import Ingest, IngestState
from pipelines.settings import Settings
from pipelines.step import Machine, Shared
from schemas import TOPICS, ids, rows

T0 = 1_779_235_200_000
HEART = "device.heart_rate"


def table(topic: str, records: list[dict[str, Any]]) -> pa.Table:
    made, defects = rows.from_dicts(topic, records)
    assert not defects
    return _placed(made)


def _placed(made: pa.Table) -> pa.Table:
    n = len(made)
    return made.append_column("_file", pa.array(np.zeros(n, np.int32))).append_column("_line", pa.array(np.arange(n)))


def permission() -> pa.Table:
    value = consent("p1", T0)
    return table("clinical.consent", [{"user": "p1", "event_time": T0 - 1, "ingest_time": T0 - 1, "value": value}])


def readings(event: npt.NDArray[np.int64], seq: npt.NDArray[np.int64], named: str) -> pa.Table:
    """Heart rate as columns."""
    n, source = len(event), pa.array(["watch"] * len(event))
    names = pa.nulls(n, pa.string())
    if named == "derived":
        names = ids.input_ids(HEART, ["p1"] * n, source, pa.array(seq))
    if named == "own":
        names = pa.array([f"{random.Random(int(s)).getrandbits(128):032x}" for s in seq])
    kind = TOPICS[HEART].value_type
    given = {"bpm": pa.array([70.0] * n), "quality": pa.array(["LOCKED"] * n)}
    value = pa.StructArray.from_arrays([given.get(f.name, pa.nulls(n, f.type)) for f in kind], fields=list(kind))
    columns = {
        "user": pa.array(["p1"] * n), "event_time": pa.array(event), "ingest_time": pa.array(event + 1_000),
        "tz_offset_min": pa.array(np.zeros(n, np.int32)), "source_id": source, "seq": pa.array(seq), "event_id": names, "value": value,
    }  # fmt: skip
    schema = TOPICS[HEART].table_schema
    return _placed(pa.table([columns[f.name].cast(f.type) for f in schema], schema=schema))


def of_ingest(args: argparse.Namespace) -> None:
    settings, draw = Settings(), np.random.default_rng(1)
    ingest, held = Ingest(settings, Lexicon.load()), IngestState(settings)
    ingest.run("p1", {"clinical.consent": permission()}, held)
    n = int(args.hours * 3600 / args.every_s)
    event = (
        T0
        + (np.arange(n) * args.every_s * 1000).astype(np.int64)
        + draw.integers(-args.jitter_ms, args.jitter_ms + 1, n)
    )
    kept = draw.random(n) >= args.loss
    event, seq = np.sort(event)[kept], np.arange(n)[kept]
    edges = np.searchsorted(event, np.arange(T0, int(event[-1]) + 1, args.slice_s * 1000))
    parts = [
        readings(event[a:b], seq[a:b], args.named)
        for a, b in zip(edges, [*edges[1:], len(event)], strict=True)
        if b > a
    ]
    used, dumping, sizes, gone = 0.0, 0.0, [], 0
    for i, part in enumerate(parts):
        at, began = int(part["ingest_time"][-1].as_py()), time.process_time()
        gone += sum(ingest.run("p1", {HEART: part}, held).forgotten.values())
        held.forget(at)
        used += time.process_time() - began
        if i % 10 == 9:
            began = time.process_time()
            sizes.append(len(held.dump(at)))
            dumping += time.process_time() - began
    print(
        f"{vars(args)}: {len(event):,} rows, {len(event) / used:,.0f} a CPU second; state {sizes[-1]:,} bytes at the end, "
        f"{max(sizes):,} at most, {dumping / len(sizes) * 1e3:.2f} ms to write; {gone:,} forgotten early"
    )


def of_person(args: argparse.Namespace) -> None:
    settings = Settings()
    shared = Shared(settings, Library.build(settings.locales), Lexicon.load())
    machine, draw, n = Machine("p1", shared), random.Random(1), 0
    machine.step({"clinical.consent": permission()}, T0, shared)
    for minute in range(1, args.hours * 60 + 1):
        found: dict[str, list[dict[str, Any]]] = {}
        for second in range(60):
            at = T0 + (minute - 1) * 60_000 + second * 1000 + draw.randrange(10)
            topic, value = _one(n, draw)
            n += 1
            record = {"event_time": at, "ingest_time": at + draw.randrange(5, 40), "source_id": "watch", "seq": n}
            found.setdefault(topic, []).append({"user": "p1", "tz_offset_min": 60, "value": value, **record})
        until = T0 + minute * 60_000
        machine.step({t: table(t, rs) for t, rs in found.items()}, until, shared)
        if minute % 600 == 0 or minute == args.hours * 60:
            ingest, person = map(len, machine.dump(until))
            print(f"{minute // 60} h: ingest {ingest:,} person {person:,} together {ingest + person:,}", flush=True)


def _one(n: int, draw: random.Random) -> tuple[str, dict[str, Any]]:
    """As `benchmarks.live_feed`: of twenty records one of steps, one of wear."""
    if n % 20 == 0:
        return "device.activity", {"steps": draw.choice((0, 0, 0, 20)), "period_s": 60.0}
    if n % 20 == 10:
        return "device.status", {"device": "WATCH", "worn": "YES", "connected": True, "battery_pct": 70.0}
    return HEART, {"bpm": draw.randint(58, 80), "quality": "LOCKED"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["ingest", "person"])
    parser.add_argument("--hours", type=int, default=27)
    parser.add_argument("--every-s", type=float, default=1.0)
    parser.add_argument("--jitter-ms", type=int, default=0)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--named", choices=["seq", "derived", "own"], default="seq")
    parser.add_argument("--slice-s", type=int, default=60)
    args = parser.parse_args()
    (of_ingest if args.what == "ingest" else of_person)(args)


if __name__ == "__main__":
    main()
