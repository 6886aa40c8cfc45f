"""The rooms that stand after the signals, in the order in which a record walks through them. A new one is one more line."""

from __future__ import annotations

from pipelines.conversation.room import Conversation
from pipelines.gate.room import PersonRoom
from pipelines.programs.room import Programs


def rooms() -> list[PersonRoom]:
    """New rooms of a person of whom nothing is known yet."""
    return [Programs(), Conversation()]
