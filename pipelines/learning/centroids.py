"""Class centroids on frozen embeddings: one mean vector a class, learned online, forgetting nothing (models.md 1).

A class is the sum of its unit vectors and their number, so the order of examples and of classes can't matter (nearest class
mean; Mensink et al. 2013). 256 dimensions cost 1 KB a class; a person's own corrections are kept this way.
"""

from __future__ import annotations

import numpy as np

from pipelines.learning import packing
from pipelines.learning.text_encoder import Vectors, unit

KIND, VERSION = "centroids", 1
MAX_CLASSES = 64
TEMPERATURE = 0.06


class Centroids:
    """Nearest class mean by cosine, in River's verbs; x is a vector of length `size`.

    Examples
    --------
    >>> model = Centroids(2)
    >>> model.learn_one(np.array([1.0, 0.0]), "a")
    >>> model.learn_one(np.array([0.0, 1.0]), "b")
    >>> model.predict_one(np.array([0.9, 0.1]))
    'a'
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.classes: list[str] = []
        self.counts: list[int] = []
        self._sums: Vectors = np.zeros((0, size), np.float32)

    def learn_one(self, x: Vectors, y: str) -> None:
        """One vector of class `y`; it counts by its direction. ValueError if a 65th class comes or the size is another."""
        if np.shape(x) != (self.size,):
            raise ValueError("a vector of another size")
        if y not in self.classes:
            if len(self.classes) >= MAX_CLASSES:
                raise ValueError(f"more than {MAX_CLASSES} classes")
            self.classes.append(y)
            self.counts.append(0)
            self._sums = np.vstack([self._sums, np.zeros((1, self.size), np.float32)])
        at = self.classes.index(y)
        self._sums[at] += unit(np.asarray(x, np.float32)[None])[0]
        self.counts[at] += 1

    def score_one(self, x: Vectors) -> dict[str, float]:
        """Class → cosine with its centroid, -1 to 1."""
        near = unit(self._sums) @ unit(np.asarray(x, np.float32)[None])[0]
        return dict(zip(self.classes, map(float, near), strict=True))

    def predict_proba_one(self, x: Vectors) -> dict[str, float]:
        """Softmax of the cosines at temperature 0.06; {} before anything is learned."""
        scores = self.score_one(x)
        top = max(scores.values(), default=0.0)
        parts = {c: float(np.exp((s - top) / TEMPERATURE)) for c, s in scores.items()}
        return {c: p / sum(parts.values()) for c, p in parts.items()}

    def predict_one(self, x: Vectors) -> str | None:
        scores = self.score_one(x)
        return max(scores, key=lambda c: (scores[c], c), default=None)

    def dump(self) -> bytes:
        return packing.pack(
            KIND, VERSION, {"size": self.size, "classes": self.classes, "counts": self.counts}, {"s": self._sums}
        )

    @staticmethod
    def load(data: bytes) -> Centroids:
        """Read what `dump` wrote; StateError for anything else."""
        meta, arrays = packing.unpack(KIND, data)
        model = Centroids(packing.whole(meta, "size", 1, 4096))
        classes, counts = meta.get("classes"), meta.get("counts")
        if (
            not isinstance(classes, list)
            or not isinstance(counts, list)
            or not len(classes) == len(counts) <= MAX_CLASSES
        ):
            raise packing.StateError("classes of a state are missing")
        if not all(isinstance(c, str) for c in classes) or not all(type(n) is int and n > 0 for n in counts):
            raise packing.StateError("classes of a state are missing")
        model.classes, model.counts = classes, counts
        model._sums = packing.take(arrays, "s", "<f4", len(classes), model.size)
        packing.done(arrays)
        return model
