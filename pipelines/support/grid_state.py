"""The minute grid as compact arrays, without loss: what follows from another column costs next to nothing.

A wearer with a sample a minute has the same number as minimum, maximum, median and only slot of that minute; one with a
sample every five seconds has whole numbers. So the slots are stored where they are filled, numbers as whole multiples of a
fraction where that is exact, and what equals its neighbour column as zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.support.evidence import CAPACITY, MICRO, SLOTS, MinuteGrid

Arrays = dict[str, npt.NDArray[Any]]
PLAIN = ("act_n", "steps", "intensity", "vehicle", "fixes", "revision", "touched")
SCALES = (1, 2, 10, 20, 100, 1000)  # medians are halves
MOST = 1e6
NOWHERE = -(2**31)
Floats = npt.NDArray[np.float64]


def dump(grid: MinuteGrid, slots_from: int) -> tuple[dict[str, Any], Arrays]:
    """(meta, arrays) for packing; 5-s slots only of minutes >= `slots_from`, older ones can't change any more."""
    used = np.flatnonzero((grid.hr_n > 0) | (grid.act_n > 0) | ~np.isnan(grid.steps) | grid.fixes)
    top = int(used[-1]) + 1 if len(used) else 0
    cut = min(max(slots_from - grid.base, 0), top)
    arrays: Arrays = {name: getattr(grid, name)[:top] for name in PLAIN}
    arrays["steps"] = _scaled(arrays["steps"])
    arrays |= _pulse_out(grid, top) | _slots_out(grid, cut, top)
    names = sorted(grid.fine)
    for i, source in enumerate(names):
        arrays[f"fine{i}"] = grid.fine[source][cut:top]
    return {"base": grid.base, "top": top, "cut": cut, "fine": names}, arrays


def load(meta: dict[str, Any], arrays: Arrays) -> MinuteGrid:
    """What `dump` wrote; KeyError or ValueError for anything else."""
    grid = MinuteGrid(int(meta["base"]))
    top, cut = int(meta["top"]), int(meta["cut"])
    if not 0 <= cut <= top <= CAPACITY:
        raise ValueError("minute grid: bad size")
    for name in PLAIN:
        getattr(grid, name)[:top] = _floats(arrays[name]) if name == "steps" else arrays[name]
    _slots_in(grid, cut, top, arrays)
    _pulse_in(grid, top, arrays)
    for i, source in enumerate(meta["fine"]):
        slots = np.zeros((CAPACITY, SLOTS), np.int32)
        slots[cut:top] = arrays[f"fine{i}"]
        grid.fine[source] = slots
    return grid


def _pulse_out(grid: MinuteGrid, top: int) -> Arrays:
    """Counts, and the numbers of the minutes that have any, one after the other."""
    n = grid.hr_n[:top]
    at = np.flatnonzero(n)
    low, high, middle = grid.hr_min[at], grid.hr_max[at], grid.hr_bpm[at]
    return {
        "hr_n": n,
        "hr_low": _scaled(low),
        "hr_high": _unlike(high, low),
        "hr_middle": _unlike(middle, low),
        "hr_sum": _sum_out(grid.hr_sum[at] - n[at] * np.rint(low * MICRO).astype(np.int64)),
    }


def _pulse_in(grid: MinuteGrid, top: int, arrays: Arrays) -> None:
    n = grid.hr_n[:top]
    n[:] = arrays["hr_n"]
    at = np.flatnonzero(n)
    low = _floats(arrays["hr_low"])
    grid.hr_min[at] = low
    grid.hr_max[at] = _like(arrays["hr_high"], low)
    grid.hr_bpm[at] = _like(arrays["hr_middle"], low)
    grid.hr_sum[at] = _sum_in(arrays["hr_sum"]) + n[at] * np.rint(low * MICRO).astype(np.int64)


def _slots_out(grid: MinuteGrid, cut: int, top: int) -> Arrays:
    bpm = grid.slot_bpm[cut:top].reshape(-1)
    filled = ~np.isnan(bpm)
    low = np.repeat(grid.hr_min[cut:top], SLOTS)[filled]
    return {
        "slot_at": np.packbits(filled),
        "slot_ms": grid.slot_ms[cut:top].reshape(-1)[filled],
        "slot_bpm": _unlike(bpm[filled], low),
    }


def _slots_in(grid: MinuteGrid, cut: int, top: int, arrays: Arrays) -> None:
    filled = np.unpackbits(arrays["slot_at"], count=(top - cut) * SLOTS).astype(np.bool_)
    low = np.zeros(CAPACITY)
    low[np.flatnonzero(arrays["hr_n"])] = _floats(arrays["hr_low"])
    grid.slot_ms[cut:top].reshape(-1)[filled] = arrays["slot_ms"]
    grid.slot_bpm[cut:top].reshape(-1)[filled] = _like(arrays["slot_bpm"], np.repeat(low[cut:top], SLOTS)[filled])


def _sum_out(micro: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Sums of whole beats as such, in 4 bytes; others as they are, in 8."""
    whole, rest = np.divmod(micro, np.int64(MICRO))
    return micro if rest.any() or (np.abs(whole) >= 2**31).any() else whole.astype(np.int32)


def _sum_in(stored: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    sums = stored.astype(np.int64)
    return sums if stored.dtype == np.int64 else sums * np.int64(MICRO)


# -- numbers ----------------------------------------------------------------------------------------------------------


def _scaled(a: Floats) -> npt.NDArray[Any]:
    """[scale, whole numbers] by the first scale that loses nothing, else the numbers themselves."""
    for scale in SCALES:
        if (whole := _whole(a, scale)) is not None:
            return np.concatenate(([np.int32(scale)], whole))
    return a


def _floats(stored: npt.NDArray[Any]) -> Floats:
    if stored.dtype != np.int32:
        return np.asarray(stored, np.float64)
    return _number(stored[1:], int(stored[0]))


def _unlike(a: Floats, like: Floats) -> npt.NDArray[Any]:
    """`a` by what it differs from `like`: [scale, whole numbers] where that is exact, else the bits in which they differ."""
    for scale in SCALES:
        mine, other = _whole(a, scale), _whole(like, scale)
        if mine is not None and other is not None:
            return np.concatenate(([np.int32(scale)], np.where(mine == NOWHERE, NOWHERE, mine - other))).astype(np.int32)
    return np.asarray(np.ascontiguousarray(a).view(np.int64) ^ np.ascontiguousarray(like).view(np.int64))


def _like(stored: npt.NDArray[Any], like: Floats) -> Floats:
    if stored.dtype != np.int32:
        return np.asarray((stored ^ np.ascontiguousarray(like).view(np.int64)).view(np.float64))
    scale, rest = int(stored[0]), stored[1:]
    whole = np.where(rest == NOWHERE, NOWHERE, rest + np.rint(like * scale).astype(np.int64))
    return _number(whole.astype(np.int32), scale)


def _whole(a: Floats, scale: int) -> npt.NDArray[np.int32] | None:
    """`a * scale` as whole numbers (NaN as NOWHERE) if they give `a` back to the bit."""
    unknown = np.isnan(a)
    whole = np.where(unknown, NOWHERE, np.rint(np.clip(a, -MOST, MOST) * scale)).astype(np.int32)
    back = _number(whole, scale)
    exact = np.array_equal(back[~unknown].view(np.int64), a[~unknown].view(np.int64))
    return whole if exact else None


def _number(whole: npt.NDArray[np.int32], scale: int) -> Floats:
    return np.where(whole == NOWHERE, np.nan, whole / scale)
