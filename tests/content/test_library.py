"""What may be said, to whom, when."""

from __future__ import annotations

from typing import Any

import pytest

from content.library import ContentError, Library
from content.packs import digest
from content.sign import public_key

NOW = 1_779_235_200_000  # 2026-05-20
LIBRARY = Library.build(("en-GB", "de-DE"))
USER_TIERS = ("L1", "L2", "L3", "L4", "W1", "W2", "RESOURCES", "SAFEGUARD", "DEVICE_REMINDER")
THERAPIST_TIERS = ("L3", "L4", "W2", "SAFEGUARD", "CASE_NOTE", "NOT_MONITORED")


def record(bundled: str, /, **changes: Any) -> dict[str, Any]:
    """content.pack record of a bundled item."""
    item = LIBRARY.get(bundled, "en-GB")
    assert item is not None
    return {"value": {**item.value(), "signature": "demo", **changes}}


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_every_tier_has_words_in_every_locale(locale: str) -> None:
    for tier in USER_TIERS:
        for unattended in (False, True):
            assert LIBRARY.item(tier, "USER", locale, NOW, unattended=unattended) is not None
    for tier in THERAPIST_TIERS:
        assert LIBRARY.item(tier, "THERAPIST", locale, NOW) is not None


@pytest.mark.parametrize("tier", ["L1", "W1"])
def test_each_arm_has_its_own_item_and_no_arm_the_plain_one(tier: str) -> None:
    plain, classic, adaptive = (LIBRARY.item(tier, "USER", "en-GB", NOW, arm=a) for a in (None, "CLASSIC", "ADAPTIVE"))
    assert plain
    assert classic
    assert adaptive
    assert [i.tags.get("arm") for i in (plain, classic, adaptive)] == [None, "CLASSIC", "ADAPTIVE"]
    assert plain.tags["questionnaire"] == {"L1": "STRESS", "W1": "PHQ2"}[tier]


def test_outside_hours_the_text_says_that_nobody_is_watching() -> None:
    for tier in ("L2", "L3", "L4", "W2"):
        item = LIBRARY.item(tier, "USER", "en-GB", NOW, unattended=True)
        assert item is not None
        assert "Nobody from your care team is watching" in item.text
        attended = LIBRARY.item(tier, "USER", "en-GB", NOW)
        assert attended is not None
        assert "watching" not in attended.text


def test_the_screener_is_offered_only_where_asked_for() -> None:
    plain, screen = LIBRARY.item("L2", "USER", "en-GB", NOW), LIBRARY.item("L2", "USER", "en-GB", NOW, offers="CSSRS")
    assert plain
    assert screen
    assert (plain.tags.get("offers"), screen.tags.get("offers")) == (None, "CSSRS")


def test_a_disabled_item_is_not_said() -> None:
    assert LIBRARY.item("RESOURCES", "USER", "en-GB", NOW, disabled={"resources_1"}) is None


def test_the_crisis_card_cannot_be_silenced() -> None:
    cards = {"crisis_card_1", "crisis_card_1_unattended"}
    assert LIBRARY.item("L4", "USER", "en-GB", NOW, disabled=cards) is not None
    assert LIBRARY.item("L4", "USER", "en-GB", 9_999_999_999_999) is not None
    assert LIBRARY.item("L2", "USER", "en-GB", 9_999_999_999_999) is None


def test_a_pinned_item_is_said_first() -> None:
    other = LIBRARY.with_records([record("resources_1", item_id="resources_2")])
    assert other.item("RESOURCES", "USER", "en-GB", NOW).item_id == "resources_1"  # type: ignore[union-attr]
    assert other.item("RESOURCES", "USER", "en-GB", NOW, pinned=["resources_2"]).item_id == "resources_2"  # type: ignore[union-attr]


def test_the_version_in_its_period_counts() -> None:
    later = LIBRARY.with_records([record("resources_1", pack_version="1.10", valid_from=NOW, valid_to=NOW + 10)])
    versions = [later.item("RESOURCES", "USER", "en-GB", t).version for t in (NOW - 1, NOW, NOW + 10)]  # type: ignore[union-attr]
    assert versions == ["1.0", "1.10", "1.0"]


def test_a_record_cannot_bring_words_that_nobody_reviewed() -> None:
    unknown = record("resources_1", item_id="aa", text_id="not_in_any_pack")
    item = LIBRARY.get("resources_1", "en-GB")
    assert item is not None
    forged = record("resources_1", item_id="aa", tags={**item.tags, "text_sha256": digest("other words")})
    lexicon = record("resources_1", item_id="aa", kind="LEXICON")
    assert LIBRARY.with_records([unknown, forged, lexicon]).get("aa", "en-GB") is None


def test_a_locale_without_a_crisis_line_fails_the_build() -> None:
    with pytest.raises(ContentError, match="no crisis line for locale 'pt-XX'"):
        Library.build(("en-GB", "pt-XX"))


def test_a_locale_without_a_pack_fails_the_build() -> None:
    with pytest.raises(ContentError, match="'fr-FR' has no signed crisis card"):
        Library.build(("fr-FR",))


def test_only_items_signed_by_a_trusted_key_count() -> None:
    assert Library.build(("en-GB",), trusted_keys=(public_key(),)).item("L2", "USER", "en-GB", NOW) is not None
    with pytest.raises(ContentError, match="no signed crisis card"):
        Library.build(("en-GB",), trusted_keys=("A" * 43 + "=",))


def test_a_person_of_another_locale_gets_the_first_one() -> None:
    item = LIBRARY.item("L2", "USER", "xx-YY", NOW)
    assert item is not None
    assert (item.locale, LIBRARY.crisis_line_id("xx-YY")) == ("en-GB", "en-GB")


@pytest.mark.parametrize(("locale", "number"), [("en-GB", "116 123"), ("de-DE", "0800 111 0 111")])
def test_rendered_words_hold_the_number_to_call(locale: str, number: str) -> None:
    item = LIBRARY.item("L4", "USER", locale, NOW)
    assert item is not None
    words = LIBRARY.render(item, LIBRARY.crisis_line_id(locale))
    assert number in words
    assert "{" not in words
