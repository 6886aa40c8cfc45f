"""Make the bundled log: the golden scenarios of family A, and two weeks of a real recording that may be redistributed.

    python -m examples.make            # needs the CC0 recording beside the project; see README.md here

Event ids are left out where a counter stands: they follow from it (contracts.md 1), and the log stays small.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import fitbit
from schemas import TOPICS, rows
from simulator import scenarios

FOLDER = Path(__file__).parent / "log"
ACUTE = ("g1", "g1_no_consent", "g2", "g3", "g4", "g10", "g11", "g17")  # a fortnight: the pulse needs a week
TREND = ("g5", "g6", "g7", "g8", "g9")  # thirty days: the baseline needs four weeks
REAL_USER, REAL_DAYS = "2347167796", 14
DAY_MS = 86_400_000
REAL_SHIFT_DAYS = 3675  # whole weeks, so that the recording of 2016 stands beside the made-up spring of 2026


def made_up() -> dict[str, list[dict[str, Any]]]:
    """Records by topic of all scenarios; text replies of chat need no more than their consent (g17)."""
    out: dict[str, list[dict[str, Any]]] = {}
    for name in (*ACUTE, *TREND):
        log = scenarios.build(name, first_day="05-06" if name in ACUTE else "04-20")
        for topic, records in log.items():
            out.setdefault(topic, []).extend(records)
    return out


def real() -> dict[str, pa.Table]:
    """Two weeks of heart rate and steps of one wearer (CC0), moved by whole weeks."""
    out: dict[str, pa.Table] = {}
    for stream in fitbit.streams((REAL_USER,)):
        keep = stream.time < stream.time.min() + REAL_DAYS * DAY_MS
        moved = fitbit.Stream("fitbit", stream.topic, stream.time[keep] + REAL_SHIFT_DAYS * DAY_MS, stream.value[keep])
        out[stream.topic] = fitbit.as_table(moved)
    return out


def write(topic: str, name: str, table: pa.Table) -> None:
    folder = FOLDER / topic
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{name}.parquet", compression="zstd", compression_level=19)


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for topic, records in made_up().items():
        seen: set[str] = set()
        kept = []
        for record in records:
            bare = {k: v for k, v in record.items() if k != "event_id" or record.get("seq") is None}
            if topic == "content.pack":  # the lexicon of the scenarios is one, not one a person
                if record["user"] in seen:
                    continue
                seen.add(record["user"])
            kept.append(bare)
        kept.sort(key=lambda r: (r["user"], r.get("ingest_time", r["event_time"])))
        table, defects = rows.from_dicts(topic, kept)
        assert not defects, (topic, defects[:3])
        write(topic, "golden", table)
    for topic, table in real().items():
        assert topic in TOPICS
        write(topic, "fitbit", table)


if __name__ == "__main__":
    main()
