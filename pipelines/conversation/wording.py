"""Wordings: sentences of a template, and a text as it was meant where it is misspelt, spaced out or written in digits.

Templates and spellings stand in `content/safety/<lang>.yaml`. Pure; nothing here keeps, prints or raises a word of a text.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path

from content.packs import FOLDER, read_yaml

GOLDEN = (math.sqrt(5) - 1) / 2  # steps of this share of the whole spread a few evenly over all (Weyl's sequence)
_GROUP = re.compile(r"\(([^()]*)\)")
_SPACED = re.compile(r"(?<!\w)(?:[^\W\d_][ .*_-]{1,2}){3,}[^\W\d_](?!\w)")
_BETWEEN = re.compile(r"[ .*_-]")
_MIXED = re.compile(r"(?<!\w)[^\W\d_][\w@$!]*[0-9@$!][\w@$!]*[^\W\d_](?!\w)")
_VOWELS = re.compile(r"([aeiouäöüy])\1{2,}")
_OTHERS = re.compile(r"([^\W\d_aeiouäöüy])\1{2,}")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_LEET = str.maketrans("013457@$!", "oieastasi")


def sentences(template: str, most: int) -> list[str]:
    """Sentences of `(a|b) c`, at most so many, spread evenly over all of them; the same ones each time.

    >>> sentences("(i|we) (sleep|lie) here", 2)
    ['i sleep here', 'i lie here']
    >>> sentences("help( me|)", 5)
    ['help me', 'help']
    """
    parts = _GROUP.split(template)
    groups = [part.split("|") for part in parts[1::2]]
    total = math.prod(len(g) for g in groups)
    step = max(1, int(GOLDEN * total))
    while math.gcd(step, total) != 1:
        step += 1
    out = []
    for i in range(min(most, total)):
        at, said = i * step % total, parts[0]
        for group, after in zip(groups, parts[2::2], strict=True):
            at, which = divmod(at, len(group))
            said += group[which] + after
        out.append(" ".join(said.split()))
    return out


def mended(text: str, lang: str | None) -> str:
    """The text in lower case as it was probably meant; equal to `text.lower()` where nothing is to be mended.

    Letters spaced out are joined, letters repeated thrice or more are cut, digits within words read as letters, and the
    spellings listed for the language replaced. Without a known language those of all are tried, English last.

    >>> mended("i want to k i l l myself", "en")
    'i want to kill myself'
    >>> mended("su1c1dal, dieeee", "en")
    'suicidal, die'
    """
    out = _SPACED.sub(lambda m: _BETWEEN.sub("", m[0]), text.lower().replace("’", "'"))
    out = _MIXED.sub(lambda m: m[0].translate(_LEET), out)
    out = _OTHERS.sub(r"\1\1", _VOWELS.sub(r"\1", out))
    known = spellings()
    tables = [known[lang]] if lang is not None and lang in known else [known[k] for k in sorted(known)]
    for table in tables:
        out = _WORD.sub(lambda m, table=table: table.get(m[0], m[0]), out)  # type: ignore[misc]
    return out


@functools.cache
def spellings(folder: Path = FOLDER) -> Mapping[str, Mapping[str, str]]:
    """Language → word as it is typed → words that are meant."""
    out: dict[str, dict[str, str]] = {}
    for path in sorted((folder / "safety").glob("*.yaml")):
        data = read_yaml(path)
        given = data.get("spellings", {})
        out[str(data["lang"])] = {str(typed): str(meant) for meant, typed_as in given.items() for typed in typed_as}
    return out
