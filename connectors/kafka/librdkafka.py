"""`Reader` and `Sender` by librdkafka (confluent-kafka): the same bytes for a fraction of the CPU (decision 0078).

What is asked of a broker beside reading and sending (topics, ends, offsets by time) is asked by kafka-python in either case.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import confluent_kafka as ck
from confluent_kafka import KafkaError as Told
from kafka import errors

from connectors.kafka.options import NATIVE, QUICK, KafkaOptions
from connectors.kafka.reader import FETCH_BYTES, PARTITION_BYTES, Part
from connectors.kafka.sender import BATCH_BYTES, LINGER_MS, Message, headers_of

log = logging.getLogger("kairos.librdkafka")
MOST = 10_000  # records of one poll
READER = {
    "enable.auto.commit": False, "enable.auto.offset.store": False, "isolation.level": "read_committed",
    "auto.offset.reset": "earliest", "enable.partition.eof": True, "fetch.max.bytes": FETCH_BYTES,
    "max.partition.fetch.bytes": PARTITION_BYTES, "queued.min.messages": MOST, "queued.max.messages.kbytes": 8 << 10,
    "fetch.queue.backoff.ms": 10, "fetch.error.backoff.ms": 100,
}  # fmt: skip
PRODUCER = {
    "acks": "all", "enable.idempotence": True, "linger.ms": LINGER_MS, "batch.size": BATCH_BYTES, "compression.type": "lz4",
    "partitioner": "murmur2_random", "queue.buffering.max.messages": 200_000, "delivery.report.only.error": True,
}  # fmt: skip
FULL_S = 0.1


class Record(NamedTuple):
    """A record as read; the names are those of kafka-python's ConsumerRecord."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any


def settings(options: KafkaOptions) -> dict[str, Any]:
    """Options of any librdkafka client: those of kafka-python under their other names (`options.NATIVE`)."""
    out = {
        "bootstrap.servers": options.brokers, "log.connection.close": False,
        "reconnect.backoff.ms": QUICK["reconnect_backoff_ms"], "reconnect.backoff.max.ms": QUICK["reconnect_backoff_max_ms"],
    }  # fmt: skip
    for name, value in options.security.items():
        if name == "ssl_check_hostname":
            out[NATIVE[name]] = "https" if value else "none"
        else:
            out[NATIVE[name]] = value
    return out


def as_error(told: Told) -> errors.KafkaError:
    """The error of kafka-python's that means the same; only its name is kept."""
    code, name = told.code(), told.name()
    if code == Told._FENCED:
        return errors.ProducerFencedError(name)
    if code in (Told._TIMED_OUT, Told._MSG_TIMED_OUT, Told._TIMED_OUT_QUEUE):
        return errors.KafkaTimeoutError(name)
    return errors.for_code(code)(name) if code > 0 else errors.KafkaConnectionError(name)


