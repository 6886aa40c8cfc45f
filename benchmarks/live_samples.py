"""What a running Flink job uses and how far behind it is: one JSON line every `--every` seconds.

    python -m benchmarks.live_samples --rest http://127.0.0.1:8081 --brokers 127.0.0.1:9092 --group kairos --pids 1,2,3 --out s.jsonl

`--latency` prints instead, from the topics, the time from the broker's timestamp of a severity-3 search flag to that of the
notification to the person (both topics stamped by the broker: `benchmarks.live_feed` makes them so).
"""

from __future__ import annotations

import argparse
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas import avro

TICK = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def process(pid: int) -> tuple[float, float]:
    """(CPU seconds used, resident MB) of a process, zeros if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / TICK, int(stat[21]) * PAGE_MB
    except (OSError, IndexError):
        return 0.0, 0.0


def children(pid: int) -> Iterator[int]:
    """All descendants: the workers that a TaskManager started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                yield int(entry.name)
                yield from children(int(entry.name))


def by_step(rest: str, job: str, checkpoint: int) -> dict[str, int]:
    """Bytes of a checkpoint by step: persons and what waits for them; reading (where a leak of residuals would show); the rest."""
    names = {v["id"]: v["name"] for v in get(f"{rest}/jobs/{job}")["vertices"]}
    out = {"persons_bytes": 0, "reading_bytes": 0, "other_bytes": 0}
    for vertex, task in get(f"{rest}/jobs/{job}/checkpoints/details/{checkpoint}")["tasks"].items():
        name = names[vertex]
        out["persons_bytes" if "RunPerson" in name else "reading_bytes" if "{ReadLane" in name else "other_bytes"] += (
            task["state_size"]
        )
    return out


def sample(rest: str, job: str, roles: dict[str, int]) -> dict[str, Any]:
    """Checkpoint size and time, heap, resident memory and CPU by role; Python workers are the TaskManager's children."""
    out: dict[str, Any] = {"t": round(time.time(), 1)}
    done = get(f"{rest}/jobs/{job}/checkpoints")
    last = done["latest"]["completed"]
    out["failed_checkpoints"], out["restored"] = done["counts"]["failed"], done["counts"]["restored"]
    if last:
        out |= {
            "checkpoint_bytes": last["state_size"],
            "checkpoint_ms": last["end_to_end_duration"],
            "checkpoint": last["id"],
        }
        out |= by_step(rest, job, last["id"])
    manager = get(f"{rest}/taskmanagers")["taskmanagers"][0]["id"]
    heap = get(f"{rest}/taskmanagers/{manager}/metrics?get=Status.JVM.Memory.Heap.Used")
    out["heap_mb"] = round(int(heap[0]["value"]) / 1e6, 1) if heap else None
    for role, pid in roles.items():
        cpu, rss = process(pid)
        out[f"{role}_cpu_s"], out[f"{role}_mb"] = round(cpu, 2), round(rss, 1)
    workers = [process(p) for p in children(roles["taskmanager"])]
    out["python_cpu_s"], out["python_mb"] = round(sum(w[0] for w in workers), 2), round(sum(w[1] for w in workers), 1)
    out["workers"] = len(workers)
    return out


def lag(consumer: Any, group: str) -> int:
    """Records of the input topics that are not committed yet; commits are told once a checkpoint."""
    from kafka import TopicPartition

    from schemas import TOPICS

    there = consumer.topics()
    inputs = [
        t for t, x in TOPICS.items() if x.klass in ("PRIVATE", "IN", "MID") and t in there and t != "content.pack"
    ]
    parts = [TopicPartition(t, p) for t in inputs for p in consumer.partitions_for_topic(t) or ()]
    ends = consumer.end_offsets(parts)
    return sum(ends[p] - (consumer.committed(p) or 0) for p in parts)


def latencies(brokers: str) -> list[tuple[int, int]]:
    """(broker's time of the flag, ms until the broker has the notification to the person)."""
    flags: dict[tuple[str, int], int] = {}
    for record in read(brokers, "device.search_flag"):
        flags[record.key.decode(), json.loads(record.value)["event_time"]] = record.timestamp
    out = []
    for record in read(brokers, "notifications"):
        value = record.value
        note = json.loads(value) if value[:1] == b"{" else avro.decode("notifications", value)
        at = flags.get((note["user"], note["event_time"]))
        if at is not None and note["value"]["audience"] == "USER":
            out.append((at, record.timestamp - at))
    return out


def read(brokers: str, topic: str) -> Iterator[Any]:
    """Everything of a topic."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=brokers, max_poll_records=20_000)
    parts = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    consumer.assign(parts)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(parts)
    while any(consumer.position(p) < ends[p] for p in parts):
        for records in consumer.poll(timeout_ms=500).values():
            yield from records
    consumer.close()


def quantiles(values: list[int]) -> dict[str, int]:
    v = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: v[min(len(v) - 1, int(len(v) * q))] for name, q in at.items()} if v else {}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rest", default="http://127.0.0.1:8081")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--group", default="kairos")
    parser.add_argument("--roles", default="", help="jobmanager=PID,taskmanager=PID,jobserver=PID")
    parser.add_argument("--every", type=float, default=15)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--skip", type=float, default=60, help="seconds at the start that do not count for the latency")
    args = parser.parse_args()
    if args.latency:
        found = latencies(args.brokers)
        first = min((at for at, _ in found), default=0) + args.skip * 1000
        counted = [ms for at, ms in found if at >= first]
        print(json.dumps({"notifications": len(counted), **quantiles(counted)}))
        return
    from kafka import KafkaConsumer

    roles = {k: int(v) for k, v in (pair.split("=") for pair in args.roles.split(","))}
    consumer = KafkaConsumer(bootstrap_servers=args.brokers, group_id=args.group, enable_auto_commit=False)
    job = next(j["jid"] for j in get(f"{args.rest}/jobs/overview")["jobs"] if j["state"] == "RUNNING")
    end = time.time() + args.seconds
    with args.out.open("a") as out:
        while time.time() < end:
            began = time.time()
            try:
                line = sample(args.rest, job, roles) | {"lag": lag(consumer, args.group)}
            except Exception as error:  # a sample that fails is a sample that is missing
                line = {"t": round(time.time(), 1), "failed": type(error).__name__}
            out.write(json.dumps(line) + "\n")
            out.flush()
            time.sleep(max(0.1, args.every - (time.time() - began)))


if __name__ == "__main__":
    main()
