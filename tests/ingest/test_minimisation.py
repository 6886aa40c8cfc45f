"""Search words and app names end at ingest: a canary in them is in nothing that leaves it (privacy.md 1, S10)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from content.lexicon import Term
from pipelines.ingest.apps import category
from tests.ingest.raws import CANARY, DAY, HOUR, MINUTE, T0, Came, came, consent, record


def search(t: int, query: str, **more: object) -> tuple[str, dict[str, object]]:
    return record("raw.search", t, {"query": query, "lang": "en"}, seq=t, **more)


def flags(*queries: str, terms: list[tuple[int, Term]] | None = None) -> list[tuple[str, int]]:
    records = [consent(), *[search(T0 + i * MINUTE, q) for i, q in enumerate(queries)]]
    found = came(records) if terms is None else came(records, terms=terms)
    return [(v["category"], v["severity"]) for v in found.values("device.search_flag")]


def everything_that_left(found: Came) -> str:
    """All that ingest gave, as text and as bytes."""
    out = []
    for result in found.everything:
        out.append(repr({**result.__dict__, "tables": None}))
        out += [str(table.to_pylist()) for table in result.tables.values()]
    out += [state.decode("latin-1") for state in found.states]
    return "\n".join(out)


# -- search -----------------------------------------------------------------------------------------------------------


def test_a_search_becomes_a_flag_and_one_that_matches_nothing_becomes_nothing() -> None:
    assert flags("zzdeath", "train times to the coast", "how zzmethod works", "zzself") == [
        ("DEATH", 1), ("SUICIDE_METHOD", 3), ("SELF_HARM", 2),
    ]  # fmt: skip


def test_a_search_without_a_match_is_processed_all_the_same() -> None:
    found = came([consent(), search(T0, "train times")])
    assert found.processed["raw.search"] == 1
    assert "device.search_flag" not in found.tables


def test_a_term_of_the_log_counts_for_what_arrives_after_it() -> None:
    later = [(T0 + MINUTE, Term("zznew", "SUICIDE", 2))]
    assert flags("zznew", "zznew", "zznew", terms=later) == [("SUICIDE", 2)] * 2
    assert flags("zznew", "zznew", terms=[(T0 + MINUTE + 2_001, Term("zznew", "SUICIDE", 2))]) == []


@pytest.mark.parametrize(("shift", "severity"), [(1, 3), (-1, 1)])
def test_the_clinicians_terms_shift_the_severity_while_the_profile_holds(shift: int, severity: int) -> None:
    profile = {
        "profile_id": "pr1", "version": 1, "effective_from": T0, "valid_to": T0 + 10 * DAY, "author_ref": "dr_a", "signature": "demo",
        "terms": [{"term_hash": hashlib.sha256(b"zzself").hexdigest(), "shift": shift}],
    }  # fmt: skip
    signed = ("clinical.profile", {"user": "p1", "event_time": T0 - 1, "ingest_time": T0 - 1, "value": profile})
    whole = came([
        consent(), signed, search(T0 - 1, "zzself", ingest_time=T0 + 1), search(T0 + HOUR, "zzself"),
        search(T0 + 10 * DAY, "zzself"),
    ])  # fmt: skip
    assert [v["severity"] for v in whole.values("device.search_flag")] == [2, severity, 2]


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(words, st.sampled_from(["zzself", "zzmethod", ""])), min_size=1, max_size=6))
@limits(max_examples=30, deadline=None)
def test_no_word_of_a_search_is_anywhere_in_what_leaves_ingest(typed: list[tuple[str, str]]) -> None:
    queries = [f"{a} {term} {CANARY}{a}" for a, term in typed]
    records = [consent(), *[search(T0 + i, q) for i, q in enumerate(queries)]]
    records += [search(T0 + DAY + i, q, ingest_time=T0) for i, q in enumerate(queries)]  # future
    left = everything_that_left(came(records)) + everything_that_left(came(records[1:]))  # refused
    assert CANARY not in left


# -- apps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "store", "wanted"),
    [
        ("org.mozilla.firefox", "COMMUNICATION", "BROWSER"), ("com.whatsapp", None, "MESSAGING"),
        ("org.example.chess", "GAME_BOARD", "GAME"), ("org.example.x", "health_and_fitness", "HEALTH"),
        ("org.example.x", "TOOLS", "OTHER"), ("org.example.x", None, "OTHER"), ("", "", "OTHER"),
    ],
)  # fmt: skip
def test_an_app_becomes_a_category(package: str, store: str | None, wanted: str) -> None:
    assert category(package, store) == wanted


def test_usage_keeps_what_was_in_front_and_for_how_long_and_no_name() -> None:
    uses = [
        record("raw.app_usage", T0 + i, {"event": e, "package": p, "category": "GAME_BOARD", "duration_s": None}, seq=i)
        for i, (e, p) in enumerate([("FOREGROUND", f"org.{CANARY}"), ("BACKGROUND", f"org.{CANARY}"), ("UNLOCK", "")])
    ]
    for _, r in uses:
        r["value"] = {k: v for k, v in r["value"].items() if v is not None}
    uses[1][1]["value"]["duration_s"] = 60.0
    found = came([consent(), *uses])
    assert found.values("device.phone_usage") == [
        {"category": "GAME", "event": "FG"}, {"category": "GAME", "event": "BG", "duration_s": 60.0},
        {"category": "OTHER", "event": "UNLOCK"},
    ]  # fmt: skip
    assert CANARY not in everything_that_left(found)


def test_no_raw_topic_leaves_ingest() -> None:
    found = came([consent(), *[record(t, T0) for t in ("raw.location", "raw.search", "raw.app_usage")]])
    assert sorted(found.tables) == ["clinical.consent", "device.location", "device.phone_usage", "device.search_flag"]
