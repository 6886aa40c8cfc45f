"""Content lint: `python -m content.lint`. What a reviewer can overlook and a patient would suffer (privacy.md 8).

It checks packs, lexicons and crisis lines of the repository or of `--folder`, and edits nothing. It looks at no clock;
`--today DATE` also reports what has run out.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from content import crisis
from content.lexicon import Lexicon, lexicon_files, lexicon_value
from content.packs import FOLDER, ContentError, Item, instant, locale_of, pack_files, read_pack, read_yaml, signatures
from content.reading import ease
from content.sign import phrase_files, public_key
from schemas import signing

LOCALES = ("en-GB", "de-DE")
LONGEST = {"USER": 560, "THERAPIST": 360}  # characters: what a phone shows without scrolling, a list without opening
LONGEST_OTHER = 160
EASE_FROM = {"en": 55.0, "de": 45.0}  # [choice]: Flesch, Amstad; German words are longer
NEEDS_LINE = frozenset({"L2", "L3", "L4", "W2", "RESOURCES", "SAFEGUARD"})
EVERY = {  # (tier, audience, arm) that the rules of family A may ask for
    *((t, "USER", None) for t in ("L1", "L2", "L3", "L4", "W1", "W2", "RESOURCES", "SAFEGUARD", "DEVICE_REMINDER")),
    *((t, "USER", a) for t in ("L1", "W1") for a in ("CLASSIC", "ADAPTIVE")),
    *((t, "THERAPIST", None) for t in ("L3", "L4", "W2", "SAFEGUARD", "CASE_NOTE", "NOT_MONITORED")),
}
ATTENDED_ONLY = frozenset({"DEVICE_REMINDER"})  # nobody needs to watch for a reminder
REPLIES = (
    *("not_permitted", "risk_opening", "risk_high", "risk_done", "menu", "clarify_1", "help_fixed", "unsupported_language"),
    *("cssrs_q1", "cssrs_q2", "cssrs_q3", "cssrs_q4", "cssrs_q5", "cssrs_q6", "cssrs_q6_recent", "cssrs_repeat"),
    *("safeguard_reply", "preliminary", "coherence_limits"),
)
ICD = re.compile(
    r"\b(?:F\d{2}(?:\.\d)?|X[67]\d|X8[0-4]|6[A-E]\d[0-9A-Z](?:\.\d)?|ICD-?1[01]|DSM(?:-(?:5|IV|V))?)\b", re.I
)


def lint(folder: Path = FOLDER, today: int | None = None) -> list[str]:
    """Every problem as one line; [] = clean.

    Parameters
    ----------
    today
        Instant (ms) at which items must be in their period; None = any.
    """
    try:
        packs = {path: read_pack(path) for path in pack_files(folder)}
        problems = [f"{path.name}: {p}" for path, items in packs.items() for p in _pack(path, items, folder, today)]
        problems += [p for locale in LOCALES for p in _complete(locale, packs)]
        problems += _same_words(packs)
        problems += [f"{path.name}: {p}" for path in lexicon_files(folder) for p in _lexicon(path, folder, today)]
        others = [*phrase_files(folder), *[p for p in [folder / "referral.yaml"] if p.exists()]]
        problems += [f"{p.parent.name}/{p.name}: {q}" for p in others for q in _signed_file(p, folder, today)]
        problems += list(_lines(folder))
        Lexicon.load(None, folder)
    except ContentError as error:
        return [str(error)]
    return problems


def _pack(path: Path, items: tuple[Item, ...], folder: Path, today: int | None) -> Iterator[str]:
    head = read_yaml(path)
    if "not a medical device" not in str(head.get("notice", "")).lower():
        yield "the notice does not say: Research software. Not a medical device."
    if locale_of(path) != head["locale"]:
        yield f"locale {head['locale']} does not fit the file's name"
    evidence = read_yaml(folder / "evidence.yaml")
    words = read_yaml(folder / "lint_words.yaml")
    seen: set[str] = set()
    for item in items:
        if item.item_id in seen:
            yield f"{item.item_id}: twice"
        seen.add(item.item_id)
        for problem in _item(item, evidence, words, folder, today):
            yield f"{item.item_id}: {problem}"


def _item(item: Item, evidence: Any, words: Any, folder: Path, today: int | None) -> Iterator[str]:
    yield from _provenance(vars(item), evidence, today)
    if not _verifies({**item.value(), "signature": item.signature}, folder):
        yield "signature missing or not of these words: sign again after review (python -m content.sign)"
    yield from (f"{kind}: {word!r}" for kind, listed in words.items() for word in listed if _holds(item.text, word))
    for key, tag in item.tags.items():
        if _holds(f"{key} {tag}", "commercial|sponsor|partner|campaign|marketing|brand"):
            yield f"commercial tag {key!r}"
    if found := ICD.search(item.text):
        yield f"diagnosis code {found[0]!r}"
    audience = item.tags.get("audience", "")
    if len(item.text) > LONGEST.get(audience, LONGEST_OTHER):
        yield f"{len(item.text)} characters, at most {LONGEST.get(audience, LONGEST_OTHER)}"
    urgent = item.tags.get("tier") in NEEDS_LINE or "unattended" in item.tags or _reply_needs_line(item)
    if audience == "USER" and item.kind == "REPLY" and _too_hard(item):
        yield f"reads too hard ({ease(item.text, item.locale):.0f}): shorter sentences, plainer words"
    if audience == "USER" and urgent and "{crisis_line}" not in item.text:
        yield "no {crisis_line}"
    if item.tags.get("tier") == "L4" and audience == "USER" and "{emergency}" not in item.text:
        yield "no {emergency}"


def _too_hard(item: Item) -> bool:
    """Whether a text for the person reads harder than plain language (`content/reading.py`)."""
    return ease(item.text, item.locale) < EASE_FROM[item.locale.split("-")[0]]


def _reply_needs_line(item: Item) -> bool:
    """Every reply but an ordinary turn of a conversation: whoever is not understood or in danger is told whom to call."""
    return item.kind == "REPLY" and item.tags.get("flow") not in ("NORMAL", "CLARIFY")


def _provenance(entry: Any, evidence: Any, today: int | None) -> Iterator[str]:
    if entry["author"] == entry["reviewer"]:
        yield "author and reviewer are the same person"
    if entry["evidence_ref"] not in evidence:
        yield f"evidence_ref {entry['evidence_ref']!r} is not in evidence.yaml"
    if not entry["valid_from"] < entry["valid_to"]:
        yield "valid_from is not before valid_to"
    if today is not None and not entry["valid_from"] <= today < entry["valid_to"]:
        yield "not in its period today"


def _verifies(value: dict[str, Any], folder: Path) -> bool:
    return bool(value["signature"]) and signing.verify(value, (public_key(folder),))


def _holds(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w)(?:{word})(?!\w)", text, re.I) is not None


def _complete(locale: str, packs: dict[Path, tuple[Item, ...]]) -> Iterator[str]:
    items = [i for path, found in packs.items() if locale_of(path) == locale for i in found]
    there = {(i.tags.get("tier"), i.tags.get("audience"), i.tags.get("arm"), "unattended" in i.tags) for i in items}
    for tier, audience, arm in sorted(EVERY, key=str):
        need = [False] if audience == "THERAPIST" or tier in ATTENDED_ONLY else [False, True]
        for unattended in need:
            if (tier, audience, arm, unattended) not in there:
                kind = "unattended " if unattended else ""
                yield f"{locale}: no {kind}item for {tier} to {audience}{' ' + arm if arm else ''}"
    ids = {i.item_id for i in items}
    yield from (f"{locale}: no reply {r}" for r in REPLIES if r not in ids)


def _same_words(packs: dict[Path, tuple[Item, ...]]) -> Iterator[str]:
    """Every item and every place to fill exists in all locales."""
    by_pack: dict[str, dict[str, dict[str, list[str]]]] = {}
    for items in packs.values():
        for i in items:
            places = sorted(set(re.findall(r"\{\w+\}", i.text)))
            by_pack.setdefault(i.pack_id, {}).setdefault(i.item_id, {})[i.locale] = places
    for pack, ids in by_pack.items():
        for item_id, by_locale in ids.items():
            if missing := [loc for loc in LOCALES if loc not in by_locale]:
                yield f"{pack}: {item_id}: no {missing[0]}"
            elif len({tuple(p) for p in by_locale.values()}) > 1:
                yield f"{pack}: {item_id}: other places to fill in another locale"


def _lexicon(path: Path, folder: Path, today: int | None) -> Iterator[str]:
    value = lexicon_value(path)
    yield from _provenance(value, read_yaml(folder / "evidence.yaml"), today)
    signature = signatures(folder).get(path.name, {}).get("lexicon", "")
    if not _verifies({**value, "signature": signature}, folder):
        yield "signature missing or not of this lexicon: sign again after review (python -m content.sign)"
    if "not a medical device" not in str(value.get("notice", "")).lower():
        yield "the notice does not say: Research software. Not a medical device."


def _signed_file(path: Path, folder: Path, today: int | None) -> Iterator[str]:
    """Phrases that models learn from, and the score table: provenance, notice, signature."""
    value, signed = lexicon_value(path), signatures(folder)
    yield from _provenance(value, read_yaml(folder / "evidence.yaml"), today)
    name, key = (path.name, "table") if path.parent == folder else (f"{path.parent.name}/{path.name}", "phrases")
    if not _verifies({**value, "signature": signed.get(name, {}).get(key, "")}, folder):
        yield "signature missing or not of this file: sign again after review (python -m content.sign)"
    if "not a medical device" not in str(value.get("notice", "")).lower():
        yield "the notice does not say: Research software. Not a medical device."


def _lines(folder: Path) -> Iterator[str]:
    for locale in LOCALES:
        crisis.line_for(locale, folder)
    for country, line in crisis.lines(folder).items():
        if not all((line.name, line.number, line.emergency, line.source.startswith("https://"))):
            yield f"crisis_lines.yaml: {country}: name, number, emergency or source is missing"
        try:
            dt.date.fromisoformat(line.checked)
        except ValueError:
            yield f"crisis_lines.yaml: {country}: checked is no date"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m content.lint", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--today", type=dt.date.fromisoformat, help="YYYY-MM-DD: also report what is not in its period")
    given = parser.parse_args(argv)
    problems = lint(given.folder, instant(given.today) if given.today else None)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"content: {len(problems)} problems" if problems else "content: clean")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
