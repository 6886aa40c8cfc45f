"""Whether every schema can read what its earlier versions wrote, and be read by them (`kairos schemas check`).

A copy of each released version stands in `schemas/history/<topic>/<version>.json`. Within a major version a
field may be added if it is optional; nothing may go, change its type, become required, or lose an enum value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.topics import FOLDER, read_field

HISTORY = Path(__file__).parent / "history"


def check(definitions: Path = FOLDER, history: Path = HISTORY) -> list[str]:
    """Problems, one line each; [] = every schema is compatible with its earlier versions."""
    problems: list[str] = []
    current = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(definitions.glob("*.json"))}
    for folder in sorted(p for p in history.iterdir() if p.is_dir()):
        if folder.name not in current:
            problems.append(f"{folder.name}: a released topic is gone")
    for name, now in current.items():
        stored = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((history / name).glob("*.json"))}
        if now["version"] not in stored:
            problems.append(f"{name}: version {now['version']} has no copy in history")
        for version, then in stored.items():
            if version == now["version"] and _shape(then) != _shape(now):
                problems.append(f"{name}: fields changed without a new version")
            elif version.split(".")[0] == now["version"].split(".")[0]:
                problems += [f"{name}: {p} (since {version})" for p in _breaks(then["fields"], now["fields"], "")]
    return problems


def _shape(data: dict[str, Any]) -> Any:
    return [read_field(f) for f in data["fields"]]


def _breaks(then: list[dict[str, Any]], now: list[dict[str, Any]], where: str) -> Iterator[str]:
    new = {f["name"]: f for f in now}
    for old in then:
        name = where + old["name"]
        if old["name"] not in new:
            yield f"field {name} is gone"
        else:
            yield from _changed(old, new[old["name"]], name)
    known = {f["name"] for f in then}
    for field in now:
        if field["name"] not in known and field.get("required"):
            yield f"new field {where}{field['name']} is required"


def _changed(old: dict[str, Any], new: dict[str, Any], name: str) -> Iterator[str]:
    if old["type"] != new["type"]:
        yield f"field {name} was {old['type']}, is {new['type']}"
        return
    if new.get("required") and not old.get("required"):
        yield f"field {name} became required"
    gone = set(old.get("symbols", ())) - set(new.get("symbols", ()))
    if gone:
        yield f"field {name} lost {', '.join(sorted(gone))}"
    if "items" in old:
        yield from _changed(old["items"], new["items"], f"{name}[]")
    if "fields" in old:
        yield from _breaks(old["fields"], new["fields"], f"{name}.")
