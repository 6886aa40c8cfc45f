"""Is live the replay? A log on a real broker as a backlog, run live, and replayed: the output records are compared.

    python -m benchmarks.live_equal --people 200 [--runs 3] [--minutes 10] [--no-scenarios]

A day of simulated people and all golden scenarios; arrival times are message timestamps. With `--runs` the live run is stopped and
started anew so often on the way. With `--minutes` the day is that up to now, and what these people do in so many minutes from now on is
produced as it arrives, in real time. Compared: every record of the output topics, ids and bytes (canonical JSON), as a `read_committed`
reader sees them; dead letters without their place, which is a file in one case and a partition in the other. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.live import PARTITIONS, fill_from
from connectors.kafka import topics
from connectors.kafka.codec import Decoder, Encoder
from connectors.kafka.options import KafkaOptions
from connectors.kafka.sender import ByHash
from connectors.log_source import LogSource
from deploy.local.broker import Broker
from pipelines.graph import replay
from pipelines.live import Live
from pipelines.settings import Settings
from schemas import TOPICS, rows
from simulator.people import simulate
from simulator.scenarios import names, needs

OUT = sorted(t.name for t in TOPICS.values() if t.klass in ("OUT", "STATE"))
START = dt.date(2026, 5, 19)  # the days on which the golden scenarios happen


def said(options: KafkaOptions) -> dict[str, Counter[str]]:
    """Topic → how often each record is there."""
    out: dict[str, Counter[str]] = {}
    decoder = Decoder()
    for topic in OUT:
        consumer = KafkaConsumer(**options.client(isolation_level="read_committed", auto_offset_reset="earliest"))
        asker = KafkaConsumer(**options.client(isolation_level="read_uncommitted"))
        parts = [TopicPartition(options.name(topic), p) for p in sorted(asker.partitions_for_topic(options.name(topic)) or ())]
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends = asker.end_offsets(parts)
        found: Counter[str] = Counter()
        while any(consumer.position(p) < ends[p] for p in parts):
            for got in consumer.poll(timeout_ms=500, max_records=2**31 - 1).values():
                records = [decoder._parse(topic, r.value) for r in got]
                found.update(_lines(topic, [r for r in records if r is not None]))
        consumer.close()
        asker.close()
        if found:
            out[topic] = found
    return out


def replayed(log: Path, folder: Path, end: int) -> dict[str, Counter[str]]:
    """The same of the replay."""
    replay([log], folder, settings=Settings(), end=end)
    out: dict[str, Counter[str]] = {}
    for path in sorted(folder.rglob("*.jsonl")):
        if path.parent.name in OUT:
            out.setdefault(path.parent.name, Counter()).update(path.read_text(encoding="utf-8").splitlines())
    return {t: _plain(t, c) for t, c in out.items()}


def _lines(topic: str, records: list[dict[str, Any]]) -> Counter[str]:
    table, defects = rows.from_dicts(topic, records)
    if defects:
        raise SystemExit(f"{topic}: {len(defects)} records do not fit their schema")
    return _plain(topic, Counter(rows.to_json_lines(topic, table).decode().splitlines()))


def _plain(topic: str, lines: Counter[str]) -> Counter[str]:
    if topic != "dlq":
        return lines
    out: Counter[str] = Counter()
    for line, n in lines.items():
        x = json.loads(line)
        out[json.dumps([x["user"], x["event_time"], x["value"]["topic"], x["value"]["reason"]])] += n
    return out


class Feed(threading.Thread):
    """Produces what arrives in (after, until], each record at its time."""

    def __init__(self, options: KafkaOptions, log: Path, after: int, until: int) -> None:
        super().__init__(daemon=True)
        self.options, self.due = options, list[tuple[int, str, bytes, bytes]]()
        encoder = Encoder()
        with LogSource([log]) as source:
            for topic, table in source.read(after, until).items():
                for record in rows.to_dicts(topic, table):
                    at, user = int(record["ingest_time"]), str(record["user"])
                    self.due.append((at, topic, user.encode(), encoder.value(topic, record)))
        self.due.sort(key=lambda d: d[0])

    def run(self) -> None:
        producer = KafkaProducer(**self.options.client(linger_ms=5, partitioner=ByHash()))
        for at, topic, key, value in self.due:
            time.sleep(max(0.0, at / 1000 - time.time()))
            producer.send(self.options.name(topic), key=key, value=value, timestamp_ms=at)
        producer.close()


def equal(broker: Broker, folder: Path, people: int, runs: int, minutes: int, scenarios: bool) -> dict[str, Any]:
    """Fill, run, replay, compare."""
    options = KafkaOptions(broker.bootstrap)
    topics.create(options, partitions=PARTITIONS, clock="CreateTime")
    start = dt.datetime.now(dt.UTC).date() - dt.timedelta(1) if minutes else START
    golden = [n for n in names() if needs(n) is None] if scenarios else []
    simulate(folder / "log", people, 2 if minutes else 1, start=start, scenarios=golden, fmt="parquet")
    n, first, last = fill_from(options, folder / "log")
    feed = None
    if minutes:
        after, last = last, int(time.time() * 1000) + minutes * 60_000
        feed = Feed(options, folder / "log", after, last)
        n += len(feed.due)
        feed.start()
    begun = time.process_time()
    breaks = 0
    for i in range(1, runs + 1):
        run = Live(options, folder / "state.db", Settings(), end=last if i == runs else first + (last - first) * i // runs)
        run.run()
        breaks += sum(run.order_breaks.values())
        run.close()
    if feed is not None:
        feed.join()
    cpu = time.process_time() - begun
    live, want = said(options), replayed(folder / "log", folder / "out", last)
    missing, extra = Counter[str](), Counter[str]()
    for topic in sorted({*live, *want}):
        a, b = live.get(topic, Counter()), want.get(topic, Counter())
        missing[topic], extra[topic] = sum((b - a).values()), sum((a - b).values())
    return {
        "what": "equal", "people": people, "runs": runs, "records": n,
        "in_real_time": len(feed.due) if feed is not None else 0, "out": sum(sum(c.values()) for c in want.values()),
        "topics": len(want), "missing": {t: k for t, k in missing.items() if k}, "extra": {t: k for t, k in extra.items() if k},
        "order_breaks": breaks, "cpu_s": round(cpu, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_equal", description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--minutes", type=int, default=0)
    parser.add_argument("--no-scenarios", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Broker(Path(place) / "kafka", heap="512m") as broker:
        print(json.dumps(equal(broker, Path(place), given.people, given.runs, given.minutes, not given.no_scenarios)))


if __name__ == "__main__":
    main()
