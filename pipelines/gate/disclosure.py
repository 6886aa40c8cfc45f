"""What a recipient may see of the conditions of a message: those of the modalities that their consent lists (support.md 10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Condition = dict[str, Any]

MODALITIES = {
    "HR_EPISODE": "HEART_RATE",
    "RESTING_HR": "HEART_RATE",
    "AWAY_FROM_HOME": "LOCATION",
    "SEARCH": "SEARCH",
    "ITEM9": "SELFREPORT",
    "CONTENT": "CONTENT",
    "CHAT": "CHAT",
    "ACT_LOW": "ACTIVITY",
    "OUT_LOW": "LOCATION",
    "GAMING": "PHONE_USAGE",
    "PHONE_LOW": "PHONE_USAGE",
    "BROWSING_LOW": "PHONE_USAGE",
    "MUSIC_LOW": "MUSIC",
    "BED_MORE": "WELLNESS",
    "OUTINGS_FALL": "LOCATION",
    "WATCH_SILENT": "HEART_RATE",
}


def modality_of(name: str) -> str | None:
    """Consent modality a condition rests on."""
    return next((m for prefix, m in MODALITIES.items() if name.startswith(prefix)), None)


def visible(conditions: Iterable[Condition], modalities: frozenset[str]) -> list[Condition]:
    """Only what this recipient's consent lists (support.md 10)."""
    return [c for c in conditions if (m := modality_of(c["name"])) is None or m in modalities]
