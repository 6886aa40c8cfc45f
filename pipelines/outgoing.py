"""Output records of a live step as Kafka messages, in the order in which a replay writes them. No Beam here."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from connectors.kafka.codec import Encoder, Letter
from connectors.kafka.sender import Message
from connectors.kafka.sink import messages
from connectors.log_sink import in_order
from pipelines.report import OPS
from pipelines.step import Stepped
from schemas import TOPICS, ids, rows

OUT = frozenset({"OUT", "STATE"})  # what came in is not sent back to where it came from
FIRST = ("notifications", "chat.outbound", "therapy.command")


def outgoing(done: list[Stepped], letters: list[dict[str, Any]], encoder: Encoder) -> list[Message]:
    """Everything a slice said, topic by topic by (ingest_time, event_id); what somebody waits for first."""
    tables: dict[str, list[pa.Table]] = {}
    records: dict[str, list[dict[str, Any]]] = {"dlq": letters} if letters else {}
    for s in done:
        for topic, table in s.tables.items():
            if len(table) and (TOPICS[topic].klass in OUT or topic in s.made):
                tables.setdefault(topic, []).append(table)
        for topic, said in s.records.items():
            records.setdefault(topic, []).extend(said)
    for topic, said in records.items():
        tables.setdefault(topic, []).append(as_table(topic, said))
    out: list[Message] = []
    for topic in sorted(tables, key=lambda t: (t not in FIRST, t)):
        out += messages(topic, in_order(pa.concat_tables(tables[topic]).combine_chunks()), encoder)
    return out


def as_table(topic: str, records: list[dict[str, Any]]) -> pa.Table:
    """Output records as rows; AssertionError if they do not fit: a defect of a deploy, not of a payload."""
    table, defects = rows.from_dicts(topic, records)
    if defects:
        raise AssertionError(f"output of {topic} does not fit its schema: {defects[0].reason} {defects[0].field}")
    return table


def letter(x: Letter, user: str | None = None) -> dict[str, Any]:
    """A dead letter as a record of `dlq`: closed reason and `partition:offset`, never a payload."""
    where = f"{x.partition}:{x.offset}"
    value: dict[str, Any] = {"topic": x.topic, "reason": x.reason, "position": where}
    if x.field is not None:
        value["field"] = x.field
    if x.topic in TOPICS:
        value["schema"] = f"{x.topic}:{TOPICS[x.topic].version}"
    who = user or x.user or OPS
    event = x.ingest_time if x.event_time is None else x.event_time
    return {
        "user": who, "event_time": event, "ingest_time": x.ingest_time, "tz_offset_min": 0,
        "event_id": ids.output_id("dlq", who, x.topic, where), "value": value,
    }  # fmt: skip
