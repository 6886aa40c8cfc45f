"""Consent, where records come in: nothing is kept that was not permitted when it happened (topics.md 1, privacy.md 2, 4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pipelines.ingest.state import IngestState
from pipelines.settings import Settings
from tests.ingest.raws import CANARY, HOUR, MINUTE, T0, VALUES, Record, came, consent, home, record

MODALITY = {
    "raw.location": "LOCATION", "raw.search": "SEARCH", "raw.app_usage": "PHONE_USAGE", "device.heart_rate": "HEART_RATE",
    "device.activity": "ACTIVITY", "device.music": "MUSIC", "device.content_flag": "CONTENT", "chat.inbound": "CHAT",
    "selfreport": "SELFREPORT",
}  # fmt: skip


@pytest.mark.parametrize("topic", sorted(VALUES))
def test_without_consent_nothing_is_kept(topic: str) -> None:
    found = came([record(topic, T0)])
    assert found.dead == [(topic, "NO_CONSENT", None)]
    assert dict(found.tables) == {}


@pytest.mark.parametrize("topic", sorted(MODALITY))
def test_each_topic_needs_its_own_modality(topic: str) -> None:
    assert came([consent(modalities=[MODALITY[topic]]), record(topic, T0)]).dead == []
    others = [m for m in MODALITY.values() if m != MODALITY[topic]]
    assert came([consent(modalities=others), record(topic, T0)]).reasons() == ["NO_CONSENT"]


def test_a_heartbeat_needs_any_one_modality() -> None:
    assert came([consent(modalities=["MUSIC"]), record("device.status", T0)]).dead == []


def test_who_writes_without_permission_is_remembered_without_the_words() -> None:
    found = came([record("chat.inbound", T0)])
    assert found.reasons() == ["NO_CONSENT"]
    (refused,) = found.refused_chat
    assert refused["session_id"] == "c1"
    assert CANARY not in str(refused)


def test_a_consent_in_the_middle_of_a_slice_acts_on_what_arrives_after_it() -> None:
    beats = [record("device.heart_rate", T0 + i * MINUTE, seq=i) for i in range(10)]
    found = came([*beats, consent(T0 + 5 * MINUTE)])
    assert [r["seq"] for r in found.tables["device.heart_rate"]] == [5, 6, 7, 8, 9]
    assert found.reasons() == ["NO_CONSENT"] * 5


def test_what_happened_before_the_consent_stays_out_however_late_it_comes() -> None:
    late = record("device.heart_rate", T0 - 1, ingest_time=T0 + HOUR, seq=1)
    assert came([consent(T0), late]).reasons() == ["NO_CONSENT"]


def test_a_consent_cannot_bring_back_what_was_dropped() -> None:
    dropped = record("device.heart_rate", T0, ingest_time=T0 + 1)
    found = came([dropped, consent(T0, event_time=T0, ingest_time=T0 + 2)])
    assert found.reasons() == ["NO_CONSENT"]


def test_after_a_revocation_nothing_is_kept_and_before_it_what_comes_late_is() -> None:
    gone = consent(T0, version=2, status="REVOKED")
    found = came([
        consent(), gone, record("device.heart_rate", T0 + 1, seq=1),
        record("device.heart_rate", T0 - 1, ingest_time=T0 + HOUR, seq=2),
    ])  # fmt: skip
    assert [r["seq"] for r in found.tables["device.heart_rate"]] == [2]


def test_an_unsigned_consent_opens_nothing() -> None:
    found = came([consent(signature=""), record("device.heart_rate", T0)])
    assert found.dead == [("clinical.consent", "UNSIGNED", "signature"), ("device.heart_rate", "NO_CONSENT", None)]


def test_study_data_opens_a_person_without_any_consent_record_only() -> None:
    study = Settings(study_data=True)
    assert came([record("device.heart_rate", T0)], settings=study).dead == []
    narrow = consent(modalities=["MUSIC"])
    assert came([narrow, record("device.heart_rate", T0)], settings=study).reasons() == ["NO_CONSENT"]


# -- erasure ----------------------------------------------------------------------------------------------------------


def erasure(at: int, scope: str = "ALL") -> Record:
    value = {"scope": scope, "requested_by": "SELF", "request_id": "er1", "signature": "demo"}
    return "erasure.request", {"user": "p1", "event_time": at, "ingest_time": at, "value": value}


@pytest.mark.parametrize("study", [True, False])
def test_after_an_erasure_nothing_is_kept_until_a_new_consent_comes(study: bool) -> None:
    beats = [record("device.heart_rate", T0 + i * HOUR, seq=i) for i in range(4)]
    renewed = consent(T0 + 150 * MINUTE, consent_id="c9")
    found = came([consent(), *beats, erasure(T0 + 30 * MINUTE), renewed], settings=Settings(study_data=study))
    assert [r["seq"] for r in found.tables["device.heart_rate"]] == [0, 3]
    assert found.reasons() == ["NO_CONSENT"] * 2


def test_nothing_of_the_person_stays_in_the_state_after_an_erasure() -> None:
    found = came([consent(), home(T0), erasure(T0 + HOUR)])
    held = IngestState.load(found.state, Settings())
    assert held.homes.homes == []
    assert held.homes.nights == {}
    assert not held.consents.has_any()
    assert held.erased


# -- as a property ----------------------------------------------------------------------------------------------------

spans = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["PERMIT", "DENY", "REVOKED"]), st.integers(0, 2)), max_size=5
)
events = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=25)


@given(spans, events, st.lists(st.integers(0, 260), max_size=4))
@limits(max_examples=60, deadline=None)
def test_slices_do_not_matter_and_every_record_is_counted(
    consents: list[tuple[int, str, int]], beats: list[tuple[int, int]], cuts: list[int]
) -> None:
    records = [
        consent(
            T0 + at * MINUTE, consent_id=f"c{which}", version=n + 1,
            status="REVOKED" if kind == "REVOKED" else "ACTIVE", effect="DENY" if kind == "DENY" else "PERMIT",
        )
        for n, (at, kind, which) in enumerate(sorted(consents))
    ]  # fmt: skip
    for n, (at, late) in enumerate(beats):
        for topic in ("device.heart_rate", "raw.search"):
            records.append(record(topic, T0 + at * MINUTE, ingest_time=T0 + (at + late) * MINUTE, seq=n))
    whole, parts = came(records), came(records, cuts=[T0 + c * MINUTE for c in cuts])
    assert whole.tables == parts.tables
    assert sorted(whole.dead, key=str) == sorted(parts.dead, key=str)
    assert len(records) == sum(whole.processed.values()) + len(whole.dead) + sum(whole.duplicates.values())
    assert whole.state == parts.state
