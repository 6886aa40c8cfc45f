"""CPU of reading Kafka records as rows: `Decoder.read` on records of a topic in single-object Avro.

    python -m benchmarks.decoding --rows 20000

One line of JSON a topic: microseconds a record (median and fastest of some turns), with kafka-python's own record type.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from typing import Any

from kafka.consumer.fetcher import ConsumerRecord

from connectors.kafka.codec import Decoder, Encoder
from schemas.topics import topic

TOPICS = ("device.heart_rate", "device.location", "device.activity", "therapy.event", "selfreport")
T0 = 1_772_445_305_000


def records(name: str, n: int) -> list[Any]:
    """Records of 20 people made from the topic's examples, with ids and counters of a device."""
    encoder, draw = Encoder(), random.Random(name)
    out = []
    for i in range(n):
        user, at = f"wearer-{draw.randrange(20):02d}", T0 + 1000 * i
        record = {
            "user": user, "event_time": at, "ingest_time": at + 1200, "tz_offset_min": 60, "source_id": "watch-1", "seq": i,
            "event_id": f"{user}-{i:08d}", "value": draw.choice(topic(name).examples),
        }  # fmt: skip
        given = dict.fromkeys(ConsumerRecord._fields)
        given |= {"offset": i, "timestamp": at + 1200, "key": user.encode(), "value": encoder.value(name, record), "headers": []}
        out.append(ConsumerRecord(**given))
    return out


def measure(name: str, n: int, turns: int) -> dict[str, Any]:
    given, decoder = records(name, n), Decoder()
    decoder.read(name, 0, given, 0)
    times = []
    for _ in range(turns):
        begun = time.process_time()
        table, letters = decoder.read(name, 0, given, 0)
        times.append((time.process_time() - begun) / n * 1e6)
        assert (len(table), letters) == (n, [])
    return {"topic": name, "rows": n, "us_a_row": round(statistics.median(times), 2), "fastest": round(min(times), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    for name in TOPICS:
        print(json.dumps(measure(name, given.rows, given.turns)))


if __name__ == "__main__":
    main()
