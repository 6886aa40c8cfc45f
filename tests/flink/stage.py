"""A log produced to real topics, the graph on a real engine, and its output records against those of the replay."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from pipelines import graph
from schemas import TOPICS
from simulator.people import simulate

SAID = tuple(sorted(n for n, t in TOPICS.items() if t.klass in ("OUT", "STATE") and n != "dlq"))  # dlq holds positions
FOREVER = {"retention.ms": "-1", "message.timestamp.before.max.ms": str(2**63 - 1)}
Key = tuple[str, str, int]
Truth = tuple[dict[Key, bytes], int]  # output records of the replay, and its last instant


def people(out: Path, how_many: int, days: int, seed: int) -> Path:
    """A jsonl log of made-up people."""
    simulate(out, how_many, days, seed, dt.date(2026, 3, 2), [], "jsonl", lambda done, total: None)
    return out


def make_topics(brokers: str, prefix: str, partitions: int) -> None:
    """All topics, with the producer's timestamps: the arrival times of a log of the past."""
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    counts = {t: 1 if t == "content.pack" else partitions for t in TOPICS}
    admin.create_topics([NewTopic(prefix + t, n, 1, topic_configs=FOREVER) for t, n in counts.items()])
    admin.close()


def records(log: Path) -> list[tuple[int, str, str, bytes]]:
    """(arrival, topic, user, line) of a jsonl log in the order of the log."""
    out = []
    for path in sorted(log.rglob("*.jsonl")):
        topic = path.relative_to(log).parts[0]
        for line in path.read_bytes().splitlines():
            r = orjson.loads(line)
            out.append((r.get("ingest_time", r["event_time"]), topic, r["user"], line))
    return sorted(out, key=lambda r: r[:2])


def produce(brokers: str, prefix: str, found: list[tuple[int, str, str, bytes]]) -> None:
    """Put records on their topics, with their arrival times as timestamps."""
    producer = KafkaProducer(bootstrap_servers=brokers, linger_ms=50, acks="all")
    for arrival, topic, user, line in found:
        producer.send(prefix + topic, key=user.encode(), value=line, timestamp_ms=arrival)
    producer.flush()
    producer.close()


def read(brokers: str, topics: list[str]) -> Iterator[Any]:
    """Everything committed on the topics now."""
    consumer = KafkaConsumer(bootstrap_servers=brokers, isolation_level="read_committed", max_poll_records=20_000)
    there = consumer.topics()
    parts = [TopicPartition(t, p) for t in topics if t in there for p in sorted(consumer.partitions_for_topic(t) or ())]
    consumer.assign(parts)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(parts)
    while any(consumer.position(p) < ends[p] for p in parts):
        for got in consumer.poll(timeout_ms=500).values():
            yield from got
    consumer.close()


def key_of(topic: str, record: dict[str, Any]) -> Key:
    """A minute is told again under its id when a late record changes it; then its time differs."""
    return topic, record["event_id"], record["ingest_time"]


def truth(log: Path, out: Path) -> Truth:
    """Output records of the replay, and its last instant."""
    report = graph.replay([log], out)
    said = {}
    for topic in SAID:
        for path in sorted((out / topic).glob("*.jsonl")):
            for line in path.read_bytes().splitlines():
                said[key_of(topic, orjson.loads(line))] = line
    return said, int(report["last"])


@dataclass
class Verdict:
    """What came of a live run, against the truth."""

    lost: list[Key] = field(default_factory=list)
    extra: list[Key] = field(default_factory=list)
    wrong: list[Key] = field(default_factory=list)  # same id, other bytes
    repeated: Counter[str] = field(default_factory=Counter)  # same id and bytes again, after a restart
    letters: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.extra or self.wrong)

    def __str__(self) -> str:
        counts = {"lost": len(self.lost), "extra": len(self.extra), "wrong": len(self.wrong)}
        told = {name: Counter(k[0] for k in getattr(self, name)).most_common(4) for name in counts if counts[name]}
        return f"{counts} {told} repeated {dict(self.repeated)} dead letters {dict(self.letters)}"


def judge(brokers: str, prefix: str, truth: Truth) -> Verdict:
    """Compare ids and bytes of what stands on the topics, up to an instant of the log's clock."""
    found: dict[Key, bytes] = {}
    verdict = Verdict()
    expected, until = truth
    for r in read(brokers, [prefix + t for t in SAID]):
        record = orjson.loads(r.value)
        if record["ingest_time"] > until:
            continue
        topic = r.topic[len(prefix) :]
        key = key_of(topic, record)
        if key in found:
            verdict.repeated[topic] += 1
            if found[key] != r.value:
                verdict.wrong.append(key)
        found[key] = bytes(r.value)
    verdict.lost = sorted(expected.keys() - found.keys())
    verdict.extra = sorted(found.keys() - expected.keys())
    verdict.wrong += [k for k in expected.keys() & found.keys() if expected[k] != found[k]]
    for r in read(brokers, [prefix + "dlq"]):
        letter = orjson.loads(r.value)["value"]
        verdict.letters[letter["topic"], letter["reason"]] += 1
    return verdict


def backlog(brokers: str, prefix: str, partitions: int, log: Path) -> None:
    """A log on topics of its own."""
    make_topics(brokers, prefix, partitions)
    produce(brokers, prefix, records(log))


def assert_clean(brokers: str, prefix: str, truth: Truth, seconds: float) -> None:
    """Judge again and again until all is there; fail when the time is over."""
    end = time.monotonic() + seconds
    while not (verdict := judge(brokers, prefix, truth)).clean:
        assert time.monotonic() < end, str(verdict)
        time.sleep(2)
