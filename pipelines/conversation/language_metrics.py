"""Coherence and tone of somebody's sentences over time: for the clinician's view only, never a trigger (conversation.md 5).

First-order coherence: cosine of neighbouring sentences' embeddings (Elvevåg et al. 2007, on frozen vectors). It follows the
length of sentences and the writer's dialect (Hitczenko et al. 2021), so length and number of sentences are regressed out and
only the trend within a person is given, from the tenth sample on. Only sums are kept: no word, no vector of a sentence.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np

from pipelines.learning.text_encoder import Encoder, Vectors
from pipelines.learning.text_features import words_of

MIN_SENTENCES = 5
MIN_WORDS = 8
MIN_SAMPLES = 10
KEEP_SAMPLES = 60
CAVEAT = "coherence_limits"
_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_PLEASANT = ("i am happy and calm", "today was a good day", "ich bin froh und ruhig", "heute war ein guter tag")
_UNPLEASANT = (
    "i am sad and afraid",
    "today was a terrible day",
    "ich bin traurig und habe angst",
    "heute war ein schlimmer tag",
)

# one running sample: sentences, words, pairs, sum and sum of squares and least of similarity, sum of tone
Sums = list[float]
EMPTY: Sums = [0, 0, 0, 0.0, 0.0, 1.0, 0.0]


def sentences(text: str) -> list[str]:
    """Sentences of at least eight words."""
    return [s for s in _END.split(text) if len(words_of(s)) >= MIN_WORDS]


def measured(text: str, encoder: Encoder, sums: Sums) -> Sums:
    """The running sample after one more text. Neighbours are neighbours within a text."""
    said = sentences(text)
    if not said:
        return sums
    vectors, axis = encoder.encode(said), _axis(encoder)  # type: ignore[arg-type]
    near = (vectors[1:] * vectors[:-1]).sum(1)
    n, words, pairs, total, squares, least, tone = sums
    return [
        n + len(said), words + sum(len(words_of(s)) for s in said), pairs + len(near), round(total + float(near.sum()), 6),
        round(squares + float((near**2).sum()), 6), round(min(least, float(near.min()) if len(near) else 1.0), 6),
        round(tone + float((vectors @ axis).sum()), 6),
    ]  # fmt: skip


def enough(sums: Sums) -> bool:
    """At least five sentences, two of them neighbours."""
    return sums[0] >= MIN_SENTENCES and sums[2] >= 2


def value(session: str, sums: Sums, samples: list[list[float]]) -> tuple[dict[str, Any], list[list[float]]]:
    """`chat.language_metrics` of a finished sample, and the person's samples with it.

    Parameters
    ----------
    samples
        Earlier ones: [sentences, words per sentence, coherence, tone].
    """
    n, words, pairs, total, squares, least, tone = sums
    mean = total / pairs
    spread = max(0.0, squares / pairs - mean * mean) ** 0.5
    row = [n, words / n, mean, tone / n]
    out: dict[str, Any] = {
        "session_id": session,
        "n_sentences": int(n), "n_words": int(words), "n_samples": len(samples) + 1,
        "coherence_mean": round(mean, 4),
        "coherence_min": round(least, 4), "coherence_sd": round(spread, 4), "caveat_id": CAVEAT,
    }  # fmt: skip
    if len(samples) + 1 >= MIN_SAMPLES:
        for name, column in (("coherence_z", 2), ("sentiment_z", 3)):
            if (z := _z(samples, row, column)) is not None:
                out[name] = round(z, 3)
    return out, [*samples, [round(x, 5) for x in row]][-KEEP_SAMPLES:]


def _z(samples: list[list[float]], row: list[float], column: int) -> float | None:
    """Residual of this sample against the person's earlier ones, length and number of sentences regressed out, in their sd."""
    past = np.array(samples)
    design = np.column_stack([np.ones(len(past)), past[:, :2]])
    # a little ridge: a person who always writes the same length must not divide by zero
    weights = np.linalg.solve(design.T @ design + 1e-6 * np.eye(3), design.T @ past[:, column])
    residual = past[:, column] - design @ weights
    sd = float(np.sqrt((residual**2).sum() / max(1, len(past) - 3)))
    if sd < 1e-6:
        return None
    return float((row[column] - np.array([1.0, *row[:2]]) @ weights) / sd)


@functools.lru_cache(maxsize=4)
def _axis(encoder: Encoder) -> Vectors:
    """Direction from unpleasant to pleasant: difference of the means of a few sentences of ours."""
    poles = encoder.encode([*_PLEASANT, *_UNPLEASANT])
    return np.asarray(poles[: len(_PLEASANT)].mean(0) - poles[len(_PLEASANT) :].mean(0), np.float32)
