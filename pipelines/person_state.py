"""Everything that is known of one person, as explicit bytes (design 6)."""

from __future__ import annotations

from typing import Any

from content.lexicon import Lexicon
from content.library import Library
from pipelines.gate.desk import Desk
from pipelines.learning import packing
from pipelines.person import Person
from pipelines.settings import Settings
from pipelines.support import inbox
from pipelines.support.acute import Acute
from pipelines.support.daily import Daily
from pipelines.support.minutes import Minutes
from pipelines.support.monitor import Monitor
from pipelines.support.prompts import Prompts
from pipelines.support.recognition import Recogniser, Recognition
from pipelines.support.reminders import Reminders
from pipelines.support.trend import Trend

KIND, VERSION = "person", 1


def dump(person: Person, clock: int) -> bytes:
    """Explicit bytes of everything known (design 6)."""
    meta: dict[str, Any] = {"begun": person.minutes is not None, "monitor": person.monitor.state()}
    arrays: packing.Arrays = {}
    if person.minutes is not None:
        meta["minutes"], arrays = person.minutes.dump(clock)
        meta["waiting"], waiting = inbox.waiting_out(person.waiting)
        arrays |= waiting
        meta |= {
            "desk": person.desk.state(), "acute": person.acute.state(), "trend": person.trend.state(),
            "prompts": person.prompts.state(), "recogniser": person.recognition.model.state(),
            "reminders": person.reminders.state(), "daily": person.daily.state(), "rooms": {r.name: r.state() for r in person.rooms},
            "learned": person.learned, "offset": person.offset,
        }  # fmt: skip
    floats = [name for name, a in arrays.items() if a.dtype.kind == "f"]
    return packing.pack(KIND, VERSION, meta, arrays, nan=floats, delta=[n for n in arrays if n.endswith("_time")])


def load(data: bytes, user: str, settings: Settings, library: Library, lexicon: Lexicon) -> Person:
    """Read what `dump` wrote; StateError for anything else."""
    meta, arrays = packing.unpack(KIND, data)
    person = Person(user, settings, library, lexicon)
    try:
        person.monitor = Monitor.from_state(meta["monitor"])
        if meta["begun"]:
            person.desk = Desk.from_state(user, settings, library, meta["desk"])
            person.acute = Acute.from_state(meta["acute"])
            person.trend = Trend.from_state(meta["trend"])
            person.prompts = Prompts.from_state(meta["prompts"])
            if "recogniser" in meta:  # states of before it existed go on without
                person.recognition = Recognition(Recogniser.from_state(meta["recogniser"]))
            person.reminders = Reminders.from_state(meta["reminders"])
            person.daily = Daily.from_state(meta["daily"])
            for room in person.rooms:
                room.restore(meta["rooms"].get(room.name))
            person.learned = int(meta["learned"])
            person.offset = None if meta["offset"] is None else (int(meta["offset"][0]), int(meta["offset"][1]))
            person.minutes = Minutes.load(meta["minutes"], arrays, person.day_clock(), person.desk.profiles)
            person.waiting = inbox.waiting_in(meta["waiting"], arrays)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise packing.StateError(f"state of a person cannot be read ({type(error).__name__})") from None
    return person

