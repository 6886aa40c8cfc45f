"""Naive Bayes on hashed n-grams, and its sum with ridge regression: counts are sums, so nothing learned later takes from it.

Of each class the texts that hold an n-gram are counted (words, pairs, pieces, each hashed to `PLACES`). A text's evidence for a
class is the mean over its n-grams of log P(n-gram | class) less the mean over classes, where
P = (count + ALPHA p + FLOOR) / (texts of the class + ALPHA) and p is the n-gram's share of all texts: a class of few examples is
drawn to what is usual (multinomial naive Bayes with a common prior, McCallum & Nigam 1998, on presence).

`TextMix` adds it to `TextRidge` with a weight: the ridge shares 4,096 features among all classes and loses where many are alike,
counts have a place for each word of each class. Weight and prior were chosen on four fifths of CLINC150 (decision 0066).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipelines.learning import packing
from pipelines.learning.text_encoder import MAX_CHARACTERS, Vectors
from pipelines.learning.text_features import TextFeatures, grams_of
from pipelines.learning.text_ridge import MAX_CLASSES, TextRidge

KIND, VERSION = "text_counts", 1
KINDS = ("word", "pair", "piece")
PLACES = 1 << 15  # of each kind
ALPHA, FLOOR = 3.0, 1e-3
WEIGHT = 0.05  # of the evidence of each kind beside a ridge score


class TextCounts:
    """A classifier of texts by the n-grams they hold, in River's verbs; labels are strings.

    Examples
    --------
    >>> model = TextCounts()
    >>> for text, label in [("i sleep badly", "sleep"), ("my exam is soon", "exam")]:
    ...     model.learn_one(text, label)
    >>> model.predict_one("sleep is bad")
    'sleep'
    """

    def __init__(self) -> None:
        self.classes: list[str] = []
        self._texts: npt.NDArray[np.float64] = np.zeros(0)
        self._counts: Vectors = np.zeros((len(KINDS) * PLACES, 0), np.float32)
        self._table: Vectors | None = None

    def learn_one(self, x: str, y: str) -> None:
        """One example."""
        self.learn_many([x], [y])

    def learn_many(self, x: Sequence[str], y: Sequence[str | Sequence[str]]) -> None:
        """Many examples; a label may be several. ValueError if there are more than 512 classes."""
        labels = [[one] if isinstance(one, str) else list(one) for one in y]
        self._grow({name for several in labels for name in several})
        place = {name: i for i, name in enumerate(self.classes)}
        for text, several in zip(x, labels, strict=True):
            at = np.unique(np.concatenate(_places(text)))  # two n-grams may share a place
            for column in (place[name] for name in several):
                self._counts[at, column] += 1
                self._texts[column] += 1
        self._table = None

    def add(self, other: TextCounts, sign: int = 1) -> None:
        """Add (or with -1 take away) what another model has learned, e.g. a fold."""
        self._grow(set(other.classes))
        columns = [self.classes.index(name) for name in other.classes]
        self._counts[:, columns] += sign * other._counts
        self._texts[columns] += sign * other._texts
        self._table = None

    def _grow(self, names: set[str]) -> None:
        fresh = sorted(names - set(self.classes))
        if not fresh:
            return
        if len(self.classes) + len(fresh) > MAX_CLASSES:
            raise ValueError(f"more than {MAX_CLASSES} classes")
        self.classes += fresh
        self._texts = np.concatenate([self._texts, np.zeros(len(fresh))])
        self._counts = np.hstack([self._counts, np.zeros((len(self._counts), len(fresh)), np.float32)])

    def scores(self, x: Sequence[str]) -> Vectors:
        """Evidence for each class, shape (len(x), n classes), summed over the kinds; 0 = as usual."""
        table = self.table()
        out = np.zeros((len(x), len(self.classes)), np.float32)
        for i, text in enumerate(x):
            for places in _places(text):
                if len(places):
                    out[i] += table[places].mean(0)
        return out

    def predict_one(self, x: str) -> str | None:
        """The likeliest class; None before anything is learned."""
        return self.classes[int(self.scores([x])[0].argmax())] if self.classes else None

    def table(self) -> Vectors:
        """log P(n-gram | class) less its mean over classes, shape (places of all kinds, n classes)."""
        if self._table is None:
            share = ALPHA * self._counts.sum(1, keepdims=True) / max(1.0, float(self._texts.sum())) + FLOOR
            table = np.log((self._counts + share) / (self._texts + ALPHA))
            self._table = np.asarray(table - table.mean(1, keepdims=True), np.float32)
        return self._table

    # -- bytes --------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Explicit bytes: of each class its number of texts and its counts that are not 0, packed and checked."""
        out = []
        for i, name in enumerate(self.classes):
            column = self._counts[:, i]
            at = np.flatnonzero(column)
            parts = {"at": at.astype("<i4"), "n": column[at].astype("<f4")}
            out.append(
                packing.pack(KIND, VERSION, {"class": name, "texts": float(self._texts[i]), "held": len(at)}, parts)
            )
        return b"".join(struct.pack("<I", len(b)) + b for b in out)

    @staticmethod
    def load(data: bytes) -> TextCounts:
        """Read what `dump` wrote; StateError if it is damaged or cut."""
        model, start = TextCounts(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<I", data, start) if start + 4 <= len(data) else (0,)
            block = data[start + 4 : start + 4 + length]
            if not length or len(block) != length:
                raise packing.StateError("state of text_counts is cut")
            meta, arrays = packing.unpack(KIND, block)
            held = packing.whole(meta, "held", 0, len(model._counts))
            at = packing.take(arrays, "at", "<i4", held)
            counts = packing.take(arrays, "n", "<f4", held)
            packing.done(arrays)
            name = str(meta.get("class", ""))
            if (held and (int(at.min()) < 0 or int(at.max()) >= len(model._counts))) or name in model.classes:
                raise packing.StateError("state of text_counts is damaged")
            model._grow({name})
            model._texts[-1] = packing.number(meta, "texts", 0, 2**53)
            model._counts[at, -1] = counts
            start += 4 + length
        return model


class TextMix:
    """Ridge regression and naive Bayes side by side: scores are ridge + `weight` x evidence. Both keep sums only.

    Parameters
    ----------
    features, l2
        Of the ridge.
    weight
        0.05; scores then are no longer estimates of P(class | text): take those of `ridge` for what is out of scope.
    """

    def __init__(self, features: TextFeatures, l2: float = 0.05, weight: float = WEIGHT) -> None:
        self.ridge, self.counts, self.weight = TextRidge(features, l2), TextCounts(), weight

    @property
    def classes(self) -> list[str]:
        """Columns of `scores`."""
        return self.ridge.classes

    def learn_many(self, x: Sequence[str], y: Sequence[str | Sequence[str]]) -> None:
        """Many examples; as `TextRidge`."""
        self.ridge.learn_many(x, y)
        self.counts.learn_many(x, y)

    def learn_one(self, x: str, y: str) -> None:
        """One example."""
        self.learn_many([x], [y])

    def add(self, other: TextMix, sign: int = 1) -> None:
        """Add or take away another model's sums."""
        self.ridge.add(other.ridge, sign)
        self.counts.add(other.counts, sign)

    def scores(self, x: Sequence[str]) -> Vectors:
        """Shape (len(x), n classes)."""
        columns = [self.counts.classes.index(name) for name in self.classes]
        return np.asarray(
            self.ridge.scores(x) + np.float32(self.weight) * self.counts.scores(x)[:, columns], np.float32
        )

    def predict_one(self, x: str) -> str | None:
        """The likeliest class; None before anything is learned."""
        return self.classes[int(self.scores([x])[0].argmax())] if self.classes else None


def _places(text: str) -> list[npt.NDArray[np.int64]]:
    """Places of each kind's n-grams."""
    found = grams_of(text[:MAX_CHARACTERS], KINDS)
    return [codes % PLACES + i * PLACES for i, codes in enumerate(found)]
