"""Language metrics: enough sentences, within the person, by consent, and no word kept (conversation.md 5)."""

from __future__ import annotations

import numpy as np

from pipelines.conversation.language_metrics import EMPTY, value
from tests.conversation.bot import HOUR, Bot

SPEECH = " ".join([
    "Today I walked along the river and looked at the water for a while.", "The river was high because it had rained for three days.",
    "Then I met my neighbour who was walking her old brown dog.", "We talked about the rain and about the dog for some time.",
    "In the evening I cooked soup and listened to the radio alone.",
])  # fmt: skip


def test_a_long_sample_gives_numbers_and_the_caveat_only_with_consent() -> None:
    for view in (True, False):
        bot = Bot(view=view)
        bot.says(SPEECH, role="FREE_SPEECH")
        said = bot.fresh("chat.language_metrics")
        assert len(said) == view
        if view:
            assert (said[0]["n_sentences"], said[0]["n_samples"], said[0]["caveat_id"]) == (5, 1, "coherence_limits")
            assert "coherence_z" not in said[0]
            assert said[0]["coherence_min"] <= said[0]["coherence_mean"] <= 1


def test_a_chat_is_measured_when_it_is_over_and_a_short_one_never() -> None:
    bot = Bot(view=True)
    bot.says(SPEECH, session="long")
    bot.says("i can't sleep", session="short")
    assert "chat.language_metrics" not in bot.desk.out
    bot.later(2 * HOUR)
    assert [r["value"]["session_id"] for r in bot.desk.out["chat.language_metrics"]] == ["long"]


def test_z_comes_after_ten_samples_and_length_is_regressed_out() -> None:
    rng = np.random.default_rng(0)
    samples: list[list[float]] = []
    last: dict[str, float] = {}
    for i in range(14):
        n, per = 5 + i % 4, 9 + i % 5
        coherence = 0.1 + 0.03 * per + 0.002 * float(rng.standard_normal())
        pairs = n - 1
        sums = [n, n * per, pairs, coherence * pairs, coherence**2 * pairs, coherence, 0.1 * n]
        last, samples = value(f"s{i}", sums, samples)
        assert ("coherence_z" in last) == (i >= 9)
    assert abs(last["coherence_z"]) < 4, "a longer sentence alone is no change"
    odd, _ = value("odd", [6, 60, 5, 0.0, 0.0, 0.0, 0.6], samples)
    assert odd["coherence_z"] < -10


def test_an_empty_sample_is_not_enough() -> None:
    assert EMPTY[0] == 0
