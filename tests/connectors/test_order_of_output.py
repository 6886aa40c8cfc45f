"""Rows of one instant come out as they were said, however their ids happen to sort."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.log_sink import in_order
from schemas import rows

REPLY = {
    "session_id": "s", "reply_id": "menu", "pack_id": "p", "pack_version": "1.0", "pack_hash": "0" * 16, "locale": "en-GB",
    "flow": "RISK", "risk_level": "NONE",
}  # fmt: skip
COMMAND = {
    "program": "SPIDER",
    "session_id": "s",
    "action": "HOLD",
    "params": {},
    "reason": "BALANCED_ORDER",
    "policy_version": "x",
}


def table_of(topic: str, values: list[dict[str, Any]], ids: list[str]) -> Any:
    at = 1_779_278_400_000
    records = [
        {"user": "p1", "event_time": at, "ingest_time": at, "tz_offset_min": 0, "event_id": i, "value": v}
        for i, v in zip(ids, values, strict=True)
    ]
    table, defects = rows.from_dicts(topic, records)
    assert not defects
    return table


@pytest.mark.parametrize(
    ("topic", "value", "number"), [("chat.outbound", REPLY, "turn_index"), ("therapy.command", COMMAND, "command_seq")]
)
def test_what_is_said_first_stands_first(topic: str, value: dict[str, Any], number: str) -> None:
    ids = [f"{c}0000000-0000-5000-8000-000000000000" for c in "cab"]
    found = in_order(table_of(topic, [{**value, number: n} for n in (0, 1, 2)], ids)).to_pylist()
    assert [r["value"][number] for r in found] == [0, 1, 2]
    backwards = in_order(table_of(topic, [{**value, number: n} for n in (2, 1, 0)], ids[::-1])).to_pylist()
    assert backwards == found
