"""An hour of steady records through Flink: checkpoint size, heap, resident memory, lag and latency over time.

    python -m benchmarks.flink_soak [--seconds 3600] [--rate 1000] [--people 1000] [--backend rocksdb] [--folder .kairos/soak]

Starts a broker, a Flink and a feed of its own (`benchmarks.live_feed`) and stops them. Samples go to FOLDER/samples.jsonl, one
line every 15 s; at the end a table of the medians of the quarters. What waits for its turn breathes with the minute, so sizes
are compared by medians of a quarter, never by single samples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.live_feed import make_topics
from benchmarks.live_samples import lag, latencies, quantiles, sample
from connectors.kafka.options import KafkaOptions
from deploy.flink.cluster import ROLES, Flink, Ports
from deploy.local.broker import Broker
from kairos.flink_run import lanes_at
from pipelines.on_flink import Engine, submit
from pipelines.stream_options import Stream

EVERY_S = 15
GROUP = "soak"
SHOWN = (
    "checkpoint_bytes",
    "reading_bytes",
    "persons_bytes",
    "checkpoint_ms",
    "heap_mb",
    "taskmanager_mb",
    "python_mb",
    "lag",
)


def quarters(samples: list[dict[str, Any]], skip_s: float) -> list[dict[str, float]]:
    """Medians of the quarters of a run, without its first `skip_s` seconds; `heap_low_mb` = least heap, what a collection leaves."""
    good = [s for s in samples if "checkpoint_bytes" in s and s["t"] >= samples[0]["t"] + skip_s]
    size = -(-len(good) // 4)
    out = []
    for i in range(0, len(good), size or 1):
        part = good[i : i + size]
        row: dict[str, float] = {k: statistics.median(s[k] for s in part) for k in SHOWN}
        row |= {"heap_low_mb": min(s["heap_mb"] for s in part), "lag_max": max(s["lag"] for s in part)}
        span = part[-1]["t"] - part[0]["t"] or 1
        for who in ("taskmanager", "python"):
            row[f"{who}_cores"] = round((part[-1][f"{who}_cpu_s"] - part[0][f"{who}_cpu_s"]) / span, 2)
        row |= {
            "checkpoint_least": min(s["checkpoint_bytes"] for s in part),
            "from_s": round(part[0]["t"] - samples[0]["t"]),
        }
        out.append(row)
    return out


def main() -> None:
    from kafka import KafkaConsumer

    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path(".kairos/soak"))
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--backend", default="hashmap")
    parser.add_argument("--checkpoint-ms", type=int, default=5000)
    parser.add_argument("--skip", type=float, default=300, help="seconds at the start that do not count")
    args = parser.parse_args()
    with Broker(args.folder / "kafka") as broker:
        make_topics(broker.bootstrap, 4)
        kafka = KafkaOptions(broker.bootstrap)
        with Flink(args.folder / "flink", Ports.free(), backend=args.backend) as flink:
            stream = Stream(kafka, group=GROUP, lanes=lanes_at(kafka))
            engine = Engine(
                flink.job_endpoint,
                flink.artifact_endpoint,
                "PROCESS",
                str(flink.worker),
                checkpoint_ms=args.checkpoint_ms,
                name=GROUP,
            )
            submit(stream, engine.options())
            time.sleep(20)
            feed = [
                sys.executable,
                "-m",
                "benchmarks.live_feed",
                "--brokers",
                broker.bootstrap,
                "--rate",
                str(args.rate),
            ]
            feeding = subprocess.Popen([*feed, "--people", str(args.people), "--seconds", str(args.seconds)])
            consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=GROUP, enable_auto_commit=False)
            roles = {r: flink.services[r].pid or 0 for r in ROLES}
            samples: list[dict[str, Any]] = []
            with (args.folder / "samples.jsonl").open("a") as out:
                while feeding.poll() is None:
                    began = time.time()
                    try:
                        line = sample(flink.rest, flink.job(GROUP) or "", roles) | {"lag": lag(consumer, GROUP)}
                    except Exception as error:  # a sample that fails is a sample that is missing
                        line = {"t": round(time.time(), 1), "failed": type(error).__name__}
                    samples.append(line)
                    out.write(json.dumps(line) + "\n")
                    out.flush()
                    time.sleep(max(0.1, EVERY_S - (time.time() - began)))
            time.sleep(15)
            for row in quarters(samples, args.skip):
                print(json.dumps(row))
            first = samples[0]["t"] * 1000
            found = [(at - first, ms) for at, ms in latencies(broker.bootstrap)]
            for i in range(4):
                lo, hi = (args.skip + (args.seconds - args.skip) * (i + d) / 4 for d in (0, 1))
                part = [ms for at, ms in found if lo * 1000 <= at < hi * 1000]
                print(json.dumps({"latency_quarter": i + 1, "messages": len(part), **quantiles(part)}))
            counted = [ms for at, ms in found if at >= args.skip * 1000]
            print(json.dumps({"latency_ms": quantiles(counted), "messages": len(counted)}))


if __name__ == "__main__":
    main()
