"""CPU of reading Kafka records as rows: `Decoder.read` on records of a topic in single-object Avro, and of giving the rows of a
slice to the people they belong to: `by_person`.

    python -m benchmarks.decoding --rows 20000
    python -m benchmarks.decoding grouping --people 1000 --rows 400

One line of JSON a topic (grouping: of three topics together): microseconds a row (median and fastest of some turns), with
kafka-python's own record type.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from kafka.consumer.fetcher import ConsumerRecord

from connectors.kafka.codec import Decoder, Encoder
from pipelines.grouping import by_person
from pipelines.ingest import Pseudonyms
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


def decoding(name: str, n: int, turns: int) -> dict[str, Any]:
    given, decoder = records(name, n), Decoder()
    table, letters = decoder.read(name, 0, given, 0)
    assert (len(table), letters) == (n, [])
    return {"topic": name, "rows": n, **timed(lambda: decoder.read(name, 0, given, 0), n, turns)}


def grouping(people: int, n: int, turns: int) -> dict[str, Any]:
    """A slice of `n` rows of each of three topics, from four partitions."""
    tables, draw = {}, random.Random(people)
    for name in TOPICS[:3]:
        parts = [Decoder().read(name, p, records(name, n // 4), p)[0] for p in range(4)]
        users = [pa.array([f"wearer-{draw.randrange(people // 4) * 4 + p:04d}" for _ in range(n // 4)]) for p in range(4)]
        tables[name] = pa.concat_tables([t.set_column(0, "user", u) for t, u in zip(parts, users, strict=True)])
    rows, pseudonyms = sum(map(len, tables.values())), Pseudonyms("benchmark")
    by_person(tables, pseudonyms)  # pseudonyms are made once
    return {"people": people, "rows": rows, **timed(lambda: by_person(tables, pseudonyms), rows, turns)}


def timed(do: Callable[[], object], rows: int, turns: int) -> dict[str, float]:
    times = []
    for _ in range(turns):
        begun = time.process_time()
        do()
        times.append((time.process_time() - begun) / rows * 1e6)
    return {"us_a_row": round(statistics.median(times), 2), "fastest": round(min(times), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["decoding", "grouping"], default="decoding")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args()
    if given.what == "grouping":
        print(json.dumps(grouping(given.people, given.rows, given.turns)))
        return
    for name in TOPICS:
        print(json.dumps(decoding(name, given.rows, given.turns)))


if __name__ == "__main__":
    main()
