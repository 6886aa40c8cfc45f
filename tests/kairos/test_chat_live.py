"""`kairos chat --brokers`: a message through chat.inbound, the answer of a live run back from its topics."""

from __future__ import annotations

import threading
from pathlib import Path

import orjson
import pytest

from connectors.base import NotALog
from connectors.kafka.options import KafkaOptions
from connectors.kafka.topics import create
from deploy.local.broker import Broker
from kairos.chat import Talker, lines
from kairos.chat_live import LiveTalker, record_of
from pipelines.live import Live
from pipelines.live_options import LiveOptions
from pipelines.settings import Settings
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


def test_no_kafka_is_one_line() -> None:
    with pytest.raises(NotALog, match="Kafka at"):
        LiveTalker(KafkaOptions("127.0.0.1:1"), "somebody")


@pytest.mark.soak
def test_a_dialogue_over_topics_is_that_of_the_terminal(broker: Broker, tmp_path: Path) -> None:
    options = KafkaOptions(broker.brokers, prefix="chatlive.")
    create(options)
    live = Live(options, tmp_path / "state.db", Settings(), LiveOptions(hold_s=0.3, slice_s=0.1, name="chat"))
    at_work = threading.Thread(target=live.run)
    at_work.start()
    try:
        talker = LiveTalker(options, "chat-demo", grant=True)
        here = Talker("en")
        for said in ("hello", "i wish i was dead"):
            theirs, mine = talker.say(said), here.say(said)
            assert [*lines(theirs, talker.library)] == [*lines(mine, here.library)]
        talker.close()
    finally:
        live.stopping = True
        at_work.join()
        live.close()
