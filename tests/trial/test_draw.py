"""The draw can be recomputed from the log, and what was logged is what was used (S17)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.trial.draw import ARMS, FIRST_PERIOD, choose, u

KEY = "kairos-demo"


def test_u_is_the_hmac_of_the_contract() -> None:
    message = json.dumps(["p01", "77aa", "mrt-1"], separators=(",", ":")).encode()
    head = hmac.new(KEY.encode(), message, hashlib.sha256).digest()[:8]
    assert u(KEY, "p01", "77aa", "mrt-1") == int.from_bytes(head, "big") / 2**64


def test_every_part_of_the_message_and_the_key_matter() -> None:
    draws = {
        u(KEY, "a", "d", "1"),
        u(KEY, "b", "d", "1"),
        u(KEY, "a", "e", "1"),
        u(KEY, "a", "d", "2"),
        u("k", "a", "d", "1"),
    }
    assert len(draws) == 5


@pytest.mark.parametrize(
    ("drawn", "arm"),
    [
        (0.0, "NOTHING"),
        (0.3999, "NOTHING"),
        (0.4, "CLASSIC"),
        (0.6999, "CLASSIC"),
        (0.7001, "ADAPTIVE"),
        (1 - 2**-53, "ADAPTIVE"),
    ],
)
def test_the_first_arm_whose_cumulated_probability_exceeds_u_is_taken(drawn: float, arm: str) -> None:
    assert choose(FIRST_PERIOD, drawn) == arm
    assert choose(dict(reversed(FIRST_PERIOD.items())), drawn) == arm


@pytest.mark.parametrize(
    "arms",
    [
        {"NOTHING": 0.4, "CLASSIC": 0.6},
        {"NOTHING": 0.05, "CLASSIC": 0.35, "ADAPTIVE": 0.6},
        {"NOTHING": 0.4, "CLASSIC": 0.3, "ADAPTIVE": 0.2},
        {"NOTHING": float("nan"), "CLASSIC": 0.3, "ADAPTIVE": 0.3},
        {"NOTHING": 0.4, "CLASSIC": 0.3, "PLACEBO": 0.3},
    ],
)
def test_probabilities_outside_the_protocol_are_refused(arms: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"arms must be|probabilities must"):
        choose(arms, 0.5)


@given(st.text(min_size=1), st.text(min_size=1), st.text())
def test_u_lies_in_the_half_open_unit_interval(user: str, decision: str, version: str) -> None:
    assert 0 <= u(KEY, user, decision, version) < 1


def test_S17_actions_follow_the_logged_probabilities() -> None:  # noqa: N802
    n = 20_000
    seen = Counter(choose(FIRST_PERIOD, u(KEY, f"p{i % 40}", f"d{i}", "mrt-1")) for i in range(n))
    chi2 = sum((seen[a] - n * FIRST_PERIOD[a]) ** 2 / (n * FIRST_PERIOD[a]) for a in ARMS)
    assert chi2 < 13.82  # 0.999 quantile, 2 degrees of freedom
