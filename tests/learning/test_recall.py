"""RecallClassifier keeps what it knew, in bounded bytes, and says why it answers so."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.learning import packing
from pipelines.learning.recall import RecallClassifier
from pipelines.learning.recall_mixing import decided
from pipelines.learning.recall_parts import product

FIXTURES = Path(__file__).with_name("fixtures")
NAMES = ("pulse", "steps", "home", "hour")


def sample(rng: random.Random, life: int) -> tuple[dict[str, float], str]:
    """Two lives that contradict each other: what pulse and place mean is turned round in the second."""
    x = {name: rng.gauss(0, 1) for name in NAMES}
    high = x["pulse"] + 0.5 * x["home"] > 0
    return x, "panic" if high != bool(life) else "calm"


def lived(lives: str = "010", n: int = 150, seed: int = 1, **params: int) -> RecallClassifier:
    model, rng = RecallClassifier(**params), random.Random(seed)  # type: ignore[arg-type]
    for life in lives:
        for _ in range(n):
            model.learn_one(*sample(rng, int(life)))
    return model


def share_right(model: RecallClassifier, life: int, n: int = 100) -> float:
    rng = random.Random(99)
    rows = [sample(rng, life) for _ in range(n)]
    return sum(model.predict_one(x) == y for x, y in rows) / n


def test_an_old_life_that_returns_is_recognised_after_twenty_five_labels() -> None:
    model = lived("01")
    assert share_right(model, 1) > 0.85
    rng = random.Random(5)
    for _ in range(25):
        model.learn_one(*sample(rng, 0))
    assert share_right(model, 0) > 0.75
    assert len(model.contexts()) >= 2


def test_saved_and_loaded_it_predicts_and_learns_identically() -> None:
    model, rng = RecallClassifier(memory=60), random.Random(2)
    for i in range(200):
        model.learn_one(*sample(rng, i // 100 % 2))
        if i in (0, 1, 7, 63, 170):
            data = model.dump()
            twin = RecallClassifier.load(data)
            assert twin.dump() == data
            some = [sample(rng, 1) for _ in range(8)]
            for x, y in some:
                assert twin.predict_proba_one(x) == model.predict_proba_one(x)
                twin.learn_one(x, y)
                model.learn_one(x, y)
            assert twin.dump() == model.dump()


def test_asking_leaves_no_trace() -> None:
    model = lived("01", 60)
    before = model.dump()
    model.predict_proba_one({"pulse": 3.0, "never seen": 1.0})
    model.explain_one({"pulse": 3.0})
    model.contexts()
    assert model.dump() == before


def test_five_hundred_damaged_states_are_refused_with_an_ordinary_error() -> None:
    data, rng = lived("01", 40).dump(), random.Random(3)
    for _ in range(500):
        bad = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] ^= rng.randint(1, 255)
        if rng.random() < 0.2:
            bad = bad[: rng.randrange(len(bad))]
        if bytes(bad) != data:
            with pytest.raises(packing.StateError):
                RecallClassifier.load(bytes(bad))


def test_forged_states_under_a_right_checksum_are_refused_or_work() -> None:
    rng = random.Random(4)
    meta, arrays = packing.unpack("recall", lived("01", 40).dump(), versions={2: None})
    refused = 0
    for _ in range(200):
        forged = {name: a.copy() for name, a in arrays.items()}
        name = rng.choice(sorted(forged))
        a = forged[name]
        if rng.random() < 0.3:
            forged[name] = a[:-1]
        elif a.size:
            flat = a.reshape(-1)
            with np.errstate(over="ignore"):
                flat[rng.randrange(a.size)] = rng.choice([-1, 0, 1, 100]) if a.dtype.kind != "b" else rng.random() < 0.5
        try:
            model = RecallClassifier.load(packing.pack("recall", 2, meta, forged))
        except packing.StateError:
            refused += 1
            continue
        assert abs(sum(model.predict_proba_one({"pulse": 1.0}).values()) - 1) < 1e-6
    assert refused > 50


@pytest.mark.parametrize("key", ["n", "current", "head", "pending", "params", "rng", "features", "classes"])
@pytest.mark.parametrize("value", [None, -1, 10**12, "x", [], {}, [None] * 4])
def test_forged_numbers_of_a_state_are_refused(key: str, value: object) -> None:
    meta, arrays = packing.unpack("recall", lived("0", 30).dump(), versions={2: None})
    with pytest.raises(packing.StateError):
        RecallClassifier.load(packing.pack("recall", 2, {**meta, key: value}, arrays))


@pytest.mark.parametrize("version", [1, 2])
def test_a_state_of_every_released_version_is_taken_up_and_goes_on(version: int) -> None:
    """Written by that version after 180 labels of three lives; the second contradicts the first."""
    model = RecallClassifier.load((FIXTURES / f"recall_{version}.bin").read_bytes())
    assert model.n_learned == 180
    assert len(model.contexts()) >= 2
    assert share_right(model, 0) > 0.75
    rng = random.Random(12)
    for _ in range(60):
        model.learn_one(*sample(rng, 1))
    assert share_right(model, 1) > 0.75
    assert RecallClassifier.load(model.dump()).dump() == model.dump()


def test_a_later_version_is_refused_and_not_guessed() -> None:
    meta, arrays = packing.unpack("recall", lived("0", 30).dump(), versions={2: None})
    with pytest.raises(packing.StateError, match="unknown version 3"):
        RecallClassifier.load(packing.pack("recall", 3, meta, arrays))


def test_features_that_tell_nothing_are_not_looked_at() -> None:
    """One feature in nine tells the class, and not linearly: the nearest rows by plain distance know little."""
    model, rng = RecallClassifier(), random.Random(13)

    def row() -> tuple[dict[str, float], bool]:
        x = {f"f{i}": rng.uniform(-1, 1) for i in range(9)}
        return x, abs(x["f3"]) > 0.5

    for _ in range(350):
        model.learn_one(*row())
    rows = [row() for _ in range(100)]
    assert sum(model.predict_one(x) == y for x, y in rows) >= 85


def test_bytes_stay_bounded_however_many_labels_come() -> None:
    model = lived("0101", 60, memory=64, recent=32)
    first = len(model.dump())
    rng = random.Random(8)
    for i in range(400):
        model.learn_one(*sample(rng, i // 100 % 2))
    assert len(model.dump()) < first * 1.3
    assert len(model.dump()) < 8192


def test_many_features_and_classes_leave_room_for_fewer_rows() -> None:
    model, rng = RecallClassifier(recent=8, replay=0, settle=1), random.Random(14)
    for i in range(500):
        model.learn_one({f"f{j}": rng.random() for j in range(100)}, i % 5)
    assert sum(sum(c["rows"].values()) for c in model.contexts()) == 35_000 // 110
    for label in range(5, 20):  # each class takes room from every row
        model.learn_one({f"f{j}": rng.random() for j in range(100)}, label)
    assert sum(sum(c["rows"].values()) for c in model.contexts()) == 35_000 // 140
    assert RecallClassifier.load(model.dump()).dump() == model.dump()


def test_missing_infinite_and_constant_features_do_no_harm() -> None:
    model, rng = RecallClassifier(), random.Random(6)
    for i in range(200):
        x, y = sample(rng, 0)
        if i % 3 == 0:
            del x["steps"]
        if i % 5 == 0:
            x["home"] = float("nan")
        if i % 7 == 0:
            x["hour"] = float("inf")
        model.learn_one({**x, "worn": 1.0}, y)
    proba = model.predict_proba_one({"worn": 1.0})
    assert abs(sum(proba.values()) - 1) < 1e-9
    assert share_right(model, 0) > 0.7
    assert model.predict_proba_one({})


def test_a_huge_value_neither_breaks_nor_blinds_it() -> None:
    model = lived("0", 100)
    model.learn_one({"pulse": 1e300, "steps": 0.0, "home": 0.0, "hour": 0.0}, "calm")
    assert all(np.isfinite(list(model.predict_proba_one({"pulse": 1.0}).values())))
    assert RecallClassifier.load(model.dump()).dump() == model.dump()


def test_a_rare_flag_that_was_constant_gives_no_certainty() -> None:
    """models.md 2: GaussianNB answers 0.9999998 here."""
    model = RecallClassifier()
    for i in range(200):
        model.learn_one({"flag": 1.0 if i in (50, 120) else 0.0, "pulse": float(i % 2)}, bool(i % 2 and i in (51,)))
    assert model.predict_proba_one({"flag": 0.0, "pulse": 0.0})[False] > 0.9


def test_new_classes_and_features_may_come_at_any_time() -> None:
    model = lived("0", 80)
    for i in range(30):
        model.learn_one({"pulse": 0.0, "music": 5.0 + i % 2}, "stressed")
    assert model.predict_one({"pulse": 0.0, "music": 5.5}) == "stressed"


def test_too_many_classes_or_features_are_refused_and_nothing_is_learned() -> None:
    model = RecallClassifier(max_classes=2, max_features=2)
    model.learn_one({"a": 1.0}, 0)
    model.learn_one({"a": 2.0}, 1)
    before = model.dump()
    with pytest.raises(ValueError, match="max_classes=2"):
        model.learn_one({"a": 1.0, "b": 1.0}, 2)
    with pytest.raises(ValueError, match="max_features=2"):
        model.learn_one({"a": 1.0, "b": 1.0, "c": 1.0}, 1)
    assert model.dump() == before


def test_the_order_of_keys_does_not_matter() -> None:
    one, other = RecallClassifier(), RecallClassifier()
    rng = random.Random(9)
    for _ in range(60):
        x, y = sample(rng, 0)
        one.learn_one(x, y)
        other.learn_one(dict(reversed(x.items())), y)
    assert one.dump() == other.dump()


def test_forgetting_erases_what_came_since() -> None:
    model = RecallClassifier()
    rng = random.Random(10)
    rows = [sample(rng, 0) for _ in range(60)]
    for x, y in rows:
        model.learn_one(x, y)
    model.learn_one({"pulse": 777.125, "canary": 1.0}, "canary-class")
    model.forget(61)
    assert "canary-class" not in model.predict_proba_one(rows[0][0])
    assert model.n_learned == 60
    assert all(n != "canary-class" for c in model.contexts() for n in c["rows"])
    assert float(np.abs(model._columns.mean).max()) < 100
    assert float(np.abs(model._rows.z).max()) < 100


def test_S18_a_person_who_is_erased_leaves_nothing_in_the_state_of_a_model() -> None:  # noqa: N802
    model, other = lived("01", 60), lived("01", 60, seed=2)
    before = other.dump()
    model.learn_one({"pulse": 777.125, "canary": 1.0}, "canary-class")
    assert b"canary" in packing.unpack("recall", model.dump(), versions={2: None})[0].__repr__().encode()
    model.forget(1)
    assert model.dump() == RecallClassifier().dump()
    assert model.predict_proba_one({"pulse": 777.125}) == {}
    assert other.dump() == before


def test_of_two_classes_nearly_as_likely_the_rare_one_is_decided_for() -> None:
    assert decided({"calm": 0.52, "panic": 0.48}, [220, 40]) == "panic"
    assert decided({"calm": 0.60, "panic": 0.40}, [220, 40]) == "calm"
    assert decided({"calm": 0.52, "panic": 0.48}, [130, 130]) == "calm"


def test_what_is_decided_follows_from_the_probabilities_and_the_rows_remembered() -> None:
    model, rng = lived("01"), random.Random(5)
    for _ in range(50):
        x, _y = sample(rng, 1)
        assert model.predict_one(x) == decided(model.predict_proba_one(x), model._rows.counts.sum(0).tolist())


def test_rows_are_counted_as_they_come_go_and_are_loaded() -> None:
    model = lived("012", 200, memory=96, recent=16)
    model.learn_one({f"more{i}": 1.0 for i in range(100)}, "calm")  # leaves room for fewer rows
    rows = model._rows
    again = RecallClassifier.load(model.dump())._rows
    used = np.flatnonzero(rows.y >= 0)
    assert rows.in_use == again.in_use == len(used)
    for name in ("counts", "alike", "hot", "beyond"):
        kept = getattr(rows, name).copy()
        np.testing.assert_array_equal(kept, getattr(again, name))
    assert rows.counts.sum() == len(used)


def test_a_product_in_pieces_is_the_product() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((61, 30)).astype(np.float32), rng.random((30, 20_000)).astype(np.float32)
    for columns in (3, 480, 20_000):  # in one piece, in several, row by row
        np.testing.assert_allclose(product(a, b[:, :columns]), a @ b[:, :columns], rtol=1e-5)


def test_a_state_whose_slots_were_not_taken_in_turn_is_refused() -> None:
    meta, arrays = packing.unpack("recall", lived().dump(), versions={2: None})
    used = arrays["used"]
    at = int(np.flatnonzero(used)[-1])
    used[at], used[at + 1 if at + 1 < len(used) else at - 1] = False, True
    forged = packing.pack("recall", 2, meta, arrays, delta=("step", "place"))
    with pytest.raises(packing.StateError):
        RecallClassifier.load(forged)


def test_it_says_why() -> None:
    model = lived("01")
    said = model.explain_one({"pulse": 2.0, "steps": 0.0, "home": 0.0, "hour": 0.0})
    assert abs(sum(said["proba"].values()) - 1) < 1e-9
    assert next(iter(said["features"])) == "pulse"
    assert {"class", "context", "step", "distance"} == set(said["nearest"][0])
    assert abs(sum(said["weights"].values()) - 1) < 0.01


def test_the_same_bytes_under_any_hash_seed() -> None:
    code = (
        "import zlib\nfrom pipelines.learning.recall import RecallClassifier\n"
        "m = RecallClassifier()\n"
        "for i in range(80):\n"
        "    m.learn_one({n: float(i * len(n) % 7) for n in {'pulse', 'steps', 'home'}}, i % 3 == 0)\n"
        "print(zlib.crc32(m.dump()))"
    )
    said = set()
    for seed in ("0", "1"):
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": "."}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1


@pytest.mark.soak
def test_river_s_own_checks() -> None:
    pytest.importorskip("sklearn", reason="River's checks read scikit-learn's data sets")
    from river import checks

    model = RecallClassifier(memory=16, recent=8, settle=2, replay=1, max_contexts=2)
    names = set()
    for check in checks.yield_checks(model):
        name = getattr(check, "__name__", None) or check.func.__name__
        if name in names:  # one data set each: time
            continue
        names.add(name)
        check(model.clone())
    assert len(names) >= 10
