"""`kairos chat --brokers`: the same conversation through Kafka topics, with a `kairos run` at work on them.

Only `chat.inbound` carries what is typed. Replies come back by their ids; the words of an approved reply are looked up here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from connectors.base import NotALog
from schemas import avro

if TYPE_CHECKING:
    from connectors.kafka.options import KafkaOptions
    from content.library import Library

SHOWN = ("chat.outbound", "chat.content_gap", "referral.suggested", "risk.signal", "notifications")
DAY_MS = 86_400_000
WAIT_S = 30.0  # for the first reply
MORE_S = 1.0  # after the last record of an answer


class LiveTalker:
    """One person of the chat on a Kafka cluster.

    Parameters
    ----------
    user
        Id as a device would send it; what comes back carries its pseudonym, which is learned from the first reply.
    grant
        Send the consents of a made-up person first: for trying things out, never for somebody real.

    Raises
    ------
    NotALog
        The brokers can't be reached.
    """

    def __init__(self, options: KafkaOptions, user: str, lang: str = "en", grant: bool = False) -> None:
        from kafka import KafkaConsumer, KafkaProducer, TopicPartition
        from kafka.errors import KafkaError

        from content.library import Library
        from pipelines.settings import Settings

        self.library: Library = Library.build(
            Settings(default_locale="de-DE" if lang.startswith("de") else "en-GB").locales
        )
        self.lang, self.user, self.n, self.run = lang, user, 0, str(time.time_ns())
        self._topics = {options.name(t): t for t in SHOWN}
        self._inbound_topics = {t: options.name(t) for t in ("chat.inbound", "clinical.consent")}
        self._key: bytes | None = None
        try:
            self._producer = KafkaProducer(**options.client(linger_ms=0))
            self._consumer = KafkaConsumer(
                **options.client(group_id=None, enable_auto_commit=False, isolation_level="read_committed")
            )
            found = {t: self._consumer.partitions_for_topic(t) for t in self._topics}
            if not all(found.values()):
                raise NotALog("the chat's topics are missing: kairos topics create makes them")
            parts = [TopicPartition(t, p) for t, numbers in found.items() for p in numbers or ()]
            self._consumer.assign(parts)
            self._consumer.seek_to_end()
            for part in parts:
                self._consumer.position(part)  # from here on
        except (KafkaError, OSError) as error:
            raise NotALog(f"Kafka at {options.brokers}: {type(error).__name__}") from None
        if grant:
            self._grant()

    def say(self, text: str) -> list[tuple[str, dict[str, Any]]]:
        """(topic, record) of all that one message brought; NotALog if nothing came in time."""
        return self._inbound({"text": text, "lang": self.lang})

    def tap(self, option: str) -> list[tuple[str, dict[str, Any]]]:
        """The same for a tapped option."""
        return self._inbound({"option_id": option, "lang": self.lang})

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()

    def _inbound(self, value: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        self._put("chat.inbound", {"session_id": self.run, **value})
        found: list[tuple[str, bytes, dict[str, Any]]] = []
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            for part, messages in self._consumer.poll(timeout_ms=50).items():
                topic = self._topics[part.topic]
                came = [(topic, m.key, r) for m in messages if m.value and (r := record_of(topic, m.value))]
                found += came
                mine = [c for c in came if c[0] == "chat.outbound" and c[2]["value"].get("session_id") == self.run]
                if mine:
                    self._key = mine[0][1]
                    until = time.monotonic() + MORE_S
        told = [(t, r) for t, key, r in found if key == self._key and self._key]
        if not any(t == "chat.outbound" for t, _ in told):
            raise NotALog(f"no reply within {WAIT_S:.0f} s: is kairos run at work on these brokers?")
        return sorted(told, key=_place)

    def _put(self, topic: str, value: dict[str, Any]) -> None:
        now = time.time_ns() // 1_000_000
        self.n += 1
        record = {
            "user": self.user, "event_time": now, "tz_offset_min": 0, "source_id": f"terminal-{self.run}", "seq": self.n,
            "event_id": f"chat-{self.run}-{self.n}", "value": value,
        }  # fmt: skip
        self._producer.send(self._inbound_topics[topic], key=self.user.encode(), value=orjson.dumps(record))
        self._producer.flush()

    def _grant(self) -> None:
        now = time.time_ns() // 1_000_000
        for purpose, to in (("CARE_USER_MSG", "SELF"), ("THERAPIST_SESSION_VIEW", "dr_a")):
            self._put("clinical.consent", {
                "consent_id": f"chat-{purpose}", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": to,
                "purpose": purpose, "modalities": ["CHAT", "SELFREPORT"], "effect": "PERMIT", "valid_from": now - 60_000,
                "valid_to": now + DAY_MS, "signature": "demo",
            })  # fmt: skip
        time.sleep(MORE_S)  # so that the first message is not older than the consent


def _place(said: tuple[str, dict[str, Any]]) -> tuple[int, int, int]:
    """Replies first and as they were said: partitions and topics do not come in order."""
    topic, record = said
    return SHOWN.index(topic), record["ingest_time"], record["value"].get("turn_index", 0)


def record_of(topic: str, value: bytes) -> dict[str, Any] | None:
    """A record of a Kafka value, JSON or Avro by the schemas of this release; None if it is neither."""
    if value[:1] == b"{":
        try:
            read = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        return read if isinstance(read, dict) and isinstance(read.get("value"), dict) else None
    single = value if value.startswith(avro.MARKER) else avro.mark(topic) + value[5:]  # 5: a registry's framing
    try:
        return avro.decode(topic, single)
    except avro.NotThisSchema:
        return None
