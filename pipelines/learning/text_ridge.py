"""Ridge regression on frozen text features, kept as sufficient statistics: learns online, forgets nothing.

G = sum z zᵀ and B = sum z yᵀ over all examples, y one-hot; weights W = (G + λ I)⁻¹ B (ridge, Hoerl & Kennard 1970; with random
features McDonnell et al. 2023, "RanPAC"). Sums do not depend on the order of examples, so classes may come one after the other:
the result is that of all at once. Scores are least-squares estimates of P(class | text); a text unlike any example scores
low on all of them, which is the out-of-scope score. A class may be learned at any time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipelines.learning import packing
from pipelines.learning.text_encoder import Vectors
from pipelines.learning.text_features import TextFeatures

KIND, VERSION = "text_ridge", 1
HEAD, HEAD_VERSION = "text_ridge.head", 1
TEMPERATURE = 0.07  # of the softmax over scores [own: benchmarks/text.py, own phrases]
MAX_CLASSES = 512
BLOCK_BYTES = 2 << 20


class TextRidge:
    """A classifier of texts in River's verbs; labels are strings.

    Parameters
    ----------
    features
        Frozen features; a model's bytes are refused by other features.
    l2
        λ.

    Examples
    --------
    >>> model = TextRidge(TextFeatures(None, 256))
    >>> for text, label in [("i sleep badly", "sleep"), ("my exam is soon", "exam")]:
    ...     model.learn_one(text, label)
    >>> model.predict_one("sleep is bad")
    'sleep'
    """

    def __init__(self, features: TextFeatures, l2: float = 0.05) -> None:
        size = features.n_features
        self.features = features
        self.l2 = l2
        self.classes: list[str] = []
        self.n_learned = 0
        self._gram: npt.NDArray[np.float64] = np.zeros((size, size))
        self._sums: npt.NDArray[np.float64] = np.zeros((size, 0))
        self._weights: Vectors | None = None

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn_one(self, x: str, y: str) -> None:
        """One example."""
        self.learn_many([x], [y])

    def learn_many(self, x: Sequence[str], y: Sequence[str | Sequence[str]]) -> None:
        """Many examples; a label may be several (multi-label: each gets 1).

        Raises
        ------
        ValueError
            More than 512 classes.
        """
        labels = [[one] if isinstance(one, str) else list(one) for one in y]
        self._grow({name for several in labels for name in several})
        place = {name: i for i, name in enumerate(self.classes)}
        for at in range(0, len(x), 512):
            z = self.features.transform(x[at : at + 512])
            target = np.zeros((len(z), len(self.classes)), np.float32)
            for row, several in enumerate(labels[at : at + 512]):
                target[row, [place[name] for name in several]] = 1
            self._gram += z.T @ z
            self._sums += z.T @ target
        self.n_learned += len(x)
        self._weights = None

    def add(self, other: TextRidge, sign: int = 1) -> None:
        """Add (or with -1 take away) what another model of the same features has learned, e.g. a fold."""
        self._grow(set(other.classes))
        columns = [self.classes.index(name) for name in other.classes]
        self._gram += sign * other._gram
        self._sums[:, columns] += sign * other._sums
        self.n_learned += sign * other.n_learned
        self._weights = None

    def _grow(self, names: set[str]) -> None:
        fresh = sorted(names - set(self.classes))
        if len(self.classes) + len(fresh) > MAX_CLASSES:
            raise ValueError(f"more than {MAX_CLASSES} classes")
        self.classes += fresh
        self._sums = np.hstack([self._sums, np.zeros((len(self._sums), len(fresh)))])

    # -- asking -------------------------------------------------------------------------------------------------------

    def scores(self, x: Sequence[str]) -> Vectors:
        """Estimates of P(class | text), shape (len(x), n classes), not clipped; columns as in `classes`."""
        return head(self).scores_of(self.features.transform(x)) if self.classes else np.zeros((len(x), 0), np.float32)

    def predict_one(self, x: str) -> str | None:
        """The likeliest class; None before anything is learned."""
        return self.frozen().predict_one(x)

    def predict_proba_one(self, x: str) -> dict[str, float]:
        """Class → probability, summing to 1."""
        return self.frozen().predict_proba_one(x)

    def frozen(self) -> TextHead:
        """What has been learned so far, as a model that learns no more."""
        return head(self)

    def weights(self) -> Vectors:
        """W, shape (n features, n classes)."""
        if self._weights is None:
            gram = self._gram.astype(np.float32)
            gram[np.diag_indices_from(gram)] += np.float32(self.l2)
            self._weights = np.linalg.solve(gram, self._sums.astype(np.float32))
        return self._weights

    # -- bytes --------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Explicit bytes; the same predictions after `load`. Blocks of at most 2 MiB, each packed and checked."""
        size = len(self._gram)
        rows = min(size, max(1, BLOCK_BYTES // (4 * size)))
        starts = range(0, size, rows)
        meta = {
            "features": self.features.name,
            "l2": self.l2,
            "classes": self.classes,
            "n": self.n_learned,
            "rows": rows,
        }
        blocks = [packing.pack(KIND, VERSION, meta, {"sums": self._sums.astype("<f4")})]
        blocks += [
            packing.pack(f"{KIND}.gram", VERSION, {"at": at}, {"g": self._gram[at : at + rows].astype("<f4")})
            for at in starts
        ]
        return b"".join(struct.pack("<I", len(b)) + b for b in blocks)

    @staticmethod
    def load(data: bytes, features: TextFeatures) -> TextRidge:
        """Read what `dump` wrote.

        Raises
        ------
        packing.StateError
            Damaged, cut, or of other features.
        """
        blocks = _blocks(data)
        meta, arrays = packing.unpack(KIND, blocks[0])
        size = features.n_features
        model = TextRidge(features, packing.number(meta, "l2", 1e-9, 1e9))
        model.classes = _classes(meta, features)
        model.n_learned = packing.whole(meta, "n", 0, 2**53)
        model._sums = packing.take(arrays, "sums", "<f4", size, len(model.classes)).astype(np.float64)
        packing.done(arrays)
        rows = packing.whole(meta, "rows", 1, size)
        if len(blocks) != 1 + -(-size // rows):
            raise packing.StateError("state of text_ridge has too few or too many blocks")
        for block, at in zip(blocks[1:], range(0, size, rows), strict=True):
            _, part = packing.unpack(f"{KIND}.gram", block)
            model._gram[at : at + rows] = packing.take(part, "g", "<f4", min(rows, size - at), size)
            packing.done(part)
        return model


class TextHead:
    """A frozen classifier: features and weights. `predict_one` of one short text takes about 0.2 ms.

    Parameters
    ----------
    version
        Of what it was trained on; goes into `versions` and model cards.
    """

    def __init__(self, features: TextFeatures, classes: Sequence[str], weights: Vectors, version: str = "") -> None:
        self.features = features
        self.classes = list(classes)
        self.weights = np.asarray(weights, np.float32)
        self.version = version

    def scores_of(self, z: Vectors) -> Vectors:
        return np.asarray(z @ self.weights, np.float32)

    def score_one(self, x: str) -> dict[str, float]:
        """Class → estimate of P(class | text), within [0, 1] but not summing to 1."""
        return self.score_features(self.features.transform([x]))

    def score_features(self, z: Vectors) -> dict[str, float]:
        """The same of features that another head has already asked for, shape (1, n features)."""
        row = self.scores_of(z)[0]
        return {c: min(1.0, max(0.0, float(s))) for c, s in zip(self.classes, row, strict=True)}

    def predict_one(self, x: str) -> str | None:
        if not self.classes:
            return None
        return self.classes[int(self.scores_of(self.features.transform([x]))[0].argmax())]

    def predict_proba_one(self, x: str) -> dict[str, float]:
        return self.proba_features(self.features.transform([x]))

    def proba_features(self, z: Vectors) -> dict[str, float]:
        """The same of features, shape (1, n features)."""
        if not self.classes:
            return {}
        return dict(zip(self.classes, map(float, soft(self.scores_of(z))[0]), strict=True))

    def dump(self) -> bytes:
        """Explicit bytes, weights as float16."""
        meta = {"features": self.features.name, "classes": self.classes, "version": self.version}
        return packing.pack(HEAD, HEAD_VERSION, meta, {"w": self.weights.astype("<f2")})

    @staticmethod
    def load(data: bytes, features: TextFeatures) -> TextHead:
        """Read what `dump` wrote; StateError if damaged or of other features."""
        meta, arrays = packing.unpack(HEAD, data)
        classes = _classes(meta, features)
        weights = packing.take(arrays, "w", "<f2", features.n_features, len(classes)).astype(np.float32)
        packing.done(arrays)
        return TextHead(features, classes, weights, str(meta["version"]))


def head(model: TextRidge, version: str = "") -> TextHead:
    """The frozen head of a model as it is now."""
    return TextHead(model.features, model.classes, model.weights(), version)


def soft(scores: Vectors, temperature: float = TEMPERATURE) -> Vectors:
    """Softmax of each row at this temperature."""
    shifted = (scores - scores.max(1, keepdims=True)) / temperature
    parts = np.exp(shifted)
    return np.asarray(parts / parts.sum(1, keepdims=True), np.float32)


def trained(examples: Mapping[str, Sequence[str]], features: TextFeatures, l2: float, version: str = "") -> TextHead:
    """A frozen head from examples by class, solved in the dual: for few examples of many features.

    W = Zᵀ (Z Zᵀ + λ I)⁻¹ Y, the same as `TextRidge` gives. Classes sorted, so equal examples give equal weights.
    """
    classes = sorted(examples)
    z = features.transform([text for name in classes for text in examples[name]])
    target = np.repeat(np.eye(len(classes), dtype=np.float32), [len(examples[name]) for name in classes], axis=0)
    gram = z @ z.T + np.float32(l2) * np.eye(len(z), dtype=np.float32)
    return TextHead(features, classes, z.T @ np.linalg.solve(gram, target), version)


def _classes(meta: object, features: TextFeatures) -> list[str]:
    found = meta if isinstance(meta, dict) else {}
    if found.get("features") != features.name:
        raise packing.StateError("model was trained on other features; train it again")
    classes = found.get("classes")
    if not isinstance(classes, list) or len(classes) > MAX_CLASSES or not all(isinstance(c, str) for c in classes):
        raise packing.StateError("classes of a model are missing")
    return list(classes)


def _blocks(data: bytes) -> list[bytes]:
    out, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise packing.StateError("state of text_ridge is cut")
        (length,) = struct.unpack_from("<I", data, at)
        block = data[at + 4 : at + 4 + length]
        if len(block) != length or not length:
            raise packing.StateError("state of text_ridge is cut")
        out.append(block)
        at += 4 + length
    if not out:
        raise packing.StateError("state of text_ridge is empty")
    return out
