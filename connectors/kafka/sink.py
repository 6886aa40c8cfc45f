"""Output records to Kafka: transactions, keys, derived ids in the value. A `read_committed` reader sees each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError
from kafka.partitioner.abc import Partitioner
from kafka.partitioner.default import murmur2

from connectors.base import NotALog, Sink
from connectors.kafka.codec import OWN, Encoder
from connectors.kafka.options import KafkaOptions
from connectors.kafka.registry import Registry
from connectors.log_sink import in_order

MARK = "dlq"  # an output topic; the marker lies at its partition 0, in a group of its own
WAIT_S = 60
MADE = frozenset({"device.location", "device.search_flag", "device.phone_usage"})  # by ingest, of raw records
BATCH = 5_000  # records of one transaction of the sink


class ByHash(Partitioner):  # type: ignore[misc]
    """The partitions of kafka-python's default, which are Java's; a key is hashed once (its murmur2 is pure Python)."""

    def partition(
        self, topic: str, key: Any, serialized_key: bytes, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        return _hash(serialized_key) % len(cluster.partitions_for_topic(topic))


@lru_cache(maxsize=100_000)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


PRODUCER = {
    "acks": "all", "enable_idempotence": True, "linger_ms": 5, "batch_size": 256 << 10, "compression_type": "lz4",
    "delivery_timeout_ms": 60_000, "max_block_ms": 20_000, "allow_auto_create_topics": False, "metrics_enabled": False,
    "partitioner": ByHash(),
}  # fmt: skip


class NotPublished(NotALog):
    """The broker did not take the records; what is in the outbox stays there."""


class FencedError(NotALog):
    """Another process publishes under our name: this one must end."""


class Message(NamedTuple):
    """One record on its way out."""

    topic: str
    key: bytes
    value: bytes
    time: int


class Publisher:
    """A transactional producer: all of a batch or nothing, in order; a second one under its name fences the first.

    Parameters
    ----------
    name
        Transactional id, and group of the marker.
    """

    def __init__(self, options: KafkaOptions, name: str) -> None:
        self.options, self.name = options, name
        self._producer: KafkaProducer | None = None

    def _ready(self) -> KafkaProducer:
        if self._producer is None:
            made = KafkaProducer(**self.options.client(**PRODUCER, transactional_id=self.name))
            try:
                made.init_transactions()
            except BaseException:
                made.close(timeout=0)
                raise
            self._producer = made
        return self._producer

    def published(self) -> int:
        """Number of the last batch that was committed; -1 if there is none.

        Raises
        ------
        NotPublished
            The broker does not say.
        """
        try:
            self._ready()  # fences a former self, whose open transaction ends before we ask
            consumer = KafkaConsumer(**self.options.client(group_id=self.name, enable_auto_commit=False, metrics_enabled=False))
            try:
                found = consumer.committed(self._mark(), timeout_ms=WAIT_S * 1000)
            finally:
                consumer.close()
        except (KafkaError, OSError) as error:
            raise self._failed(error) from None
        return -1 if found is None else int(found) - 1

    def publish(self, messages: Iterable[Message], number: int | None = None) -> int:
        """Send a batch in one transaction; with `number` the marker moves in the same transaction.

        Raises
        ------
        NotPublished
            Nothing of it is visible, unless the commit itself was not answered: then `published` tells.
        FencedError
            Somebody else runs under this name.
        """
        n = 0
        try:
            producer = self._ready()
            producer.begin_transaction()
            sent = []
            for m in messages:
                name, headers = self.options.name(m.topic), [OWN] if m.topic in MADE else []
                sent.append(producer.send(name, value=m.value, key=m.key, timestamp_ms=m.time, headers=headers))
                n += 1
            producer.flush(timeout=WAIT_S)
            for future in sent:
                future.get(timeout=WAIT_S)
            if number is not None:
                place = {self._mark(): OffsetAndMetadata(number + 1, "", -1)}
                producer.send_offsets_to_transaction(place, self.name)
            producer.commit_transaction()
        except Exception as error:
            raise self._failed(error) from None
        return n

    def _failed(self, error: Exception) -> NotALog:
        """Start anew with a fresh producer: its first act ends what this one left open."""
        if self._producer is not None:
            self._producer.close(timeout=0)
            self._producer = None
        kind = type(error).__name__
        if "Fenced" in kind or kind == "InvalidProducerEpochError":
            return FencedError(f"{self.name}: another process runs under this name")
        return NotPublished(f"Kafka at {self.options.brokers}: {kind}")

    def _mark(self) -> TopicPartition:
        return TopicPartition(self.options.name(MARK), 0)

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close(timeout=10)
            self._producer = None


class KafkaSink(Sink):
    """Topics as a sink; slices are committed when `BATCH` records wait, and at the end."""

    def __init__(self, options: KafkaOptions, name: str = "kairos-sink", form: str = "avro") -> None:
        self.counts: Counter[str] = Counter()
        self._encoder = Encoder(Registry(options.registry) if options.registry else None, form)
        self._publisher = Publisher(options, name)
        self._waiting: list[Message] = []

    def write(self, topic: str, tables: list[pa.Table]) -> None:
        if not any(map(len, tables)):
            return
        table = in_order(pa.concat_tables(tables).combine_chunks())
        self.counts[topic] += len(table)
        self._waiting += messages(topic, table, self._encoder)
        if len(self._waiting) >= BATCH:
            self._drain()

    def close(self) -> None:
        self._drain()
        self._publisher.close()

    def _drain(self) -> None:
        if self._waiting:
            self._publisher.publish(self._waiting)
            self._waiting = []


def messages(topic: str, table: pa.Table, encoder: Encoder) -> list[Message]:
    """Rows as Kafka records: key = user, timestamp = ingest_time."""
    users, times = table["user"].to_pylist(), table["ingest_time"].to_pylist()
    values = encoder.values(topic, table)
    return [Message(topic, u.encode(), v, t) for u, v, t in zip(users, values, times, strict=True)]