def _heard(told: Told) -> None:
    """Brokers that are away and come again; what matters is raised by the call that suffers from it."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ck.KafkaException as error:
        raise as_error(error.args[0]) from None
    except SystemError as error:  # a fatal error that came up while a callback was at work
        if not isinstance(error.__cause__, ck.KafkaException):
            raise
        raise as_error(error.__cause__.args[0]) from None


class NativeReader:
    """`connectors.kafka.reader.Reader`; positions and pauses are kept here, where an assignment takes them from.

    Records that were fetched ahead of a partition that is then paused are dropped by librdkafka and fetched again.
    """

    def __init__(self, options: KafkaOptions, group: str | None, wait_ms: int) -> None:
        self._options = options
        own = {"group.id": group or options.name("kairos-ingest"), "fetch.wait.max.ms": wait_ms, "error_cb": _heard}
        with _translated():
            self._consumer = ck.Consumer({**settings(options), **READER, **own}, logger=log)
        self._at: dict[Part, int] = {}
        self._paused: set[Part] = set()
        self._moved = False  # whether positions are no longer those of the client
        self._told: set[tuple[Any, Any, str]] = set()

    def assign(self, parts: list[Part]) -> None:
        self._at = {p: self._at.get(p, 0) for p in parts}
        self._paused, self._moved = set(), True

    def seek(self, part: Part, offset: int) -> None:
        self._at[part], self._moved = offset, True

    def poll(self, wait_ms: int) -> Mapping[Part, list[Record]]:
        """At most `MOST` records; as soon as there is one."""
        with _translated():
            if self._moved:
                self._place()
            first = self._consumer.poll(wait_ms / 1000)
            found = [] if first is None else [first, *self._consumer.consume(MOST - 1, 0)]
        out: dict[tuple[Any, Any], list[Record]] = {}
        ends: dict[tuple[Any, Any], int] = {}
        for m in found:
            where = m.topic(), m.partition()
            if (told := m.error()) is None:
                record = Record(m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers() or ())  # type: ignore[arg-type]
                if where in out:
                    out[where].append(record)
                else:
                    out[where] = [record]
            elif told.code() == Told._PARTITION_EOF:
                ends[where] = m.offset() or 0
            elif told.fatal():
                raise as_error(told)
            else:
                self._refused(where, told)
        given = {self._part(where): records for where, records in out.items()}
        self._at |= {self._part(where): end for where, end in ends.items()}
        for part, records in given.items():
            self._at[part] = max(records[-1].offset + 1, ends.get(self._name(part), 0))
        return given

    def position(self, part: Part) -> int:
        return self._at[part]

    def pause(self, parts: list[Part]) -> None:
        self._paused |= set(parts)
        if not self._moved:
            with _translated():
                self._consumer.pause(self._tps(parts))

    def resume(self, parts: list[Part]) -> None:
        self._paused -= set(parts)
        if not self._moved:
            with _translated():
                self._consumer.resume(self._tps(parts))

    def commit(self, offsets: dict[Part, int]) -> None:
        with _translated():
            places = [ck.TopicPartition(self._options.name(t), n, o) for (t, n), o in offsets.items()]
            self._consumer.commit(offsets=places, asynchronous=True)

    def close(self) -> None:
        self._consumer.close()

    def _refused(self, where: tuple[Any, Any], told: Told) -> None:
        """A partition (deleted, forbidden) gives nothing, the others go on; or it is about the group, which is not ours. Said once."""
        if (*where, told.name()) not in self._told:
            self._told.add((*where, told.name()))
            log.warning("%s/%s: %s", *where, told.name())

    def _place(self) -> None:
        """Assign anew from where we stand: what was fetched ahead is dropped."""
        self._consumer.assign([ck.TopicPartition(self._options.name(t), n, o) for (t, n), o in self._at.items()])
        if self._paused:
            self._consumer.pause(self._tps(self._paused))
        self._moved = False

    def _name(self, part: Part) -> tuple[str, int]:
        return self._options.name(part[0]), part[1]

    def _part(self, where: tuple[str, int]) -> Part:
        return where[0][len(self._options.prefix) :], where[1]

    def _tps(self, parts: Iterable[Part]) -> list[ck.TopicPartition]:
        return [ck.TopicPartition(*self._name(part)) for part in parts]


class NativeSender:
    """`connectors.kafka.sender.Sender`. A time of 0 (1970) is sent as 1: librdkafka takes 0 for now."""

    def __init__(self, options: KafkaOptions, name: str | None, patience_s: float) -> None:
        self._options, self._patience_s = options, patience_s
        own: dict[str, Any] = {"message.timeout.ms": int(patience_s * 1000), "error_cb": _heard}
        if name is None:
            own["on_delivery"] = self._delivered
        else:
            own["transactional.id"] = name  # its commit fails where a record did
        self._failed: Told | None = None
        self._sent = 0
        self._group: Any = None
        with _translated():
            self._producer = ck.Producer({**settings(options), **PRODUCER, **own}, logger=log)
            if name is not None:
                try:
                    self._producer.init_transactions(QUICK["bootstrap_timeout_ms"] / 1000)
                except BaseException:
                    self.close(0)
                    raise

    def begin(self) -> None:
        with _translated():
            self._producer.begin_transaction()

    def send(self, m: Message) -> None:
        name, at, headers = self._options.name(m.topic), max(m.time, 1), headers_of(m)
        until = None
        while True:
            try:
                self._producer.produce(name, m.value, m.key, timestamp=at, headers=headers)
                break
            except BufferError:  # the queue is full: wait until the broker has taken something of it
                until = until or time.monotonic() + self._patience_s
                if time.monotonic() > until:
                    raise errors.KafkaTimeoutError("queue full") from None
                with _translated():
                    self._producer.poll(FULL_S)
            except ck.KafkaException as error:
                raise as_error(error.args[0]) from None
        self._sent += 1

    def flush(self) -> int:
        sent, self._sent = self._sent, 0
        with _translated():
            left = self._producer.flush(self._patience_s) if sent else 0
        if left:
            raise errors.KafkaTimeoutError("not taken")
        if self._failed is not None:
            raise as_error(self._failed)
        return sent

    def mark(self, part: Part, offset: int, group: str) -> None:
        with _translated():
            place = [ck.TopicPartition(self._options.name(part[0]), part[1], offset)]
            self._producer.send_offsets_to_transaction(place, self._of(group), self._patience_s)

    def commit(self) -> None:
        with _translated():
            self._producer.commit_transaction(self._patience_s)

    def close(self, wait_s: float) -> None:
        """What has not been taken by then is given up, and an open transaction left to the next of the name."""
        if wait_s:
            with suppress(errors.KafkaError), _translated():
                self._producer.flush(wait_s)
        self._producer.purge(blocking=False)
        del self._producer  # its own `close` would wait for the broker to abort

    def _delivered(self, told: Told | None, _: Any) -> None:
        self._failed = self._failed or told

    def _of(self, group: str) -> Any:
        """A group's metadata; only a consumer has them, so one is made for it once."""
        if self._group is None:
            consumer = ck.Consumer({**settings(self._options), "group.id": group, "enable.auto.commit": False}, logger=log)
            self._group = consumer.consumer_group_metadata()
            consumer.close()
        return self._group
