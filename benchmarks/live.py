"""The embedded live run against a real broker: drain of a backlog, latency, crisis under a backlog.

    python -m benchmarks.live drain --records 2000000        rows per CPU second, and kafka-python alone on the same records
    python -m benchmarks.live drain --real [--form json]     the same of five real wearers (benchmarks.fitbit)
    python -m benchmarks.live latency --rate 1000 --seconds 60
    python -m benchmarks.live crisis --records 1000000

Each prints one line of JSON. CPU seconds are those of the reading process; the broker's are not counted. These machines are
shared: rates per CPU second compare, latencies are upper bounds.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks import fitbit
from connectors.kafka import topics
from connectors.kafka.codec import READ, Encoder
from connectors.kafka.fetch import Fetcher
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import READER
from connectors.kafka.sender import ByHash
from connectors.log_source import LogSource
from deploy.local.broker import Broker
from pipelines.live import Live
from pipelines.settings import Settings
from schemas import rows
from simulator.people import simulate

PARTITIONS = 4
EVERY = ["LOCATION", "HEART_RATE", "ACTIVITY", "WELLNESS", "SEARCH", "PHONE_USAGE", "SELFREPORT"]


def fill(options: KafkaOptions, records: int, people: int, folder: Path) -> tuple[int, int]:
    """About so many simulated records of the days up to now as a backlog; how many, and the last arrival."""
    days = max(1, records // (people * 2_900) + 1)
    simulate(folder / "log", people, days, start=dt.datetime.now(dt.UTC).date() - dt.timedelta(days), fmt="parquet")
    n, _, last = fill_from(options, folder / "log", records)
    return n, last


def fill_from(options: KafkaOptions, log: Path, records: int | None = None, form: str = "avro") -> tuple[int, int, int]:
    """A log as a backlog, arrival times as timestamps, what has arrived by now: how many records, first and last arrival."""
    producer = KafkaProducer(**options.client(linger_ms=50, batch_size=1 << 19, compression_type="lz4", partitioner=ByHash()))
    encoder, n, first, last = Encoder(form=form), 0, 0, 0
    now = int(time.time() * 1000)
    with LogSource([log]) as source:
        for after, until in source.plan(200_000):
            first, until = first or after, min(until, now)
            for topic, table in (source.read(after, until) if until > after else {}).items():
                users, times = table["user"].to_pylist(), table["ingest_time"].to_pylist()
                for user, at, record in zip(users, times, rows.to_dicts(topic, table), strict=True):
                    producer.send(options.name(topic), key=user.encode(), value=encoder.value(topic, record), timestamp_ms=at)
                n += len(times)
            last = until
            if records is not None and n >= records:
                break
    producer.flush()
    producer.close()
    reader = Fetcher(options, READ)
    there = sum((reader.ends(wait_s=30) or {}).values())
    reader.close()
    if there != n:
        raise SystemExit(f"{there} of {n} records are on the topics: the broker was too slow, nothing is measured")
    return n, first, last


def fill_real(options: KafkaOptions, folder: Path, form: str = "avro") -> tuple[int, int]:
    """All of five real wearers, heart rate and steps, as a backlog; how many records, and the last arrival."""
    fitbit.write_log(folder / "log", fitbit.COVID)
    fitbit.write_consents(folder / "log", fitbit.COVID)
    n, _, last = fill_from(options, folder / "log", form=form)
    return n, last


def alone(options: KafkaOptions) -> float:
    """CPU seconds of kafka-python alone over the same records."""
    begun = time.process_time()
    consumer = KafkaConsumer(**options.client(**READER))
    names = consumer.topics() & {options.name(t) for t in READ}
    parts = [TopicPartition(n, p) for n in sorted(names) for p in consumer.partitions_for_topic(n)]
    consumer.assign(parts)
    consumer.seek_to_beginning()
    left = sum(consumer.end_offsets(parts).values())
    while left > 0:  # by what is handed out: the client's own position runs ahead of it
        left -= sum(map(len, consumer.poll(timeout_ms=500, max_records=20_000).values()))
    consumer.close()
    return time.process_time() - begun


def drain(broker: Broker, folder: Path, records: int, people: int, real: bool = False, form: str = "avro") -> dict[str, Any]:
    """Rows per CPU second of the whole graph; memory. `real`: all of five real wearers instead, heart rate and steps."""
    options = KafkaOptions(broker.bootstrap)
    topics.create(options, partitions=PARTITIONS, clock="CreateTime")
    if real:
        people = len(fitbit.COVID)
        n, last = fill_real(options, folder, form)
    else:
        n, last = fill(options, records, people, folder)
    base = alone(options)
    code = f"from benchmarks.live import _drained; _drained({broker.bootstrap!r}, {str(folder / 'state.db')!r}, {last})"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    cpu, wall, peak, breaks = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        "what": "drain", "records": n, "people": people, "kafka_python_per_cpu_s": round(n / base), "rows_per_cpu_s": round(n / cpu),
        "share": round(base / cpu, 3), "cpu_s": round(cpu, 1), "wall_s": round(wall, 1), "peak_mb": peak, "order_breaks": breaks,
    }  # fmt: skip


def _drained(brokers: str, state: str, end: int) -> None:
    cpu, wall = time.process_time(), time.monotonic()
    run = Live(KafkaOptions(brokers), Path(state), Settings(), end=end)
    run.run()
    run.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps([time.process_time() - cpu, time.monotonic() - wall, peak, sum(run.order_breaks.values())]))


def crisis(broker: Broker, folder: Path, records: int, people: int) -> dict[str, Any]:
    """Seconds from the arrival of a severity-3 search to its notification while a backlog is worked off."""
    options = KafkaOptions(broker.bootstrap)
    topics.create(options, partitions=PARTITIONS, clock="CreateTime")
    n, _ = fill(options, records, people, folder)
    with LogSource([folder / "log"]) as source:
        users = sorted(u for u in source.users if not u.startswith("_"))
    consents(options, users)
    ended = threading.Event()
    found: list[float] = []
    since = int(time.time() * 1000)
    threads = [
        threading.Thread(target=search, args=(options, users, ended, 0.5)),
        threading.Thread(target=watch, args=(options, ended, found, since)),
    ]
    run = Live(options, folder / "state.db", Settings())
    threading.Timer(120, lambda: setattr(run, "stopping", True)).start()
    for t in threads:
        t.start()
    begun = time.monotonic()
    drained: list[float] = []
    while not run.stopping:
        run.tick()
        if not drained and run.fetcher.answers and run.fetcher.lag == 0:
            drained.append(time.monotonic() - begun)
    ended.set()
    for t in threads:
        t.join()
    run.close()
    return {"what": "crisis", "backlog": n, "drained_after_s": [round(d, 1) for d in drained], **figures(found)}


def latency(broker: Broker, folder: Path, rate: int, seconds: int, people: int) -> dict[str, Any]:
    """Seconds from arrival to notification at a steady rate of heart-rate records."""
    options = KafkaOptions(broker.bootstrap)
    topics.create(options, partitions=PARTITIONS, clock="CreateTime")
    users = [f"p{i:03d}" for i in range(1, people + 1)]
    consents(options, users)
    found: list[float] = []
    since = int(time.time() * 1000)
    ended = threading.Event()
    threads = [
        threading.Thread(target=_beats, args=(options, users, ended, rate)),
        threading.Thread(target=search, args=(options, users, ended, 0.2)),
        threading.Thread(target=watch, args=(options, ended, found, since)),
    ]
    run = Live(options, folder / "state.db", Settings())
    threading.Timer(seconds, lambda: setattr(run, "stopping", True)).start()
    for t in threads:
        t.start()
    cpu, begun = time.process_time(), time.monotonic()
    run.run()
    used, took = time.process_time() - cpu, time.monotonic() - begun
    ended.set()
    for t in threads:
        t.join()
    run.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "what": "latency", "rate": rate, "people": people, "seconds": round(took), "cores": round(used / took, 2), "peak_mb": peak,
        "order_breaks": sum(run.order_breaks.values()), **figures(found),
    }  # fmt: skip


def figures(found: list[float]) -> dict[str, Any]:
    if not found:
        return {"notifications": 0}
    p50, p99 = np.percentile(found, [50, 99])
    return {"notifications": len(found), "p50_s": round(p50, 2), "p99_s": round(p99, 2), "max_s": round(max(found), 2)}


def watch(options: KafkaOptions, ended: threading.Event, found: list[float], since: int) -> None:
    """Latency of each notification of records that arrived since the start, as a read_committed reader sees it."""
    consumer = KafkaConsumer(**options.client(isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=50))
    consumer.assign([TopicPartition("notifications", p) for p in consumer.partitions_for_topic("notifications")])
    while not ended.is_set():
        for got in consumer.poll(timeout_ms=200).values():
            now = time.time() * 1000
            found += [(now - r.timestamp) / 1000 for r in got if r.timestamp >= since]
    consumer.close()


def consents(options: KafkaOptions, users: list[str]) -> None:
    now = int(time.time() * 1000) - 60_000
    producer, encoder = KafkaProducer(**options.client()), Encoder()
    for user in users:
        value = {
            "consent_id": "c0", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": "SELF",
            "purpose": "CARE_USER_MSG", "modalities": EVERY, "effect": "PERMIT", "valid_from": now - 10**9,
            "valid_to": now + 10**10, "signature": "demo",
        }  # fmt: skip
        record = {"user": user, "event_time": now, "ingest_time": now, "tz_offset_min": 0, "event_id": f"c-{user}", "value": value}
        producer.send("clinical.consent", key=user.encode(), value=encoder.value("clinical.consent", record), timestamp_ms=now)
    producer.flush()
    producer.close()


def _beats(options: KafkaOptions, users: list[str], ended: threading.Event, rate: int) -> None:
    producer, encoder, n = KafkaProducer(**options.client(linger_ms=20)), Encoder(), 0
    begun = time.monotonic()
    while not ended.is_set():
        while n < (time.monotonic() - begun) * rate:
            user, now = users[n % len(users)], int(time.time() * 1000)
            value = {"bpm": 60.0 + n % 20, "quality": "LOCKED"}
            record = {
                "user": user, "event_time": now, "ingest_time": now, "tz_offset_min": 0, "source_id": "w", "seq": n, "value": value,
            }  # fmt: skip
            producer.send("device.heart_rate", key=user.encode(), value=encoder.value("device.heart_rate", record), timestamp_ms=now)
            n += 1
        time.sleep(0.01)
    producer.close()


def search(options: KafkaOptions, users: list[str], ended: threading.Event, every_s: float) -> None:
    """A severity-3 search of one person after another."""
    producer, encoder = KafkaProducer(**options.client()), Encoder()
    for n, user in enumerate(_round(users)):
        if ended.wait(every_s):
            break
        now = int(time.time() * 1000)
        value = {
            "category": "SUICIDE", "severity": 3, "score": 0.9, "lexicon_version": "b", "classifier_version": "none",
            "clock_suspect": False,
        }  # fmt: skip
        record = {
            "user": user, "event_time": now, "ingest_time": now, "tz_offset_min": 0, "source_id": "b", "seq": n, "event_id": f"s-{n}",
            "value": value,
        }  # fmt: skip
        producer.send("device.search_flag", key=user.encode(), value=encoder.value("device.search_flag", record), timestamp_ms=now)
    producer.close()


def _round(users: list[str]) -> Iterator[str]:
    while True:
        yield from users


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("what", choices=["drain", "latency", "crisis"])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=100)  # latency: enough for everybody to be alerted once only
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--real", action="store_true", help="drain: five real wearers")
    parser.add_argument("--form", choices=["avro", "json"], default="avro", help="drain --real: how records are written")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Broker(Path(place) / "kafka", heap="512m") as broker:
        folder = Path(place)
        if given.what == "drain":
            out = drain(broker, folder, given.records, given.people, given.real, given.form)
        elif given.what == "crisis":
            out = crisis(broker, folder, given.records, given.people)
        else:
            out = latency(broker, folder, given.rate, given.seconds, given.people)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
