"""Steps 4-8 and the tapped answers: what a message without risk is about, and which approved item answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from content.library import Item
from pipelines.context.risk import Flag
from pipelines.conversation import referral, screener
from pipelines.conversation.models import GAP
from pipelines.conversation.replies import pool
from pipelines.learning.text_features import words_of

if TYPE_CHECKING:
    from pipelines.conversation.room import Conversation, Turn

CONFIDENT, MARGIN = 0.55, 0.15  # conversation.md 1
OTHER_GAP = f"{GAP}other"
GAP_FROM = 0.2  # below it a message belongs to no known cluster [choice]


class Talk:
    """One message without risk."""

    def __init__(self, room: Conversation, turn: Turn) -> None:
        self.room, self.turn, self.session = room, turn, turn.session
        self.desk = turn.scene.desk

    def answer(self, text: str, option: str) -> list[Flag]:
        if option and not text:
            return self._tapped(option)
        if self.session.asked and not self.session.repeated:
            self.session.repeated = True  # one gentle repeat; no answer clears nobody
            self.turn.say(self.turn.item("cssrs_repeat"), "RISK")
            self.turn.say(self.turn.item(f"cssrs_{self.session.asked.lower()}"), "RISK")
            return []
        self._about(text)
        return []

    # -- tapped -------------------------------------------------------------------------------------------------------

    def _tapped(self, option: str) -> list[Flag]:
        if (answer := screener.answer_of(option)) is not None:
            return self._screened(*answer)
        if (tapped := referral.answer_of(option)) is not None:
            self.session.tapped[tapped[0]] = tapped[1]
            self._refer()
        elif option in ("REFERRAL:START", "INTENT:referral"):
            return self._start_referral()
        elif option.startswith("INTENT:"):
            self._reply(option.removeprefix("INTENT:"), 1.0)
        elif option.startswith("FEEDBACK:") and self.session.reply:
            self._feedback(option == "FEEDBACK:HELPFUL")
        else:
            self.turn.say(self.turn.item("menu"), "MENU")
        return []

    def _screened(self, question: str, yes: bool) -> list[Flag]:
        """An answer of the screener. A level that rises is evidence; HIGH is told at once, and the questions may go on."""
        session, before = self.session, self.session.level
        session.screened[question] = yes
        session.level = screener.higher(before, screener.level(session.screened))
        risen = screener.SEVERITY[session.level] > screener.SEVERITY[before]
        flags = [self.turn.flag(session.level)] if risen else []
        if session.level == "HIGH" and before != "HIGH":
            self.turn.guarded(lambda: self.turn.say(self.turn.item("risk_high"), "RISK"))
        self.turn.guarded(self._go_on)
        return flags

    def _go_on(self) -> None:
        self.turn.ask()
        if self.session.asked:
            return
        self.room.item9 = []
        self.turn.say(self.turn.item("risk_done"), "RISK")
        if self.session.referring:
            self._refer()

    def _feedback(self, helpful: bool) -> None:
        intent, item_id = self.session.reply
        self.session.reply = []
        self.room.chooser.learn(intent, item_id, [i.item_id for i in self._pool(intent)[0]], helpful)
        self._reply("thanks", 1.0)

    # -- referral -----------------------------------------------------------------------------------------------------

    def _start_referral(self) -> list[Flag]:
        self.session.referring, self.session.tapped = True, {}
        if self.room.item9_waits(self.desk.event_time) and not self.session.screened:
            self.session.level = screener.higher(
                self.session.level, "UNSCREENED"
            )  # item 9 first; its own flag was raised then
            self.turn.open_risk()
            return []
        self._refer()
        return []

    def _refer(self) -> None:
        """The next question, or where to go."""
        question = referral.next_question(self.session.tapped)
        if question is not None:
            self.session.referring = True
            self.turn.say(self.turn.item(f"referral_{question.lower()}"), "NORMAL", intent="referral")
            return
        self.session.referring = False
        table, t = referral.load_table(), self.desk.event_time
        said = referral.suggest(self.session.tapped, self.room.recent_totals(t), table)
        value = {"session_id": self.turn.session_id, **said}
        self.desk.emit("referral.suggested", t, value, self.turn.session_id, table.version)
        self.turn.say(self.turn.item(f"referral_{said['clinician_type'].lower()}"), "NORMAL", intent="referral")

    # -- intent -------------------------------------------------------------------------------------------------------

    def _about(self, text: str) -> None:
        scores = self.room.models.intent_of(self.turn.read(text)) if words_of(text) else {}
        ranked = sorted(scores, key=lambda c: (-scores[c], c))
        if not ranked:
            self._not_understood(OTHER_GAP, 0.0)
            return
        best, top = ranked[0], round(scores[ranked[0]], 4)
        second = scores[ranked[1]] if len(ranked) > 1 else 0.0
        if best.startswith(GAP) and top >= CONFIDENT:
            self._gap(best, top)  # understood, but nothing approved to say about it
        elif top < CONFIDENT or top - second < MARGIN:
            self._not_understood(_cluster(scores), top)
        elif best == "referral":
            self.session.unclear = 0
            self._start_referral()
        else:
            self._reply(best, top)

    def _not_understood(self, cluster: str, confidence: float) -> None:
        """Ask once in other words; the second time in a row the menu, with the way to a person."""
        self.session.unclear += 1
        if self.session.unclear == 1:
            self.turn.say(self.turn.item("clarify_1"), "CLARIFY", confidence=confidence)
        else:
            self._gap(cluster, confidence)

    def _gap(self, cluster: str, confidence: float) -> None:
        self.session.unclear = 0
        self.turn.say(self.turn.item("menu"), "MENU", confidence=confidence)
        if cluster not in self.session.gaps:
            self.session.gaps = [*self.session.gaps, cluster]
            value = {"session_id": self.turn.session_id, "cluster_id": cluster, "locale": self.turn.locale, "count": 1}
            self.desk.emit("chat.content_gap", self.desk.event_time, value, self.turn.session_id, cluster)

    def _reply(self, intent: str, confidence: float) -> None:
        allowed, held = self._pool(intent)
        if not allowed:
            if held:
                self.desk.audit("ITEM_BLOCKED", held[0], "NO_CONTENT", actor="conversation")
            self._gap(f"{GAP}{intent}" if intent in self.room.models.intents.classes else OTHER_GAP, confidence)
            return
        pinned = self.turn.profile.pinned if self.turn.profile is not None else ()
        draw = (self.desk.settings.study_key, self.desk.user, str(self.turn.record["event_id"]))
        item, prob = self.room.chooser.choose(intent, allowed, pinned, draw)
        self.session.unclear, self.session.reply = 0, [intent, item.item_id]
        self.turn.say(item, "NORMAL", intent=intent, confidence=confidence, prob=prob)

    def _pool(self, intent: str) -> tuple[list[Item], list[str]]:
        profile = self.turn.profile
        holds = {"RISK"} if self.session.level != "NONE" else set()
        if profile is not None:
            holds |= {*profile.medication, *(["PANIC_DISORDER"] if profile.panic_disorder else [])}
        if self.desk.consents.is_minor(self.desk.event_time):
            holds.add("MINOR")
        return pool(self.desk.library, self.turn.locale, self.desk.now, profile, holds, flow="NORMAL", intent=intent)


def _cluster(scores: dict[str, float]) -> str:
    """The gap cluster nearest to a message that was not understood."""
    gaps = {c: s for c, s in scores.items() if c.startswith(GAP)}
    best = max(gaps, key=lambda c: (gaps[c], c), default=OTHER_GAP)
    return best if gaps.get(best, 0.0) >= GAP_FROM else OTHER_GAP
