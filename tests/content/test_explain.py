"""The one sentence: plain, from templates, and never more than the conditions say."""

from __future__ import annotations

from typing import Any

import pytest

from content.explain import sentence

MIN = 60_000
PULSE: dict[str, Any] = {
    "name": "HR_EPISODE",
    "met": True,
    "start_time": 0,
    "end_time": 12 * MIN,
    "amount": 24.3,
    "unit": "bpm",
    "refs": ["0", str(11 * MIN)],
}
AWAY = {"name": "AWAY_FROM_HOME", "met": True, "start_time": 0}


def search(at: int, category: str = "SUICIDE") -> dict[str, Any]:
    return {"name": "SEARCH_SEVERITY_2", "met": True, "start_time": at, "unit": category}


def test_the_sentence_of_the_specification() -> None:
    told = (
        "Pulse 24 bpm above what is expected for you at rest for 12 min, away from home, "
        "3 h before a search flagged 'suicide'. Not a diagnosis."
    )
    assert sentence([PULSE, AWAY, search(180 * MIN)], [], "en-GB") == told


def test_the_same_in_german() -> None:
    told = (
        "Puls 12 min lang 24 Schläge/min über dem, was bei Ihnen in Ruhe erwartet wird, nicht zu Hause, "
        "3 h vor einer Suche, die als 'Suizid' eingestuft wurde. Keine Diagnose."
    )
    assert sentence([PULSE, AWAY, search(180 * MIN)], [], "de-DE") == told


def test_a_search_alone() -> None:
    assert sentence([search(0)], [], "en-GB") == "A search was flagged 'suicide'. Not a diagnosis."


def test_what_was_not_known_is_said() -> None:
    told = sentence([search(0)], ["ACTIVITY", "HEART_RATE"], "en-GB")
    assert told == "A search was flagged 'suicide'; not known: activity, pulse. Not a diagnosis."


def test_an_episode_still_going_on_lasts_to_its_last_minute() -> None:
    going = {k: v for k, v in PULSE.items() if k not in ("end_time", "amount")}
    assert sentence([going], [], "en-GB") == (
        "Pulse above what is expected for you at rest for 12 min. Not a diagnosis."
    )


def test_what_was_not_met_is_not_said() -> None:
    assert sentence([search(0), {**AWAY, "met": False}], [], "en-GB") == sentence([search(0)], [], "en-GB")


def test_withdrawal_against_one_s_own_range() -> None:
    days = [{"name": f"{n}_LOW_3_OF_5", "met": True} for n in ("ACT", "OUT")]
    told = sentence([*days, {"name": "SEARCH_7D", "met": True}], [], "en-GB")
    assert told == (
        "Steps below your own usual range on 3 of 5 days, outings below your own usual range on 3 of 5 days, "
        "a flagged search within 7 days. Not a diagnosis."
    )


@pytest.mark.parametrize(
    "name",
    [
        *(
            "ITEM9_1",
            "CONTENT_FLAG",
            "CHAT_RISK",
            "CHAT_RISK_HIGH",
            "SEARCH_COUNT_24H",
            "GAMING_ABOVE_OWN",
            "PHONE_LOW",
        ),
        *("BROWSING_LOW", "MUSIC_LOW", "BED_MORE", "OUTINGS_FALL", "WATCH_SILENT_24H", "LATE_EVIDENCE", "NEW_RULE"),
    ],
)
@pytest.mark.parametrize("locale", ["en-GB", "de-DE", "xx-YY"])
def test_every_condition_has_words_without_places_to_fill(name: str, locale: str) -> None:
    told = sentence([{"name": name, "met": True, "amount": 3.0, "unit": "bpm"}], ["HEART_RATE", "NEW"], locale)
    assert "{" not in told
    assert "_" not in told


def test_nothing_visible_is_said_as_such() -> None:
    assert sentence([], [], "en-GB") == "No condition that this recipient may see. Not a diagnosis."
