"""Steps of the parts of RecallClassifier: linear posterior, nearest rows, kernel machine. Pure but for the arrays they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipelines.learning.recall_memory import Memory


Array: TypeAlias = npt.NDArray[Any]
FAST, WHOLE, FIRST = 0, 1, 2  # experts; contexts follow from FIRST
STEP = 0.3  # of the logarithm of a relevance, a label
FEW = 0.5  # votes that are spread over all classes
FAINT = 0.01  # added to the sums of kernels
BEYOND = np.float32(1e12)  # a squared distance beyond any
HALFWAY = np.float32(1e11)  # what lies nearer is a distance
FAINTEST = -60.0  # logarithm of the least kernel: below it products are subnormal, which is slow
ONES = np.ones(8192, np.float32)
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
    """`linear_step` of several experts with one sample [feature + 1], [class]. `FAST` keeps `keep` of its precision, never below the prior (1)."""
    new = wq[:, experts]
    w, q = new[0], new[1]
    p = logistic(w @ z1)
    if experts[0] == FAST:
        np.maximum(keep * q[0], 1.0, out=q[0])
    q += (p - p * p)[:, :, None] * square1
    w += (c - p)[:, :, None] * z1 / q
    wq[:, experts] = trim(new)


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
    z1 = rows.table[live, : w.shape[2]]
    said = {e: np.argmax(z1 @ w[e].T, 1) for e in contexts}

    def agree(a: int, b: int) -> float:
        r = np.isin(rows.owner[live], (a, b))
        return float((said[a][r] == said[b][r]).mean()) if r.any() else 1.0

    return max(((a, b) for a in contexts for b in contexts if a < b), key=lambda ab: agree(*ab))


def pull(d: Array, same: Array, rate: float) -> Array:
    """How far rows that answer are picked more often than rows of one's own class would be [n, m].

    Neighbourhood components analysis (Goldberger et al. 2004): the gradient, in -rate * d, of the mean log probability that rows
    pick their own class from the others.

    Parameters
    ----------
    d
        Squared distances by relevance from the rows that ask to those that answer, `BEYOND` where one may not answer [n, m];
        overwritten.
    same
        1 where they are of one class, else 0 [n, m].
    rate
        Factor of the squared distance in the kernel.
    """
    ones = ONES[: d.shape[1]]  # a product is faster than a sum
    d -= d.min(1).clip(0.0, HALFWAY)[:, None]
    d *= -rate
    k = np.exp(d.clip(FAINTEST, 0.0, out=d), out=d)
    hit = k * same
    total = k.dot(ones)
    total += FAINT
    k /= total[:, None]
    total = hit.dot(ones)
    total += FAINT
    hit /= total[:, None]
    k -= hit
    return k


def spread(a: Array, ask: Array, table: Array) -> Array:
    """Sum over the rows that answer of a (ask - z)^2 [n, feature], from `a` [n, m], `ask` [n, feature], `Memory.table` [m, ...]."""
    f = ask.shape[-1]
    sums = a.dot(table)
    out: Array = ask * ask
    out *= sums[..., f : f + 1]
    out -= 2 * ask * sums[..., :f]
    out += sums[..., f + 1 : -1]
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


def settle(rows: Memory, block: Array, theta: Array, used: int, gamma: float, ridge: float, e: int) -> None:
    """Learn from memory rows `block`: kernel machines, and what makes rows alike.

    One block Gauss-Seidel step of each kernel ridge regression: all memory rows together by plain distance, and each context's
    own rows by its relevance. One step of the relevance of the whole memory, of the last row of `theta` (features that tell the
    contexts apart), and of context `e`.
    """
    m, n, f, rate = rows.size, len(block), theta.shape[1], SHARP / rows.active
    table, owner = rows.table[:m], rows.owner[block]
    mine = (owner == e).nonzero()[0]
    r = relevances(theta)
    width = np.ones((2, n), np.float32)
    width[1] = breadth(r, rows)[owner]
    r[used : used + 2] = r[-2:]
    r = r[: used + 2]
    square = r @ table[:, f + 1 : -1].T  # [relevance, row]
    square[:used] += rows.beyond[:used, :m]
    square[used:] += rows.beyond[WHOLE, :m]
    by, asked = np.empty((2, 4 * n + len(mine)), np.int64)  # plain, own, whole, what tells contexts apart, own of context e
    by[:n], by[n : 2 * n], by[2 * n : 3 * n], by[3 * n : 4 * n], by[4 * n :] = used + 1, owner, WHOLE, used, e
    asked[: 4 * n].reshape(4, n)[:], asked[4 * n :] = block, block[mine]
    ask = table[asked, :f]
    near = r[by]
    near *= ask
    norm = np.einsum("if,if->i", near, ask)
    near *= -2.0
    d = np.empty((len(by), m), np.float32)
    for part in (slice(0, 2 * n), slice(2 * n, None)):  # OpenBLAS divides a larger product among threads, which takes longer
        np.matmul(near[part], table[:, :f].T, out=d[part])
    d += norm[:, None]
    d += square[by]
    _solve(rows, block, d[: 2 * n].reshape(2, n, m), -gamma / rows.active / width, ridge)
    d, asked, ask = d[2 * n :], asked[2 * n :], ask[2 * n :]
    d[np.arange(len(d)), asked] = BEYOND
    y = rows.y[block] + len(rows.beyond)
    same = rows.alike[np.concatenate((y, owner, y[mine]))]
    g = spread(pull(d, same, rate), ask, table)
    at, start, each = [WHOLE, -1], [0, n], [rate / n, rate / n]
    if len(mine):
        at, start, each = [*at, e], [*start, 2 * n], [*each, rate / len(mine)]
    g = np.add.reduceat(g, start)
    g *= np.array(each, np.float32)[:, None]
    theta[at] = uphill(theta[at], r[[WHOLE, used, e][: len(at)]], g)


def _solve(rows: Memory, block: Array, d: Array, scale: Array, ridge: float) -> None:
    """Kernel coefficients of `block` that fit, the others held: `d` squared distances to all memory rows [2, n, m]."""
    n_classes, i = rows.hot.shape[1], np.arange(len(block))
    d *= scale[:, :, None]
    k = np.exp(d.clip(FAINTEST, 0.0, out=d), out=d)
    held = rows.kernel[:, : rows.size]
    mine = held[:, block]
    left = k[:, :, block]
    left[:, i, i] += ridge
    change = mine + np.linalg.solve(left, rows.hot[block] - 1.0 / n_classes - k @ held - ridge * mine)
    rows.kernel[:, block] = short(np.minimum(np.maximum(change, -1000), 1000))


def present_relevance(rows: Memory, theta: Array, z: Array, c: int, keep: float) -> Array:
    """Log relevance of the features in the last samples, when a new one of class `c` asks the ring."""
    ring, f = rows.table[rows.size :], len(z)
    theta = theta * np.float32(keep)
    r = np.exp(theta)
    rz = r * z
    d = ring[:, f + 1 : -1].dot(r)
    d -= 2 * ring[:, :f].dot(rz)
    d += rz.dot(z)
    np.maximum(d, 0, out=d)
    d += rows.beyond[FAST, rows.size :]
    rate = SHARP / rows.active
    g = spread(pull(d[None], rows.hot[rows.size :, c], rate)[0], z, ring)
    g *= rate
    return uphill(theta, r, g)


def recalled(rows: Memory, z: Array, theta: Array, parts: Array, gamma: float, k_gate: int) -> Array:
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
    array
        An expert's share of the rows that lie nearest by what tells contexts apart [expert].
    """
    f, used, n_classes, scale = len(z), len(parts), rows.hot.shape[1], 1.0 / rows.active
    r = relevances(theta)
    width = breadth(r[:-2], rows)[:used]
    ask = np.empty((len(r), 2 * f + 2), np.float32)
    rz = r * z
    ask[:, f], ask[:, f + 1 : -1], ask[:, -1] = rz @ z, r, 0.0
    np.multiply(rz, -2.0, out=ask[:, :f])
    ask[used : used + 2] = ask[-2:]
    d = ask[: used + 2] @ rows.table.T  # squared distance to every row by each relevance
    np.maximum(d, 0.0, out=d)
    own = d[:used]
    own += rows.beyond[:used]
    d[used:] += rows.beyond[WHOLE]
    all_k = np.zeros((len(theta) - 1, d.shape[1]), np.float32)
    k = np.subtract(own, np.minimum(own.min(1), HALFWAY)[:, None], out=all_k[:used])
    k *= -SHARP * scale
    np.exp(k, out=k)
    some = (all_k @ rows.hot)[:used]
    count = rows.counts.sum(0)
    fair = some[WHOLE] / np.sqrt(np.maximum(1, count))
    some[WHOLE] = fair * (some[WHOLE].sum() / max(float(fair.sum()), 1e-30))
    some += FEW / n_classes
    np.divide(some, some.sum(1, keepdims=True), out=parts[:, 1])
    own[WHOLE], width[WHOLE] = d[-1], 1.0
    np.multiply(own, (-gamma * scale / width)[:, None], out=k)
    np.exp(k, out=k)
    kernel = (all_k @ rows.kernel[1])[:used]
    kernel[WHOLE] = k[WHOLE] @ rows.kernel[0]
    kernel += 1.0 / n_classes
    np.maximum(kernel, 0.02, out=kernel)
    np.divide(kernel, kernel.sum(1, keepdims=True), out=parts[:, 2])
    k_gate = min(k_gate, rows.in_use)
    if not k_gate:
        return np.zeros(len(rows.beyond))
    nearest = d[-2].argpartition(k_gate - 1)[:k_gate]
    return np.bincount(rows.owner[nearest], minlength=len(rows.beyond)) / k_gate
