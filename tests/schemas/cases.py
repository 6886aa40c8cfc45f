"""Records that the tests of schemas share."""

from typing import Any

from schemas import TOPICS

T0 = 1_772_445_305_000
NOBODY = {"content.pack": "_content/core/help/en-GB", "dlq": "_ops"}


def record(name: str, value: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    return {"user": NOBODY.get(name, "p01"), "event_time": T0, **envelope, "value": value}


def examples(name: str) -> list[dict[str, Any]]:
    """Complete records made from the examples of the spec, in the key order of the contract."""
    return [
        {
            "user": NOBODY.get(name, "p01"), "event_time": T0, "ingest_time": T0 + 1200, "tz_offset_min": 60,
            "source_id": "watch-1", "seq": 812, "event_id": "e-1", "value": value,
        }
        for value in TOPICS[name].examples
    ]  # fmt: skip
