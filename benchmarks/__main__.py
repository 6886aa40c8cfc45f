"""`make bench`: speed, memory and state of whole replays; writes benchmarks/RESULTS.md.

Each figure comes from a process of its own. These machines are noisy: compare figures of one run, not of two.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import fitbit
from simulator.people import simulate

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = "what | rows | people | days | CPU s | rows per CPU s | peak MB | largest state, bytes | dead letters\n-|-|-|-|-|-|-|-|-"
BEGIN, END = "<!-- figures: make bench -->", "<!-- end of figures -->"
YEAR = 365


def run(what: str, log: Path, fmt: str) -> str:
    """One row of the table."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.measure", str(log), fmt],
        capture_output=True,
        text=True,
        check=True,
    )
    m: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return (
        f"{what} | {m['rows']:,} | {m['people']:,} | {m['days']} | {m['cpu_s']:.1f} | {m['rows_per_cpu_s']:,} | {m['peak_mb']} | "
        f"{m['largest_state_bytes']:,} | {m['dlq']:,}"
    )


def long_recording(log: Path, days: int) -> None:
    """One real wearer's minutes again and again, until `days` are full."""
    for stream in fitbit.streams(("AURCTAK",)):
        span = (int(stream.time.max() - stream.time.min()) // fitbit.DAY_MS + 1) * fitbit.DAY_MS
        parts = []
        for i in range(-(-days * fitbit.DAY_MS // span)):
            keep = stream.time + i * span < stream.time.min() + days * fitbit.DAY_MS
            parts.append(
                fitbit.as_table(fitbit.Stream("wearer", stream.topic, stream.time[keep] + i * span, stream.value[keep]))
            )
        (log / stream.topic).mkdir(parents=True, exist_ok=True)
        table = pa.concat_tables(parts)
        pq.write_table(table.take(pc.sort_indices(table["ingest_time"])), log / stream.topic / "year.parquet")


def figures(folder: Path) -> Iterator[str]:
    """All rows, each as soon as it is measured."""
    if fitbit.available():
        fitbit.write_log(folder / "covid", fitbit.COVID)
        yield run("five real people (COVID Fitbit), Parquet out", folder / "covid", "parquet")
        yield run("the same, JSON out", folder / "covid", "jsonl")
        fitbit.write_answers(folder / "covid")
        yield run("the same with made-up answers, all models on, Parquet out", folder / "covid", "parquet")
        for days in (YEAR // 4, YEAR):
            long_recording(folder / f"long{days}", days)
            yield run(f"one real wearer, {days} days (repeated), Parquet out", folder / f"long{days}", "parquet")
    for people, days in ((10, 14), (100, 14), (1000, 3)):
        log = folder / f"people{people}"
        simulate(log, people=people, days=days, fmt="parquet")
        yield run(f"{people:,} simulated people, {days} days, Parquet out", log, "parquet")
    simulate(folder / "year", people=1, days=YEAR, fmt="parquet")
    yield run("one simulated person, a year, all modalities", folder / "year", "parquet")


def main() -> None:
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        print(HEAD, flush=True)
        for line in figures(Path(folder)):
            print(line, flush=True)
            lines.append(line)
    machine = f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}, pyarrow {pa.__version__}"
    table = "\n".join([BEGIN, f"`make bench` on {machine}:", "", HEAD, *lines, END])
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else f"# Results\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    RESULTS.write_text(before + table + after, encoding="utf-8")


if __name__ == "__main__":
    main()
