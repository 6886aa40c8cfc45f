"""Seconds from `chat.inbound` to its first `chat.outbound` over Kafka: `python -m benchmarks.chat_latency --brokers HOST:PORT`.

A live `kairos run` must be under way on these brokers. One made-up person permits the chat and says made-up sentences, one at a
time; the clock is this process's own, from before the produce call to the record in hand. Prints median, p95, p99, worst.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from benchmarks.chat_speed import SAID

LIMIT_S = 1.0  # p99, conversation.md
DAY_MS = 86_400_000


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chat_latency", description=__doc__)
    parser.add_argument("--brokers", required=True, metavar="HOST:PORT")
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--gap", type=float, default=0.5, help="seconds between an answer and the next message")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds after which a message counts as unanswered")
    given = parser.parse_args(argv)
    from kafka import KafkaConsumer, KafkaProducer

    producer = KafkaProducer(bootstrap_servers=given.brokers, linger_ms=0)
    consumer = KafkaConsumer("chat.outbound", bootstrap_servers=given.brokers, auto_offset_reset="latest")
    consumer.poll(timeout_ms=2_000)
    user, run = "latency", str(time.time_ns())
    consent = {
        "consent_id": "c0", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": "SELF", "purpose": "CARE_USER_MSG",
        "modalities": ["CHAT"], "effect": "PERMIT", "valid_from": _now() - DAY_MS, "valid_to": _now() + 30 * DAY_MS,
        "signature": "demo",
    }  # fmt: skip
    _send(producer, "clinical.consent", user, run, 0, consent)
    time.sleep(3 * given.gap + 3)
    took: list[float] = []
    for i in range(1, given.messages + 1):
        session = f"{run}-{i}"
        begun = time.monotonic()
        _send(producer, "chat.inbound", user, run, i, {"session_id": session, "text": SAID[i % len(SAID)], "lang": "en"})
        answered = _wait(consumer, session, begun + given.timeout)
        took.append(time.monotonic() - begun if answered else float("inf"))
        time.sleep(given.gap)
    took.sort()
    at = {p: took[min(len(took) - 1, int(p / 100 * len(took)))] for p in (50, 95, 99)}
    print(f"{len(took)} messages: p50 {at[50]:.3f} s, p95 {at[95]:.3f} s, p99 {at[99]:.3f} s, worst {took[-1]:.3f} s")
    return 0 if at[99] <= LIMIT_S else 1


def _now() -> int:
    return time.time_ns() // 1_000_000


def _send(producer: Any, topic: str, user: str, run: str, n: int, value: dict[str, Any]) -> None:
    record = {
        "user": user, "event_time": _now(), "tz_offset_min": 0, "source_id": f"latency-{run}", "seq": n, "event_id": f"{run}-{n}",
        "value": value,
    }  # fmt: skip
    producer.send(topic, key=user.encode(), value=json.dumps(record).encode())
    producer.flush()


def _wait(consumer: Any, session: str, until: float) -> bool:
    """Whether a reply to this session came in time; values may be JSON, or Avro, in which the session's id stands as it is."""
    while time.monotonic() < until:
        for records in consumer.poll(timeout_ms=50).values():
            if any(session.encode() in (r.value or b"") for r in records):
                return True
    return False


if __name__ == "__main__":
    sys.exit(main())
