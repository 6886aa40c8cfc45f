"""What a program may show: approved, signed, dated items of the content library (programs.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from content.library import Item, Library
from pipelines.gate.desk import Desk

KINDS = ("STIMULUS", "TRACK", "APHASIA_ITEM", "GAME_MESSAGE")
FACTORS = {"SPIDER": ("colour", "type", "size"), "SPEECH": ("count", "gender", "age")}
SAMPLE = "sample"  # tag of what is shipped only to be looked at; gives way to a site's own


@dataclass(frozen=True)
class Entry:
    """One item. `item_id` names it on the front end; the words, if any, stand in the pack."""

    item_id: str
    kind: str
    tags: Mapping[str, str]
    valid_from: int
    valid_to: int

    @property
    def level(self) -> int:
        """Step of the ladder, 0 = lowest: the tag `level`."""
        return int(self.tags.get("level", 0))

    def factors(self, program: str) -> dict[str, str]:
        """Factor → level of a stimulus."""
        return {f: self.tags[f] for f in FACTORS[program] if f in self.tags}


class Catalogue:
    """Entries of a library by kind; made once a library."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._by_kind: dict[tuple[str, str], dict[str, Entry]] = {}
        for item in sorted((i for i in library.items if i.kind in KINDS), key=_version):
            for program in _programs(item):
                entry = Entry(item.item_id, item.kind, item.tags, item.valid_from, item.valid_to)
                self._by_kind.setdefault((item.kind, program), {})[item.item_id] = entry

    def entries(self, kind: str, program: str, desk: Desk) -> list[Entry]:
        """What may be shown now, by id: in its period, not disabled; samples only where there is nothing else."""
        profile = desk.profiles.effective(desk.now)
        disabled = profile.disabled if profile is not None else frozenset()
        found = [
            e
            for e in self._by_kind.get((kind, program), {}).values()
            if e.valid_from <= desk.now < e.valid_to and e.item_id not in disabled
        ]
        own = [e for e in found if SAMPLE not in e.tags]
        return sorted(own or found, key=lambda e: e.item_id)

    def stimulus(self, program: str, factors: Mapping[str, str], desk: Desk) -> Entry | None:
        """The approved stimulus of these factor levels."""
        shown = {f: v for f, v in factors.items() if f in FACTORS[program]}
        return next((e for e in self.entries("STIMULUS", program, desk) if e.factors(program) == shown), None)


def _programs(item: Item) -> tuple[str, ...]:
    if item.kind == "STIMULUS":
        return ("SPEECH" if "count" in item.tags else "SPIDER",)
    if item.kind == "TRACK":
        return ("SPIDER", "SPEECH")
    if item.kind == "GAME_MESSAGE":
        return ("SPARX",) if "skill" in item.tags else ()  # a reminder is no message of a module
    return ("APHASIA",)


def _version(item: Item) -> tuple[list[int], int, str]:
    return [int(p) if p.isdigit() else 0 for p in item.version.split(".")], item.valid_from, item.locale
