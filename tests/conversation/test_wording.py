"""Templates of training phrases, and texts as they were meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content.lexicon import Lexicon
from pipelines.conversation.safety import judge
from pipelines.conversation.wording import mended, sentences, spellings


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("i want to k i l l my s.e.l.f", "i want to kill my self"),
        ("su1c1dal", "suicidal"),
        ("i wnat 2 die 2nite", "i want to die tonight"),
        ("i hate it sooooo much, killlll", "i hate it so much, kill"),
        ("Good evening, my vitamin b12 at 10pm", "good evening, my vitamin b12 at 10pm"),
    ],
)
def test_a_disguised_word_is_read_as_it_was_meant_and_a_plain_one_stays(typed: str, meant: str) -> None:
    assert mended(typed, "en") == meant


def test_what_is_typed_in_german_is_mended_in_german() -> None:
    assert mended("wil nimma lebn", "de") == "will nicht mehr leben"
    assert "nicht" not in mended("net profit", "en")


@given(st.text(max_size=200))
def test_any_text_can_be_mended_and_stays_about_as_long(text: str) -> None:
    assert len(mended(text, None)) <= 12 * len(text) + 20


@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True), max_size=4), st.integers(1, 30)
)
def test_sentences_of_a_template_are_different_ones_and_no_more_than_asked_for(
    groups: list[list[str]], most: int
) -> None:
    template = " ".join(f"({'|'.join(f'{i}{w}' for w in g)})" for i, g in enumerate(groups)) or "plain"
    out = sentences(template, most)
    total = 1
    for g in groups:
        total *= len(g)
    assert len(set(out)) == len(out) == min(most, total)


def test_spellings_name_no_word_twice_in_one_language() -> None:
    for table in spellings().values():
        assert all(typed == typed.lower() for typed in table)


@pytest.mark.parametrize("text", ["i want to k i l l myself", "gonna k1ll mys3lf", "i wana dieeee 2nite"])
def test_disguised_risk_is_found_where_the_classifier_fails(text: str) -> None:
    def fails(_: str) -> dict[str, float]:
        raise RuntimeError("no model")

    assert judge(text, "en", Lexicon.load(), fails) is not None
