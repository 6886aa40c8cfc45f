"""Steps 2 and 3: risk and safeguarding, before any intent is asked. Lexicon or frozen classifier, recall first.

Thresholds were chosen on the training phrases by cross-validation, not on the test set (docs/safety-classifier.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from content.lexicon import Lexicon
from pipelines.conversation.safety_words import SafetyWords
from pipelines.learning.text_features import words_of

CLASSES = (
    "OVERDOSE",
    "MEDICAL_EMERGENCY",
    "ABUSE",
    "VIOLENCE",
    "PSYCHOSIS",
    "EATING_DISORDER",
    "SUBSTANCE",
)  # first = first told
CARD = frozenset({"OVERDOSE", "MEDICAL_EMERGENCY"})  # also the crisis card (L4) [choice]
CERTAIN = 0.50  # score of a class that counts whatever the score of SAFE
UNSAFE_FROM, SAFE_BELOW = 0.20, 0.42  # less is enough where SAFE is low
WITH_WORDS = 0.12  # of the classifier, beside a hit of severity 1 (search lexicon)
SHORTEST = 2  # words; of a single word only the phrases judge


@dataclass(frozen=True)
class Finding:
    """What a text was found to be.

    Parameters
    ----------
    level
        UNSCREENED or HIGH for risk, NONE for safeguarding classes without a crisis card.
    category
        Safeguarding class; None for risk.
    """

    level: str
    category: str | None = None


def judge(text: str, lang: str | None, lexicon: Lexicon, classify: Callable[[], Mapping[str, float]]) -> Finding | None:
    """Risk, a safeguarding class, or None.

    Parameters
    ----------
    classify
        Gives class → score of this text (`Models.safety_of`). If it fails, the phrases alone judge.
    """
    hit = lexicon.classify(text, lang)
    severity = hit.severity if hit is not None else 0
    named = SafetyWords.load().classes_of(text)
    try:
        scores = dict(classify()) if len(words_of(text)) >= SHORTEST else {}
    except Exception:  # step 2 must not fail with the model; what it was given must not be told
        scores = {}
    risk = scores.get("RISK", 0.0)
    heard = _heard(scores)
    if severity >= 3:
        return Finding("HIGH", "OVERDOSE" if "OVERDOSE" in named and scores.get("OVERDOSE", 0.0) > risk else None)
    by_words = severity == 2 or "RISK" in named or (severity == 1 and risk >= WITH_WORDS)
    if by_words or heard == "RISK":
        return Finding("UNSCREENED")
    category = next((c for c in CLASSES if c in named), None)
    category = category or heard
    if category is not None:
        return Finding("HIGH" if category in CARD else "NONE", category)
    return None


def _heard(scores: Mapping[str, float]) -> str | None:
    """The class that the classifier hears, None if it hears nothing but SAFE."""
    top = max((*CLASSES, "RISK"), key=lambda c: scores.get(c, 0.0))
    score = scores.get(top, 0.0)
    sure = score >= CERTAIN and score >= scores.get("SAFE", 0.0)
    return top if sure or (score >= UNSAFE_FROM and scores.get("SAFE", 0.0) < SAFE_BELOW) else None
