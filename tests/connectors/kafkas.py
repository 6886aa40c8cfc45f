"""Records onto a real broker, and back."""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from connectors.kafka.codec import Encoder
from connectors.kafka.options import KafkaOptions
from deploy.local.broker import Broker

_numbers = itertools.count()
library = "auto"  # of the options that are made


def fresh(broker: Broker, topics: dict[str, int] | list[str] = (), **config: str) -> KafkaOptions:  # type: ignore[assignment]
    """Options with a prefix nobody else has, and these topics (name → partitions) made."""
    options = KafkaOptions(broker.bootstrap, prefix=f"t{uuid.uuid4().hex[:8]}{next(_numbers)}.", library=library)
    make(options, topics, **config)
    return options


def make(options: KafkaOptions, topics: dict[str, int] | list[str], **config: str) -> None:
    counted = topics if isinstance(topics, dict) else dict.fromkeys(topics, 1)
    if not counted:
        return
    admin = KafkaAdminClient(**options.client())
    settings = {"message.timestamp.type": "CreateTime", "retention.ms": "-1",
                "message.timestamp.after.max.ms": str(2**62), **{k.replace("_", "."): v for k, v in config.items()}}
    admin.create_topics(
        [NewTopic(name=options.name(t), num_partitions=n, replication_factor=1, topic_configs=settings) for t, n in counted.items()],
        wait_for_metadata=True,
    )
    admin.close()


def produce(options: KafkaOptions, records: dict[str, list[Any]], form: str = "avro") -> None:
    """Contract-form records (key = user, timestamp = ingest_time), or (key, value, time) as they are."""
    encoder = Encoder(None, form)
    producer = KafkaProducer(**options.client(linger_ms=20, acks="all", batch_size=1 << 18))
    for topic, given in records.items():
        for r in given:
            if isinstance(r, tuple):
                key, value, at = r
            else:
                key, at = r["user"].encode(), r["ingest_time"]
                value = encoder.value(topic, r) if form == "avro" and _fits(topic, r) else Encoder(None, "json").value(topic, r)
            producer.send(options.name(topic), key=key, value=value, timestamp_ms=at)
    producer.flush()
    producer.close()


def _fits(topic: str, record: dict[str, Any]) -> bool:
    from schemas import rows

    return not rows.from_dicts(topic, [record])[1]


def consume(options: KafkaOptions, topic: str, isolation: str = "read_committed") -> list[tuple[bytes, bytes, int]]:
    """(key, value, time) of everything there is, partition by partition.

    A commit is answered before its markers are written: what is there is asked for without regard to them, and waited for.
    """
    consumer = KafkaConsumer(
        **options.client(isolation_level=isolation, enable_auto_commit=False, auto_offset_reset="earliest")
    )
    asker = KafkaConsumer(**options.client(isolation_level="read_uncommitted"))
    name = options.name(topic)
    consumer.topics()
    parts = [TopicPartition(name, p) for p in sorted(consumer.partitions_for_topic(name) or ())]
    out: list[tuple[bytes, bytes, int]] = []
    if parts:
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends, until = asker.end_offsets(parts), time.monotonic() + 60
        while any(consumer.position(p) < ends[p] for p in parts):
            assert time.monotonic() < until, f"{topic}: a transaction stays open"
            for records in consumer.poll(timeout_ms=500).values():
                out += [(r.key, r.value, r.timestamp) for r in records]
    asker.close()
    consumer.close()
    return out
