"""Working hypothesis and referral: preliminary, closed, and risk first (conversation.md 3, S15)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversation.referral import FAMILIES, load_table, suggest
from schemas import TOPICS
from tests.conversation.bot import Bot

COMPLAINTS = ["MOOD", "ANXIETY", "PEOPLE", "SEXUAL", "VOICES", "SUBSTANCE", "BODY", "OTHER"]


@pytest.mark.parametrize(
    ("complaint", "totals", "kind"),
    [
        ("SEXUAL", {}, "SEXOLOGIST"),
        ("VOICES", {}, "PSYCHIATRIST"),
        ("SUBSTANCE", {}, "ADDICTION_SERVICE"),
        ("BODY", {}, "PHYSICIAN"),
        ("MOOD", {"PHQ9": 12}, "PSYCHOTHERAPIST"),
        ("MOOD", {"PHQ9": 20}, "PSYCHIATRIST"),
        ("ANXIETY", {"GAD7": 16}, "PSYCHOTHERAPIST"),
        ("OTHER", {}, "GENERAL_MENTAL_HEALTH"),
    ],
)
def test_whom_to_see(complaint: str, totals: dict[str, float], kind: str) -> None:
    answers = {"COMPLAINT": complaint, "RED_FLAG": "NO", "LASTING": "YES", "DAILY": "YES"}
    assert suggest(answers, totals, load_table())["clinician_type"] == kind


@settings(deadline=None)
@given(
    complaint=st.sampled_from(COMPLAINTS), flag=st.sampled_from(["YES", "NO"]), lasting=st.sampled_from(["YES", "NO"]),
    phq=st.none() | st.integers(0, 27), gad=st.none() | st.integers(0, 21),
)  # fmt: skip
def test_probabilities_sum_to_one_and_any_red_flag_is_a_physician(
    complaint: str, flag: str, lasting: str, phq: int | None, gad: int | None
) -> None:
    totals = {k: float(v) for k, v in (("PHQ9", phq), ("GAD7", gad)) if v is not None}
    said = suggest({"COMPLAINT": complaint, "RED_FLAG": flag, "LASTING": lasting, "DAILY": "YES"}, totals, load_table())
    assert set(said["family_probs"]) == set(FAMILIES)
    assert sum(said["family_probs"].values()) == pytest.approx(1, abs=1e-9)
    assert min(said["family_probs"].values()) >= 0
    if flag == "YES":
        assert said["clinician_type"] == "PHYSICIAN"
    names = {f.name for f in TOPICS["referral.suggested"].fields}
    assert set(said) | {"session_id"} == names


def test_the_questions_lead_to_one_suggestion_with_the_way_to_a_person() -> None:
    bot = Bot()
    bot.give("selfreport", {"instrument": "PHQ9", "total": 14})
    bot.says("which doctor should i see")
    for option in ("COMPLAINT:MOOD", "RED_FLAG:NO", "LASTING:YES", "DAILY:YES"):
        bot.taps(option)
    (said,) = bot.fresh("referral.suggested")
    assert said["clinician_type"] == "PSYCHOTHERAPIST"
    assert "PHQ9:14" in said["basis"]
    assert bot.replies() == ["referral_psychotherapist"]


def test_an_item_9_comes_first() -> None:
    bot = Bot()
    bot.give("selfreport", {"instrument": "PHQ9", "total": 14, "item9": 1})
    bot.says("which doctor should i see")
    assert bot.replies() == ["risk_opening", "cssrs_q1"]
    for q in ("Q1", "Q2", "Q6"):
        bot.taps(f"CSSRS_{q}:NO")
    assert bot.replies() == ["risk_done", "referral_complaint"]
