"""Topics and permissions from the schemas' settings, on a broker with SASL, TLS and an authorizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError

from connectors.base import NotALog
from connectors.kafka import topics
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import reader_of
from connectors.kafka.sender import Message
from connectors.kafka.sink import NotPublished, Publisher
from connectors.kafka.source import KafkaSource
from deploy.local.broker import Broker, Security
from schemas import TOPICS
from tests.conftest import java_and_maven
from tests.connectors.contract import T0

USERS = {"admin": "a", "ingest": "i", "person": "p", "study": "s"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    java_and_maven()
    security = Security(USERS, "SCRAM-SHA-256", tls=True, authorizer=True)
    with Broker(tmp_path_factory.mktemp("guarded") / "kafka", security=security) as made:
        yield made


def as_user(broker: Broker, name: str | None = None, **more: Any) -> KafkaOptions:
    security = {k: v for k, v in broker.client(name).items() if k != "bootstrap_servers"}
    return KafkaOptions(broker.bootstrap, security={**security, **more})


def test_topics_are_made_as_the_schemas_say_and_only_ingest_reads_raw_ones(guarded: Broker) -> None:
    admin = as_user(guarded)
    assert sorted(topics.create(admin, clock=None)) == sorted(TOPICS)
    assert topics.create(admin) == []
    assert topics.check(admin) == []
    assert topics.missing(admin), "nothing is given yet"
    assert topics.apply(admin) > 100
    assert topics.missing(admin) == []

    producer = KafkaProducer(**admin.client())
    producer.send("raw.search", key=b"p01", value=b"{}", timestamp_ms=T0).get(10)
    producer.send("device.heart_rate", key=b"p01", value=b"{}").get(10)
    producer.close()
    with KafkaSource(as_user(guarded, "ingest"), topics=["raw.search"]) as source:
        assert source.records_in == {"raw.search": 1}
    for name in ("person", "study"):
        with pytest.raises(NotALog):
            KafkaSource(as_user(guarded, name), topics=["raw.search"])
    with KafkaSource(as_user(guarded, "person"), topics=["device.heart_rate"]) as source:
        assert source.records_in == {"device.heart_rate": 1}


@pytest.mark.parametrize("library", ["kafka-python", "librdkafka"])
def test_the_person_machine_publishes_over_tls_with_a_password_and_no_more_than_it_may(guarded: Broker, library: str) -> None:
    if library == "librdkafka":
        pytest.importorskip("confluent_kafka")
    admin = as_user(guarded)
    topics.create(admin, clock=None)
    topics.apply(admin)
    said = [Message("audit", b"p01", b"{}", T0)]
    publisher = Publisher(replace(as_user(guarded, "person"), library=library), "kairos-person")
    number = publisher.published() + 1
    assert publisher.publish(said, number) == 1
    publisher.close()
    again = Publisher(replace(as_user(guarded, "person"), library=library), "kairos-person")
    assert again.published() == number
    again.close()
    study = Publisher(replace(as_user(guarded, "study"), library=library), "kairos-person")
    with pytest.raises(NotPublished):
        study.publish(said, number + 1)
    study.close()


def test_a_partition_that_may_not_be_read_does_not_keep_the_others_from_it(guarded: Broker) -> None:
    pytest.importorskip("confluent_kafka")
    admin = as_user(guarded)
    topics.create(admin, clock=None)
    topics.apply(admin)
    producer = KafkaProducer(**admin.client())
    for topic in ("raw.search", "device.status"):
        producer.send(topic, key=b"p01", value=b"{}", partition=0).get(10)
    producer.close()
    reader = reader_of(replace(as_user(guarded, "person"), library="librdkafka"), wait_ms=100)
    reader.assign([("raw.search", 0), ("device.status", 0)])
    reader.seek(("raw.search", 0), 0)
    reader.seek(("device.status", 0), 0)
    got: dict[tuple[str, int], int] = {}
    for _ in range(20):
        got |= {part: len(records) for part, records in reader.poll(100).items()}
    assert got == {("device.status", 0): 1}
    reader.close()


def test_who_writes_a_topic_without_permission_is_refused(guarded: Broker) -> None:
    topics.create(as_user(guarded))
    producer = KafkaProducer(**as_user(guarded, "study").client(max_block_ms=5_000))
    with pytest.raises(KafkaError):
        producer.send("notifications", key=b"p01", value=b"{}").get(10)
    producer.close(timeout=1)


def test_a_permission_too_many_is_told(guarded: Broker) -> None:
    admin = as_user(guarded)
    topics.create(admin)
    topics.apply(admin, {"ingest": "other"})  # the role is another user now: ours is one too many
    assert any("User:ingest may read raw.search" in line for line in topics.missing(admin, {"ingest": "other"}))


def test_a_wrong_password_is_one_line(guarded: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.kafka.options.QUICK", {"bootstrap_timeout_ms": 2_000})
    quick = {"sasl_plain_password": "canary-wrong"}
    with pytest.raises(NotALog) as told:
        topics.check(as_user(guarded, "study", **quick))
    assert "canary" not in str(told.value)


def test_no_rule_lets_anybody_but_ingest_read_a_raw_topic() -> None:
    raw = {t.name for t in TOPICS.values() if t.klass == "PRIVATE"}
    readers = {r.role for r in topics.rules() if r.kind == "TOPIC" and r.name in raw and r.operation == "READ"}
    assert readers == {"ingest"}
    writers = {r.role for r in topics.rules() if r.kind == "TOPIC" and r.operation == "WRITE"}
    assert writers == {"ingest", "person"}
