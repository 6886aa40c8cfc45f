"""The plain sentence of a notification, from signed templates and its conditions. Never the person's words."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from content.packs import FOLDER, ContentError, read_pack

MINUTE_MS = 60_000
NAMES = {  # condition name (prefix) → template; searches, pulse and rule words have their own functions
    "AWAY_FROM_HOME": "AWAY_FROM_HOME",
    "CONTENT_FLAG": "CONTENT_FLAG",
    "CHAT_RISK": "CHAT_RISK",
    "SAFEGUARD": "SAFEGUARD",
    "GAMING": "GAMING",
    "PHONE_LOW": "PHONE_LOW",
    "BROWSING_LOW": "BROWSING_LOW",
    "MUSIC_LOW": "MUSIC_LOW",
    "BED_MORE": "BED_MORE",
    "OUTINGS_FALL": "OUTINGS_FALL",
    "RESTING_HR_RAISED": "RESTING_HR_RAISED",
    "LATE_EVIDENCE": "LATE_EVIDENCE",
}
LOW_DAYS = re.compile(r"(ACT_LOW|OUT_LOW)_(\d+)_OF_(\d+)")
SILENT = re.compile(r"WATCH_SILENT_(\d+)H")
Condition = Mapping[str, Any]


@functools.cache
def templates(locale: str) -> Mapping[str, str]:
    """Words of a locale: `HR_EPISODE`, `category.SUICIDE`, `modality.HEART_RATE` … English where it has no pack."""
    path = FOLDER / "packs" / f"explain.{locale}.yaml"
    try:
        items = read_pack(path)
    except ContentError:
        items = read_pack(FOLDER / "packs" / "explain.en-GB.yaml")
    out = {}
    for item in items:
        for kind, prefix in (("explains", ""), ("category", "category."), ("modality", "modality.")):
            if kind in item.tags:
                out[prefix + item.tags[kind]] = item.text
    return out


def sentence(conditions: Sequence[Condition], missing: Sequence[str], locale: str) -> str:
    """One plain sentence: what was met, what was not known, and that it is no diagnosis.

    Parameters
    ----------
    conditions
        As in `notifications.conditions`; only those with `met`.
    missing
        Modalities that were not known.

    Examples
    --------
    >>> sentence([{"name": "SEARCH_SEVERITY_2", "met": True, "unit": "SUICIDE"}], [], "en-GB")
    "A search was flagged 'suicide'. Not a diagnosis."
    >>> hr = {"name": "HR_EPISODE", "met": True, "amount": 24.2, "start_time": 0, "end_time": 720_000}
    >>> search = {"name": "SEARCH_SEVERITY_2", "met": True, "unit": "SUICIDE", "start_time": 10_800_000}
    >>> told = sentence([hr, {"name": "AWAY_FROM_HOME", "met": True}, search], [], "en-GB").split(", ")
    >>> told[0]
    'Pulse 24 bpm above what is expected for you at rest for 12 min'
    >>> told[1:]
    ['away from home', "3 h before a search flagged 'suicide'. Not a diagnosis."]
    """
    words = templates(locale)
    met = [c for c in conditions if c["met"]]
    pulse = next((c for c in met if c["name"] == "HR_EPISODE"), None)
    parts = list(dict.fromkeys(_part(c, pulse, words) for c in met)) or [words["NOTHING"]]
    told = ", ".join(parts)
    if missing and not any(SILENT.fullmatch(str(c["name"])) for c in met):  # which says so already
        known = ", ".join(words.get(f"modality.{m}", words["modality.DEVICE"]) for m in missing)
        told += "; " + words["NOT_KNOWN"].replace("{list}", known)
    return f"{told[0].upper()}{told[1:]}. {words['END']}"


def _part(c: Condition, pulse: Condition | None, words: Mapping[str, str]) -> str:
    name = str(c["name"])
    if name == "HR_EPISODE":
        return _pulse(c, words)
    if name.startswith("SEARCH_SEVERITY_"):
        return _search(c, pulse, words)
    if name == "SEARCH_7D":
        named = words["SEARCH_7D"].replace("{category}", _category(c, words))
        return named if c.get("unit") else words["SEARCH_7D_PLAIN"]
    if name == "SEARCH_COUNT_24H":
        return words["SEARCH_COUNT_24H"].replace("{amount}", _number(c.get("amount")))
    if name.startswith("ITEM9_"):
        return words["ITEM9"].replace("{amount}", name.removeprefix("ITEM9_"))
    if found := LOW_DAYS.fullmatch(name):
        return words[found[1]].replace("{k}", found[2]).replace("{n}", found[3])
    if found := SILENT.fullmatch(name):
        return words["WATCH_SILENT"].replace("{hours}", found[1])
    return words[next((t for prefix, t in NAMES.items() if name.startswith(prefix)), "OTHER")]


def _pulse(c: Condition, words: Mapping[str, str]) -> str:
    minutes = _number(_episode_min(c))
    if c.get("amount") is None:
        return words["HR_EPISODE_PLAIN"].replace("{minutes}", minutes)
    return words["HR_EPISODE"].replace("{minutes}", minutes).replace("{amount}", _number(c["amount"]))


def _episode_min(c: Condition) -> float:
    """Length so far: to its end, else to its last minute (second ref), else the minutes observed."""
    start, end = c.get("start_time"), c.get("end_time")
    if start is not None and end is not None:
        return float((end - start) / MINUTE_MS)
    refs = c.get("refs") or []
    if start is not None and len(refs) > 1 and str(refs[1]).isdigit():
        return float((int(refs[1]) - start) / MINUTE_MS + 1)
    return float(c.get("minutes_observed") or 0)


def _search(c: Condition, pulse: Condition | None, words: Mapping[str, str]) -> str:
    category = _category(c, words)
    if pulse is not None and pulse.get("start_time") is not None and c.get("start_time") is not None:
        span = (c["start_time"] - pulse["start_time"]) // MINUTE_MS
        if span >= 0:
            return words["SEARCH_AFTER"].replace("{span}", _span(span)).replace("{category}", category)
    return words["SEARCH"].replace("{category}", category)


def _category(c: Condition, words: Mapping[str, str]) -> str:
    return words.get(f"category.{c.get('unit')}", words["category.UNKNOWN"])


def _span(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return " ".join(p for p in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if p)


def _number(amount: float | None) -> str:
    return "0" if amount is None else str(round(amount))
