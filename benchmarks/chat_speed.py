"""Messages per CPU second through the conversation room, with the default encoder, on a warm process."""

from __future__ import annotations

import time

from content.lexicon import Lexicon
from content.library import Library
from pipelines.context.calendar import DayClock
from pipelines.conversation.room import Conversation
from pipelines.gate.desk import Desk
from pipelines.gate.room import Scene
from pipelines.settings import Settings

SAID = (
    "i can't sleep before exams", "my girlfriend broke up with me and i feel terrible", "thanks", "what's the weather like tomorrow",
    "i worry all the time about my family and my job", "can you show me how to relax for a few minutes please",
    "i'm so angry at my brother",
    "everything is too much at work these days and my boss keeps piling more on me",
    "do i need a therapist", "hello",
)  # fmt: skip
DAY_MS = 86_400_000
BEGUN = 1_779_278_400_000


def messages_per_cpu_second(n: int = 2_000) -> float:
    """n made-up messages of ten kinds, each with a number so that none is the same text twice."""
    desk = Desk("p1", Settings(), Library.build(Settings().locales), DayClock.first(BEGUN - DAY_MS, 0))
    room, scene = Conversation(), Scene(desk, Lexicon.load())

    def say(i: int) -> None:
        desk.now = desk.event_time = BEGUN + i * 1_000
        value = {"session_id": f"s{i // 20}", "text": f"{SAID[i % len(SAID)]} {i}", "lang": "en"}
        room.take(
            "chat.inbound",
            {"event_time": desk.now, "ingest_time": desk.now, "event_id": f"e{i}", "value": value},
            scene,
        )

    for i in range(50):
        say(i)
    begun = time.process_time()
    for i in range(50, 50 + n):
        say(i)
    return n / (time.process_time() - begun)
