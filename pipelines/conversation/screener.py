"""The C-SSRS screener by tapped options, as a small state machine (conversation.md 2). It screens; it clears nobody.

Q1 wish to be dead, Q2 thoughts; Q2 yes → Q3 method, Q4 intent, Q5 plan, Q6 behaviour; Q2 no → Q6; Q6 yes → within 3 months?
(Posner et al. 2011). Level cut-offs from general knowledge: a clinician signs them before use.
"""

from __future__ import annotations

from collections.abc import Mapping

LEVELS = ("NONE", "UNSCREENED", "LOW", "MODERATE", "HIGH")
SEVERITY = {"NONE": 0, "UNSCREENED": 1, "LOW": 1, "MODERATE": 2, "HIGH": 3}  # topics.md, risk.signal
QUESTIONS = ("Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q6_RECENT")
PREFIX = "CSSRS_"


def answer_of(option: str) -> tuple[str, bool] | None:
    """(question, yes) of a tapped option, None if it is none of the screener.

    >>> answer_of("CSSRS_Q1:YES")
    ('Q1', True)
    """
    question, _, said = option.removeprefix(PREFIX).partition(":")
    if not option.startswith(PREFIX) or question not in QUESTIONS or said not in ("YES", "NO"):
        return None
    return question, said == "YES"


def next_question(answers: Mapping[str, bool]) -> str | None:
    """What to ask next; None = done.

    >>> next_question({"Q1": True, "Q2": False})
    'Q6'
    """
    thoughts = answers.get("Q2")
    for question in QUESTIONS:
        if question in answers:
            continue
        if question in ("Q3", "Q4", "Q5") and thoughts is False:
            continue
        if question == "Q6_RECENT" and not answers.get("Q6"):
            continue
        return question
    return None


def level(answers: Mapping[str, bool]) -> str:
    """The level that the answers so far ask for; UNSCREENED until one is yes, since no answer clears anybody.

    An attempt whose time is not yet known counts as within three months.

    >>> level({"Q1": True, "Q2": True, "Q3": True, "Q4": False})
    'MODERATE'
    """
    if answers.get("Q4") or answers.get("Q5") or (answers.get("Q6") and answers.get("Q6_RECENT", True)):
        return "HIGH"
    if answers.get("Q3") or answers.get("Q6"):
        return "MODERATE"
    if answers.get("Q1") or answers.get("Q2"):
        return "LOW"
    return "UNSCREENED"


def higher(a: str, b: str) -> str:
    """The higher of two levels: a level is never lowered."""
    return max(a, b, key=LEVELS.index)
