"""What a lane needs of Kafka, by kafka-python: a reader of committed records, and an asker of high watermarks beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.kafka.lanes import Part
from connectors.kafka.options import AWAY_S, KafkaOptions

READER = {
    "enable_auto_commit": False, "isolation_level": "read_committed", "auto_offset_reset": "earliest", "fetch_max_bytes": 2 << 20,
    "max_partition_fetch_bytes": 1 << 20, "fetch_max_wait_ms": 50, "allow_auto_create_topics": False,
    "metrics_enabled": False,
}  # fmt: skip
ASKER = {"enable_auto_commit": False, "isolation_level": "read_uncommitted", "metrics_enabled": False}
ASK_WAIT_MS = 2_000
ALL = 2**31 - 1


class KafkaLaneClient:
    """`lanes.Consumer` on kafka-python.

    Parameters
    ----------
    group
        Consumer group under which offsets are committed, for lag monitors; nothing is read back from it.
    """

    def __init__(self, options: KafkaOptions, group: str) -> None:
        from kafka import KafkaConsumer

        self.prefix = options.prefix
        away = AWAY_S * 1000
        self._reader = KafkaConsumer(**options.client(group_id=group, bootstrap_timeout_ms=away, **READER))
        self._asker = KafkaConsumer(**options.client(bootstrap_timeout_ms=away, **ASKER))

    def assign(self, parts: list[Part]) -> None:
        self._reader.assign(self._out(parts))

    def seek(self, part: Part, offset: int) -> None:
        self._reader.seek(*self._out([part]), offset)

    def poll(self, wait_ms: int) -> Mapping[Part, list[Any]]:
        """All that has been fetched (at most `fetch_max_bytes` and what paused partitions had left), never a part of it.

        kafka-python 3.0.12 loses a partition for ever that is paused while a poll with `max_records` has left some of its
        records behind: they are parked (`Fetcher._paused_partition_records`), taken up again only while no other partition's
        records are at hand (`_next_partition_records is None`, which a drained one is not), and not fetched anew meanwhile.
        """
        return self._in(self._reader.poll(timeout_ms=wait_ms, max_records=ALL))

    def position(self, part: Part) -> int:
        return int(self._reader.position(*self._out([part])))

    def ends(self, parts: list[Part]) -> dict[Part, int]:
        return self._in(self._asker.end_offsets(self._out(parts), timeout_ms=ASK_WAIT_MS)) if parts else {}

    def begins(self, parts: list[Part]) -> dict[Part, int]:
        return self._in(self._asker.beginning_offsets(self._out(parts))) if parts else {}

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        there = self._asker.topics()  # asks the broker, unlike partitions_for_topic
        named = {t: self.prefix + t for t in topics if self.prefix + t in there}
        return {t: sorted(self._asker.partitions_for_topic(name) or ()) for t, name in named.items()}

    def pause(self, parts: list[Part]) -> None:
        self._reader.pause(*self._out(parts))

    def resume(self, parts: list[Part]) -> None:
        self._reader.resume(*self._out(parts))

    def commit(self, offsets: dict[Part, int]) -> None:
        from kafka import OffsetAndMetadata

        parts = self._out(list(offsets))
        self._reader.commit_async(
            dict(zip(parts, (OffsetAndMetadata(o, "", -1) for o in offsets.values()), strict=True))
        )

    def close(self) -> None:
        self._reader.close()
        self._asker.close()

    def _out(self, parts: list[Part]) -> list[Any]:
        from kafka import TopicPartition

        return [TopicPartition(self.prefix + topic, number) for topic, number in parts]

    def _in(self, found: Mapping[Any, Any]) -> dict[Part, Any]:
        n = len(self.prefix)
        return {(tp.topic[n:], tp.partition): x for tp, x in found.items()}
