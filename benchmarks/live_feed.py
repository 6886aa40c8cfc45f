"""A live feed of made-up records at a steady rate, with the broker's clock as arrival time; and what came of it.

    python -m benchmarks.live_feed --brokers 127.0.0.1:9092 --rate 1000 --people 1000 --seconds 3600 --log feed.jsonl

Every person sends heart rate, steps, wear and now and then a severity-3 search flag (`--crises` a second over all people, each
person's at least twelve minutes apart, so that each is a case of its own or an upgrade). Research software.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any

from schemas import TOPICS

ALL = [
    "LOCATION",
    "HEART_RATE",
    "ACTIVITY",
    "WELLNESS",
    "SEARCH",
    "CONTENT",
    "PHONE_USAGE",
    "MUSIC",
    "SELFREPORT",
    "THERAPY",
]
DAY_MS = 86_400_000


def make_topics(brokers: str, partitions: int, *, by_broker_clock: bool = True) -> None:
    """Every topic, with the broker's clock as timestamp where asked for."""
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=brokers)
    have = set(admin.list_topics())
    kind = "LogAppendTime" if by_broker_clock else "CreateTime"
    config = {"retention.ms": "-1", "message.timestamp.type": kind}
    new = [
        NewTopic(t, 1 if t == "content.pack" else partitions, 1, topic_configs=config) for t in TOPICS if t not in have
    ]
    if new:
        admin.create_topics(new)
    admin.close()


def consent(user: str, now: int) -> dict[str, Any]:
    """Messages to the person, by all modalities."""
    return {
        "consent_id": "c0", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": "SELF", "purpose": "CARE_USER_MSG",
        "modalities": ALL, "effect": "PERMIT", "valid_from": now - DAY_MS, "valid_to": now + 365 * DAY_MS, "signature": "demo",
    }  # fmt: skip


def record(user: str, event: int, source: str, seq: int, value: dict[str, Any]) -> bytes:
    return json.dumps(
        {"user": user, "event_time": event, "tz_offset_min": 60, "source_id": source, "seq": seq, "value": value},
        separators=(",", ":"),
    ).encode()


def main() -> None:
    from kafka import KafkaProducer

    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--crises", type=float, default=0.5)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", help="file for the crisis flags sent: user, event time")
    args = parser.parse_args()
    make_topics(args.brokers, args.partitions)
    draw = random.Random(args.seed)
    producer = KafkaProducer(bootstrap_servers=args.brokers, linger_ms=5, acks=1)
    users = [f"f{i:05d}" for i in range(args.people)]
    seqs = dict.fromkeys(users, int(time.time()))

    def send(topic: str, user: str, source: str, value: dict[str, Any], now: int) -> None:
        seqs[user] += 1
        producer.send(topic, key=user.encode(), value=record(user, now, source, seqs[user], value))

    now = int(time.time() * 1000)
    for user in users:
        send("clinical.consent", user, "clinic", consent(user, now), now)
    producer.flush()
    log = open(args.log, "a") if args.log else None  # noqa: SIM115
    start, sent, crises, turn = time.time(), 0, 0, 0
    order = draw.sample(users, len(users))
    while (gone := time.time() - start) < args.seconds:
        while sent < gone * args.rate:
            user = users[sent % args.people]
            now, kind = int(time.time() * 1000), sent // args.people % 20
            if kind == 0:
                send("device.activity", user, "watch", {"steps": draw.choice((0, 0, 0, 20)), "period_s": 60.0}, now)
            elif kind == 10:
                status = {"device": "WATCH", "worn": "YES", "connected": True, "battery_pct": 70.0}
                send("device.status", user, "watch", status, now)
            else:
                send("device.heart_rate", user, "watch", {"bpm": draw.randint(58, 80), "quality": "LOCKED"}, now)
            sent += 1
        while crises < gone * args.crises:
            user, now = order[turn % len(order)], int(time.time() * 1000)
            flag = {"category": "SUICIDE_METHOD", "severity": 3, "lexicon_version": "x", "classifier_version": "y"}
            send("device.search_flag", user, "phone", flag, now)
            if log is not None:
                log.write(json.dumps([user, now]) + "\n")
                log.flush()
            crises, turn = crises + 1, turn + 1
        time.sleep(0.01)
    producer.flush()
    print(json.dumps({"sent": sent, "crises": crises, "seconds": round(time.time() - start, 1)}))


if __name__ == "__main__":
    main()
