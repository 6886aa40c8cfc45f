"""Output records of a live run on an engine, on their way to Kafka: topic, key, value, time. No Beam here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka import KafkaProducer

from connectors.kafka.codec import Encoder, Letter
from connectors.kafka.options import AWAY_S, KafkaOptions
from connectors.kafka.registry import Registry
from connectors.kafka.sink import PRODUCER, Message, messages
from connectors.log_sink import in_order
from pipelines.outgoing import OUT, as_table, letter
from pipelines.step import Stepped
from schemas import TOPICS


def encoder_of(options: KafkaOptions, form: str) -> Encoder:
    """How values are written: Avro, framed where there is a registry, or JSON."""
    return Encoder(Registry(options.registry) if options.registry else None, form)


def outgoing(stepped: Stepped, encoder: Encoder) -> Iterator[Message]:
    """What a step said, topic by topic; rows that came in are not sent back to where they came from."""
    for topic, table in stepped.tables.items():
        if TOPICS[topic].klass in OUT and len(table):
            yield from messages(topic, in_order(table), encoder)
    for topic, records in stepped.records.items():
        yield from messages(topic, in_order(as_table(topic, records)), encoder)
    dead = [Letter(t, why, name, stepped.user, event, at, p, o) for t, why, name, event, at, p, o in stepped.came.dead]
    if dead:
        yield from letters(dead, encoder)


def letters(dead: list[Letter], encoder: Encoder) -> list[Message]:
    """Dead letters as records of `dlq`: closed reason and position, never a payload."""
    return messages("dlq", as_table("dlq", [letter(x) for x in dead]), encoder)


class Producer:
    """An idempotent producer; `flush` returns when the broker has everything, or fails the bundle.

    Not a transaction of its own: a bundle that is repeated after a crash writes the same ids again (docs/flink.md).
    """

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options
        more = dict.fromkeys(("delivery_timeout_ms", "max_block_ms", "bootstrap_timeout_ms"), AWAY_S * 1000)
        self._producer = KafkaProducer(**options.client(**{**PRODUCER, **more}))
        self._sent: list[Any] = []

    def send(self, m: Message) -> None:
        name = self.options.name(m.topic)
        self._sent.append(self._producer.send(name, key=m.key, value=m.value, timestamp_ms=m.time))

    def flush(self) -> int:
        """Number of records that the broker has taken since the last call."""
        sent, self._sent = self._sent, []
        if sent:
            self._producer.flush(timeout=AWAY_S)
            for future in sent:
                future.get(timeout=AWAY_S)
        return len(sent)

    def close(self) -> None:
        self._producer.close(timeout=5)
