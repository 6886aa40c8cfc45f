"""What the Flink carrier costs: a backlog drained with the whole graph, rows per CPU second of JVM and Python together.

    python -m benchmarks.flink fill --brokers 127.0.0.1:9092 --records 700000 --people 40 (or --real)
    python -m benchmarks.flink drain --brokers 127.0.0.1:9092 [--folder .kairos/flink-bench] [--backend rocksdb] [--external]
    python -m benchmarks.flink crisis --brokers …                                # severity-3 searches while it is drained
    python -m benchmarks.flink idle --brokers … --seconds 900 [--unpatched]      # the leak: nothing to read

The topics must hold a backlog (`fill` makes them and one of simulated people), or be empty (`idle`). Starts a Flink of its own
and stops it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.live import PARTITIONS, consents, figures, fill, fill_real, search, watch
from benchmarks.live_feed import make_topics
from benchmarks.live_samples import children, lag, process, read, sample
from connectors.kafka.options import KafkaOptions
from deploy.flink.cluster import ROLES, Flink, Ports
from deploy.local.service import free_port
from kairos.flink_run import lanes_at
from pipelines.on_flink import Engine, submit
from pipelines.stream_options import Stream

SHORT = 5_000  # records unread: what is left is no backlog


def usage(flink: Flink, pool: int = 0) -> dict[str, float]:
    """CPU seconds and resident MB of JVMs and Python workers; `pool` is the process of an external worker pool."""
    pids = [p for role in ROLES if (p := flink.services[role].pid) is not None]
    jvm = [process(p) for p in pids]
    workers = [process(p) for p in children(pool or flink.services["taskmanager"].pid or 0)]
    return {
        "jvm_cpu_s": sum(u[0] for u in jvm), "python_cpu_s": sum(u[0] for u in workers),
        "jvm_mb": sum(u[1] for u in jvm), "python_mb": sum(u[1] for u in workers),
    }  # fmt: skip


class Crisis:
    """Severity-3 searches, two a second, of the people of the backlog, from `start` on; seconds until each is answered."""

    def __init__(self, options: KafkaOptions) -> None:
        self.options, self.found, self.ended = options, list[float](), threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        users = sorted({r.key.decode() for r in read(self.options.brokers, "clinical.consent")})
        consents(self.options, users)
        time.sleep(5)  # they are stamped a minute back: not a clock that a lane can count on
        since = int(time.time() * 1000)
        self.threads = [
            threading.Thread(target=search, args=(self.options, users, self.ended, 0.5)),
            threading.Thread(target=watch, args=(self.options, self.ended, self.found, since)),
        ]
        for t in self.threads:
            t.start()

    def stop(self) -> None:
        self.ended.set()
        for t in self.threads:
            t.join()


def main() -> None:
    from kafka import KafkaConsumer

    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["fill", "drain", "crisis", "idle"])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--folder", type=Path, default=Path(".kairos/flink-bench"))
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--unpatched", action="store_true")
    parser.add_argument("--backend", default="hashmap")
    parser.add_argument(
        "--external", action="store_true", help="workers from a pool (EXTERNAL) instead of the TaskManager's"
    )
    parser.add_argument("--records", type=int, default=700_000)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--real", action="store_true", help="five real wearers (benchmarks.fitbit) instead of simulated people")
    args = parser.parse_args()
    if args.what == "fill":
        make_topics(args.brokers, PARTITIONS, by_broker_clock=False)
        with tempfile.TemporaryDirectory() as folder:
            kafka, place = KafkaOptions(args.brokers), Path(folder)
            n, _ = fill_real(kafka, place) if args.real else fill(kafka, args.records, args.people, place)
            print(json.dumps({"records": n}))
        return
    group = f"bench-{int(time.time())}"
    kafka = KafkaOptions(args.brokers)
    flink = Flink(
        args.folder, Ports.free(), backend=args.backend, skip=("BundleCheckpointHandlers",) if args.unpatched else ()
    )
    consumer = KafkaConsumer(bootstrap_servers=args.brokers, group_id=group, enable_auto_commit=False)
    flink.start()
    where, pool = ("PROCESS", str(flink.worker)), None
    if args.external:
        port = free_port()
        where = "EXTERNAL", f"127.0.0.1:{port}"
        pool = subprocess.Popen(
            [sys.executable, "-c", f"from deploy.flink.worker_pool import serve; serve({port}, {str(flink.worker)!r})"]
        )
    try:
        total = lag(consumer, group)
        before, began = usage(flink, pool.pid if pool else 0), time.time()
        stream = Stream(kafka, group=group, lanes=lanes_at(kafka))
        engine = Engine(flink.job_endpoint, flink.artifact_endpoint, *where, args.workers, args.parallelism, name=group)
        submit(stream, engine.options())
        roles = {r: flink.services[r].pid or 0 for r in ROLES}
        end, crisis = time.time() + args.seconds, Crisis(kafka)
        while time.time() < end:
            time.sleep(30 if args.what == "idle" else 5)
            job = flink.job(group)
            left = lag(consumer, group)
            if args.what == "crisis" and left < total and not crisis.threads:
                crisis.start()
            line: dict[str, Any] = {"left": left, "seconds": round(time.time() - began)}
            with contextlib.suppress(OSError):  # while the job is being made there are no figures yet
                if job is not None:
                    seen = sample(flink.rest, job, roles)
                    line |= {k: v for k, v in seen.items() if k in ("checkpoint_bytes", "reading_bytes", "heap_mb")}
            print(
                json.dumps(line | {k: round(v) for k, v in usage(flink, pool.pid if pool else 0).items()}), flush=True
            )
            if (args.what != "idle" and not left) or (args.what == "crisis" and left < SHORT):
                break
        crisis.stop()
        after = usage(flink, pool.pid if pool else 0)
        used = {k: round(after[k] - before[k], 1) for k in ("jvm_cpu_s", "python_cpu_s")}
        rate = (total - left) / max(sum(used.values()), 0.1)
        print(
            json.dumps(
                {
                    "records": total - left,
                    **used,
                    "records_per_cpu_s": round(rate),
                    "wall_s": round(time.time() - began),
                    **(figures(crisis.found) if args.what == "crisis" else {}),
                }
            )
        )
    finally:
        flink.stop()
        if pool is not None:
            pool.terminate()


if __name__ == "__main__":
    main()
