"""Phrases of the classes of safety, read word by word like the search lexicons: what a rule can name, a rule finds.

They stand in `content/safety/<lang>.yaml` under `rules` and `guards`, signed with the training phrases.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from content.lexicon import read_phrase, words_as_read
from content.packs import FOLDER, read_yaml
from content.trie import Node, add_phrase, walk

GUARD = "GUARD"
MAX_WORDS = 2_000


@dataclass(frozen=True)
class SafetyWords:
    """Classes by phrase. `load` makes it; `classes_of` is pure."""

    _roots: Mapping[str, Node] = field(repr=False)

    @staticmethod
    @functools.cache
    def load(folder: Path = FOLDER) -> SafetyWords:
        roots: dict[str, Node] = {}
        for path in sorted((folder / "safety").glob("*.yaml")):
            data = read_yaml(path)
            root = roots.setdefault(str(data["lang"]), Node())
            for name, written in [*data["rules"].items(), (GUARD, data.get("guards", []))]:
                for phrase in written:
                    add_phrase(root, read_phrase(phrase), name)
        return SafetyWords(roots)

    def classes_of(self, text: str) -> frozenset[str]:
        """Classes of which a phrase stands in the text, whatever its language; what a guard covers doesn't count."""
        words = words_as_read(text)[:MAX_WORDS]
        found: set[str] = set()
        for root in self._roots.values():
            guarded = 0
            heads = {word for word in set(words) if root.after(word)}
            for start in (i for i, word in enumerate(words) if word in heads):
                ends = walk(root, words, start)
                guarded = max([guarded, *(end for end, name in ends if name == GUARD)])
                found.update(name for end, name in ends if name != GUARD and end > guarded)
        return frozenset(found)
