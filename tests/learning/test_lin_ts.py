"""Linear Thompson sampling with slots: tastes that change and come back, probabilities, state."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.learning.lin_ts import LinTS, clipped
from pipelines.learning.packing import StateError


def live(model: LinTS, rng: np.random.Generator, taste: np.ndarray, n: int) -> float:
    """Share of the oracle's reward over n decisions."""
    got = most = 0.0
    for _ in range(n):
        x = np.r_[1.0, rng.normal(0, 1, taste.shape[1] - 1)]
        mean = 1 / (1 + np.exp(-1.5 * taste @ x))
        p = np.array(list(model.probabilities(list(x), rng.standard_normal((60, len(taste))), lowest=0, highest=1).values()))
        arm = int(rng.choice(len(taste), p=p / p.sum()))
        model.learn_one(str(arm), list(x), float(rng.random() < mean[arm]))
        got, most = got + mean[arm], most + mean.max()
    return float(got / most)


def test_a_taste_that_returns_is_known_again_within_sixty_decisions() -> None:
    shares = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        tastes = rng.normal(0, 1, (2, 4, 4))
        model = LinTS([str(i) for i in range(4)], 4)
        for part in (0, 1):
            live(model, rng, tastes[part], 160)
        live(model, rng, tastes[0], 60)
        shares.append(live(model, rng, tastes[0], 60))
    assert np.mean(shares) >= 0.85


def test_without_slots_a_returning_taste_has_to_be_learnt_again() -> None:
    def back(slots: int) -> float:
        rng = np.random.default_rng(1)
        tastes = rng.normal(0, 1, (2, 4, 4))
        model = LinTS([str(i) for i in range(4)], 4, slots=slots)
        for part in (0, 1):
            live(model, rng, tastes[part], 130)
        return live(model, rng, tastes[0], 60)

    assert back(4) > back(1)


def test_probabilities_lie_within_their_bounds_and_sum_to_one() -> None:
    model = LinTS(["a", "b", "c"], 2)
    for _ in range(40):
        model.learn_one("a", [1.0, 0.2], 1.0)
        model.learn_one("b", [1.0, 0.2], 0.0)
    normals = np.random.default_rng(0).standard_normal((200, 3))
    p = model.probabilities([1.0, 0.2], normals)
    assert sum(p.values()) == pytest.approx(1)
    assert all(0.1 - 1e-12 <= v <= 0.8 + 1e-12 for v in p.values())
    assert model.probabilities([1.0, 0.2], normals) == p
    assert set(model.probabilities([1.0, 0.2], normals, among=["b", "c"])) == {"b", "c"}
    assert model.probabilities([1.0, 0.2], normals, among=["b"]) == {"b": 1.0}


@pytest.mark.parametrize("p", [[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.97, 0.01, 0.01, 0.01], [0.25] * 4])
def test_clipping_keeps_the_order(p: list[float]) -> None:
    q = clipped(np.array(p))
    assert q.sum() == pytest.approx(1)
    assert q.min() >= 0.1 - 1e-12
    assert q.max() <= 0.8 + 1e-12


def test_a_state_read_back_decides_and_learns_the_same_and_is_small() -> None:
    rng = np.random.default_rng(3)
    tastes = rng.normal(0, 1, (2, 6, 8))
    model = LinTS([str(i) for i in range(6)], 8)
    for part in (0, 1, 0, 1):
        live(model, rng, tastes[part], 60)
    data = model.dump()
    again = LinTS.load(data)
    assert again.dump() == data
    assert len(data) <= 8_192
    normals = rng.standard_normal((200, 6))
    x = [1.0] + [0.3] * 7
    assert again.probabilities(x, normals) == model.probabilities(x, normals)
    for m in (model, again):
        m.learn_one("2", x, 1.0)
    assert again.dump() == model.dump()


def test_damaged_states_are_refused() -> None:
    data = LinTS(["a", "b"], 3).dump()
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        with pytest.raises(StateError):
            LinTS.load(bytes(broken))
    with pytest.raises(StateError):
        LinTS.load(data[:-3])


def test_what_cannot_be_is_refused() -> None:
    for arms, d in (([], 1), (["a", "a"], 1), (["a"], 0)):
        with pytest.raises(ValueError, match="different arms"):
            LinTS(arms, d)
    with pytest.raises(ValueError, match="finite"):
        LinTS(["a"], 1).learn_one("a", [1.0], float("nan"))
