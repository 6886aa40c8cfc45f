"""Search words → category and severity: phrases of signed lexicons, without learning and without memory of the text.

How it reads: NFKD, casefold, marks and invisible characters removed (ä = ae), split into words. Phrases are looked up
word by word from every position, so the time is linear in the text whatever it holds. Of the matches the highest
severity counts. Nothing here keeps, prints or raises a word of what was typed. How well it does: docs/search.md.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from content.packs import FOLDER, ContentError, instant, read_yaml, signatures
from content.trie import LONGEST, Node, add_phrase, walk

CATEGORIES = ("SUICIDE_METHOD", "OVERDOSE", "SUICIDE", "SELF_HARM", "DEATH", "HELP_SEEKING")
HELP = "HELP_SEEKING"
SCORE_PLAIN, SCORE_TOPIC, SCORE_LOWERED = 0.9, 0.6, 0.3  # an order, not a probability [choice]

BLOCK = 20_000  # words looked at in one go
PERSONAL_WORDS = 512  # personal terms are looked for in the first words only: they are hashed one by one
PERSONAL_LONGEST = 4
PIECE = 512  # characters normalised in one go: reordering marks is quadratic in their run

_WORD = re.compile(r"[^\W_]+")
_UMLAUT = {a: b for c, b in (("ä", "ae"), ("ö", "oe"), ("ü", "ue")) for a in (c, unicodedata.normalize("NFD", c))}
_INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x2060, 0x2065), 0xFEFF, 0x27, 0x2019, 0x02BC, 0x60])
_MARK = re.compile(r"[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+")


@dataclass(frozen=True)
class Match:
    """What a text was flagged as.

    Parameters
    ----------
    severity
        0-3 (topics.md, device.search_flag).
    score
        0.9 a plain phrase, 0.6 a bare topic word, 0.3 a topic word beside a film, a song, the news. An order only.
    """

    category: str
    severity: int
    score: float
    lexicon_version: str


@dataclass(frozen=True)
class Term:
    """A term of a LEXICON item: plain words, category, severity 0-3."""

    term: str = field(repr=False)
    category: str
    severity: int


@dataclass(frozen=True)
class _Entry:
    category: str
    severity: int
    topic: bool
    version: str
    role: str  # TERM, GUARD, CONTEXT


@dataclass(frozen=True)
class Lexicon:
    """Phrases of one language or of all. `load` makes it; `classify` is pure."""

    langs: frozenset[str]
    _tries: Mapping[str, Node] = field(repr=False)

    @staticmethod
    def load(lang: str | None = None, folder: Path = FOLDER) -> Lexicon:
        """The lexicons of a language (BCP 47; None = of all), and the test terms, which are always on.

        Raises
        ------
        ContentError
            A lexicon is missing or wrong.
        """
        return _load(None if lang is None else primary(lang), folder)

    def classify(
        self,
        text: str,
        lang: str | None = None,
        extra_terms: Sequence[Term] = (),
        shifts: Mapping[str, int] | None = None,
    ) -> Match | None:
        """Category and severity of a text, or None.

        Parameters
        ----------
        lang
            BCP 47. With a known language, its lexicon counts in full and the others from severity 2 on (people search
            in more than one language, but a word like "die" means little across them); otherwise all count in full.
        extra_terms
            Terms of LEXICON items in force.
        shifts
            `term_hash` → -1 or +1 (clinician's profile). A personal term in the text shifts the matches it overlaps;
            +1 on words that match nothing gives severity 1. Severity 3 is never lowered.
        """
        own = primary(lang) if lang else None
        tries = [(self._tries["test"], 0)]
        for name in sorted(self.langs):
            tries.append((self._tries[name], 2 if own in self.langs and name != own else 0))
        if extra_terms:
            tries.append((_trie_of(tuple(extra_terms)), 0))
        best: _Best = _Best()
        for number, block in enumerate(_blocks(text)):
            personal = _personal(block, shifts) if shifts and number == 0 else []
            for trie, least in tries:
                _scan(block, trie, least, personal, best)
            if personal and any(p[2] > 0 for p in personal):
                best.offer(Match("DEATH", 1, SCORE_TOPIC, "personal"), False)
        return best.result()


class _Best:
    """The best match so far; topic words apart, because a context word anywhere in the text lowers them."""

    def __init__(self) -> None:
        self.plain: Match | None = None
        self.topic: Match | None = None
        self.context = False

    def offer(self, match: Match, topic: bool) -> None:
        if topic:
            self.topic = match if self.topic is None else max(self.topic, match, key=_rank)
        else:
            self.plain = match if self.plain is None else max(self.plain, match, key=_rank)

    def result(self) -> Match | None:
        topic = self.topic
        if topic is not None and self.context and topic.severity < 3:
            down = Match(topic.category, topic.severity - 1, SCORE_LOWERED, topic.lexicon_version)
            topic = down if down.severity > 0 else None
        return max((m for m in (self.plain, topic) if m is not None), key=_rank, default=None)


def _rank(m: Match) -> tuple[int, float, int]:
    return m.severity, m.score, -CATEGORIES.index(m.category)


def _scan(words: list[str], trie: Node, least: int, personal: list[tuple[int, int, int]], best: _Best) -> None:
    guarded = helped = 0  # no term may end after these to be covered
    heads = {word for word in set(words) if trie.after(word)}
    for start, word in enumerate(words):
        if word not in heads:
            continue
        found = walk(trie, words, start)
        if not found:
            continue
        for end, entry in found:
            if entry.role == "GUARD":
                guarded = max(guarded, end)
            elif entry.role == "CONTEXT":
                best.context = True
            elif entry.category == HELP:
                helped = max(helped, end)
        for end, entry in found:
            if entry.role != "TERM" or entry.severity < least or end <= guarded:
                continue
            if end <= helped and entry.severity < 3 and entry.category != HELP:
                continue
            severity = _shifted(entry.severity, start, end, personal)
            score = SCORE_TOPIC if entry.topic else SCORE_PLAIN
            best.offer(Match(entry.category, severity, score, entry.version), entry.topic)


def _shifted(severity: int, start: int, end: int, personal: list[tuple[int, int, int]]) -> int:
    """Severity after the personal terms that overlap [start, end); up beats down, 3 stays."""
    shifts = [shift for a, b, shift in personal if a < end and start < b]
    if not shifts or severity == 3:
        return severity
    return min(3, max(0, severity + max(shifts)))


def _personal(words: list[str], shifts: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """(from, to, shift) of the personal terms among the first words."""
    n = min(len(words), PERSONAL_WORDS)
    spans = ((a, b) for a in range(n) for b in range(a + 1, min(a + PERSONAL_LONGEST, n) + 1))
    hashed = ((a, b, shifts.get(_hash(words[a:b]))) for a, b in spans)
    return [(a, b, 1 if s > 0 else -1) for a, b, s in hashed if s]


def term_hash(term: str) -> str:
    """`terms[].term_hash` of a profile: SHA-256 (hex, UTF-8) of the term's words as read here, joined by one space.

    >>> term_hash("Self-Harm") == term_hash("self  harm")
    True
    """
    return _hash(list(_words(term)))


def _hash(words: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(words).encode("utf-8", "replace")).hexdigest()


def primary(lang: str) -> str:
    """`de-AT` → `de`."""
    return lang.replace("_", "-").split("-", 1)[0].casefold()


def _words(text: str) -> Iterator[str]:
    return (m[0] for m in _WORD.finditer(_normal(text)))


def _normal(text: str) -> str:
    if text.isascii():
        return text.lower().replace("'", "").replace("`", "")
    folded = text.translate(_INVISIBLE).casefold()
    for letter, plain in _UMLAUT.items():
        folded = folded.replace(letter, plain)
    pieces = (unicodedata.normalize("NFKD", folded[i : i + PIECE]) for i in range(0, len(folded), PIECE))
    return _MARK.sub("", "".join(pieces)).casefold()


def _blocks(text: str) -> Iterator[list[str]]:
    """Words in blocks that overlap by the longest phrase, so that a text of any size needs little memory."""
    words = _words(text)
    carry: list[str] = []
    while True:
        block = list(islice(words, BLOCK))
        if not block:
            return
        yield carry + block
        carry = block[-LONGEST:]


def terms_from_records(records: Iterable[Mapping[str, Any]], t: int | None = None) -> tuple[Term, ...]:
    """Terms of `content.pack` records of kind LEXICON (contract form or bare values): tags term, category, severity.

    Records of another kind, with an unknown category or severity, or (with `t`, ms) outside their period give none.
    """
    out = []
    for record in records:
        value = record.get("value", record)
        if value["kind"] != "LEXICON" or (t is not None and not value["valid_from"] <= t < value["valid_to"]):
            continue
        tags = dict(value["tags"])
        if tags.get("category") in CATEGORIES and tags.get("severity") in ("0", "1", "2", "3") and tags.get("term"):
            out.append(Term(str(tags["term"]), str(tags["category"]), int(tags["severity"])))
    return tuple(sorted(set(out), key=lambda x: (x.term, x.category, x.severity)))


@functools.lru_cache(maxsize=64)
def _trie_of(terms: tuple[Term, ...]) -> Node:
    root = Node()
    for term in terms:
        words = list(_words(term.term))[:LONGEST]
        if words:
            add_phrase(root, " ".join(words), _Entry(term.category, term.severity, False, "pack", "TERM"))
    return root


# -- files ------------------------------------------------------------------------------------------------------------


def lexicon_files(folder: Path = FOLDER) -> list[Path]:
    return sorted((folder / "lexicons").glob("*.yaml"))


def lexicon_value(path: Path) -> dict[str, Any]:
    """What is signed of a lexicon file: everything in it, dates as ms."""
    data = dict(read_yaml(path))
    return {**data, "valid_from": instant(data["valid_from"]), "valid_to": instant(data["valid_to"])}


@functools.lru_cache(maxsize=8)
def _load(lang: str | None, folder: Path) -> Lexicon:
    tries: dict[str, Node] = {}
    signed = signatures(folder)
    for path in lexicon_files(folder):
        data = read_yaml(path)
        name = str(data["lang"])
        if lang not in (None, name) and name != "test":
            continue
        if not signed.get(path.name, {}).get("lexicon"):
            raise ContentError(f"content: lexicon {path.name} is not signed; run python -m content.sign")
        tries[name] = _read(data, path.name)
    if "test" not in tries:
        raise ContentError("content: lexicons/test_terms.yaml is missing")
    return Lexicon(frozenset(n for n in tries if n != "test"), tries)


def _read(data: Mapping[str, Any], name: str) -> Node:
    root = Node()
    version = str(data["version"])
    for group in data["terms"]:
        category, severity = str(group["category"]), int(group["severity"])
        if category not in CATEGORIES or not 0 <= severity <= 3:
            raise ContentError(f"content: lexicon {name}: unknown category or severity")
        entry = _Entry(category, severity, bool(group.get("topic")), version, "TERM")
        for phrase in group["phrases"]:
            add_phrase(root, read_phrase(phrase), entry)
    for role, key in (("GUARD", "guards"), ("CONTEXT", "context")):
        for phrase in data.get(key, ()):
            add_phrase(root, read_phrase(phrase), _Entry("", 0, False, version, role))
    return root


def words_as_read(text: str) -> list[str]:
    """Words of a text as the lexicons read them: folded, apostrophes and marks removed, ä = ae."""
    return list(_words(text))


def read_phrase(written: Any) -> str:
    """A phrase as written, its words read like a text: `[a|an]` optional, `|` alternatives, `*` any ending."""
    return " ".join(chain.from_iterable(_slot(s) for s in str(written).split()))


def _slot(slot: str) -> Iterator[str]:
    if any(c in slot for c in "[|*"):
        yield re.sub(r"[^\[\]|*]+", lambda m: "".join(_words(m[0])), slot)
    else:
        yield from _words(slot)
