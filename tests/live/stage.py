"""A small log on a real broker, live runs over it, and the replay they must equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connectors.kafka.codec import Decoder
from connectors.kafka.options import KafkaOptions
from connectors.kafka.sender import MADE
from deploy.local.broker import Broker
from pipelines.live import Live
from pipelines.live_options import LiveOptions
from pipelines.settings import Settings
from schemas import TOPICS, rows
from tests.connectors import kafkas
from tests.graph.logs import Log, played, write

OUT = sorted(t.name for t in TOPICS.values() if t.klass in ("OUT", "STATE"))
QUICK = LiveOptions(slice_s=0.2, in_memory=2)


def stage(broker: Broker, log: Log, partitions: int = 1) -> KafkaOptions:
    """The log as a backlog: arrival times as message timestamps, each topic in order of arrival."""
    inputs = dict.fromkeys(sorted({*log, *MADE}), partitions)
    options = kafkas.fresh(broker, inputs | dict.fromkeys(OUT, 1))
    kafkas.produce(options, {t: sorted(r, key=lambda x: x["ingest_time"]) for t, r in log.items()})
    return options


def end_of(log: Log) -> int:
    return max(int(r["ingest_time"]) for rs in log.values() for r in rs)


def live(options: KafkaOptions, state: Path, end: int, live: LiveOptions = QUICK) -> Live:
    return Live(options, state, Settings(), live, end=end)


def said(options: KafkaOptions) -> dict[str, list[str]]:
    """What a read_committed reader finds on the output topics, as sorted JSON lines."""
    out: dict[str, list[str]] = {}
    for topic in OUT:
        lines = []
        for key, value, at in kafkas.consume(options, topic):
            record = Decoder()._parse(topic, value)
            assert record is not None
            assert record["user"].encode() == key
            assert record["ingest_time"] == at
            (table, defects) = rows.from_dicts(topic, [record])
            assert not defects
            lines.append(rows.to_json_lines(topic, table).decode())
        if lines:
            out[topic] = sorted(lines)
    return out


def replayed(log: Log, folder: Path, end: int) -> dict[str, list[str]]:
    """The same of the replay."""
    played(write(log, folder / "log"), folder / "out", end=end)
    out: dict[str, list[str]] = {}
    for path in sorted((folder / "out").rglob("*.jsonl")):
        if path.parent.name in OUT:
            out.setdefault(path.parent.name, []).extend(path.read_text(encoding="utf-8").splitlines(keepends=True))
    return {t: sorted(lines) for t, lines in out.items()}


def without_dlq(records: dict[str, list[str]]) -> dict[str, Any]:
    """A dead letter says where its record stood, in a file or in a partition: compared by what else it says."""
    out: dict[str, Any] = {t: r for t, r in records.items() if t != "dlq"}
    letters = [json.loads(line) for line in records.get("dlq", [])]
    out["dlq"] = sorted((x["user"], x["event_time"], x["value"]["topic"], x["value"]["reason"]) for x in letters)
    return out
