"""Kafka as a source and as a sink, by the contract of all connectors, against a real broker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.base import NotALog, Sink, Source
from connectors.kafka.codec import Decoder
from connectors.kafka.fetch import Fetcher
from connectors.kafka.options import KafkaOptions, KafkaSettingsError
from connectors.kafka.sender import ByHash, Message
from connectors.kafka.sink import FencedError, KafkaSink, Publisher
from connectors.kafka.source import KafkaSource, parse_url
from deploy.local.broker import Broker
from schemas import rows
from tests.connectors import kafkas
from tests.connectors.contract import HEART, STEPS, T0, SinkContract, SourceContract, beat, walk

pytestmark = pytest.mark.usefixtures("library")


class TestAvroSource(SourceContract):
    form = "avro"

    @pytest.fixture(autouse=True)
    def _broker(self, broker: Broker) -> None:
        self.broker = broker

    def source(self, records: dict[str, list[dict[str, Any]]], **settings: Any) -> Source:
        options = kafkas.fresh(self.broker, sorted(records))
        kafkas.produce(options, records, self.form)
        return KafkaSource(options, **settings)


@pytest.mark.soak
class TestJsonSource(TestAvroSource):
    form = "json"


class TestSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _broker(self, broker: Broker) -> None:
        self.broker = broker

    def sink(self) -> Sink:
        self.options = kafkas.fresh(self.broker, [HEART, STEPS, "dlq"])
        return KafkaSink(self.options, self.options.prefix + "sink")

    def written(self) -> dict[str, Any]:
        found = {t: kafkas.consume(self.options, t) for t in (HEART, STEPS)}
        return {t: r for t, r in found.items() if r}


# -- poison, positions, partitions ------------------------------------------------------------------------------------


def test_a_poison_record_is_a_dead_letter_with_its_place_and_no_payload(broker: Broker) -> None:
    options = kafkas.fresh(broker, [HEART])
    good = beat(T0)
    poison: list[Any] = [
        (b"p01", b"canary \xff", T0 + 1),
        (b"p01", b"\x00\x00\x00\x00\x09canary", T0 + 2),
        (b"p01", b"\xc3\x01canary-canary", T0 + 3),
        (b"p01", b"{canary", T0 + 4),
        (b"p02", json.dumps(good).encode(), T0 + 5),  # somebody else's key
        (b"\xff\xfe", b"[]", T0 + 6),
        (b"p01", json.dumps({**good, "value": {"bpm": 500.0, "quality": "LOCKED"}}).encode(), T0 + 7),
        (b"p01", None, T0 + 8),
    ]
    kafkas.produce(options, {HEART: [good, *poison, beat(T0 + 9)]})
    with KafkaSource(options) as source:
        dead = source.dead(T0 - 1, T0 + 9)
        assert len(source.read(T0 - 1, T0 + 9)[HEART]) == 2
        assert source.records_in[HEART] == 9, "a tombstone says nothing"
    reasons = [(d["reason"], d["field"], d["_line"]) for d in dead.to_pylist()]
    assert reasons == [
        ("UNPARSABLE", None, 1), ("UNPARSABLE", None, 2), ("UNPARSABLE", None, 3), ("UNPARSABLE", None, 4),
        ("SCHEMA", "user", 5), ("UNPARSABLE", None, 6), ("OUT_OF_RANGE", "bpm", 7),
    ]  # fmt: skip
    assert "canary" not in str(dead.to_pylist())


def test_the_brokers_time_is_the_logs_clock_and_the_key_is_the_user(broker: Broker) -> None:
    options = kafkas.fresh(broker, [HEART])
    record = {k: v for k, v in beat(T0).items() if k not in ("user", "ingest_time")}
    kafkas.produce(options, {HEART: [(b"p07", json.dumps(record).encode(), T0 + 77)]})
    with KafkaSource(options) as source:
        (row,) = rows.to_dicts(HEART, source.read(T0, T0 + 100)[HEART])
    assert (row["user"], row["ingest_time"], row["event_time"]) == ("p07", T0 + 77, T0 - 1200)


def test_a_range_is_read_from_several_partitions(broker: Broker) -> None:
    options = kafkas.fresh(broker, {HEART: 4, STEPS: 2})
    beats = [beat(T0 + i, user=f"p{i % 9}") for i in range(500)]
    kafkas.produce(options, {HEART: beats, STEPS: [walk(T0 + i) for i in range(50)]})
    with KafkaSource(options, start=T0 + 100, end=T0 + 199) as source:
        assert source.records_in == {HEART: 100}
        assert (source.first, source.last) == (T0 + 100, T0 + 199)


def test_no_broker_no_topics_and_a_wrong_address_are_one_line_each(broker: Broker) -> None:
    with pytest.raises(NotALog, match="no records"):
        KafkaSource(kafkas.fresh(broker))
    with pytest.raises(NotALog, match="expected"):
        parse_url("kafka://h:1?since=3", KafkaOptions())
    options, start, end = parse_url("kafka://h:1,h:2?from=2026-03-01&to=7", KafkaOptions(registry="http://r"))
    assert (options.brokers, options.registry, start, end) == ("h:1,h:2", "http://r", "2026-03-01", "7")


# -- the fetcher ------------------------------------------------------------------------------------------------------


def test_a_partition_is_idle_only_by_the_end_asked_for_now(broker: Broker) -> None:
    options = kafkas.fresh(broker, {HEART: 2})
    fetcher = Fetcher(options, [HEART])
    assert fetcher.idle() == {(HEART, 0), (HEART, 1)}
    kafkas.produce(options, {HEART: [beat(T0)]})
    assert len(fetcher.idle()) == 1, "what came after the last look is not overlooked"
    while not fetcher.poll(0.5):
        pass
    assert len(fetcher.idle()) == 2
    fetcher.close()


def test_the_marker_of_a_transaction_does_not_keep_a_partition_from_being_idle(broker: Broker) -> None:
    options = kafkas.fresh(broker, [HEART, "dlq"])
    sink = KafkaSink(options, options.prefix + "s")
    sink.write(HEART, [rows.from_dicts(HEART, [beat(T0)])[0]])
    sink.close()
    fetcher = Fetcher(options, [HEART])
    for _ in range(20):
        fetcher.poll(0.2)
        if fetcher.idle():
            break
    assert fetcher.idle() == {(HEART, 0)}
    fetcher.close()


def test_new_partitions_and_topics_are_found_while_running(broker: Broker) -> None:
    from kafka.admin import KafkaAdminClient

    options = kafkas.fresh(broker, [HEART])
    fetcher = Fetcher(options, [HEART, STEPS])
    assert set(fetcher.reach) == {(HEART, 0)}
    admin = KafkaAdminClient(**options.client())
    admin.create_partitions({options.name(HEART): 3})
    admin.close()
    kafkas.make(options, [STEPS])
    for _ in range(50):
        fetcher.look()
        if len(fetcher.reach) == 4:
            break
    assert set(fetcher.reach) == {(HEART, 0), (HEART, 1), (HEART, 2), (STEPS, 0)}
    fetcher.close()


def test_a_marker_does_not_hold_a_partition_while_others_give_without_pause(broker: Broker) -> None:
    options = kafkas.fresh(broker, [HEART, STEPS, "dlq"])
    sink = KafkaSink(options, options.prefix + "s")
    sink.write(STEPS, [rows.from_dicts(STEPS, [walk(T0)])[0]])
    sink.close()
    now = [0.0]
    fetcher = Fetcher(options, [HEART, STEPS], clock=lambda: now[0])
    found: set[tuple[str, int]] = set()
    for i in range(60):
        kafkas.produce(options, {HEART: [beat(T0 + i)]})
        while not any(part[0] == HEART for part in fetcher.poll(0.2)):
            pass
        now[0] += 0.2
        found |= fetcher.idle()
        if (STEPS, 0) in found:
            break
    assert (STEPS, 0) in found
    fetcher.close()


def test_a_partition_stalls_only_when_it_has_had_its_turn_and_gave_nothing(broker: Broker) -> None:
    options = kafkas.fresh(broker, [HEART, STEPS])
    kafkas.produce(options, {HEART: [beat(T0)]})
    now = [0.0]
    fetcher = Fetcher(options, [HEART, STEPS], clock=lambda: now[0])
    fetcher._reader.pause([(HEART, 0)])  # the broker has a record and never gives it
    fetcher.idle()
    now[0] = 60.0
    assert fetcher.stalled(10.0) == set(), "we were busy: nobody was asked"
    for i in range(4):
        kafkas.produce(options, {STEPS: [walk(T0 + i)]})
        while not fetcher.poll(0.2):
            pass
        fetcher.idle()
    assert fetcher.stalled(10.0) == {(HEART, 0)}
    fetcher._reader.resume([(HEART, 0)])
    while not any(part[0] == HEART for part in fetcher.poll(0.2)):
        pass
    assert fetcher.stalled(10.0) == set()
    fetcher.close()


def test_what_the_client_had_in_hand_when_it_failed_is_read_again(broker: Broker) -> None:
    from kafka.errors import KafkaConnectionError

    options = kafkas.fresh(broker, [HEART])
    kafkas.produce(options, {HEART: [beat(T0 + i) for i in range(5)]})
    fetcher = Fetcher(options, [HEART])
    whole, lost = fetcher._reader.poll, []

    def fails(wait_ms: int) -> Any:
        got = whole(wait_ms)
        if got and not lost:
            lost.append(got)
            raise KafkaConnectionError("after the records were taken")
        return got

    fetcher._reader.poll = fails
    got: list[Any] = []
    for _ in range(40):
        got += fetcher.poll(0.2).get((HEART, 0), [])
        if len(got) == 5:
            break
    assert lost
    assert [r.offset for r in got] == [0, 1, 2, 3, 4]
    fetcher.close()


def test_a_partition_that_was_paused_gives_the_rest_of_its_records_afterwards(broker: Broker) -> None:
    each = 6_000
    options = kafkas.fresh(broker, [HEART, STEPS])
    kafkas.produce(options, {t: [(b"p01", b"x" * 100, T0 + i) for i in range(each)] for t in (HEART, STEPS)})
    fetcher, seen = Fetcher(options, [HEART, STEPS]), {HEART: list[int](), STEPS: list[int]()}

    def poll_until(topic: str, count: int) -> None:
        for _ in range(200):
            if len(seen[topic]) >= count:
                return
            for part, records in fetcher.poll(0.05).items():
                seen[part[0]] += [r.offset for r in records]

    poll_until(HEART, 1)
    fetcher.pause({(HEART, 0)})
    poll_until(STEPS, each)
    fetcher.pause(set())
    poll_until(HEART, each)
    fetcher.close()
    assert seen == {HEART: list(range(each)), STEPS: list(range(each))}


def test_a_key_goes_to_the_partition_of_kafkas_own_hash() -> None:
    from kafka.partitioner.default import DefaultPartitioner

    class Seven:
        def topics(self) -> set[str]:
            return {"t"}

        def partitions_for_topic(self, topic: str) -> set[int]:
            return set(range(7))

        available_partitions_for_topic = partitions_for_topic

    keys = [str(i).encode() for i in range(200)]
    want = [DefaultPartitioner().partition("t", k, k, b"", b"", Seven()) for k in keys]
    assert [ByHash().partition("t", k, k, b"", b"", Seven()) for k in keys] == want


def test_what_retention_deleted_before_it_was_read_is_counted_and_told(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    from kafka.admin import KafkaAdminClient

    options = kafkas.fresh(broker, [HEART])
    kafkas.produce(options, {HEART: [beat(T0 + i) for i in range(5)]})
    running = Fetcher(options, [HEART])
    admin = KafkaAdminClient(**options.client())
    admin.delete_records({running._tp((HEART, 0)): 3})
    admin.close()
    late = Fetcher(options, [HEART], {(HEART, 0): 1})
    got: list[Any] = []
    for _ in range(40):
        got += running.poll(0.2).get((HEART, 0), [])
        if got:
            break
    assert [r.offset for r in got] == [3, 4]
    assert (running.expired[HEART], late.expired[HEART]) == (3, 2)
    assert "deleted by retention" in caplog.text
    running.close()
    late.close()


# -- the publisher ----------------------------------------------------------------------------------------------------


def test_a_batch_and_its_number_are_visible_together_or_not_at_all(broker: Broker) -> None:
    options = kafkas.fresh(broker, ["audit", "dlq"])
    name = options.prefix + "p"
    publisher = Publisher(options, name)
    assert publisher.published() == -1
    assert publisher.publish([Message("audit", b"p01", b"one", T0)], 0) == 1
    with pytest.raises(NotALog):
        publisher.publish([Message("audit", b"p01", b"two", T0), Message("no.such", b"p01", b"x", T0)], 1)
    assert publisher.published() == 0
    assert [v for _, v, _ in kafkas.consume(options, "audit")] == [b"one"]
    publisher.close()


def test_a_second_process_of_the_same_name_fences_the_first(broker: Broker) -> None:
    options = kafkas.fresh(broker, ["audit", "dlq"])
    first, second = (Publisher(options, options.prefix + "p") for _ in range(2))
    first.publish([Message("audit", b"p01", b"one", T0)], 0)
    second.publish([Message("audit", b"p01", b"two", T0)], 1)
    with pytest.raises(FencedError):
        first.publish([Message("audit", b"p01", b"three", T0)], 2)
    assert [v for _, v, _ in kafkas.consume(options, "audit")] == [b"one", b"two"]
    second.close()


# -- settings ---------------------------------------------------------------------------------------------------------


def test_security_is_passed_through_and_anything_unknown_is_named() -> None:
    options = KafkaOptions.read({"brokers": "a:1, b:2", "sasl_mechanism": "PLAIN", "ssl_check_hostname": False})
    assert options.client()["bootstrap_servers"] == ["a:1", "b:2"]
    assert options.client()["sasl_mechanism"] == "PLAIN"
    for wrong in ({"broker": "a:1"}, {"brokers": 3}, {"sasl_mechanism": 3}, 7):
        with pytest.raises(KafkaSettingsError):
            KafkaOptions.read(wrong)


def test_a_whole_batch_and_its_records_one_by_one_give_the_same_rows() -> None:
    from types import SimpleNamespace

    from connectors.kafka.codec import Encoder

    for form in ("avro", "json"):
        values = [Encoder(None, form).value(HEART, beat(T0 + i, user=f"p{i % 3}")) for i in range(40)]
        made = [
            SimpleNamespace(offset=i, timestamp=T0 + i, key=f"p{i % 3}".encode(), value=v, headers=[])
            for i, v in enumerate(values)
        ]
        whole, none = Decoder().read(HEART, 0, made, 5)
        poison = SimpleNamespace(offset=99, timestamp=T0, key=b"p", value=b"x", headers=[])
        spoilt, one = Decoder().read(HEART, 0, [*made, poison], 5)
        assert whole.equals(spoilt)
        assert (none, len(one)) == ([], 1)
        assert whole["_file"].to_pylist() == [5] * 40
