"""Text models: what they learn does not depend on the order, is not forgotten, and survives bytes (models.md 4)."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.learning.centroids import Centroids
from pipelines.learning.packing import StateError
from pipelines.learning.text_encoder import default_encoder
from pipelines.learning.text_features import FEELINGS, TextFeatures
from pipelines.learning.text_ridge import TextHead, TextRidge, trained

EXAMPLES = [
    *((f"{w} the {n} tonight", "music") for w in ("play", "sing", "hear") for n in ("song", "record", "tune")),
    *((f"book a {n} to {c}", "travel") for n in ("flight", "train", "hotel") for c in ("rome", "oslo", "paris")),
    *((f"cook {n} with {c}", "food") for n in ("rice", "soup", "pasta") for c in ("beans", "cheese", "herbs")),
]  # fmt: skip
FEATURES = TextFeatures(None, 256)


def learned(examples: list[tuple[str, str]], features: TextFeatures = FEATURES) -> TextRidge:
    model = TextRidge(features)
    for text, label in examples:
        model.learn_one(text, label)
    return model


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(rng: random.Random) -> None:
    mixed = list(EXAMPLES)
    rng.shuffle(mixed)
    a, b = learned(EXAMPLES), learned(mixed)
    for text, _ in EXAMPLES:
        p, q = a.predict_proba_one(text), b.predict_proba_one(text)
        assert all(abs(p[c] - q[c]) < 1e-3 for c in p)


def test_classes_that_come_one_after_the_other_are_all_remembered() -> None:
    model = learned(sorted(EXAMPLES, key=lambda e: e[1]))
    assert [model.predict_one(t) for t, _ in EXAMPLES] == [y for _, y in EXAMPLES]


def test_a_text_unlike_any_example_scores_low_on_all_classes() -> None:
    head = learned(EXAMPLES).frozen()
    assert (
        max(head.score_one("quantum xylophone zebra").values())
        < 0.5
        < max(head.score_one("play the song tonight").values())
    )


def test_folds_can_be_added_and_taken_away() -> None:
    a, b = learned(EXAMPLES[:14]), learned(EXAMPLES[14:])
    whole = TextRidge(FEATURES)
    whole.add(a)
    whole.add(b)
    assert [whole.predict_one(t) for t, _ in EXAMPLES] == [y for _, y in EXAMPLES]
    whole.add(b, -1)
    assert whole.n_learned == 14


def test_the_dual_gives_what_the_sums_give() -> None:
    by_class: dict[str, list[str]] = {}
    for text, label in EXAMPLES:
        by_class.setdefault(label, []).append(text)
    head, sums = trained(by_class, FEATURES, 0.05), learned(EXAMPLES)
    for text, _ in EXAMPLES:
        p, q = head.score_one(text), sums.frozen().score_one(text)
        assert all(abs(p[c] - q[c]) < 1e-2 for c in p)


@pytest.mark.parametrize("features", [FEATURES, TextFeatures(None, 0)])
def test_bytes_predict_the_same(features: TextFeatures) -> None:
    head = (
        learned(EXAMPLES, features).frozen()
        if not features.linear
        else trained({"a": ["one two"], "b": ["three four"]}, features, 0.1)
    )
    again = TextHead.load(head.dump(), features)
    assert again.dump() == head.dump()
    known = ["one two", "three four"] if features.linear else [t for t, _ in EXAMPLES]
    assert all(again.predict_one(t) == head.predict_one(t) for t in known)


def test_a_learning_model_goes_on_after_its_bytes() -> None:
    model = learned(EXAMPLES[:20])
    again = TextRidge.load(model.dump(), FEATURES)
    for text, label in EXAMPLES[20:]:
        model.learn_one(text, label)
        again.learn_one(text, label)
    assert again.n_learned == len(EXAMPLES)
    assert [again.predict_one(t) for t, _ in EXAMPLES] == [model.predict_one(t) for t, _ in EXAMPLES]


def test_bytes_of_other_features_are_refused() -> None:
    with pytest.raises(StateError):
        TextHead.load(learned(EXAMPLES).frozen().dump(), TextFeatures(None, 128))


def test_damaged_bytes_are_refused() -> None:
    rng = np.random.default_rng(0)
    vectors = Centroids(4)
    vectors.learn_one(np.array([1, 0, 0, 0], np.float32), "a")
    for data, load in (
        (learned(EXAMPLES).dump(), lambda d: TextRidge.load(d, FEATURES)),
        (vectors.dump(), Centroids.load),
    ):
        for _ in range(100):
            broken = bytearray(data[: int(rng.integers(1, len(data) + 1))])
            broken[int(rng.integers(len(broken)))] ^= int(rng.integers(1, 256))
            with pytest.raises(StateError):
                load(bytes(broken))


def test_centroids_forget_nothing_and_refuse_what_does_not_fit() -> None:
    rng = np.random.default_rng(1)
    poles = rng.standard_normal((6, 32)).astype(np.float32)
    model = Centroids(32)
    for k, pole in enumerate(poles):  # one class after the other
        for _ in range(20):
            model.learn_one(pole + 0.3 * rng.standard_normal(32).astype(np.float32), f"c{k}")
    again = Centroids.load(model.dump())
    assert [again.predict_one(p) for p in poles] == [f"c{k}" for k in range(6)]
    assert sum(again.predict_proba_one(poles[0]).values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="another size"):
        model.learn_one(np.zeros(3, np.float32), "c0")


def test_the_frozen_table_is_read_without_the_network_and_gives_unit_vectors() -> None:
    encoder = default_encoder()
    assert encoder is not None, "wordllama is among the requirements"
    rows = encoder.encode(["i can't sleep", "sleep is bad these nights", "the train leaves at noon", ""])
    assert rows.shape == (4, 256)
    assert np.allclose(np.linalg.norm(rows[:3], axis=1), 1, atol=1e-5)
    assert not rows[3].any()
    assert rows[0] @ rows[1] > rows[0] @ rows[2]
    assert np.allclose(encoder.encode(["i can't sleep"] * 20)[7], rows[0], atol=1e-6)


def test_features_for_feelings_read_marks_and_have_a_name_of_their_own() -> None:
    plain, feelings = TextFeatures(None, 64), TextFeatures(None, 64, weights=FEELINGS, hashed=512)
    assert plain.name != feelings.name
    assert (plain.transform(["so good"]) == plain.transform(["so good!!"])).all()
    assert not np.allclose(feelings.transform(["so good"]), feelings.transform(["so good!!"]))
    model = TextRidge(feelings)
    model.learn_many(["oh no", "oh no!!", "fine"], ["a", "b", "a"])
    assert TextRidge.load(model.dump(), feelings).predict_one("oh no!!") == "b"
    with pytest.raises(StateError):
        TextRidge.load(model.dump(), plain)
