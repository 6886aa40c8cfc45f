"""Steps 2 and 3: risk and safeguarding, before any intent is asked. Lexicon or frozen classifier, recall first.

How thresholds were chosen and what they cost: docs/safety-classifier.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from content.lexicon import Lexicon
from pipelines.conversation.safety_words import SafetyWords
from pipelines.conversation.wording import mended
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
MARGIN = 0.15  # a class counts if its score is at most this much below that of SAFE: recall first
LEAST = 0.15  # of a class: words that nothing was learned of speak for nothing
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


def judge(
    text: str, lang: str | None, lexicon: Lexicon, classify: Callable[[str], Mapping[str, float]]
) -> Finding | None:
    """Risk, a safeguarding class, or None.

    The text is read as it stands and, where it is misspelt or disguised, as it was probably meant; either is enough.

    Parameters
    ----------
    classify
        Gives class → score of a text (`Models.safety_of`). If it fails, the phrases alone judge.
    """
    readings = [text]
    if (meant := mended(text, lang)) != text.lower():
        readings.append(meant)
    hits = [hit for r in readings if (hit := lexicon.classify(r, lang)) is not None]
    severity = max((hit.severity for hit in hits), default=0)
    words = SafetyWords.load()
    named = frozenset[str]().union(*(words.classes_of(r) for r in readings))
    heard, scores = _listen(readings, classify)
    risk = scores.get("RISK", 0.0)
    if severity >= 3:
        return Finding("HIGH", "OVERDOSE" if "OVERDOSE" in named and scores.get("OVERDOSE", 0.0) > risk else None)
    by_words = severity == 2 or "RISK" in named or (severity == 1 and risk >= WITH_WORDS)
    if by_words or "RISK" in heard:
        return Finding("UNSCREENED")
    category = next((c for c in CLASSES if c in named), None) or next(iter(heard), None)
    if category is not None:
        return Finding("HIGH" if category in CARD else "NONE", category)
    return None


def _listen(readings: list[str], classify: Callable[[str], Mapping[str, float]]) -> tuple[list[str], dict[str, float]]:
    """The classes that the classifier hears in any reading, and of each class the highest score."""
    heard: list[str] = []
    highest: dict[str, float] = {}
    for reading in readings:
        try:
            scores = dict(classify(reading)) if len(words_of(reading)) >= SHORTEST else {}
        except Exception:  # step 2 must not fail with the model; what it was given must not be told
            scores = {}
        if (one := _heard(scores)) is not None:
            heard.append(one)
        highest = {c: max(s, highest.get(c, 0.0)) for c, s in scores.items()} or highest
    return heard, highest


def _heard(scores: Mapping[str, float]) -> str | None:
    """The class that the classifier hears, None if it hears nothing but SAFE."""
    top = max((*CLASSES, "RISK"), key=lambda c: scores.get(c, 0.0))
    score = scores.get(top, 0.0)
    if score < LEAST:
        return None
    return top if score >= scores.get("SAFE", 0.0) - MARGIN else None
