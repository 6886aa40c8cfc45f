"""Packs as files: items with author, reviewer, evidence, period and signature (privacy.md 8). No wall clock here.

A pack is `packs/<pack_id>.<locale>.yaml`; its signatures stand apart in `signatures.yaml`, so that signing again does
not touch what people wrote.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
NEEDED = ("item_id", "kind", "tags", "author", "reviewer", "evidence_ref", "valid_from", "valid_to", "text")


class ContentError(Exception):
    """Content that a deployment needs is missing or wrong; the message is one line for the operator."""


@dataclass(frozen=True)
class Item:
    """One approved text. Instants are ms since 1970 UTC; it may be said in [valid_from, valid_to).

    Parameters
    ----------
    version
        `pack_version` of the record, e.g. "1.0".
    text
        With `{crisis_line}`, `{emergency}` as places to fill (`Library.render`).
    """

    item_id: str
    kind: str
    tags: Mapping[str, str]
    author: str
    reviewer: str
    evidence_ref: str
    valid_from: int
    valid_to: int
    signature: str
    text: str
    pack_id: str
    version: str
    locale: str
    text_id: str

    def value(self) -> dict[str, Any]:
        """The `content.pack` value without its signature: what is signed. The text counts by its digest."""
        return {
            "pack_id": self.pack_id,
            "pack_version": self.version,
            "item_id": self.item_id,
            "locale": self.locale,
            "kind": self.kind,
            "text_id": self.text_id,
            "tags": {**self.tags, "text_sha256": digest(self.text)},
            "author": self.author,
            "reviewer": self.reviewer,
            "evidence_ref": self.evidence_ref,
            "valid_from": self.valid_from,
            "valid_to": self.valid_to,
        }


def digest(text: str) -> str:
    """SHA-256 (hex) of a text; binds a record, which carries no text, to the words that were reviewed."""
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def read_yaml(path: Path) -> Any:
    """Contents of a YAML file.

    Raises
    ------
    ContentError
        Missing or not YAML.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except FileNotFoundError:
        raise ContentError(f"content: {path.name} is missing") from None
    except yaml.YAMLError:
        raise ContentError(f"content: {path.name} is not valid YAML") from None


def instant(date: Any) -> int:
    """UTC midnight of a YAML date, ms since 1970."""
    day = date if isinstance(date, dt.date) else dt.date.fromisoformat(str(date))
    return (day - dt.date(1970, 1, 1)).days * 86_400_000


def signatures(folder: Path = FOLDER) -> dict[str, dict[str, str]]:
    """File name → item_id → signature."""
    path = folder / "signatures.yaml"
    return dict(read_yaml(path) or {}) if path.exists() else {}


def pack_files(folder: Path = FOLDER) -> list[Path]:
    return sorted((folder / "packs").glob("*.yaml"))


def locale_of(path: Path) -> str:
    """`core.en-GB.yaml` → `en-GB`."""
    return path.name.split(".")[1]


@functools.cache
def read_pack(path: Path) -> tuple[Item, ...]:
    """Items of one pack file.

    Raises
    ------
    ContentError
        A field is missing; the message names pack and item.
    """
    data = read_yaml(path)
    signed = signatures(path.parent.parent).get(path.name, {})
    out = []
    for entry in data["items"]:
        full = {**data.get("defaults", {}), **entry}
        missing = [n for n in NEEDED if not full.get(n)]
        if missing:
            raise ContentError(f"content: {path.name}: item {full.get('item_id', '?')} has no {missing[0]}")
        item_id = str(full["item_id"])
        out.append(
            Item(
                item_id=item_id,
                kind=str(full["kind"]),
                tags={str(k): str(v) for k, v in full["tags"].items()},
                author=str(full["author"]),
                reviewer=str(full["reviewer"]),
                evidence_ref=str(full["evidence_ref"]),
                valid_from=instant(full["valid_from"]),
                valid_to=instant(full["valid_to"]),
                signature=signed.get(item_id, ""),
                text=" ".join(str(full["text"]).split()),
                pack_id=str(data["pack_id"]),
                version=str(data["pack_version"]),
                locale=str(data["locale"]),
                text_id=str(full.get("text_id", item_id)),
            )
        )
    return tuple(out)
