"""What a lane needs of Kafka: a reader of committed records, and an asker of high watermarks beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.kafka.options import AWAY_S, KafkaOptions
from connectors.kafka.reader import Part, reader_of

ASKER = {"enable_auto_commit": False, "isolation_level": "read_uncommitted", "metrics_enabled": False}
WAIT_MS = 50  # longest a broker keeps a fetch waiting
ASK_WAIT_MS = 2_000


class KafkaLaneClient:
    """`lanes.Consumer`.

    Parameters
    ----------
    group
        Consumer group under which offsets are committed, for lag monitors; nothing is read back from it.
    """

    def __init__(self, options: KafkaOptions, group: str) -> None:
        from kafka import KafkaConsumer

        self.prefix = options.prefix
        away = AWAY_S * 1000
        self._asker = KafkaConsumer(**options.client(bootstrap_timeout_ms=away, **ASKER))
        self._reader = reader_of(options, wait_ms=WAIT_MS, group=group, away_ms=away)

    def assign(self, parts: list[Part]) -> None:
        self._reader.assign(parts)

    def seek(self, part: Part, offset: int) -> None:
        self._reader.seek(part, offset)

    def poll(self, wait_ms: int) -> Mapping[Part, list[Any]]:
        return self._reader.poll(wait_ms)

    def position(self, part: Part) -> int:
        return self._reader.position(part)

    def ends(self, parts: list[Part]) -> dict[Part, int]:
        return self._in(self._asker.end_offsets(self._out(parts), timeout_ms=ASK_WAIT_MS)) if parts else {}

    def begins(self, parts: list[Part]) -> dict[Part, int]:
        return self._in(self._asker.beginning_offsets(self._out(parts))) if parts else {}

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        there = self._asker.topics()  # asks the broker, unlike partitions_for_topic
        named = {t: self.prefix + t for t in topics if self.prefix + t in there}
        return {t: sorted(self._asker.partitions_for_topic(name) or ()) for t, name in named.items()}

    def pause(self, parts: list[Part]) -> None:
        self._reader.pause(parts)

    def resume(self, parts: list[Part]) -> None:
        self._reader.resume(parts)

    def commit(self, offsets: dict[Part, int]) -> None:
        self._reader.commit(offsets)

    def close(self) -> None:
        self._reader.close()
        self._asker.close()

    def _out(self, parts: list[Part]) -> list[Any]:
        from kafka import TopicPartition

        return [TopicPartition(self.prefix + topic, number) for topic, number in parts]

    def _in(self, found: Mapping[Any, Any]) -> dict[Part, Any]:
        n = len(self.prefix)
        return {(tp.topic[n:], tp.partition): x for tp, x in found.items()}
