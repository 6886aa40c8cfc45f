"""Steps of the parts of RecallClassifier: linear posterior, nearest rows, kernel machine. Pure but for the arrays they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipelines.learning.recall_memory import Memory


Array: TypeAlias = npt.NDArray[Any]
STEP = 0.3  # of the logarithm of a relevance, a label
FEW = 0.5  # votes that are spread over all classes
FAINT = 0.01  # added to the sums of kernels
BEYOND = np.float32(1e12)  # a squared distance beyond any
REACH = 4.0  # most that the logarithm of a relevance may be
SHARP = 6.0  # nearest rows count exp(-SHARP * relevance-weighted squared distance / features)


def short(a: Array) -> Array:
    """float16 with 5 bits of mantissa (1.6 % apart): enough for what is remembered, and half as many bytes when compressed."""
    bits = np.ascontiguousarray(a, np.float16).view(np.uint16)
    out: Array = ((bits + np.uint16(0x10)) & np.uint16(0xFFE0)).view(np.float16)
    return out


def half(a: Array) -> Array:
    """float32 of the precision of float16 with 7 bits of mantissa (0.4 % apart)."""
    bits = np.ascontiguousarray(a, np.float16).view(np.uint16)
    out: Array = ((bits + np.uint16(0x4)) & np.uint16(0xFFF8)).view(np.float16).astype(np.float32)
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
    z1 = np.ones((len(z), z.shape[1] + 1), np.float32)
    z1[:, :-1] = z
    p = 1 / (1 + np.exp(-np.minimum(np.maximum(z1 @ w[e].T, -30), 30)))
    error = -p
    error[np.arange(len(c)), c] += 1.0
    old = q[e] if keep == 1.0 else np.maximum(keep * q[e], 1.0)
    q[e] = trim(old + (p * (1 - p)).T @ (z1 * z1))
    w[e] = trim(w[e] + error.T @ z1 / q[e])


def carried(w: Array, factor: Array, shift: Array) -> Array:
    """Linear posteriors [expert, class, feature + 1] that say of z * factor + shift what they said of z."""
    out = w.copy()
    out[..., :-1] = w[..., :-1] / np.where(factor > 0, factor, 1.0)
    out[..., -1] -= out[..., :-1] @ shift
    return trim(np.clip(out, -1e6, 1e6))


def most_alike(rows: Memory, w: Array, contexts: list[int]) -> tuple[int, int]:
    """The two of these contexts whose linear parts agree best on their memory rows."""
    live = np.flatnonzero(rows.y[: rows.size] >= 0)
    z1 = np.column_stack([rows.z[live], np.ones(len(live), np.float32)])
    said = {e: np.argmax(z1 @ w[e].T, 1) for e in contexts}

    def agree(a: int, b: int) -> float:
        r = np.isin(rows.owner[live], (a, b))
        return float((said[a][r] == said[b][r]).mean()) if r.any() else 1.0

    return max(((a, b) for a in contexts for b in contexts if a < b), key=lambda ab: agree(*ab))


def relevance_step(theta: Array, d: Array, same: Array, ask: Array, z: Array, square: Array, rate: float) -> Array:
    """Which features make rows alike: one step of neighbourhood components analysis with a diagonal metric.

    Goldberger et al. 2004: gradient of the mean log probability that rows pick their own class from the others, in theta =
    log relevance.

    Parameters
    ----------
    theta
        Log relevance [feature].
    d, same
        Squared distance by relevance from the rows that ask to those that answer (infinite where it may not answer) and
        whether they are of one class [n, m].
    ask, z, square
        Scaled rows that ask [n, feature], that answer [m, feature], and their squares.
    rate
        Factor of the squared distance in the kernel.
    """
    k = np.exp(-rate * (d - np.minimum(d.min(1, keepdims=True), BEYOND)))
    hit = k * same
    a = k / (k.sum(1, keepdims=True) + FAINT) - hit / (hit.sum(1, keepdims=True) + FAINT)
    g = a.sum(1) @ (ask * ask) - 2 * (ask * (a @ z)).sum(0) + a.sum(0) @ square
    out: Array = half(np.minimum(np.maximum(theta + (STEP * rate / len(ask)) * np.exp(theta) * g, -REACH), REACH))
    return out


def apart(ask: Array, r: Array, z: Array, square: Array) -> Array:
    """Squared distances by relevance `r` ([feature], or one a row that asks) [n, m]."""
    d: Array = ((ask * ask) * r).sum(1)[:, None] - 2 * ((ask * r) @ z.T)
    d += (square @ r)[None] if r.ndim == 1 else r @ square.T
    return np.maximum(d, 0, out=d)


def breadth(r: Array, rows: Memory) -> Array:
    """Mean relevance of the features that are not constant [expert]: kernel machines take relevance by its proportions."""
    out: Array = r @ (rows.inverse > 0) / rows.active()
    return np.maximum(out, 1e-3)


def settle(rows: Memory, block: Array, theta: Array, whole: int, gamma: float, ridge: float, e: int) -> None:
    """Learn from memory rows `block`: kernel machines, and what makes rows alike.

    One block Gauss-Seidel step of each kernel ridge regression: all memory rows together by plain distance, and each context's
    own rows by its relevance. One step of the relevance of context `e`, of the whole memory, and of the last row of `theta`:
    features that tell the contexts apart.
    """
    m, n, active = rows.size, len(block), rows.active()
    z, square, y, own = rows.z[:m], rows.square[:m], rows.y[:m], rows.owner[:m]
    ask, yb, ob = z[block], y[block], own[block]
    there, i = np.where(y < 0, np.inf, 0.0).astype(np.float32), np.arange(n)
    r = np.exp(theta)
    kin = ob[:, None] == own
    d = np.empty((4, n, m), np.float32)  # plain, own, whole, context
    d[0] = apart(ask, np.ones_like(r[0]), z, square)
    d[1] = np.where(kin, apart(ask, r[ob], z, square), np.inf)
    d[2], d[3] = apart(ask, r[whole], z, square), apart(ask, r[-1], z, square)
    d += there
    k = np.exp((-gamma / active) * d[:2] / np.stack([np.ones_like(block), breadth(r, rows)[ob]])[:, :, None])
    n_classes = rows.whole.shape[1]
    target = np.full((n, n_classes), -1.0 / n_classes, np.float32)
    target[i, yb] += 1.0
    held = np.stack([rows.whole[:m], rows.part[:m]])
    left = k[:, :, block]
    left[:, i, i] += ridge
    change = np.linalg.solve(left, target - k @ held - ridge * held[:, block])
    change = short(np.minimum(np.maximum(held[:, block] + change, -1000), 1000))
    rows.whole[block], rows.part[block] = change
    d[:, i, block] = np.inf
    same, rate = yb[:, None] == y, SHARP / active
    mine = ob == e
    theta[whole] = relevance_step(theta[whole], d[2], same, ask, z, square, rate)
    theta[-1] = relevance_step(theta[-1], d[3], kin, ask, z, square, rate)
    if mine.any():
        theta[e] = relevance_step(theta[e], d[1][mine], same[mine], ask[mine], z, square, rate)


def present_relevance(rows: Memory, theta: Array, z: Array, c: int, keep: float) -> Array:
    """Log relevance of the features in the last samples, when a new one of class `c` asks the ring."""
    m = rows.size
    y = rows.y[m:]
    theta = theta * np.float32(keep)
    if (y < 0).all():
        return theta
    d = apart(z[None], np.exp(theta), rows.z[m:], rows.square[m:])
    d[:, y < 0] = np.inf
    return relevance_step(theta, d, (y == c)[None], z[None], rows.z[m:], rows.square[m:], SHARP / rows.active())


class Said(NamedTuple):
    """What the memory says of a sample."""

    votes: Array  # p(class) by the nearest rows [expert, class]
    kernel: Array  # p(class) by the kernel machines [expert, class]; uniform far from all rows
    near: Array  # an expert's share of the rows that lie nearest by what tells contexts apart
    known: Array  # classes that an expert has rows of [expert, class]


def recalled(rows: Memory, z: Array, theta: Array, whole: int, gamma: float, k_gate: int, n_classes: int) -> Said:
    """Ask the memory rows.

    A row votes with exp(-SHARP d / features), d beyond the nearest one; FEW votes are spread over all classes. In the whole
    memory the more rows a class has, the less each counts (square root), because reservoirs balance classes only while full.
    """
    n_experts = len(theta) - 1
    kernel = np.full((n_experts, n_classes), 1.0 / n_classes)
    groups = rows.groups(n_classes)
    order, active, n = groups.order, rows.active(), n_experts * n_classes
    if not len(order):
        return Said(kernel, kernel.copy(), np.zeros(n_experts), np.zeros((n_experts, n_classes)))
    r = np.exp(theta)
    away = rows.square @ r.T
    away -= 2 * (rows.z @ (r * z).T)
    away += r @ (z * z)
    mine = np.maximum(away[order, groups.own], 0)
    all_d = np.maximum(away[order, whole], 0)
    k = np.exp((-SHARP / active) * (mine - np.minimum.reduceat(mine, groups.start).repeat(groups.size)))
    some = np.bincount(groups.bucket, k, n).reshape(n_experts, n_classes)
    k = np.exp((-SHARP / active) * (all_d - all_d.min()))
    some_whole = np.bincount(groups.y, k, n_classes) / np.sqrt(np.maximum(1, groups.classes))
    some[whole] = some_whole * (k.sum() / some_whole.sum())
    votes = (some + FEW / n_classes) / (some.sum(1, keepdims=True) + FEW)
    k = np.exp((-gamma / active) * mine / breadth(r, rows)[groups.own])
    kernel[groups.present] += np.add.reduceat(k[:, None] * rows.part[order], groups.start)
    plain = np.maximum((rows.norm - 2 * (rows.z @ z))[order] + z @ z, 0)
    kernel[whole] += np.exp((-gamma / active) * plain) @ rows.whole[order]
    kernel = np.maximum(kernel, 0.02)
    kernel /= kernel.sum(1, keepdims=True)
    k_gate = min(k_gate, len(order))
    near = np.bincount(groups.own[np.argpartition(away[order, -1], k_gate - 1)[:k_gate]], minlength=n_experts) / k_gate
    known = (np.bincount(groups.bucket, minlength=n) > 0).reshape(n_experts, n_classes).astype(np.float64)
    return Said(votes, kernel, near, known)
