"""How easy a text reads: Flesch reading ease and its German form (Flesch 1948; Amstad 1978). A rough guide for reviewers."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+")
_VOWELS = re.compile(r"[aeiouyäöü]+", re.I)
_PLACE = re.compile(r"\{\w+\}")


def ease(text: str, locale: str) -> float:
    """0 (hard) to 100 (easy), not clipped; 60 and more is plain language. Places to fill are not counted.

    English: 206.835 - 1.015 words per sentence - 84.6 syllables per word; German: 180 - words per sentence - 58.5 syllables.
    Syllables are groups of vowels; a silent English e at the end is not one.

    >>> round(ease("You can call at any time. Help is there.", "en-GB"))
    108
    """
    plain = _PLACE.sub("", text)
    words = _WORD.findall(plain)
    if not words:
        return 100.0
    german = locale.startswith("de")
    syllables = sum(_syllables(w, german) for w in words)
    sentences = max(1, len(re.findall(r"[.!?:;]+(?:\s|$)", plain)))
    if german:
        return 180 - len(words) / sentences - 58.5 * syllables / len(words)
    return 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)


def _syllables(word: str, german: bool) -> int:
    found = len(_VOWELS.findall(word))
    silent = not german and found > 1 and word.lower().endswith("e") and not word.lower().endswith("le")
    return max(1, found - silent)
