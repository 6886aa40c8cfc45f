"""Phrases as small machines over words. Written: `[a|an]` optional, `x|y` alternatives, `suicid*` any ending.

One state per slot of a phrase, so that many alternatives cost nothing; all phrases share the first state.
"""

from __future__ import annotations

from typing import Any

LONGEST = 20  # slots of the longest phrase


class Node:
    """A state: words that may follow, and what ends here."""

    __slots__ = ("ends", "exact", "lengths", "stems")

    def __init__(self) -> None:
        self.exact: dict[str, list[Node]] = {}
        self.stems: dict[str, list[Node]] = {}
        self.lengths: tuple[int, ...] = ()
        self.ends: list[Any] = []

    def after(self, word: str) -> list[Node]:
        """States after `word`."""
        nexts = self.exact.get(word, [])
        for k in self.lengths:
            follow = self.stems.get(word[:k])
            if follow is not None:
                nexts = nexts + follow
        return nexts


def add_phrase(root: Node, phrase: str, entry: Any) -> None:
    """Let `entry` be found at the end of every reading of `phrase`.

    Raises
    ------
    ValueError
        Nothing in it is required, or it is longer than `LONGEST` slots.

    Examples
    --------
    >>> root = Node()
    >>> add_phrase(root, "black|white [big] cat*", "found")
    >>> walk(root, ["white", "cats"], 0)
    [(2, 'found')]
    """
    slots = phrase.split()
    optional = [s.startswith("[") for s in slots]
    if not slots or all(optional):
        raise ValueError("a phrase needs at least one word that is not optional")
    if len(slots) > LONGEST:
        raise ValueError("a phrase is too long")
    states = [root, *(Node() for _ in slots)]
    for i, state in enumerate(states):
        for j in range(i, len(slots)):
            for word in slots[j].strip("[]").split("|"):
                stem = word.rstrip("*")
                edges = state.exact if word == stem else state.stems
                edges.setdefault(stem, []).append(states[j + 1])
                if edges is state.stems:
                    state.lengths = tuple(sorted({*state.lengths, len(stem)}))
            if not optional[j]:
                break
        if state is not root and all(optional[i:]):
            state.ends.append(entry)


def walk(root: Node, words: list[str], start: int) -> list[tuple[int, Any]]:
    """(end, entry) of every phrase that begins at `start`; the time is bounded by the longest phrase."""
    fronts = root.after(words[start])
    found: list[tuple[int, Any]] = []
    at = start + 1
    while fronts:
        nexts: list[Node] = []
        word = words[at] if at < len(words) else None
        for node in fronts:
            if node.ends:
                found.extend((at, entry) for entry in node.ends)
            if word is not None:
                nexts.extend(node.after(word))
        fronts = nexts
        at += 1
    return found
