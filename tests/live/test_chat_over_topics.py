"""A dialogue through the topics is the dialogue of the terminal, record for record, where ids and times are the same."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from deploy.local.broker import Broker
from kairos.chat import Talker
from kairos.chat_live import SHOWN, record_of
from pipelines.live_options import LiveOptions
from tests.connectors import kafkas
from tests.live.stage import end_of, live, stage

QUICK_TO_ANSWER = LiveOptions(hold_s=0.3, slice_s=0.1)
# a choice between replies, what it learns from a tap, a gap, a referral, and risk with its screener and messages
SAID = (
    "hello", "i lie awake all night", "/FEEDBACK:HELPFUL", "i can't sleep", "i'm stressed, my exam is tomorrow", "umbrella grammar",
    "the printer shows a strange symbol", "/REFERRAL:START", "/COMPLAINT:MOOD", "/RED_FLAG:NO", "/LASTING:YES", "/DAILY:YES",
    "my uncle hits me when mum is away", "i wish i was dead", "i can't sleep", "/CSSRS_Q1:YES", "/CSSRS_Q2:YES", "/CSSRS_Q3:NO",
    "/CSSRS_Q4:YES", "bye",
)  # fmt: skip


class Recorder(Talker):
    """The terminal's machine, and what was put into it."""

    def __init__(self, user: str) -> None:
        self.log: dict[str, list[dict[str, Any]]] = defaultdict(list)
        super().__init__("en", user)

    def _step(self, records: dict[str, list[dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        for topic, rows in records.items():
            self.log[topic] += rows
        return super()._step(records)


def test_a_dialogue_over_topics_is_that_of_the_terminal(broker: Broker, tmp_path: Path) -> None:
    here = Recorder("you")
    terminal = [r for said in SAID for r in (here.tap(said[1:]) if said.startswith("/") else here.say(said))]
    options = stage(broker, here.log)
    run = live(options, tmp_path / "state.db", end_of(here.log) + 1, QUICK_TO_ANSWER)
    run.run()
    run.close()
    topics = [(t, record_of(t, value)) for t in SHOWN for _, value, _ in kafkas.consume(options, t)]
    assert {t for t, _ in terminal} == set(SHOWN)
    for topic in SHOWN:
        mine, theirs = ([told(r) for t, r in rs if t == topic and r] for rs in (terminal, topics))
        assert theirs == mine if topic == "chat.outbound" else sorted(theirs, key=str) == sorted(mine, key=str)


def told(record: dict[str, Any]) -> list[Any]:
    return [record[k] for k in ("user", "event_time", "ingest_time", "event_id", "value")]
