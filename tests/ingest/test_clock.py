"""Wrong and late clocks: what is dropped, and what may never be lost to a clock (topics.md 2)."""

from __future__ import annotations

import pytest

from tests.ingest.raws import DAY, HOUR, MINUTE, T0, Came, Record, came, consent, record

ORDINARY = ["device.heart_rate", "device.activity", "raw.location", "raw.app_usage", "device.music", "device.status"]
RISKY = ["raw.search", "device.search_flag", "device.content_flag", "chat.inbound"]


def of(*records: Record) -> Came:
    return came([consent(), *records])


@pytest.mark.parametrize("topic", ORDINARY)
def test_five_minutes_ahead_of_the_log_is_the_future(topic: str) -> None:
    found = of(
        record(topic, T0 + 5 * MINUTE, ingest_time=T0, seq=1), record(topic, T0 + 5 * MINUTE + 1, ingest_time=T0, seq=2)
    )
    assert found.dead == [(topic, "FUTURE", None)]
    assert found.processed[topic] == 1


@pytest.mark.parametrize("topic", ORDINARY)
def test_older_than_seven_days_is_too_old(topic: str) -> None:
    found = of(
        record(topic, T0 - 7 * DAY, ingest_time=T0, seq=1), record(topic, T0 - 7 * DAY - 1, ingest_time=T0, seq=2)
    )
    assert found.dead == [(topic, "TOO_OLD", None)]
    assert found.processed[topic] == 1


@pytest.mark.parametrize("topic", RISKY)
def test_risk_bearing_records_are_never_lost_to_a_wrong_clock(topic: str) -> None:
    found = of(record(topic, T0 + DAY, ingest_time=T0, seq=1), record(topic, T0 - 30 * DAY, ingest_time=T0, seq=2))
    assert found.dead == []
    target = "device.search_flag" if topic == "raw.search" else topic
    assert sorted(r["event_time"] for r in found.tables[target]) == [T0 - 30 * DAY, T0]
    assert len(found.suspect) == 1
    if target == "device.search_flag":
        assert {r["event_time"]: r["value"]["clock_suspect"] for r in found.tables[target]} == {
            T0: True, T0 - 30 * DAY: False,
        }  # fmt: skip


def test_a_report_is_risk_bearing_only_with_item_nine() -> None:
    ahead = [
        record("selfreport", T0 + DAY, v, ingest_time=T0, seq=i) for i, v in enumerate([{"item9": 1}, {"item9": 0}, {}])
    ]
    found = of(*ahead)
    assert found.dead == [("selfreport", "FUTURE", None)] * 2
    assert [r["event_time"] for r in found.tables["selfreport"]] == [T0]


def test_more_than_a_day_late_is_counted_and_passed_on() -> None:
    found = of(
        record("device.heart_rate", T0, ingest_time=T0 + 24 * HOUR, seq=1),
        record("device.heart_rate", T0, ingest_time=T0 + 24 * HOUR + 1, seq=2),
        record("raw.search", T0, ingest_time=T0 + 3 * DAY, seq=3),
    )
    assert dict(found.late) == {"device.heart_rate": 1}
    assert len(found.tables["device.heart_rate"]) == 2


def test_a_consent_of_the_future_is_dropped_and_a_revocation_is_not() -> None:
    ahead = consent(T0, version=2, event_time=T0 + DAY, ingest_time=T0 - 1, modalities=["MUSIC"])
    assert came([consent(), ahead, record("device.heart_rate", T0)]).reasons() == ["FUTURE"]
    revoked = consent(T0 - DAY, version=2, event_time=T0 + DAY, ingest_time=T0 - 1, status="REVOKED")
    assert came([consent(), revoked, record("device.heart_rate", T0)]).reasons() == ["NO_CONSENT"]
