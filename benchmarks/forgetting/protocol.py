"""The forgetting protocol: predict, then learn; after every segment test every regime seen so far, without learning.

cold
    Straight away, before any label of the returning regime.
cued
    On a copy that first learns 25 labelled samples of that regime (labels cost people's time).

Figures: `preq` accuracy over the stream; `acc_*` mean over regimes after the last segment (balanced where classes are skewed);
`forget_*` mean over regimes of best earlier accuracy minus the last; `us` CPU microseconds a predict and learn (median of
segments); `state` bytes of `dump()`.
"""

from __future__ import annotations

import collections
import pickle
import statistics
import time
from typing import Any

from benchmarks.forgetting.streams import PANIC, Stream

CUE = 25


def accuracy(model: Any, rows: list[Any], balanced: bool) -> float:
    hit: collections.Counter[Any] = collections.Counter()
    total: collections.Counter[Any] = collections.Counter()
    for x, y in rows:
        total[y] += 1
        hit[y] += model.predict_one(x) == y
    if balanced:  # classes a regime practically lacks are label noise
        return statistics.mean(hit[c] / total[c] for c in total if total[c] >= 5)
    return sum(hit.values()) / sum(total.values())


def run(name: str, model: Any, stream: Stream, seed: int) -> dict[str, Any]:
    """All figures of one model on one stream."""
    balanced = stream.kind == "user"
    table: list[dict[str, tuple[float, float]]] = []
    seen: list[str] = []
    hits: list[bool] = []
    laps = []
    cue = {r: next(rows for q, rows in reversed(stream.segments) if q == r)[:CUE] for r in stream.holdouts}
    for regime, rows in stream.segments:
        if regime not in seen:
            seen.append(regime)
        started = time.process_time()
        for x, y in rows:
            hits.append(model.predict_one(x) == y)
            model.learn_one(x, y)
        laps.append(1e6 * (time.process_time() - started) / len(rows))
        row = {}
        for r in seen:
            cold = accuracy(model, stream.holdouts[r], balanced)
            cued = cold
            if r != regime:
                copy = pickle.loads(pickle.dumps(model, 5))
                for x, y in cue[r]:
                    copy.learn_one(x, y)
                cued = accuracy(copy, stream.holdouts[r], balanced)
            row[r] = (cold, cued)
        table.append(row)
    last = stream.segments[-1][0]
    out: dict[str, Any] = {
        "model": name, "stream": stream.name, "kind": stream.kind, "seed": seed, "preq": statistics.mean(hits),
        "us": statistics.median(laps), "state": len(model.dump()) if hasattr(model, "dump") else None,
    }  # fmt: skip
    for k, when in enumerate(("cold", "cued")):
        out[f"acc_{when}"] = statistics.mean(v[k] for v in table[-1].values())
        out[f"forget_{when}"] = statistics.mean(
            max(row[r][k] for row in table[:-1] if r in row) - table[-1][r][k] for r in table[-1] if r != last
        )
    return out


def first_panic(model: Any, stream: Stream) -> tuple[float, float]:
    """Recall and precision of PANIC on held-out days of A just before A returns, months after the last example."""
    for _, rows in stream.segments[:4]:
        for x, y in rows:
            model.learn_one(x, y)
    said = [(model.predict_one(x), y) for x, y in stream.holdouts["A"]]
    found = sum(a == b == PANIC for a, b in said)
    return found / sum(b == PANIC for _, b in said), found / max(1, sum(a == PANIC for a, _ in said))
