"""From the device to the log: rows get lost, wait for hours, are sent twice, carry a wrong clock. Pure, on blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from simulator.rows import SYNC_MS, Block, Codes, Column, Ints

Spans = npt.NDArray[np.int64]  # (n, 2): [from, to) in ms UTC


def lose(block: Block, share: float, rng: np.random.Generator) -> Block:
    """Without a random share of the rows."""
    return block.take(rng.random(len(block)) >= share)


def unlock(block: Block, share: float, rng: np.random.Generator) -> Block:
    """device.heart_rate in which the sensor loses the skin now and then: quality NO_LOCK, bpm anything."""
    lost = rng.random(len(block)) < share
    guess = np.round(rng.uniform(40, 180, len(block)), 1)
    bpm = block.value["bpm"]
    assert isinstance(bpm, np.ndarray)
    value: dict[str, Column] = {
        **block.value,
        "bpm": np.where(lost, guess, bpm),
        "quality": Codes(["LOCKED", "NO_LOCK"], lost.astype(np.int8)),
    }
    return replace(block, value=value)


def gaps(first: int, last: int, rate_day: float, hours: tuple[float, float], rng: np.random.Generator) -> Spans:
    """Spells without connection between two instants, `rate_day` a day, so many hours each; overlaps are joined."""
    count = int(rng.poisson(rate_day * (last - first) / 86_400_000))
    start = np.sort(rng.integers(first, last, count))
    end = start + (rng.uniform(*hours, count) * 3_600_000).astype(np.int64)
    spans: list[list[int]] = []
    for a, b in zip(start.tolist(), end.tolist(), strict=True):
        if spans and a <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], b)
        else:
            spans.append([a, b])
    return np.array(spans, np.int64).reshape(-1, 2)


def sync(block: Block, batch_min: int, waits: Spans, latest: int | None = None) -> Block:
    """Arrival: at once, or with the next batch; what falls into a gap arrives when it is over.

    Parameters
    ----------
    batch_min
        0 = each row two seconds after it happened.
    latest
        Rows of the log's last batch arrive then at the latest (ms), so that a log has an end.
    """
    event = block.event_time
    arrives = event + SYNC_MS
    if batch_min:
        step = batch_min * 60_000
        arrives = (event // step + 1) * step + SYNC_MS
    arrives = _after(arrives, waits)
    if latest is not None:
        arrives = np.maximum(np.minimum(arrives, latest), event)
    return replace(block, ingest_time=arrives)


def _after(times: Ints, waits: Spans) -> Ints:
    if not len(waits):
        return times
    i = np.maximum(np.searchsorted(waits[:, 0], times, side="right") - 1, 0)
    inside = (times >= waits[i, 0]) & (times < waits[i, 1])
    return np.where(inside, waits[i, 1] + SYNC_MS, times)


def wrong_clock(block: Block, span: tuple[int, int], shift_ms: int) -> Block:
    """The device's clock is wrong by `shift_ms` from one instant to another; arrival is not."""
    wrong = (block.event_time >= span[0]) & (block.event_time < span[1])
    return replace(block, event_time=np.where(wrong, block.event_time + shift_ms, block.event_time))


def resend(block: Block, spans: Spans, rng: np.random.Generator) -> Block:
    """Rows of these spells are sent a second time, up to twenty minutes later."""
    again = np.zeros(len(block), bool)
    for a, b in spans:
        again |= (block.event_time >= a) & (block.event_time < b)
    index = np.concatenate([np.arange(len(block)), np.flatnonzero(again)])
    twice = block.take(index)
    twice.ingest_time[len(block) :] += int(rng.integers(60_000, 1_200_000))
    return twice


def in_order(block: Block) -> Block:
    """The rows in order of arrival."""
    return block.take(np.argsort(block.ingest_time, kind="stable"))
