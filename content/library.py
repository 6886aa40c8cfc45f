"""What may be said: approved items by tier, audience, locale and instant, and the crisis line of a locale."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from content import crisis
from content.packs import FOLDER, ContentError, Item, digest, locale_of, pack_files, read_pack
from schemas import signing

WORDLESS = frozenset({"STIMULUS", "TRACK", "APHASIA_ITEM"})  # what is shown is named by its id and tags; words are optional
__all__ = ["ContentError", "Item", "Library"]


@dataclass(frozen=True)
class Library:
    """Items of all configured locales. Immutable; `build` makes it, `with_records` adds what a log carries.

    Parameters
    ----------
    locales
        The first is used where a person's locale is not configured.
    """

    locales: tuple[str, ...]
    items: tuple[Item, ...]
    lines: Mapping[str, crisis.CrisisLine]
    _by_place: dict[tuple[str, str, str], list[Item]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for item in self.items:
            place = (item.tags.get("tier", ""), item.tags.get("audience", ""), item.locale)
            self._by_place.setdefault(place, []).append(item)

    @staticmethod
    def build(locales: Sequence[str], *, trusted_keys: Sequence[str] = (), folder: Path = FOLDER) -> Library:
        """The library of a deployment.

        Parameters
        ----------
        trusted_keys
            Base64 Ed25519 public keys; none = any non-empty signature passes (topics.md 1). With keys, items that do
            not verify are left out.

        Raises
        ------
        ContentError
            A locale has no crisis line, no pack or, after checking signatures, no crisis card.
        """
        lines = {locale: crisis.line_for(locale, folder) for locale in locales}
        files = [p for p in pack_files(folder) if locale_of(p) in lines]
        found = [i for p in files for i in read_pack(p) if _signed(i, trusted_keys)]
        for locale in locales:
            cards = [i for i in found if i.locale == locale and i.kind == "CRISIS_CARD"]
            if not cards:
                raise ContentError(f"content: locale {locale!r} has no signed crisis card")
        return Library(tuple(locales), tuple(found), lines)

    def with_records(self, records: Iterable[Mapping[str, Any]]) -> Library:
        """The library after `content.pack` records (contract form or bare values) of a log.

        A record carries no text: it dates, tags or disables texts of the packs by `text_id`. One with an unknown text,
        another text's digest, or kind LEXICON changes nothing here; stimuli, tracks and naming items need no text.
        Signatures are the caller's to check.
        """
        texts = {(i.locale, i.text_id): i.text for i in self.items}
        known = {(i.pack_id, i.version, i.item_id, i.locale): i for i in self.items}
        for record in records:
            value = record.get("value", record)
            text = texts.get((str(value["locale"]), str(value["text_id"])))
            tags = {str(k): str(v) for k, v in dict(value["tags"]).items()}
            stated = tags.pop("text_sha256", None)
            if text is None and value["kind"] in WORDLESS:
                text = ""
            if value["kind"] == "LEXICON" or text is None or stated not in (None, digest(text)):
                continue
            item = Item(
                item_id=str(value["item_id"]),
                kind=str(value["kind"]),
                tags=tags,
                author=str(value["author"]),
                reviewer=str(value["reviewer"]),
                evidence_ref=str(value["evidence_ref"]),
                valid_from=int(value["valid_from"]),
                valid_to=int(value["valid_to"]),
                signature=str(value["signature"]),
                text=text,
                pack_id=str(value["pack_id"]),
                version=str(value["pack_version"]),
                locale=str(value["locale"]),
                text_id=str(value["text_id"]),
            )
            known[item.pack_id, item.version, item.item_id, item.locale] = item
        return replace(self, items=tuple(known.values()), _by_place={})

    def item(
        self,
        tier: str,
        audience: str,
        locale: str,
        t: int,
        *,
        arm: str | None = None,
        unattended: bool = False,
        disabled: Collection[str] = (),
        pinned: Sequence[str] = (),
        offers: str | None = None,
    ) -> Item | None:
        """The item to say at `t` (ms), or None.

        Of several: what fits arm and hours best, then the pinned, then the first by id, so that equal runs agree. Of
        one item's versions in their period the highest counts. The crisis card is never None: neither a disabled list
        nor a period that ran out may silence it (support.md 3, invariant S2).

        Parameters
        ----------
        arm
            CLASSIC, ADAPTIVE; None = the plain item.
        unattended
            Nobody watches now; the item that says so is preferred.
        offers
            A screener the message offers, e.g. CSSRS after item 9.
        """
        there = locale if locale in self.lines else self.locales[0]
        everything = self._by_place.get((tier, audience, there), [])
        valid = _newest(i for i in everything if i.valid_from <= t < i.valid_to)
        found = [i for i in valid if i.item_id not in disabled]
        if not found and tier == "L4" and audience == "USER":
            found = valid or _newest(everything)
        fitting = [
            i
            for i in found
            if i.tags.get("arm") in (None, arm)
            and (unattended or "unattended" not in i.tags)
            and i.tags.get("offers") in (None, offers)
        ]

        def order(i: Item) -> tuple[bool, bool, bool, int, str]:
            rank = pinned.index(i.item_id) if i.item_id in pinned else len(pinned)
            away = unattended and "unattended" not in i.tags
            return i.tags.get("arm") != arm, away, i.tags.get("offers") != offers, rank, i.item_id

        return min(fitting, key=order, default=None)

    def get(self, item_id: str, locale: str) -> Item | None:
        """The newest version of an item, e.g. of a `template_id`."""
        return next(iter(_newest(i for i in self.items if i.item_id == item_id and i.locale == locale)), None)

    def crisis_line_id(self, locale: str) -> str:
        """Id for `params.crisis_line_id`: the locale whose country's line is meant."""
        return locale if locale in self.lines else self.locales[0]

    def crisis_line(self, line_id: str) -> crisis.CrisisLine:
        """The line behind `params.crisis_line_id`."""
        return self.lines[self.crisis_line_id(line_id)]

    def render(self, item: Item, line_id: str) -> str:
        """The words a connector shows: the text with the crisis line filled in."""
        line = self.crisis_line(line_id)
        return item.text.replace("{crisis_line}", line.spoken()).replace("{emergency}", line.emergency)


def _newest(items: Iterable[Item]) -> list[Item]:
    """Of each item the highest version; equal versions: the later start."""
    best: dict[str, Item] = {}
    for i in items:
        old = best.get(i.item_id)
        if old is None or (_version(i), i.valid_from) > (_version(old), old.valid_from):
            best[i.item_id] = i
    return list(best.values())


def _version(item: Item) -> tuple[int, ...]:
    return tuple(int(p) if p.isdigit() else 0 for p in item.version.split("."))


def _signed(item: Item, trusted_keys: Sequence[str]) -> bool:
    if not trusted_keys:
        return bool(item.signature)
    return signing.verify({**item.value(), "signature": item.signature}, tuple(trusted_keys))
