"""Guard rails of the clinician profile (support.md 6, topics.md `clinical.profile`; invariant S20)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DAY_MS = 86_400_000
LONGEST_MS = 90 * DAY_MS
NOTE_MS = 30 * DAY_MS
DAY_FEATURES = frozenset({
    "outings", "home_min", "active_min", "steps", "phone_min", "game_min", "unlocks", "music_min", "browse_sessions",
    "bed_min", "sleep_min", "fluid_ml", "medication_taken",
})  # fmt: skip
BEHAVIOURS = DAY_FEATURES | {"GAMING", "WALK_ALONE"}
REQUIRED: tuple[tuple[str, type], ...] = (
    ("profile_id", str),
    ("version", int),
    ("effective_from", int),
    ("valid_to", int),
    ("author_ref", str),
)
ENUMS = {
    "behaviour.direction": ("RISK_UP", "RISK_DOWN", "NEUTRAL"),
    "hr.medication": ("BETA_BLOCKER", "STIMULANT"),
    "context_note.kind": ("HOLIDAY", "ILLNESS", "BEREAVEMENT", "TRAVEL"),
    "tier_to_therapist": ("L3", "L4"),
}
# path → inclusive limits; a value outside is GUARD_RAIL with the path as field
LIMITS = {
    "version": (0, 2**31 - 1),
    "age_years": (0, 130),
    "hr.floor_bpm": (8, 25),
    "hr.z": (2, 4),
    "withdrawal.ratio": (0.4, 0.85),
    "withdrawal.k": (2, 5),
    "withdrawal.n": (2, 7),
    "withdrawal.day_start_min": (0, 1439),
    "behaviour.weight": (0, 2),
    "contact.hours.weekday": (1, 7),
    "contact.hours.from_min": (0, 1439),
    "contact.hours.to_min": (1, 1440),
    "contact.quiet_from_min": (0, 1439),
    "contact.quiet_to_min": (0, 1439),
}


def violation(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """First rule broken by a `clinical.profile` value: (SCHEMA | GUARD_RAIL, field as dotted path), or None.

    A profile that takes out both required features of rule A2 is no violation: the rule is then UNKNOWN (support.md 6).
    """
    for name, kind in REQUIRED:
        if not isinstance(value.get(name), kind) or isinstance(value.get(name), bool):
            return "SCHEMA", name
    return next(_broken(value), None)


def _broken(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, choices in ENUMS.items():
        if any(v not in choices for v in _all(value, path)):
            yield "SCHEMA", path
    for path, (low, high) in LIMITS.items():
        for v in _all(value, path):
            if isinstance(v, bool) or not isinstance(v, int | float):
                yield "SCHEMA", path
            elif not low <= v <= high:  # also catches NaN
                yield "GUARD_RAIL", path
    if not 0 < value["valid_to"] - value["effective_from"] <= LONGEST_MS:
        yield "GUARD_RAIL", "valid_to"
    yield from _withdrawal(value.get("withdrawal") or {})
    yield from _records(value)


def _withdrawal(withdrawal: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    k, n = withdrawal.get("k"), withdrawal.get("n")
    if n is not None and n < (3 if k is None else k):  # 3 of 5 by default
        yield "GUARD_RAIL", "withdrawal.n"


def _records(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for b in value.get("behaviour") or ():
        if b.get("feature") not in BEHAVIOURS:
            yield "GUARD_RAIL", "behaviour.feature"
        if b.get("direction") is None:
            yield "SCHEMA", "behaviour.direction"
    for h in (value.get("contact") or {}).get("hours") or ():
        for name in ("weekday", "from_min", "to_min"):
            if h.get(name) is None:
                yield "SCHEMA", f"contact.hours.{name}"
        if h["from_min"] >= h["to_min"]:
            yield "GUARD_RAIL", "contact.hours"
    for note in value.get("context_note") or ():
        for name in ("kind", "valid_from", "valid_to"):
            if note.get(name) is None:
                yield "SCHEMA", f"context_note.{name}"
        if not 0 < note["valid_to"] - note["valid_from"] <= NOTE_MS:
            yield "GUARD_RAIL", "context_note.valid_to"
    for term in value.get("terms") or ():
        if not isinstance(term.get("term_hash"), str):
            yield "SCHEMA", "terms.term_hash"
        if term.get("shift") not in (-1, 1):
            yield "GUARD_RAIL", "terms.shift"


def _all(value: Any, path: str) -> Iterator[Any]:
    """Every given (non-null) value under a dotted path, lists flattened."""
    if isinstance(value, list | tuple):
        for v in value:
            yield from _all(v, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, Mapping):
        head, _, rest = path.partition(".")
        yield from _all(value.get(head), rest)
