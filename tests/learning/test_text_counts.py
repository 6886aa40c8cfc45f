"""Counts beside the ridge: order does not matter, nothing is forgotten, folds come and go, bytes give the same."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.learning.packing import StateError
from pipelines.learning.text_counts import TextCounts, TextMix
from pipelines.learning.text_features import TextFeatures
from tests.learning.test_text_models import EXAMPLES

TEXTS = [text for text, _ in EXAMPLES]
LABELS = [label for _, label in EXAMPLES]


def learned(examples: list[tuple[str, str]]) -> TextCounts:
    model = TextCounts()
    for text, label in examples:
        model.learn_one(text, label)
    return model


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(rng: random.Random) -> None:
    mixed = list(EXAMPLES)
    rng.shuffle(mixed)
    a, b = learned(EXAMPLES), learned(mixed)
    same = [b.classes.index(name) for name in a.classes]
    assert np.allclose(a.scores(TEXTS), b.scores(TEXTS)[:, same])


def test_classes_one_after_the_other_are_those_of_all_at_once() -> None:
    in_turn, at_once = TextMix(TextFeatures(None, 256)), TextMix(TextFeatures(None, 256))
    at_once.learn_many(TEXTS, LABELS)
    for name in ("food", "music", "travel"):
        mine = [t for t, label in EXAMPLES if label == name]
        in_turn.learn_many(mine, [name] * len(mine))
    assert [in_turn.predict_one(t) for t in TEXTS] == LABELS
    assert np.allclose(
        in_turn.scores(TEXTS), at_once.scores(TEXTS)[:, [at_once.classes.index(c) for c in in_turn.classes]], atol=1e-3
    )


def test_folds_can_be_added_and_taken_away() -> None:
    whole, part = learned(EXAMPLES), learned(EXAMPLES[:9])
    whole.add(part, -1)
    rest = learned(EXAMPLES[9:])
    columns = [whole.classes.index(name) for name in rest.classes]
    assert np.array_equal(whole._counts[:, columns], rest._counts)


def test_bytes_give_the_same_and_damaged_ones_are_refused() -> None:
    model = learned(EXAMPLES)
    data = model.dump()
    assert np.array_equal(TextCounts.load(data).scores(TEXTS), model.scores(TEXTS))
    for broken in (data[:-1], data[:3], data[:40] + bytes([data[40] ^ 1]) + data[41:], data + data):
        with pytest.raises(StateError):
            TextCounts.load(broken)


def test_no_word_can_be_read_from_the_bytes() -> None:
    assert all(word.encode() not in learned(EXAMPLES).dump() for word in ("paris", "record", "herbs"))
