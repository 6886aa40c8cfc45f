"""Output records to Kafka: transactions, keys, derived ids in the value. A `read_committed` reader sees each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from connectors.base import NotALog, Sink
from connectors.kafka.codec import Encoder
from connectors.kafka.options import KafkaOptions
from connectors.kafka.registry import Registry
from connectors.kafka.sender import Message, Sender, sender_of
from connectors.log_sink import in_order

MARK = "dlq"  # an output topic; the marker lies at its partition 0, in a group of its own
WAIT_S = 60
BATCH = 5_000  # records of one transaction of the sink


class NotPublished(NotALog):
    """The broker did not take the records; what is in the outbox stays there."""


class FencedError(NotALog):
    """Another process publishes under our name: this one must end."""


class Publisher:
    """A transactional sender: all of a batch or nothing, in order; a second one under its name fences the first.

    Parameters
    ----------
    name
        Transactional id, and group of the marker.
    """

    def __init__(self, options: KafkaOptions, name: str) -> None:
        options.native()  # a setting that can't be met is said now
        self.options, self.name = options, name
        self._sender: Sender | None = None

    def _ready(self) -> Sender:
        if self._sender is None:
            self._sender = sender_of(self.options, self.name, patience_s=WAIT_S)
        return self._sender

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
        try:
            sender = self._ready()
            sender.begin()
            for m in messages:
                sender.send(m)
            n = sender.flush()
            if number is not None:
                sender.mark((MARK, 0), number + 1, self.name)
            sender.commit()
        except Exception as error:
            raise self._failed(error) from None
        return n

    def _failed(self, error: Exception) -> NotALog:
        """Start anew with a fresh sender: its first act ends what this one left open."""
        if self._sender is not None:
            self._sender.close(0)
            self._sender = None
        kind = type(error).__name__
        if "Fenced" in kind or kind == "InvalidProducerEpochError":
            return FencedError(f"{self.name}: another process runs under this name")
        return NotPublished(f"Kafka at {self.options.brokers}: {kind}")

    def _mark(self) -> TopicPartition:
        return TopicPartition(self.options.name(MARK), 0)

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close(10)
            self._sender = None


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
