"""RecallClassifier as explicit bytes and back. Every number is written as it is held, so nothing changes by saving."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.learning import packing
from pipelines.learning.packing import StateError
from pipelines.learning.recall_memory import FAR, FLAT
from pipelines.learning.recall_parts import REACH, half

if TYPE_CHECKING:
    from pipelines.learning.recall import RecallClassifier

KIND, VERSION = "recall", 2
_WHOLE_PARAMS = {
    "memory": 4096, "recent": 512, "max_contexts": 32, "k_gate": 64, "replay": 64, "settle": 64, "window": 256,
    "max_features": 128, "max_classes": 32, "seed": 2**63,
}  # fmt: skip


def dump(model: RecallClassifier) -> bytes:
    rows, columns = model._rows, model._columns
    live = np.flatnonzero(rows.y[: rows.size] >= 0)
    both = np.append(live, np.arange(rows.size, rows.size + rows.recent))
    names, labels = list(columns.names), list(model._labels)
    if any(type(v) not in (str, int, bool, float) for v in names + labels):
        raise StateError("names of classes and features must be strings, numbers or truth values")
    generator: Any = model._rng.bit_generator.state
    meta = {
        "params": model._get_params(), "features": names, "classes": labels, "n": model._n, "pending": model._pending,
        "current": model._current, "head": rows.head, "rng": [str(generator["state"]["state"]), str(generator["state"]["inc"])],
    }  # fmt: skip
    arrays: dict[str, Any] = {
        "place": live.astype(np.int32), "codes": rows.z[both].astype(np.float16), "y": rows.y[both].astype(np.int8),
        "owner": rows.owner[live].astype(np.int8), "step": rows.step[both].astype(np.int32), "key": rows.key[live].astype(np.float16),
        "whole": rows.kernel[0, live].astype(np.float16), "part": rows.kernel[1, live].astype(np.float16),
        "centre": rows.centre, "inverse": rows.inverse, "theta": model._theta.astype(np.float16),
        "count": columns.count, "mean": columns.mean, "m2": columns.m2,
        "w": model._linear[0, model._used], "q": model._linear[1, model._used], "used": model._used,
        "sub": model._sub, "logw": model._logw,
        "past": model._past, "usual": model._usual, "seen": model._seen, "losses": model._losses,
    }  # fmt: skip
    return packing.pack(KIND, VERSION, meta, arrays, delta=("step", "place"))


def load(cls: type[Any], data: bytes) -> Any:
    meta, arrays = packing.unpack(KIND, data, versions={1: _from_1, VERSION: None})
    try:
        return _build(cls, meta, arrays)
    except StateError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise StateError("state of recall cannot be read") from None


def _from_1(meta: Any, arrays: packing.Arrays) -> tuple[Any, packing.Arrays]:
    """Version 1 held rows by a scale of their own, voted with `k` equal neighbours and knew no relevance of features."""
    params = {name: value for name, value in meta["params"].items() if name != "k"}
    e, mean = int(params["max_contexts"]) + 2, arrays["mean"]
    sd = np.sqrt(np.maximum(arrays["m2"], 0) / np.maximum(arrays["count"], 1))
    x = arrays["codes"].astype(np.float64) * arrays.pop("width") + arrays["centre"]
    inverse = np.where(sd > FLAT, 1.0 / np.maximum(sd, FLAT), 0.0)
    arrays["codes"] = half(np.clip((x - mean) * inverse, -FAR, FAR)).astype(np.float16)
    arrays["centre"], arrays["inverse"] = mean.astype(np.float32), inverse.astype(np.float32)
    arrays["theta"] = np.zeros((e + 1, len(mean)), np.float16)
    return {**meta, "params": params}, arrays


def _build(cls: type[Any], meta: Any, arrays: packing.Arrays) -> Any:
    params = meta["params"]
    for name, most in _WHOLE_PARAMS.items():
        packing.whole(params, name, 0 if name in ("replay", "settle", "seed") else 1, most)
    for name in ("keep_fast", "eta", "share", "tol", "vouch", "delta", "evidence", "gamma", "ridge"):
        packing.number(params, name, 0.0, 1e6)
    model = cls(**params)
    rows, columns = model._rows, model._columns
    d, c, e = len(meta["features"]), len(meta["classes"]), len(model._used)
    if d > model.max_features or c > model.max_classes:
        raise StateError("state of recall has too many features or classes")
    columns.names = {f: i for i, f in enumerate(meta["features"])}
    model._labels = {y: i for i, y in enumerate(meta["classes"])}
    if len(columns.names) != d or len(model._labels) != c:
        raise StateError("state of recall names something twice")
    model._n = packing.whole(meta, "n", 0, 2**31 - 1)
    model._pending = packing.whole(meta, "pending", 0, model.recent)
    model._current = packing.whole(meta, "current", 2, e - 1)
    rows.head = packing.whole(meta, "head", 0, model.recent - 1)
    _take_small(model, arrays, d, e)
    _take_rows(rows, arrays, d, c, e)
    model._n_used = n_used = int(model._used.sum())
    model._theta = packing.take(arrays, "theta", "<f2", e + 1, d).astype(np.float32)
    if (np.abs(model._theta) > REACH).any() or (np.abs(rows.z) > FAR).any():
        raise StateError("state of recall has a number out of range")
    model._linear = np.zeros((2, e, c, d + 1), np.float32)
    model._linear[1] = 1.0
    for i, name in enumerate("wq"):
        model._linear[i, model._used] = packing.take(arrays, name, "<f4", n_used, c, d + 1)
    packing.done(arrays)
    if (model._linear[1] < 1.0).any() or (columns.m2 < 0).any() or (columns.count < 0).any() or (model._seen < 0).any():
        raise StateError("state of recall has a number out of range")
    in_turn = n_used >= 3 and model._used[:n_used].all()  # slots of contexts are taken in turn
    if not in_turn or model._current >= n_used or (rows.inverse < 0).any() or (rows.owner >= n_used).any():
        raise StateError("state of recall contradicts itself")
    if (model._n and np.exp(np.minimum(model._logw, 0)).sum() < 1e-6) or (model._logw > 1).any():
        raise StateError("state of recall has no weights")
    generator: Any = model._rng.bit_generator.state
    generator["state"] = {k: int(v) for k, v in zip(("state", "inc"), meta["rng"], strict=True)}
    if not all(0 <= v < 2**128 for v in generator["state"].values()):
        raise StateError("state of recall has another generator")
    model._rng.bit_generator.state = generator
    return model


def _take_small(model: Any, arrays: packing.Arrays, d: int, e: int) -> None:
    columns = model._columns
    columns.count = packing.take(arrays, "count", "<i8", d)
    columns.mean, columns.m2 = packing.take(arrays, "mean", "<f8", d), packing.take(arrays, "m2", "<f8", d)
    model._used = packing.take(arrays, "used", "|b1", e)
    model._sub = packing.take(arrays, "sub", "<f8", e, 3)
    for name in ("logw", "past", "usual"):
        setattr(model, f"_{name}", packing.take(arrays, name, "<f8", e))
    model._seen = packing.take(arrays, "seen", "<i8", e)
    model._losses = packing.take(arrays, "losses", "<f4", model.window, e)
    bounded = (model._sub, model._past, model._usual, model._losses, model._logw)
    if any(len(a) and not math.isfinite(float(np.abs(a).max())) for a in bounded):
        raise StateError("state of recall has a number out of range")
    if (model._past < 0).any() or (model._losses < 0).any() or (model._sub < 0).any():
        raise StateError("state of recall has a number out of range")


def _take_rows(rows: Any, arrays: packing.Arrays, d: int, c: int, e: int) -> None:
    place = packing.take(arrays, "place", "<i4", None).astype(np.int64)
    n = len(place)
    if n and (place[0] < 0 or place[-1] >= rows.size or (np.diff(place) <= 0).any()):
        raise StateError("state of recall has rows out of place")
    both = np.append(place, np.arange(rows.size, rows.size + rows.recent))
    rows.centre, rows.inverse = packing.take(arrays, "centre", "<f4", d), packing.take(arrays, "inverse", "<f4", d)
    z = np.zeros((rows.size + rows.recent, d), np.float32)
    z[both] = packing.take(arrays, "codes", "<f2", len(both), d)
    rows.fill(z)
    rows.y[both] = packing.take(arrays, "y", "|i1", len(both))
    rows.owner[place] = packing.take(arrays, "owner", "|i1", n)
    rows.step[both] = packing.take(arrays, "step", "<i4", len(both))
    rows.key[place] = packing.take(arrays, "key", "<f2", n)
    rows.kernel = np.zeros((2, rows.size + rows.recent, c), np.float32)
    for i, name in enumerate(("whole", "part")):
        rows.kernel[i, place] = packing.take(arrays, name, "<f2", n, c)
    if (rows.y >= c).any() or (rows.y[place] < 0).any() or (rows.owner[place] < 2).any() or (rows.owner >= e).any():
        raise StateError("state of recall names an unknown class or context")
    rows.hot = np.zeros((rows.size + rows.recent, c), np.float32)
    rows.belong()
