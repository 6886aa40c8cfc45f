"""Steps of the parts of RecallClassifier: linear posterior, nearest rows, kernel machine. Pure but for the arrays they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipelines.learning.recall_memory import Columns, Memory


Array: TypeAlias = npt.NDArray[Any]


def short(a: Array) -> Array:
    """float16 with 5 bits of mantissa (1.6 % apart): enough for what is remembered, and half as many bytes when compressed."""
    bits = np.ascontiguousarray(a, np.float16).view(np.uint16)
    out: Array = ((bits + np.uint16(0x10)) & np.uint16(0xFFE0)).view(np.float16)
    return out


def trim(a: Array) -> Array:
    """float32 with 16 bits of mantissa: the last byte is zero, which compression takes away."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    out: Array = ((bits + np.uint32(0x80)) & np.uint32(0xFFFFFF00)).view(np.float32)
    return out


def linear_step(w: Array, q: Array, e: int, z: Array, c: npt.NDArray[np.int64], keep: float = 1.0) -> None:
    """One versus rest logistic posterior of expert `e`, diagonal, by assumed-density filtering (online EWC's form).

    Parameters
    ----------
    w, q
        Means and precisions [expert, class, feature + 1].
    z, c
        Scaled samples [n, feature] and their classes [n].
    keep
        Share of the precision that is kept, not below that of the prior (1).
    """
    z1 = np.column_stack([z, np.ones(len(z), np.float32)])
    p = 1 / (1 + np.exp(-np.clip(z1 @ w[e].T, -30, 30)))
    t = np.zeros_like(p)
    t[np.arange(len(c)), c] = 1.0
    old = q[e] if keep == 1.0 else np.maximum(keep * q[e], 1.0)
    q[e] = trim(old + (p * (1 - p)).T @ (z1 * z1))
    w[e] = trim(w[e] + (t - p).T @ z1 / q[e])


def nearest(
    y: npt.NDArray[np.int64],
    own: npt.NDArray[np.int64],
    k: int,
    n_classes: int,
    used: npt.NDArray[np.bool_],
    whole: int,
) -> Array:
    """Class shares among the k nearest rows of each expert [expert, class]; 0.5 / classes added to each.

    `y`, `own` are the rows from near to far. In the whole memory the more rows a class has, the less each counts (square
    root), because reservoirs balance classes only while they are full.
    """
    out = np.full((len(used), n_classes), 0.5 / n_classes)
    if len(y):
        some = np.bincount(y[:k], minlength=n_classes) / np.sqrt(np.maximum(1, np.bincount(y, minlength=n_classes)))
        out[whole] += some * (min(k, len(y)) / some.sum())
        for e in np.flatnonzero(used):
            if e != whole:
                mine = y[np.flatnonzero(own == e)[:k]]
                if len(mine):
                    out[e] += np.bincount(mine, minlength=n_classes)
    out /= out.sum(1, keepdims=True)
    return out


def kernel_step(rows: Memory, new: list[int], e: int, draws: Array, ridge: float, columns: Columns) -> None:
    """One block Gauss-Seidel step of both kernel ridge regressions: all memory rows together, and each context's own rows.

    Parameters
    ----------
    new
        Memory rows just stored: always in the block.
    e
        Context from which half of the other rows of the block are drawn.
    draws
        Uniform numbers, one a row to draw.
    """
    m = rows.size
    live = np.flatnonzero(rows.y[:m] >= 0)
    if not len(live):
        return
    block = live[(draws * len(live)).astype(np.int64)]
    mine = live[rows.owner[live] == e]
    if len(mine):
        half = len(draws) // 2
        block[:half] = mine[(draws[:half] * len(mine)).astype(np.int64)]
    block = np.unique(np.append(block, np.asarray(new, np.int64)))
    k = rows.gram(block, columns)
    target = np.full((len(block), rows.whole.shape[1]), -1.0 / rows.whole.shape[1], np.float32)
    target[np.arange(len(block)), rows.y[block]] += 1.0
    own = k * (rows.owner[block][:, None] == rows.owner[:m][None])
    left = np.stack([k[:, block], own[:, block]]) + ridge * np.eye(len(block), dtype=np.float32)
    right = np.stack(
        [target - k @ rows.whole - ridge * rows.whole[block], target - own @ rows.part - ridge * rows.part[block]]
    )
    step = np.linalg.solve(left, right)
    for held, change in ((rows.whole, step[0]), (rows.part, step[1])):
        held[block] = short(np.clip(held[block] + change, -1000, 1000))
