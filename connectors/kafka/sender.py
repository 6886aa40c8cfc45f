"""Records to the broker, idempotent or in transactions, by kafka-python or librdkafka. `sender_of` chooses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from kafka.partitioner.abc import Partitioner
from kafka.partitioner.default import murmur2

from connectors.kafka.codec import OWN
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import Part

MADE = frozenset({"device.location", "device.search_flag", "device.phone_usage"})  # by ingest, of raw records
LINGER_MS, BATCH_BYTES = 5, 256 << 10
ASK_MS = 20_000  # how long a send waits for what is known of a topic


class Message(NamedTuple):
    """One record on its way out."""

    topic: str
    key: bytes
    value: bytes
    time: int


class Sender(Protocol):
    """A producer: idempotent, or transactional if it has a name; a second one under a name fences the first.

    Every method may raise `kafka.errors.KafkaError` or OSError; then the sender must be closed.
    """

    def begin(self) -> None: ...
    def send(self, m: Message) -> None: ...
    def flush(self) -> int:
        """Wait until the broker has everything; how many records since the last call."""

    def mark(self, part: Part, offset: int, group: str) -> None:
        """Move a group's offset in this transaction."""

    def commit(self) -> None: ...
    def close(self, wait_s: float) -> None: ...


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
    "acks": "all", "enable_idempotence": True, "linger_ms": LINGER_MS, "batch_size": BATCH_BYTES, "compression_type": "lz4",
    "allow_auto_create_topics": False, "metrics_enabled": False, "partitioner": ByHash(),
}  # fmt: skip


def headers_of(m: Message) -> list[Any]:
    """What ingest made of a raw record says so."""
    return [OWN] if m.topic in MADE else []


class PythonSender:
    """`Sender` by kafka-python."""

    def __init__(self, options: KafkaOptions, name: str | None, patience_s: float, away: bool) -> None:
        from kafka import KafkaProducer

        self._options, self._patience_s = options, patience_s
        waits: dict[str, Any] = {"delivery_timeout_ms": int(patience_s * 1000), "max_block_ms": ASK_MS}
        if away:
            waits |= {"max_block_ms": int(patience_s * 1000), "bootstrap_timeout_ms": int(patience_s * 1000)}
        self._producer = KafkaProducer(**options.client(**PRODUCER, transactional_id=name) | waits)
        self._sent: list[Any] = []
        if name is not None:
            try:
                self._producer.init_transactions()
            except BaseException:
                self._producer.close(timeout=0)
                raise

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, m: Message) -> None:
        name = self._options.name(m.topic)
        self._sent.append(self._producer.send(name, value=m.value, key=m.key, timestamp_ms=m.time, headers=headers_of(m)))

    def flush(self) -> int:
        sent, self._sent = self._sent, []
        if sent:
            self._producer.flush(timeout=self._patience_s)
            for future in sent:
                future.get(timeout=self._patience_s)
        return len(sent)

    def mark(self, part: Part, offset: int, group: str) -> None:
        from kafka import OffsetAndMetadata, TopicPartition

        place = {TopicPartition(self._options.name(part[0]), part[1]): OffsetAndMetadata(offset, "", -1)}
        self._producer.send_offsets_to_transaction(place, group)

    def commit(self) -> None:
        self._producer.commit_transaction()

    def close(self, wait_s: float) -> None:
        self._producer.close(timeout=wait_s)


def sender_of(options: KafkaOptions, name: str | None = None, *, patience_s: float = 60, away: bool = False) -> Sender:
    """A sender by the library that the options choose.

    Parameters
    ----------
    name
        Transactional id; None = idempotent only.
    patience_s
        How long the broker is waited for, of a record or a commit.
    away
        Wait as long for a broker that has not been heard of yet.

    Raises
    ------
    KafkaSettingsError
        The library can't be used; `kafka.errors.KafkaError` where no broker answers.
    """
    if options.native():
        from connectors.kafka.librdkafka import NativeSender

        return NativeSender(options, name, patience_s)
    return PythonSender(options, name, patience_s, away)
