"""Counts of a run (report.json, contracts.md 3) and the dead letters of a slice. The counts add up: S28."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from pipelines.step import Stepped
from schemas import TOPICS, ids

OPS = "_ops"
Dead: TypeAlias = tuple[str, str, str | None, int, int, int, int]  # as IngestResult.dead


class Report:
    """What came in, went out, died, came twice or late, and of what a copy would no longer be known.

    Parameters
    ----------
    files
        Names of the log's files, for positions.
    before
        Report of the run that this one continues.
    """

    def __init__(self, files: list[str], before: dict[str, Any] | None = None) -> None:
        kept = before or {}
        self.files = files
        self.dlq: Counter[str] = Counter(kept.get("dlq", {}))
        self.late: Counter[str] = Counter(kept.get("late", {}))
        self.duplicates: Counter[str] = Counter(kept.get("duplicates", {}))
        self.forgotten: Counter[str] = Counter(kept.get("forgotten", {}))
        self.processed: Counter[str] = Counter(kept.get("processed", {}))
        self.before = kept

    def add(self, done: Stepped) -> None:
        self.late += done.came.late
        self.duplicates += done.came.duplicates
        self.forgotten += done.came.forgotten
        self.processed += done.came.processed

    def position(self, file: int, line: int) -> str:
        return f"{self.files[file]}:{line}"

    def letters(self, buried: list[tuple[str, list[Dead]]], dead: pa.Table) -> list[dict[str, Any]]:
        """`dlq` records of a slice: closed reason and position, never a payload.

        Parameters
        ----------
        buried
            By person what ingest could not use.
        dead
            What the source could not read: topic, reason, field, user, event_time, ingest_time, _file, _line.
        """
        out = []
        for user, letters in buried:
            for topic, reason, name, event, arrival, file, line in letters:
                out.append(self._letter(user, topic, reason, name, event, arrival, self.position(file, line)))
        for row in dead.to_pylist():
            arrival = int(row["ingest_time"])
            event = arrival if row["event_time"] is None else int(row["event_time"])
            where = self.position(row["_file"], row["_line"])
            out.append(
                self._letter(row["user"] or OPS, row["topic"], row["reason"], row["field"], event, arrival, where)
            )
        for letter in out:
            self.dlq[letter["value"]["reason"]] += 1
        return out

    def _letter(
        self, user: str, topic: str, reason: str, name: str | None, event: int, arrival: int, where: str
    ) -> dict[str, Any]:
        value: dict[str, Any] = {"topic": topic, "reason": reason, "position": where}
        if name is not None:
            value["field"] = name
        if topic in TOPICS:
            value["schema"] = f"{topic}:{TOPICS[topic].version}"
        return {
            "user": user, "event_time": event, "ingest_time": arrival, "tz_offset_min": 0,
            "event_id": ids.output_id("dlq", user, topic, where), "value": value,
        }  # fmt: skip

    def finish(
        self,
        people: int,
        records_in: Counter[str],
        records_out: Counter[str],
        first: int | None,
        last: int | None,
        wall: float,
        cpu: float,
    ) -> dict[str, Any]:
        """report.json; `wall` and `cpu` are when the run began."""
        kept = self.before
        firsts = [t for t in (kept.get("first"), first) if t is not None]
        lasts = [t for t in (kept.get("last"), last) if t is not None]
        return {
            "records_in": _sorted(Counter(kept.get("records_in", {})) + records_in),
            "records_out": _sorted(Counter(kept.get("records_out", {})) + records_out),
            "processed": _sorted(self.processed),
            "duplicates": _sorted(self.duplicates),
            "dlq": _sorted(self.dlq),
            "late": _sorted(self.late),
            "forgotten": _sorted(self.forgotten),
            "people": people,
            "first": min(firsts, default=None),
            "last": max(lasts, default=None),
            "wall_s": round(time.monotonic() - wall, 3),
            "cpu_s": round(time.process_time() - cpu, 3),
        }


def write(path: Path, report: dict[str, Any]) -> None:
    """report.json, readable."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {k: v for k, v in sorted(counts.items()) if v}
