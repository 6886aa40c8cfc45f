"""The frozen safety classifier: ridge regression and naive Bayes on the same phrases. It never learns in use."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.learning.packing import StateError
from pipelines.learning.text_counts import TextCounts
from pipelines.learning.text_encoder import Vectors
from pipelines.learning.text_features import TextFeatures
from pipelines.learning.text_ridge import TextHead, trained

WEIGHT = 0.15  # of the evidence of the n-grams; chosen by leaving out whole templates (docs/safety-classifier.md)


class SafetyHead:
    """Scores of the classes of safety and of SAFE: ridge + 0.15 x evidence of naive Bayes; higher is likelier, not a probability.

    Parameters
    ----------
    ridge
        On the embedding and hashed n-grams.
    counts
        Naive Bayes on n-grams, with the same classes.
    """

    def __init__(self, ridge: TextHead, counts: TextCounts) -> None:
        if sorted(counts.classes) != sorted(ridge.classes):
            raise StateError("the two halves of the safety classifier know different classes")
        self.ridge, self.counts = ridge, counts
        self.features, self.classes, self.version = ridge.features, ridge.classes, ridge.version
        self._columns = [counts.classes.index(name) for name in ridge.classes]

    def score_one(self, x: str) -> dict[str, float]:
        """Class → score of a text."""
        return self.score_features(self.features.transform([x]), x)

    def score_features(self, z: Vectors, x: str) -> dict[str, float]:
        """The same of features of `x` that another head has already asked for, shape (1, n features)."""
        both = self.ridge.scores_of(z)[0] + np.float32(WEIGHT) * self.counts.scores([x])[0, self._columns]
        return dict(zip(self.classes, map(float, both), strict=True))

    def dump(self) -> bytes:
        """Explicit bytes of both halves."""
        first = self.ridge.dump()
        return struct.pack("<I", len(first)) + first + self.counts.dump()

    @staticmethod
    def load(data: bytes, features: TextFeatures) -> SafetyHead:
        """Read what `dump` wrote; StateError if damaged, cut, or of other features."""
        if len(data) < 4:
            raise StateError("state of the safety classifier is cut")
        end = 4 + int(struct.unpack_from("<I", data)[0])
        return SafetyHead(TextHead.load(data[4:end], features), TextCounts.load(data[end:]))


def safety_trained(
    examples: Mapping[str, Sequence[str]], features: TextFeatures, l2: float, version: str
) -> SafetyHead:
    """Both halves from phrases by class."""
    counts = TextCounts()
    for name in sorted(examples):
        counts.learn_many(examples[name], [name] * len(examples[name]))
    return SafetyHead(trained(examples, features, l2, version), counts)
