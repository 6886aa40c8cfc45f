"""`kairos chat --brokers`: what comes back from the topics is read in every form."""

from __future__ import annotations

import orjson
import pytest

from connectors.base import NotALog
from connectors.kafka.options import KafkaOptions
from kairos.chat import Talker
from kairos.chat_live import LiveTalker, record_of
from schemas import avro

HELLO = dict(Talker("en").say("hello"))["chat.outbound"]


@pytest.mark.parametrize("form", ["json", "avro", "framed"])
def test_a_reply_is_read_in_every_form_in_which_it_is_published(form: str) -> None:
    single = avro.encode("chat.outbound", HELLO)
    value = {"json": orjson.dumps(HELLO), "avro": single, "framed": b"\x00\x00\x00\x00\x07" + single[10:]}[form]
    read = record_of("chat.outbound", value)
    assert read is not None
    assert read["value"]["reply_id"] == HELLO["value"]["reply_id"]


@pytest.mark.parametrize("value", [b"", b"{", b"[1]", b"{}", b"\xc3\x01 nothing of the kind", b"\x00" * 9])
def test_what_is_no_record_is_passed_over(value: bytes) -> None:
    assert record_of("chat.outbound", value) is None


@pytest.mark.soak
def test_no_kafka_is_one_line() -> None:
    with pytest.raises(NotALog, match="Kafka at"):
        LiveTalker(KafkaOptions("127.0.0.1:1"), "somebody")
