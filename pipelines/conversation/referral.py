"""Working hypothesis and referral: tapped answers and questionnaires → probabilities over eight families → whom to see.

Always preliminary, with the way to a person; no cause and no code can be said, since the output has no field for either
(conversation.md 3, S15). The score table is signed and versioned (`content/referral.yaml`); nothing here learns.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from content.packs import FOLDER, ContentError, read_yaml, signatures

FAMILIES = ("MOOD", "ANXIETY", "PERSONALITY", "SEXUAL", "PSYCHOTIC_SPECTRUM", "SUBSTANCE", "SOMATIC_FIRST", "UNCLEAR")
QUESTIONS = ("COMPLAINT", "RED_FLAG", "LASTING", "DAILY")
TALKING = frozenset({"MOOD", "ANXIETY", "PERSONALITY"})
TYPE = {
    "SEXUAL": "SEXOLOGIST",
    "PSYCHOTIC_SPECTRUM": "PSYCHIATRIST",
    "SUBSTANCE": "ADDICTION_SERVICE",
    "SOMATIC_FIRST": "PHYSICIAN",
}
PSYCHIATRIST_FROM = 20  # PHQ-9 [choice]
PHQ_BANDS = (
    (20, "SEVERE"),
    (15, "MODERATELY_SEVERE"),
    (10, "MODERATE"),
    (5, "MILD"),
    (0, "MINIMAL"),
)  # Kroenke et al. 2001
GAD_BANDS = ((15, "SEVERE"), (10, "MODERATE"), (5, "MILD"), (0, "MINIMAL"))  # Spitzer et al. 2006
BANDS = {"PHQ9": ("PHQ", PHQ_BANDS), "PHQA": ("PHQ", PHQ_BANDS), "GAD7": ("GAD", GAD_BANDS)}


@dataclass(frozen=True)
class Table:
    """Log-odds by family: `base`, and `weights` of each answer code."""

    version: str
    base: Mapping[str, float]
    weights: Mapping[str, Mapping[str, float]]
    unclear_below: float


@functools.cache
def load_table(folder: Path = FOLDER) -> Table:
    """The score table.

    Raises
    ------
    ContentError
        Missing, not signed, or of other families.
    """
    data = read_yaml(folder / "referral.yaml")
    if not signatures(folder).get("referral.yaml", {}).get("table"):
        raise ContentError("content: referral.yaml is not signed; run python -m content.sign")
    if set(data["base"]) != set(FAMILIES) or any(set(w) - set(FAMILIES) for w in data["weights"].values()):
        raise ContentError("content: referral.yaml knows other families than the schema")
    return Table(str(data["version"]), data["base"], data["weights"], float(data["unclear_below"]))


def band(instrument: str, total: float) -> str | None:
    """Band of a questionnaire as an answer code, None for another instrument.

    >>> band("PHQ9", 12)
    'PHQ:MODERATE'
    """
    if instrument not in BANDS:
        return None
    prefix, bands = BANDS[instrument]
    return f"{prefix}:{next(name for least, name in bands if total >= least)}"


def answer_of(option: str) -> tuple[str, str] | None:
    """(question, answer) of a tapped option, None if it is none of these questions."""
    question, _, said = option.partition(":")
    known = load_table().weights
    return (question, said) if question in QUESTIONS and option in known else None


def next_question(answers: Mapping[str, str]) -> str | None:
    """What to ask next; a red flag in the body ends the questions."""
    if answers.get("RED_FLAG") == "YES":
        return None
    return next((q for q in QUESTIONS if q not in answers), None)


def probabilities(codes: Sequence[str], table: Table) -> dict[str, float]:
    """Family → probability, summing to 1: softmax of base + weights of the codes."""
    odds = {f: float(table.base[f]) + sum(float(table.weights.get(c, {}).get(f, 0.0)) for c in codes) for f in FAMILIES}
    parts = {f: math.exp(o) for f, o in odds.items()}
    total = sum(parts.values())
    rounded = {f: round(p / total, 6) for f, p in parts.items()}
    rounded["UNCLEAR"] = round(1 - sum(p for f, p in rounded.items() if f != "UNCLEAR"), 6)
    return rounded


def suggest(answers: Mapping[str, str], totals: Mapping[str, float], table: Table) -> dict[str, Any]:
    """`referral.suggested` without its session: probabilities, clinician type, basis, disclaimer.

    Parameters
    ----------
    answers
        Question → answer, as tapped.
    totals
        Instrument → newest total score.
    """
    tapped = [f"{q}:{answers[q]}" for q in QUESTIONS if q in answers]
    bands = sorted(b for i, t in totals.items() if (b := band(i, t)) is not None)
    families = probabilities([*tapped, *bands], table)
    top = max(families, key=lambda f: families[f])
    red_flag = answers.get("RED_FLAG") == "YES"
    if red_flag:
        kind = "PHYSICIAN"
    elif top == "UNCLEAR" or families[top] < table.unclear_below:
        kind = "GENERAL_MENTAL_HEALTH"
    elif top in TALKING:
        kind = (
            "PSYCHIATRIST"
            if max(totals.get("PHQ9", 0), totals.get("PHQA", 0)) >= PSYCHIATRIST_FROM
            else "PSYCHOTHERAPIST"
        )
    else:
        kind = TYPE[top]
    basis = [f"OPTION:{c}" for c in tapped] + [f"{i}:{round(t)}" for i, t in sorted(totals.items()) if i in BANDS]
    return {
        "version": table.version, "family_probs": families, "clinician_type": kind, "basis": basis, "disclaimer_id": "preliminary",
    }  # fmt: skip
