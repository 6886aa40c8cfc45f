"""Steps of the parts of RecallClassifier: linear posterior, nearest rows, kernel machine. Pure but for the arrays they train."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import sposv

if TYPE_CHECKING:
    from pipelines.learning.recall_memory import Memory


Array: TypeAlias = npt.NDArray[Any]
FAST, WHOLE, FIRST = 0, 1, 2  # experts; contexts follow from FIRST
STEP = 0.3  # of the logarithm of a relevance, a label
FEW = 0.5  # votes that are spread over all classes
FAINT = 0.01  # added to the sums of kernels
BEYOND = np.float32(1e12)  # a squared distance beyond any
HALFWAY = 1e11  # what lies nearer is a distance
FAINTEST = -60.0  # logarithm of the least kernel: below it products are subnormal, which is slow
SHORT_HALF, SHORT, HALF_HALF, HALF = (np.array(v, np.uint16) for v in (0x10, 0xFFE0, 0x4, 0xFFF8))  # half a step, bits kept
TRIM_HALF, TRIM = (np.array(v, np.uint32) for v in (0x80, 0xFFFFFF00))  # as arrays: operations with them are faster than with numbers
PIECE = 250_000  # multiplications of a product at a time
REACH = 4.0  # most that the logarithm of a relevance may be
SHARP = 6.0  # nearest rows count exp(-SHARP * relevance-weighted squared distance / features)


def short(a: Array) -> Array:
    """float16 with 5 bits of mantissa (1.6 % apart): enough for what is remembered, and half as many bytes when compressed."""
    bits = a.astype(np.float16).view(np.uint16)
    bits += SHORT_HALF
    bits &= SHORT
    return bits.view(np.float16)


def half(a: Array) -> Array:
    """float32 of the precision of float16 with 7 bits of mantissa (0.4 % apart)."""
    bits = a.astype(np.float16).view(np.uint16)
    bits += HALF_HALF
    bits &= HALF
    return bits.view(np.float16).astype(np.float32)


def trim(a: Array) -> Array:
    """float32 with 16 bits of mantissa: the last byte is zero, which compression takes away."""
    bits = a.astype(np.float32).view(np.uint32)
    bits += TRIM_HALF
    bits &= TRIM
    return bits.view(np.float32)


def linear_step(wq: Array, e: int, z1: Array, square1: Array, c: Array) -> None:
    """One versus rest logistic posterior of expert `e`, diagonal, by assumed-density filtering (online EWC's form).

    Parameters
    ----------
    wq
        Means and precisions [2, expert, class, feature + 1].
    z1, square1, c
        Scaled samples and 1, their squares and 1 [n, feature + 1], and their classes, 1 where it is [n, class].
    """
    new = wq[:, e].copy()
    w, q = new[0], new[1]
    p = logistic(z1 @ w.T)
    q += (p - p * p).T @ square1
    w += (c - p).T @ z1 / q
    wq[:, e] = trim(new)


def linear_steps(wq: Array, experts: list[int], z1: Array, square1: Array, c: Array, keep: float) -> None:
    """`linear_step` of one or two experts with one sample [feature + 1], [class]; `FAST` comes first.

    `keep` is the share of its precision that `FAST` keeps, not below that of the prior (1).
    """
    at = slice(experts[0], experts[-1] + 1, max(1, experts[-1] - experts[0]))  # a view
    new = wq[:, at].copy()
    w, q = new[0], new[1]
    p = logistic(w @ z1)
    if experts[0] == FAST:
        np.maximum(keep * q[0], 1.0, out=q[0])
    q += (p - p * p)[:, :, None] * square1
    w += (c - p)[:, :, None] * z1 / q
    wq[:, at] = trim(new)


def logistic(a: Array) -> Array:
    """1 / (1 + exp(-a)), in place."""
    np.negative(a, out=a)
    np.minimum(a, 30, out=a)
    np.exp(a, out=a)
    a += 1.0
    return np.reciprocal(a, out=a)


def carried(w: Array, factor: Array, shift: Array) -> Array:
    """Linear posteriors [expert, class, feature + 1] that say of z * factor + shift what they said of z."""
    out = w.copy()
    out[..., :-1] = w[..., :-1] / np.where(factor > 0, factor, 1.0)
    out[..., -1] -= out[..., :-1] @ shift
    return trim(np.clip(out, -1e6, 1e6))


def most_alike(rows: Memory, w: Array, contexts: list[int]) -> tuple[int, int]:
    """The two of these contexts whose linear parts agree best on their memory rows."""
    live = rows.live()
    z1 = rows.table[: w.shape[2], live].T
    said = {e: np.argmax(z1 @ w[e].T, 1) for e in contexts}

    def agree(a: int, b: int) -> float:
        r = np.isin(rows.owner[live], (a, b))
        return float((said[a][r] == said[b][r]).mean()) if r.any() else 1.0

    return max(((a, b) for a in contexts for b in contexts if a < b), key=lambda ab: agree(*ab))


def asking(r: Array, z: Array) -> Array:
    """What gives squared distances by relevance `r` from `z` to all rows in one product with `Memory.table` [..., 2 (feature + 1)]."""
    f = z.shape[-1]
    ask = np.zeros((*r.shape[:-1], 2 * f + 2), np.float32)
    rz = r * z
    ask[..., f], ask[..., f + 1 : -1] = np.vecdot(rz, z), r
    np.multiply(rz, -2.0, out=ask[..., :f])
    return ask


def pull(k: Array, same: Array, ask: Array, table: Array) -> Array:
    """How fast the log probability that rows pick their own class from the others falls as relevance grows, times -1 / rate.

    Neighbourhood components analysis (Goldberger et al. 2004): sum over the rows that answer of (ask - z)^2, times how much more
    often they are picked than rows of one's own class would be.

    Parameters
    ----------
    k
        exp(-rate d) of the squared distances by relevance from the rows that ask to those that answer, d beyond the nearest
        one [..., m].
    same
        1 where they are of one class, else 0 [..., m]; overwritten.
    ask, table
        Scaled values of the rows that ask [..., feature], and `Memory.table` of those that answer [..., m].
    """
    f = ask.shape[-1]
    own = np.vecdot(k, same)
    own += FAINT
    every = k.dot(table[f])  # ones: a product is faster than a sum
    every += FAINT
    same *= np.reciprocal(-own)[..., None]
    same += np.reciprocal(every)[..., None]
    same *= k
    sums = product(same, table.T)
    out: Array = ask * ask
    out *= sums[..., f : f + 1]
    out -= 2 * ask * sums[..., :f]
    out += sums[..., f + 1 : -1]
    return out


def product(a: Array, b: Array) -> Array:
    """a @ b, in pieces that OpenBLAS does not divide among threads: to wake them takes longer than the product."""
    n = PIECE // b.size
    if a.ndim == 1 or len(a) <= n:
        out: Array = a @ b
        return out
    out = np.empty((len(a), b.shape[1]), np.float32)
    for at in range(0, len(a), max(n, 1)):
        np.matmul(a[at : at + max(n, 1)], b, out=out[at : at + max(n, 1)])
    return out


def uphill(theta: Array, r: Array, g: Array) -> Array:
    """Log relevance after a step along the gradient `g` in relevance `r` = exp(theta)."""
    return half((theta + STEP * r * g).clip(-REACH, REACH))


def relevances(theta: Array) -> Array:
    """Relevance of the features by each expert, to tell contexts apart, and all alike: plain distance [expert + 2, feature]."""
    r = np.empty((len(theta) + 1, theta.shape[1]), np.float32)
    np.exp(theta, out=r[:-1])
    r[-1] = 1.0
    return r


def breadth(r: Array, rows: Memory) -> Array:
    """Mean relevance of the features that are not constant: kernel machines take relevance by its proportions."""
    out: Array = np.maximum(r @ rows.varies / np.float32(rows.active), 1e-3)
    return out


def settle(rows: Memory, block: Array, theta: Array, gamma: float, ridge: float, e: int) -> None:
    """Learn from memory rows `block`: kernel machines, and what makes rows alike.

    One block Gauss-Seidel step of each kernel ridge regression: all memory rows together by plain distance, and each context's
    own rows by its relevance. One step of the relevance of the whole memory, of the last row of `theta` (features that tell the
    contexts apart), and of context `e`.
    """
    m, n, f, rate = rows.size, len(block), theta.shape[1], SHARP / rows.active
    table, owner, r = rows.table[:, :m], rows.owner[block], relevances(theta)
    mine = (owner == e).nonzero()[0]
    size = 4 * n + len(mine)
    by, asked = np.empty((2, size), np.int64)  # kernels: plain, own; relevance: whole, what tells contexts apart, context e
    by[:n], by[n : 2 * n], by[2 * n : 3 * n], by[3 * n : 4 * n], by[4 * n :] = -1, owner, WHOLE, -2, e
    asked[: 4 * n].reshape(4, n)[:], asked[4 * n :] = block, block[mine]
    scale = np.full(size, -rate, np.float32)
    scale[:n] = -gamma / rows.active
    scale[n : 2 * n] = (-gamma / rows.active) / breadth(r, rows)[owner]
    z = table[:f].take(asked, 1).T
    k = product(asking(r[by] * scale[:, None], z), table)
    if len(rows.live()) < m:
        k -= rows.beyond[WHOLE, :m]
    k[n : 2 * n] -= rows.beyond[owner, :m]
    k[4 * n :] -= rows.beyond[e, :m]
    near = k[2 * n :]
    near[np.arange(len(near)), asked[2 * n :]] = -BEYOND
    near -= near.max(1).clip(-HALFWAY, 0.0)[:, None]
    np.exp(k.clip(FAINTEST, 0.0, out=k), out=k)
    _solve(rows, block, k[: 2 * n].reshape(2, n, m), ridge)
    y = rows.y[block] + len(rows.beyond)
    g = pull(near, rows.alike[np.concatenate((y, owner, y[mine]))], z[2 * n :], table)
    at, start, each = [WHOLE, -1], [0, n], [rate / n, rate / n]
    if len(mine):
        at, start, each = [*at, e], [*start, 2 * n], [*each, rate / len(mine)]
    g = np.add.reduceat(g, start)
    g *= np.array(each, np.float32)[:, None]
    theta[at] = uphill(theta[at], r[[WHOLE, -2, e][: len(at)]], g)


def _solve(rows: Memory, block: Array, k: Array, ridge: float) -> None:
    """Kernel coefficients of `block` that fit, the others held: `k` kernels to all memory rows [2, n, m]."""
    held = rows.kernel[:, : rows.size]
    new = held.take(block, 1)
    left = k.take(block, 2)
    left.reshape(2, -1)[:, :: len(block) + 1] += ridge
    off = rows.hot[block] - 1.0 / rows.hot.shape[1] - k @ held
    off -= ridge * new
    for part in (0, 1):
        _, step, singular = sposv(left[part], off[part])
        if not singular:
            new[part] += step
    rows.kernel[:, block] = short(new.clip(-1000, 1000))


def present_relevance(rows: Memory, theta: Array, z: Array, c: int, keep: float) -> Array:
    """Log relevance of the features in the last samples, when a new one of class `c` asks the ring."""
    ring, rate = rows.table[:, rows.size :], SHARP / rows.active
    theta = theta * np.float32(keep)
    r = np.exp(theta)
    k = asking(r * np.float32(-rate), z).dot(ring)
    k -= rows.beyond[FAST, rows.size :]
    k -= np.float32(min(max(k.max().item(), -HALFWAY), 0.0))
    np.exp(k.clip(FAINTEST, 0.0, out=k), out=k)
    g = pull(k, rows.hot[rows.size :, c].copy(), z, ring)
    g *= rate
    return uphill(theta, r, g)


def recalled(rows: Memory, z: Array, theta: Array, parts: Array, gamma: float, k_gate: int) -> list[float]:
    """Ask the memory rows.

    A row votes with exp(-SHARP d / features), d beyond the nearest one; FEW votes are spread over all classes. In the whole
    memory the more rows a class has, the less each counts (square root), because reservoirs balance classes only while full.

    Parameters
    ----------
    parts
        Of the experts in use [expert, part, class]. What the nearest rows and the kernel machines say is written here: p(class);
        far from all rows it is uniform.

    Returns
    -------
    list of float
        Each expert's share of the rows that lie nearest by what tells contexts apart.
    """
    used, n_classes, scale = len(parts), rows.hot.shape[1], 1.0 / rows.active
    r = relevances(theta)
    r[used : used + 2] = r[-2:]
    r = r[: used + 2]
    width = breadth(r[:used], rows)
    d = product(asking(r, z), rows.table)  # squared distance to every row by each relevance
    np.maximum(d, 0.0, out=d)
    own = d[:used]
    own += rows.beyond[:used]
    d[used:] += rows.beyond[WHOLE]
    k = own - np.minimum(own.min(1), HALFWAY)[:, None]
    k *= -SHARP * scale
    some = np.exp(k, out=k) @ rows.hot
    whole = some[WHOLE].tolist()
    fair = [v / math.sqrt(max(1, n)) for v, n in zip(whole, rows.counts.sum(0).tolist(), strict=True)]
    some[WHOLE] = np.array(fair) * (sum(whole) / max(sum(fair), 1e-30))
    some += FEW / n_classes
    np.divide(some, some.sum(1, keepdims=True), out=parts[:, 1])
    own[WHOLE], width[WHOLE] = d[-1], 1.0
    np.multiply(own, (-gamma * scale / width)[:, None], out=k)
    np.exp(k, out=k)
    kernel = k @ rows.kernel[1]
    kernel[WHOLE] = k[WHOLE] @ rows.kernel[0]
    kernel += 1.0 / n_classes
    np.maximum(kernel, 0.02, out=kernel)
    np.divide(kernel, kernel.sum(1, keepdims=True), out=parts[:, 2])
    k_gate = min(k_gate, rows.in_use)
    if not k_gate:
        return [0.0] * len(rows.beyond)
    near = [0.0] * len(rows.beyond)
    for e in rows.owner[d[-2].argpartition(k_gate - 1)[:k_gate]].tolist():
        near[e] += 1.0 / k_gate
    return near
