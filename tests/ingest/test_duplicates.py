"""Repetition and restarts do not matter, and everything is counted (contracts.md 1, 3; S7, S28)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pipelines.ingest import Pseudonyms
from pipelines.ingest.machine import MADE_FROM
from pipelines.ingest.seen import Seen
from pipelines.ingest.state import IngestState
from pipelines.learning.packing import StateError
from pipelines.settings import Settings
from schemas import ids
from tests.ingest.raws import DAY, HOUR, MINUTE, T0, VALUES, Record, came, consent, record

MANY = ["device.heart_rate", "device.activity", "raw.location", "raw.app_usage", "device.music", "device.status"]
FEW = ["raw.search", "device.search_flag", "device.content_flag", "chat.inbound", "selfreport"]


def again(r: Record, arrives: int) -> Record:
    return r[0], r[1] | {"ingest_time": arrives}


@pytest.mark.parametrize("topic", MANY + FEW)
@pytest.mark.parametrize("name", [{"event_id": "e1"}, {"seq": 7, "source_id": "watch"}])
def test_a_copy_that_comes_hours_later_is_a_duplicate(topic: str, name: dict[str, Any]) -> None:
    first = record(topic, T0, **name)
    found = came([consent(), first, again(first, T0 + 20 * HOUR)], cuts=[T0 + HOUR, T0 + 10 * HOUR])
    assert (found.processed[topic], found.duplicates[topic]) == (1, 1)


@pytest.mark.parametrize("topic", FEW)
def test_a_copy_of_risk_bearing_evidence_is_known_for_a_week(topic: str) -> None:
    first = record(topic, T0, {"item9": 2} if topic == "selfreport" else None, seq=7)
    found = came([consent(), first, again(first, T0 + 8 * DAY)], cuts=[T0 + d * DAY for d in range(8)])
    assert (found.processed[topic], found.duplicates[topic]) == (1, 1)


@pytest.mark.parametrize("topic", ["raw.app_usage", "device.music", "device.wellness", "device.phone_usage"])
def test_a_copy_that_comes_while_the_day_is_still_summed_is_a_duplicate(topic: str) -> None:
    """Days stay open until the start of the day after the next (topics.md 2.6): up to 50 h."""
    value = {"kind": "FLUID", "amount": 200.0, "unit": "ML"} if topic == "device.wellness" else None
    first = record(topic, T0 + 4 * HOUR, value, seq=7)
    for arrivals in ([T0 + 5 * HOUR, T0 + 51 * HOUR], [T0 + 40 * HOUR, T0 + 51 * HOUR]):
        copies = [again(first, a) for a in arrivals]
        found = came([consent(), *copies], cuts=[T0 + h * HOUR for h in range(6, 50, 3)])
        assert (found.processed[topic], found.duplicates[topic]) == (1, 1)


def test_records_without_a_name_are_the_same_only_if_all_of_them_is() -> None:
    twice = [record("device.heart_rate", T0), record("device.heart_rate", T0, {"bpm": 71.0})]
    assert came([consent(), *twice]).processed["device.heart_rate"] == 2


def test_equal_records_without_a_name_in_one_file_are_two_records() -> None:
    assert came([consent(), record("device.music", T0), record("device.music", T0)]).processed["device.music"] == 2
    assert came([consent(), record("selfreport", T0), record("selfreport", T0)]).processed["selfreport"] == 2


@pytest.mark.parametrize("raw", sorted(MADE_FROM))
def test_a_raw_record_and_the_device_record_made_from_it_are_one(raw: str) -> None:
    source = record(raw, T0, event_id="raw-1")
    made = record(MADE_FROM[raw], T0, event_id=ids.output_id(MADE_FROM[raw], "p1", "raw-1"))
    for records in ([source, again(made, T0 + HOUR)], [made, again(source, T0 + HOUR)]):
        found = came([consent(), *records], cuts=[T0 + 30 * MINUTE])
        assert len(found.tables[MADE_FROM[raw]]) == 1
        assert sum(found.duplicates.values()) == 1
    alone = came([consent(), source]).tables[MADE_FROM[raw]]
    assert alone[0]["event_id"] == made[1]["event_id"]


def test_control_records_that_come_twice_act_once() -> None:
    named = [(t, r | {"event_id": "c"}) for t, r in [consent(), again(consent(), T0 - 99 * DAY)]]
    found = came(named)
    assert (found.processed["clinical.consent"], found.duplicates["clinical.consent"]) == (1, 1)


topics = st.sampled_from(MANY + FEW)
logs = st.lists(
    st.tuples(topics, st.integers(0, 600), st.lists(st.integers(0, 1_400), min_size=1, max_size=3)), max_size=14
)


@given(logs, st.lists(st.integers(0, 2_000), max_size=4), st.randoms(use_true_random=False))
@limits(max_examples=60, deadline=None)
def test_copies_slices_and_restarts_do_not_matter_and_the_counts_add_up(
    log: list[tuple[str, int, list[int]]], cuts: list[int], shuffle: random.Random
) -> None:
    """Each record once to three times, each copy at its own minute."""
    once, copies = [consent()], [consent()]
    for n, (topic, at, lateness) in enumerate(log):
        first = record(topic, T0 + at * MINUTE, seq=n, source_id="s")
        once.append(again(first, T0 + (at + min(lateness)) * MINUTE))
        copies += [again(first, T0 + (at + late) * MINUTE) for late in lateness]
    shuffle.shuffle(copies)
    clean = came(once)
    found = came(copies, cuts=[T0 + c * MINUTE for c in cuts])
    assert {t: sorted(map(str, rs)) for t, rs in found.tables.items()} == {
        t: sorted(map(str, rs)) for t, rs in clean.tables.items()
    }
    for topic in VALUES:
        n = sum(t == topic for t, _ in copies)
        dead = sum(d[0] == topic for d in found.dead)
        assert n == found.processed[topic] + dead + found.duplicates[topic]
    straight = came(sorted(copies, key=lambda r: r[1]["ingest_time"]))
    assert straight.state == found.state


# -- what is remembered -----------------------------------------------------------------------------------------------


def test_what_is_remembered_comes_back_and_stays_bounded() -> None:
    seen = Seen()
    keys = np.arange(1, 5_001, dtype=np.uint64) * np.uint64(7919)
    assert not seen.repeats_of_few(keys, np.full(5_000, T0)).any()
    assert seen.repeats_of_few(keys[:10], np.full(10, T0)).all()
    seen.forget(T0)
    names, arrays = seen.state()
    again_ = Seen.from_state(names, arrays)
    assert len(arrays["long"]) == 4_000
    assert again_.state()[0] == names
    assert again_.repeats_of_few(arrays["long"], np.full(4_000, T0 + DAY)).all()
    assert not again_.repeats_of_few(arrays["long"][:1], np.array([T0 + 20 * DAY])).any()


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\0" * 100])
def test_a_state_that_is_none_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(StateError):
        IngestState.load(data, Settings())


def test_a_damaged_state_is_refused() -> None:
    state = bytearray(came([consent(), record("device.heart_rate", T0)]).state)
    state[len(state) // 2] ^= 0xFF
    with pytest.raises(StateError):
        IngestState.load(bytes(state), Settings())


# -- pseudonyms -------------------------------------------------------------------------------------------------------


def test_a_pseudonym_is_27_signs_differs_by_key_and_is_kept() -> None:
    a, b = Pseudonyms("one"), Pseudonyms("two")
    assert a.of("p01") != b.of("p01")
    assert len(a.of("p01")) == 27
    assert a.of(a.of("p01")) == a.of("p01")
    assert Pseudonyms("").of("p01") == "p01"


def test_two_people_have_different_tokens_for_the_same_place() -> None:
    names = Pseudonyms("one")
    assert names.token("u1", "HOME") != names.token("u2", "HOME")
