"""Records of partitions from given offsets on, by kafka-python or librdkafka. `reader_of` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from connectors.kafka.options import KafkaOptions

Part: TypeAlias = tuple[str, int]  # (topic as we call it, partition)
FETCH_BYTES, PARTITION_BYTES = 2 << 20, 1 << 20  # of one answer of a broker
READER = {
    "enable_auto_commit": False, "isolation_level": "read_committed", "auto_offset_reset": "earliest",
    "allow_auto_create_topics": False, "fetch_max_bytes": FETCH_BYTES, "max_partition_fetch_bytes": PARTITION_BYTES,
    "metadata_max_age_ms": 30_000, "metrics_enabled": False,
}  # fmt: skip
ALL = 2**31 - 1
ASK_MS = 1_000


class Reader(Protocol):
    """Reads committed records. Every method may raise `kafka.errors.KafkaError` or OSError; then nothing has moved.

    A partition whose next record retention has deleted goes on at the first that is left.
    """

    def assign(self, parts: list[Part]) -> None:
        """Read these and no others; where each begins must be said by `seek`. Forgets positions and pauses."""

    def seek(self, part: Part, offset: int) -> None: ...
    def poll(self, wait_ms: int) -> Mapping[Part, list[Any]]:
        """What has been fetched, by partition, in order, each with `offset`, `timestamp` (ms), `key`, `value`, `headers`."""

    def position(self, part: Part) -> int:
        """Next offset: after what was fetched, and after the markers of transactions that follow."""

    def pause(self, parts: list[Part]) -> None: ...
    def resume(self, parts: list[Part]) -> None: ...
    def commit(self, offsets: dict[Part, int]) -> None:
        """Offsets to the reader's group, for lag monitors; not waited for."""

    def close(self) -> None: ...


class PythonReader:
    """`Reader` by kafka-python."""

    def __init__(self, options: KafkaOptions, group: str | None, wait_ms: int, away_ms: int | None) -> None:
        from kafka import KafkaConsumer

        more = {} if away_ms is None else {"bootstrap_timeout_ms": away_ms}
        self._options = options
        self._consumer = KafkaConsumer(**options.client(group_id=group, fetch_max_wait_ms=wait_ms, **more, **READER))

    def assign(self, parts: list[Part]) -> None:
        self._consumer.assign(self._tps(parts))

    def seek(self, part: Part, offset: int) -> None:
        self._consumer.seek(*self._tps([part]), offset)

    def poll(self, wait_ms: int) -> Mapping[Part, list[Any]]:
        """All that has been fetched (at most `fetch_max_bytes` and what paused partitions had left), never a part of it.

        kafka-python 3.0.12 loses a partition for ever that is paused while a poll with `max_records` has left some of its
        records behind: they are parked (`Fetcher._paused_partition_records`), taken up again only while no other partition's
        records are at hand (`_next_partition_records is None`, which a drained one is not), and not fetched anew meanwhile.
        """
        n = len(self._options.prefix)
        found = self._consumer.poll(timeout_ms=wait_ms, max_records=ALL)
        return {(tp.topic[n:], tp.partition): records for tp, records in found.items()}

    def position(self, part: Part) -> int:
        from kafka.errors import KafkaTimeoutError

        at = self._consumer.position(*self._tps([part]), timeout_ms=ASK_MS)
        if at is None:
            raise KafkaTimeoutError("no position")
        return int(at)

    def pause(self, parts: list[Part]) -> None:
        self._consumer.pause(*self._tps(parts))

    def resume(self, parts: list[Part]) -> None:
        self._consumer.resume(*self._tps(parts))

    def commit(self, offsets: dict[Part, int]) -> None:
        from kafka import OffsetAndMetadata

        places = (OffsetAndMetadata(o, "", -1) for o in offsets.values())
        self._consumer.commit_async(dict(zip(self._tps(list(offsets)), places, strict=True)))

    def close(self) -> None:
        self._consumer.close()

    def _tps(self, parts: list[Part]) -> list[Any]:
        from kafka import TopicPartition

        return [TopicPartition(self._options.name(topic), number) for topic, number in parts]


def reader_of(options: KafkaOptions, *, wait_ms: int, group: str | None = None, away_ms: int | None = None) -> Reader:
    """A reader by the library that the options choose.

    Parameters
    ----------
    wait_ms
        Longest a broker keeps a fetch waiting for a record.
    group
        Consumer group of `commit`; nothing is read back from it.
    away_ms
        How long a broker that does not answer is waited for; None = as `options.QUICK` says.

    Raises
    ------
    KafkaSettingsError
        The library can't be used; `kafka.errors.KafkaError` where no broker answers.
    """
    if options.native():
        from connectors.kafka.librdkafka import NativeReader

        return NativeReader(options, group, wait_ms)
    return PythonReader(options, group, wait_ms, away_ms)
