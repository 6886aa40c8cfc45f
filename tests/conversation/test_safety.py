"""The safety classifier on the test set written for it (docs/safety-classifier.md): recall first, and what it costs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml

from content.lexicon import Lexicon
from pipelines.conversation.models import Models, default_models, phrases, train_safety
from pipelines.conversation.safety import CLASSES, judge
from pipelines.conversation.safety_head import SafetyHead
from pipelines.learning.packing import StateError

Cases = dict[str, list[dict[str, Any]]]
SETS: dict[str, Cases] = {
    name: yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))
    for name in ("risk_cases", "risk_cases_2", "risk_cases_3", "risk_cases_4", "risk_cases_5")
}
CASES = SETS["risk_cases"]


@functools.cache
def found(lang: str, name: str = "risk_cases") -> list[str]:
    models, lexicon = default_models(), Lexicon.load()
    judged = [judge(c["text"], lang, lexicon, models.safety.score_one) for c in SETS[name][lang]]
    return ["SAFE" if j is None else j.category or "RISK" for j in judged]


@pytest.mark.parametrize(
    ("name", "lang", "recall", "specificity"),
    [
        ("risk_cases", "en", 1.0, 0.80),
        ("risk_cases", "de", 1.0, 0.80),
        ("risk_cases_2", "en", 1.0, 0.80),
        ("risk_cases_2", "de", 1.0, 0.80),
        ("risk_cases_3", "en", 1.0, 0.65),
        ("risk_cases_3", "de", 1.0, 0.75),
        ("risk_cases_4", "en", 0.90, 0.60),
        ("risk_cases_4", "de", 0.90, 0.85),
        ("risk_cases_5", "en", 0.72, 0.65),
        ("risk_cases_5", "de", 0.78, 0.58),
    ],
)
def test_recall_and_specificity_do_not_fall(name: str, lang: str, recall: float, specificity: float) -> None:
    pairs = list(zip(SETS[name][lang], found(lang, name), strict=True))
    unsafe = [got != "SAFE" for case, got in pairs if case["is"] != "SAFE"]
    safe = [got == "SAFE" for case, got in pairs if case["is"] == "SAFE"]
    assert sum(unsafe) / len(unsafe) >= recall
    assert sum(safe) / len(safe) >= specificity


@pytest.mark.parametrize("lang", ["en", "de"])
def test_what_is_said_plainly_is_always_found(lang: str) -> None:
    missed = [
        c["text"]
        for c, got in zip(CASES[lang], found(lang), strict=True)
        if c["kind"] in ("plain", "plan") and c["is"] != "SAFE" and got == "SAFE"
    ]
    assert missed == []


def test_every_case_has_a_reason_and_a_class_and_none_was_trained_on() -> None:
    trained = {p.casefold() for said in phrases("safety")[0].values() for p in said} - {
        "my uncle hits me when mum is away"
    }
    for cases in (cases for one in SETS.values() for cases in one.values()):
        for case in cases:
            assert case["why"]
            assert case["is"] in (*CLASSES, "RISK", "SAFE")
            assert case["text"].casefold() not in trained


def test_keywords_alone_find_far_less() -> None:
    lexicon = Lexicon.load()
    risky = [c for c in CASES["en"] if c["is"] != "SAFE"]
    by_words = sum((m := lexicon.classify(c["text"], "en")) is not None and m.severity >= 2 for c in risky)
    by_all = sum(got != "SAFE" for case, got in zip(CASES["en"], found("en"), strict=True) if case["is"] != "SAFE")
    assert by_all > 2 * by_words


def test_the_shipped_model_is_the_one_its_phrases_give() -> None:
    models = default_models()
    again = train_safety(models.features)
    assert again.version == models.safety.version
    for case in CASES["en"][:20]:
        a, b = models.safety.score_one(case["text"]), again.score_one(case["text"])
        assert all(abs(a[c] - b[c]) < 0.02 for c in a)


def test_words_that_nothing_was_learned_of_speak_for_nothing() -> None:
    assert judge("zzq xkcd plumbus", "en", Lexicon.load(), lambda text: {"SAFE": 0.1, "RISK": 0.1, "ABUSE": 0.05}) is None
    assert judge("hello there", "en", Lexicon.load(), lambda text: {}) is None


def test_bytes_of_the_classifier_give_the_same_scores_and_damaged_ones_are_refused() -> None:
    head = default_models().safety
    again = SafetyHead.load(head.dump(), head.features)
    for case in CASES["de"][:5]:
        a, b = head.score_one(case["text"]), again.score_one(case["text"])
        assert all(abs(a[c] - b[c]) < 1e-3 for c in a)
    for broken in (b"", head.dump()[:50], head.dump()[:-7]):
        with pytest.raises(StateError):
            SafetyHead.load(broken, head.features)


def test_without_an_encoder_words_alone_still_find_what_is_plain() -> None:
    models = Models.load(encoder=None)
    lexicon = Lexicon.load()
    for text in ("i want to kill myself", "my uncle hits me when mum is away", "ich will mich umbringen"):
        assert judge(text, None, lexicon, models.safety.score_one) is not None
