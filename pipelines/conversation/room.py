"""The bot's room of one person's machine (conversation.md). The order of steps is normative: consent and language, risk,
safeguarding, and only then what the message is about. Every answer is an approved item; nobody who writes meets silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from content.lexicon import primary
from pipelines.context.profile import Profile
from pipelines.context.risk import Flag, made
from pipelines.conversation import language_metrics, safeguard, screener
from pipelines.conversation.language import language_of
from pipelines.conversation.models import Models, default_models
from pipelines.conversation.replies import Chooser, fixed, outbound
from pipelines.conversation.safety import Finding, judge
from pipelines.conversation.session import Session, Sessions
from pipelines.conversation.talk import Talk
from pipelines.gate.room import Scene
from pipelines.learning.text_encoder import Vectors

REFUSED = "chat.refused"  # what ingest dropped for want of consent: session and times, no text
VIEW = "THERAPIST_SESSION_VIEW"
END_MS = 3_600_000  # a session that was silent for an hour is over [choice]
RECENT_MS = 30 * 24 * 3_600_000  # a questionnaire older than this says nothing about today [choice]
ITEM9_MS = 7 * 24 * 3_600_000


class Conversation:
    """Approved replies, risk first.

    Parameters
    ----------
    models
        Frozen models; None = those shipped, loaded at the first message.
    """

    name: ClassVar[str] = "conversation"
    topics: ClassVar[frozenset[str]] = frozenset({"chat.inbound", "selfreport", REFUSED})
    timers: ClassVar[frozenset[str]] = frozenset({"CHAT_END"})

    def __init__(self, models: Models | None = None) -> None:
        self._models = models
        self.sessions = Sessions()
        self.chooser = Chooser()
        self.totals: dict[str, list[float]] = {}  # instrument → [event time, total]
        self.item9: list[int] = []  # [event time] of an item 9 >= 1 that no screener has followed
        self.samples: list[list[float]] = []  # of language_metrics

    @property
    def models(self) -> Models:
        if self._models is None:
            self._models = default_models()
        return self._models

    # -- records ------------------------------------------------------------------------------------------------------

    def take(self, topic: str, record: dict[str, Any], scene: Scene) -> list[Flag]:
        if topic == "selfreport":
            self._questionnaire(record)
            return []
        desk = scene.desk
        profile = desk.profiles.effective(desk.event_time)
        if topic == REFUSED:
            item = fixed(desk.library, desk.locale(), desk.now, profile, "not_permitted")
            Turn(self, scene, record, record["session_id"], Session(), desk.locale(), profile).say(
                item, "NOT_PERMITTED"
            )
            return []
        value = record["value"]
        session = self.sessions.of(str(value["session_id"]), desk.now)
        text, option = str(value.get("text") or ""), str(value.get("option_id") or "")
        known = _languages(desk)
        lang = (
            language_of(text, value.get("lang"), list(known)) if text else primary(str(value.get("lang") or "")) or None
        )
        locale = known.get(lang or "", desk.locale())
        turn = Turn(self, scene, record, str(value["session_id"]), session, locale, profile)
        if text and not session.told:
            desk.timers.set(desk.now + END_MS, "CHAT_END", turn.session_id)
        return self._steps(turn, text, option, lang, free=value.get("role") == "FREE_SPEECH")

    def _steps(self, turn: Turn, text: str, option: str, lang: str | None, free: bool) -> list[Flag]:
        """Steps 1-8; whatever fails becomes the fixed help reply, and what was said appears in no error."""
        flags: list[Flag] = []
        try:
            if text and lang is None:
                return self._unsupported(turn, text)
            found = judge(text, lang, turn.scene.lexicon, turn.safety_of) if text else None
            if found is not None:
                flags = self._found(turn, found)
                return flags
            if free:
                return flags  # a language sample is listened to, not answered
            flags = Talk(self, turn).answer(text, option)
        except Exception:  # the message of an error may hold what was said
            turn.help()
        finally:
            if text and lang is not None:
                turn.guarded(lambda: self._measure(turn, text, free), speak=False)
        return flags

    def _unsupported(self, turn: Turn, text: str) -> list[Flag]:
        """A language that the pool cannot answer in; words of risk in it still count as evidence."""
        hit = turn.scene.lexicon.classify(text)
        found = hit is not None and hit.severity >= 2
        if found and hit is not None:
            turn.session.level = screener.higher(turn.session.level, "HIGH" if hit.severity >= 3 else "UNSCREENED")
        turn.say(turn.item("unsupported_language", "human_1"), "UNSUPPORTED_LANGUAGE")
        return [turn.flag(turn.session.level)] if found else []

    def _found(self, turn: Turn, found: Finding) -> list[Flag]:
        """Steps 2 and 3. The flag is made first: what the rule of support.md 3 must know may not depend on a reply."""
        session = turn.session
        if found.category is not None:
            flags = [turn.flag("HIGH", found.category)] if found.level == "HIGH" else []
            session.level = screener.higher(session.level, found.level)
            ids = (f"safeguard_{found.category.lower()}", "safeguard_reply")
            turn.guarded(lambda: safeguard.tell(turn.record, found.category or "", bool(flags), turn.scene))
            turn.guarded(lambda: turn.say(turn.item(*ids), "SAFEGUARD"))
            return flags
        session.level = screener.higher(session.level, found.level)
        flags = [turn.flag(found.level)]
        turn.guarded(lambda: turn.open_risk())
        return flags

    def _questionnaire(self, record: dict[str, Any]) -> None:
        value, t = record["value"], int(record["event_time"])
        instrument, total = str(value["instrument"]), value.get("total")
        if total is None and value.get("items"):
            total = sum(value["items"].values())
        if total is not None and t >= self.totals.get(instrument, [t])[0]:
            self.totals[instrument] = [t, float(total)]
        if (value.get("item9") or 0) >= 1:
            self.item9 = [max([t, *self.item9])]

    def recent_totals(self, t: int) -> dict[str, float]:
        """Instrument → total of the last 30 days."""
        return {i: total for i, (at, total) in self.totals.items() if t - RECENT_MS <= at <= t}

    def item9_waits(self, t: int) -> bool:
        """An item 9 of at least 1 within a week that no screener has followed: the risk flow comes first."""
        return bool(self.item9) and t - ITEM9_MS <= self.item9[0] <= t

    # -- language metrics ---------------------------------------------------------------------------------------------

    def _measure(self, turn: Turn, text: str, free: bool) -> None:
        encoder = self.models.features.encoder if self._models is not None or free else None
        if encoder is None or turn.session.told:
            return
        turn.session.sums = language_metrics.measured(text, encoder, turn.session.sums)
        if free and language_metrics.enough(turn.session.sums):
            self._give(turn.session_id, turn.session, turn.scene)

    def due(self, kind: str, key: str, scene: Scene) -> list[Flag]:
        """A session is over: its language sample, if it is long enough."""
        session = self.sessions.by_id.get(key)
        if session is not None and not session.told and language_metrics.enough(session.sums):
            self._give(key, session, scene)
        return []

    def _give(self, session_id: str, session: Session, scene: Scene) -> None:
        desk = scene.desk
        said, self.samples = language_metrics.value(session_id, session.sums, self.samples)
        session.told = True
        if desk.consents.anyone(VIEW, "CHAT", desk.now):
            desk.emit("chat.language_metrics", desk.event_time, said, session_id)

    def finish(self, until: int, scene: Scene) -> list[Flag]:
        return []

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> Any:
        return {
            "sessions": self.sessions.state(), "chooser": self.chooser.state(), "totals": self.totals, "item9": self.item9,
            "samples": self.samples,
        }  # fmt: skip

    def restore(self, state: Any) -> None:
        if state is None:  # written before there was a bot
            return
        self.sessions = Sessions.from_state(state["sessions"])
        self.chooser = Chooser.from_state(state["chooser"])
        self.totals = {str(k): [int(t), float(x)] for k, (t, x) in state["totals"].items()}
        self.item9 = [int(t) for t in state["item9"]]
        self.samples = [[float(x) for x in row] for row in state["samples"]]


class Turn:
    """One inbound record being answered: who asks, in which session, and what has been said to it so far."""

    def __init__(
        self, room: Conversation, scene: Scene, record: dict[str, Any], session_id: str, session: Session, locale: str,
        profile: Profile | None,
    ) -> None:  # fmt: skip
        self.room, self.scene, self.record = room, scene, record
        self.session_id, self.session = session_id, session
        self.locale, self.profile = locale, profile
        self.said = 0
        self._z: Vectors | None = None

    def read(self, text: str) -> Vectors:
        """Features of this record's text, computed once."""
        if self._z is None:
            self._z = self.room.models.read(text)
        return self._z

    def safety_of(self, text: str) -> Mapping[str, float]:
        """Scores of this record's text, or of another reading of it."""
        models = self.room.models
        z = self.read(text) if text == self.record["value"].get("text") else models.read(text)
        return models.safety_of(z, text)

    def item(self, *ids: str) -> Any:
        desk = self.scene.desk
        return fixed(desk.library, self.locale, desk.now, self.profile, *ids)

    def say(self, item: Any, flow: str, **more: Any) -> None:
        """One `chat.outbound`; without any item an audit row says so."""
        desk = self.scene.desk
        if item is None:
            desk.audit("ITEM_BLOCKED", self.record["event_id"], "NO_CONTENT")
            return
        value = outbound(item, self.session_id, self.said, flow, self.session.level, **more)
        desk.emit("chat.outbound", desk.event_time, value, self.record["event_id"], self.said)
        self.said += 1

    def flag(self, level: str, category: str | None = None) -> Flag:
        """Evidence for the rule of support.md 3."""
        suspect = self.record["event_id"] in self.scene.suspect
        return made(self.record, "CHAT_RISK", screener.SEVERITY[level], category, suspect)

    def open_risk(self) -> None:
        """The opening with the crisis line, and the first question that has not been answered yet."""
        high = self.session.level == "HIGH"
        self.say(self.item("risk_high" if high and self.session.screened else "risk_opening"), "RISK")
        self.ask()

    def ask(self) -> None:
        """The screener's next question, if one is left."""
        question = screener.next_question(self.session.screened)
        self.session.asked, self.session.repeated = question or "", False
        if question is not None:
            self.say(self.item(f"cssrs_{question.lower()}"), "RISK")

    def help(self) -> None:
        """The fixed help reply."""
        self.say(self.item(), "MENU")

    def guarded(self, step: Callable[[], None], speak: bool = True) -> None:
        """A step whose failure must not take the evidence with it; `speak` = the fixed help reply in its place."""
        try:
            step()
        except Exception:  # see Conversation._steps
            if speak:
                self.help()


def _languages(desk: Any) -> dict[str, str]:
    """Primary language → locale that the pool has; the person's own locale first."""
    out: dict[str, str] = {}
    for locale in (desk.locale(), *desk.library.locales):
        if locale in desk.library.lines:
            out.setdefault(primary(locale), locale)
    return out
