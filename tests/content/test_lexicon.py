"""What a search is flagged as, and what it is not. The phrases are made up; nobody typed them."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content.lexicon import CATEGORIES, Lexicon, Match, Term, term_hash, terms_from_records

LEXICON = Lexicon.load()


def severity(text: str, lang: str | None = "en") -> int | None:
    match = LEXICON.classify(text, lang)
    return None if match is None else match.severity


@pytest.mark.parametrize(
    ("text", "category", "level"),
    [
        ("painless way to die", "SUICIDE_METHOD", 3),
        ("how can i kill myself", "SUICIDE_METHOD", 3),
        ("writing a suicide note", "SUICIDE_METHOD", 3),
        ("how many pills to overdose", "SUICIDE_METHOD", 3),
        ("took all my pills", "OVERDOSE", 3),
        ("overdose", "OVERDOSE", 3),
        ("i want to kill myself", "SUICIDE", 2),
        ("i don't want to be here anymore", "SUICIDE", 2),
        ("i dont want to live", "SUICIDE", 2),
        ("everyone would be better off without me", "SUICIDE", 2),
        ("feeling sucidal", "SUICIDE", 2),
        ("suicide", "SUICIDE", 2),
        ("urge to hurt myself", "SELF_HARM", 2),
        ("hiding self harm scars", "SELF_HARM", 2),
        ("what happens when you die", "DEATH", 1),
        ("thinking about death", "DEATH", 1),
        ("fear of dying", "DEATH", 1),
        ("i can't take this anymore", "DEATH", 1),
        ("crisis hotline number", "HELP_SEEKING", 0),
        ("find a therapist", "HELP_SEEKING", 0),
        ("someone to talk to", "HELP_SEEKING", 0),
        ("how to help a suicidal friend", "HELP_SEEKING", 0),
        ("suicide prevention hotline", "HELP_SEEKING", 0),
    ],
)
def test_plain_english_phrases_have_their_severity(text: str, category: str, level: int) -> None:
    match = LEXICON.classify(text, "en-GB")
    assert match is not None
    assert (match.category, match.severity, match.lexicon_version) == (category, level, "en-1")


@pytest.mark.parametrize(
    ("text", "category", "level"),
    [
        ("wie kann ich mich umbringen", "SUICIDE_METHOD", 3),
        ("schmerzlos sterben", "SUICIDE_METHOD", 3),
        ("Überdosis Schlaftabletten", "OVERDOSE", 3),
        ("ich will nicht mehr leben", "SUICIDE", 2),
        ("Ich möchte einfach sterben", "SUICIDE", 2),
        ("ich moechte einfach sterben", "SUICIDE", 2),
        ("Suizidgedanken", "SUICIDE", 2),
        ("mich selbst verletzen", "SELF_HARM", 2),
        ("Leben nach dem Tod", "DEATH", 1),
        ("Telefonseelsorge Nummer", "HELP_SEEKING", 0),
        ("Psychotherapeut in der Nähe", "HELP_SEEKING", 0),
    ],
)
def test_plain_german_phrases_have_their_severity(text: str, category: str, level: int) -> None:
    match = LEXICON.classify(text, "de-DE")
    assert match is not None
    assert (match.category, match.severity, match.lexicon_version) == (category, level, "de-1")


@pytest.mark.parametrize(
    "text",
    [
        *("suicide squad cast", "killer sudoku online", "deadline for taxes", "dead pixels", "death star lego"),
        *("die hard streaming", "my phone is dying", "dying my hair red", "ways to kill weeds", "vitamin d overdose"),
        *("how to die hair", "a million ways to die in the west", "plants dying", "bungee jumping off a bridge"),
        *("minecraft death message", "laughing to death", "no time to die", "black death", "political suicide"),
        *("jump on the train", "train times to the coast", "how to fix a bike tyre", "cutting my own hair"),
        *("need dead sea salt", "point of sale", "thinking of ending my subscription", "100 kms to miles"),
    ],
)
def test_false_friends_are_nothing_to_worry_about(text: str) -> None:
    assert severity(text) in (None, 1)
    assert text == "100 kms to miles" or severity(text) is None


@pytest.mark.parametrize(
    "text", ["Bienensterben", "die bahn fahrplan", "stirb langsam", "Zucker Überdosis", "Todo Liste"]
)
def test_german_false_friends_are_nothing(text: str) -> None:
    assert severity(text, "de") is None
    assert severity(text, None) is None


def test_a_film_beside_a_bare_topic_word_lowers_it() -> None:
    assert LEXICON.classify("suicide documentary", "en") == Match("SUICIDE", 1, 0.3, "en-1")
    assert severity("death movie") is None


def test_a_film_beside_a_sentence_about_oneself_lowers_nothing() -> None:
    assert severity("i want to kill myself lyrics") == 2


def test_help_seeking_beats_nothing() -> None:
    assert severity("suicide hotline") == 0
    assert severity("i want to die suicide hotline") == 2
    assert severity("overdose hotline") == 3


def test_severity_three_stays_whatever_stands_beside_it() -> None:
    assert severity("find a therapist painless way to die movie lyrics") == 3


def test_a_guard_covers_only_what_lies_inside_it() -> None:
    assert severity("suicide squad") is None
    assert severity("suicide squad and i want to kill myself") == 2


def test_spelling_in_other_signs_is_read() -> None:
    assert severity("SUICIDE") == 2
    assert severity("ｓｕｉｃｉｄｅ") == 2
    assert severity("sui\u200bcide") == 2
    assert severity("I  don’t   want to live") == 2
    assert severity("suïcide") == 2


def test_words_end_where_words_end() -> None:
    assert severity("deathly hallows") is None
    assert severity("undying") is None


def test_people_search_in_more_than_one_language() -> None:
    assert severity("i want to kill myself", "de") == 2
    assert severity("ich will nicht mehr leben", "en") == 2
    assert severity("ich will nicht mehr leben", None) == 2
    assert severity("i want to kill myself", "xx") == 2


def test_the_test_terms_are_always_on() -> None:
    for lexicon in (LEXICON, Lexicon.load("en"), Lexicon.load("xx")):
        found = [lexicon.classify(f"zz-{t}", "en") for t in ("help", "death", "self", "method")]
        assert [m.severity for m in found if m] == [0, 1, 2, 3]


def test_terms_of_a_log_count_beside_the_lexicon() -> None:
    terms = (Term("blue lantern", "SUICIDE", 2),)
    assert LEXICON.classify("my Blue-Lantern", "en", terms) == Match("SUICIDE", 2, 0.9, "pack")
    assert LEXICON.classify("my blue lantern", "en") is None


def test_terms_come_from_lexicon_records_in_their_period() -> None:
    value = {"kind": "LEXICON", "valid_from": 10, "valid_to": 20}
    good = {**value, "tags": {"term": "blue lantern", "category": "DEATH", "severity": "1"}}
    records = [
        {"value": good},
        {"value": {**good, "tags": {"term": "x", "category": "NEWS", "severity": "1"}}},
        {"value": {**good, "tags": {"term": "x", "category": "DEATH", "severity": "4"}}},
        {"value": {**good, "kind": "REPLY"}},
    ]
    assert terms_from_records(records) == terms_from_records(records, 10) == (Term("blue lantern", "DEATH", 1),)
    assert terms_from_records(records, 20) == ()


def test_a_personal_term_shifts_what_it_overlaps() -> None:
    up, down = {term_hash("kill myself"): 1}, {term_hash("suicide"): -1}
    assert LEXICON.classify("i want to kill myself", "en", shifts=up).severity == 3  # type: ignore[union-attr]
    assert LEXICON.classify("suicide", "en", shifts=down).severity == 1  # type: ignore[union-attr]
    assert LEXICON.classify("suicide squad", "en", shifts=down) is None


def test_a_personal_term_of_one_s_own_is_ambiguous() -> None:
    assert LEXICON.classify("the old bridge", "en", shifts={term_hash("Old Bridge"): 1}) == Match(
        "DEATH", 1, 0.6, "personal"
    )
    assert LEXICON.classify("the old bridge", "en", shifts={term_hash("Old Bridge"): -1}) is None


def test_severity_three_cannot_be_lowered() -> None:
    text = "painless way to die"
    shifts = {term_hash(w): -1 for w in ("painless", "way", "die", "painless way to die", "way to die")}
    assert LEXICON.classify(text, "en", shifts=shifts) == LEXICON.classify(text, "en")
    assert LEXICON.classify("zz-method", "en", shifts={term_hash("zz-method"): -1}).severity == 3  # type: ignore[union-attr]


def test_nothing_repeats_what_was_typed() -> None:
    canary = "canaryword i want to kill myself"
    term = Term("canaryword", "SUICIDE", 2)
    for thing in (LEXICON, LEXICON.classify(canary, "en"), term, LEXICON.classify(canary, "en", (term,))):
        assert "canaryword" not in repr(thing)


def test_a_very_long_text_takes_little_time_and_memory() -> None:
    tracemalloc.start()
    assert severity("want to " * 40_000 + "die") == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000


@given(st.text(max_size=200))
def test_any_text_gives_a_match_or_none(text: str) -> None:
    match = LEXICON.classify(text)
    assert match is None or (match.category in CATEGORIES and 0 <= match.severity <= 3)


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_plan_is_found_within_any_other_text(before: str, after: str) -> None:
    assert severity(f"{before} zz-method {after}", None) == 3
