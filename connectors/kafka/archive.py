"""Topics → Parquet log folder `<folder>/<topic>/<UTC date>/<partition>-<first offset>.parquet`, each record exactly once.

Files are written aside and renamed, then `offsets.json` is replaced; what lies beyond it after a kill is thrown away and read
again. Raw topics, homes and chat are never archived (topics.md 1): the folder can be replayed without them, because what ingest
made of the raw records is on the device topics.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.base import NotALog
from connectors.kafka.codec import Decoder
from connectors.kafka.fetch import Fetcher
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import Part
from connectors.kafka.registry import Registry
from schemas import TOPICS

NEVER = frozenset({"chat.inbound", "clinical.home", "dlq", "model.snapshot"})
TOPICS_KEPT = tuple(sorted(t.name for t in TOPICS.values() if t.klass not in ("PRIVATE",) and t.name not in NEVER))
DAY_MS = 86_400_000
BATCH = 200_000
OFFSETS = "offsets.json"


class Archive:
    """One archive folder.

    Raises
    ------
    NotALog
        No broker, or a folder that is another thing.
    """

    def __init__(self, options: KafkaOptions, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        try:
            kept = json.loads((folder / OFFSETS).read_text(encoding="utf-8")) if (folder / OFFSETS).exists() else {}
            self._next: dict[Part, int] = {_part(k): int(v) for k, v in kept.items()}
        except (OSError, ValueError, AttributeError):
            raise NotALog(f"{folder / OFFSETS}: damaged; it says how far the archive goes") from None
        if not (folder / OFFSETS).exists():
            if folder.is_dir() and any(folder.iterdir()):
                raise NotALog(f"{folder}: not empty and no archive; choose a new folder")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / OFFSETS).write_text("{}", encoding="utf-8")  # from now on it is one
        self._tidy()
        self._decoder = Decoder(Registry(options.registry) if options.registry else None)
        self._fetcher = Fetcher(options, TOPICS_KEPT, self._next)

    def _tidy(self) -> None:
        """Throw away what a kill left beyond the offsets."""
        for path in [*self.folder.rglob("*.part"), *self.folder.rglob("*.parquet")]:
            number, _, first = path.stem.partition("-")
            part = path.parent.parent.name, int(number) if number.isdigit() else -1
            if path.suffix == ".part" or (first.isdigit() and int(first) >= self._next.get(part, 0)):
                path.unlink()

    def take(self, patience_s: float = 60.0) -> int:
        """Archive what there is now; how many records."""
        ends, total, heard = self._fetcher.ends(wait_s=patience_s), 0, time.monotonic()
        if ends is None:
            raise NotALog(f"Kafka at {self._fetcher.options.brokers}: no answer")
        held: dict[Part, list[Any]] = {}
        n = 0
        while True:
            got = self._fetcher.poll(0.5)
            for part, records in got.items():
                held.setdefault(part, []).extend(r for r in records if r.offset < ends.get(part, 0))
                n += len(records)
            at = self._fetcher.positions(ends) or {}
            over = all(at.get(p, -1) >= end for p, end in ends.items())
            if n >= BATCH or over:
                total += self._write(held, {p: min(o, ends[p]) for p, o in at.items() if p in ends})
                held, n = {}, 0
            if over:
                return total
            if got:
                heard = time.monotonic()
            elif time.monotonic() - heard > patience_s:
                raise NotALog(f"Kafka at {self._fetcher.options.brokers}: stopped answering")

    def _write(self, held: dict[Part, list[Any]], at: dict[Part, int]) -> int:
        written = 0
        for (topic, number), records in sorted(held.items()):
            if not records:
                continue
            table, letters = self._decoder.read(topic, number, records, 0, own=True)
            self.dead[topic] += len(letters)
            offsets = table["_line"].to_numpy()
            days = table["ingest_time"].to_numpy() // DAY_MS
            table = table.drop_columns(["_file", "_line"])
            for day in np.unique(days).tolist():
                inside = days == day
                self._file(topic, number, int(offsets[inside][0]), day, table.filter(pa.array(inside)))
            self.counts[topic] += len(table)
            written += len(table)
        for part, offset in at.items():
            self._next[part] = max(offset, self._next.get(part, 0))
        text = json.dumps({f"{t}/{n}": o for (t, n), o in sorted(self._next.items())}, indent=0)
        _replace(self.folder / OFFSETS, text.encode())
        return written

    def _file(self, topic: str, number: int, first: int, day: int, table: pa.Table) -> None:
        date = (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
        place = self.folder / topic / date
        place.mkdir(parents=True, exist_ok=True)
        part = place / f"{number:03d}-{first:019d}.part"
        pq.write_table(table, part, compression="zstd")
        os.replace(part, part.with_suffix(".parquet"))

    def close(self) -> None:
        self._fetcher.close()


def _replace(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _part(name: str) -> Part:
    topic, _, number = name.rpartition("/")
    return topic, int(number)
