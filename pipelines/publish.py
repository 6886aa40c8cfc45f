"""Output records of a live run on an engine, on their way to Kafka: topic, key, value, time. No Beam here."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.kafka.codec import Encoder, Letter
from connectors.kafka.options import KafkaOptions
from connectors.kafka.registry import Registry
from connectors.kafka.sender import Message
from connectors.kafka.sink import messages
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
