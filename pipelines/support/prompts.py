"""Prompts that may wait or not come at all: the randomised check-ins L1 and W1, and what came of them (trial.md).

A decision stands in the log before its notification; what is not sent has its reason in the audit (S21).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipelines.context.profile import Profile
from pipelines.gate.desk import Desk, Message
from pipelines.gate.limiter import Limiter
from pipelines.learning.expected_heart_rate import NAME
from pipelines.learning.receptivity import Receptivity
from pipelines.support import conditions as cond
from pipelines.support import places
from pipelines.support.acute import away_fix
from pipelines.support.minutes import Minutes
from pipelines.support.signals import Signal
from pipelines.support.triggers import signal_id
from pipelines.trial import decision as trial

MINUTE_MS = 60_000
ENDED_MS = 30 * MINUTE_MS  # L1 only while the episode goes on or ended at most 30 min ago
ANSWER_MS = 10 * MINUTE_MS
OUTCOME_LAG_MS = 3 * MINUTE_MS  # the last minute of an hour is said two minutes after its end
REASON = {
    "NO_RESEARCH_CONSENT": "NO_CONSENT", "DRIVING": "NOT_RECEPTIVE", "RECENT_PROMPT": "LIMIT_GAP", "BUDGET": "LIMIT_DAY",
    "QUIET_HOURS": "QUIET_HOURS", "OPEN_CASE": "OPEN_CASE", "MODALITY_MISSING": "NOT_RECEPTIVE", "NOT_RECEPTIVE": "NOT_RECEPTIVE",
}  # fmt: skip
ITEM_ARMS = {"CLASSIC": "CLASSIC", "ADAPTIVE": "ADAPTIVE"}
HELD_CALM = 0.8  # an episode that the personal recogniser takes for calm with this probability is no reason to ask …
HELD_IN_A_ROW = 2  # … but after so many the next is asked all the same, so that answers go on judging the recogniser
Recognised = Callable[[int], dict[str, float]]


class Prompts:
    """Decision points, prompts waiting for an answer, and the receptivity model of one person."""

    def __init__(self) -> None:
        self.limiter = Limiter()
        self.receptivity = Receptivity()
        self.counts: dict[str, int] = {}  # decision points so far, by kind
        self.decided: dict[str, int] = {}  # signal_id of an L1 decision → when
        self.open: dict[str, dict[str, Any]] = {}  # decision_id → {value, since}
        self.asked: dict[str, dict[str, Any]] = {}  # notification_id → {at, x} until answered
        self.held = 0  # L1 points in a row that were held because the episode was taken for calm

    # -- L1 -----------------------------------------------------------------------------------------------------------

    def check_in(
        self, signals: list[Signal], desk: Desk, minutes: Minutes, open_case: bool, recognised: Recognised = lambda t: {}
    ) -> None:
        """L1: a heart-rate episode away from home, still going on or just over.

        Parameters
        ----------
        recognised
            Instant (ms) → probability of the person's states by the personal recogniser, {} while its gate is closed. It can
            hold a check-in, and nothing else; and receptivity and the decision record know it.
        """
        for signal in signals:
            sid = signal_id(desk.user, "HR_EPISODE", None, signal.start)
            if sid in self.decided:
                continue
            profile = desk.profiles.effective(signal.start)
            if profile is None or profile.panic_disorder:
                continue
            end = signal.end if signal.end is not None else desk.now
            fix = away_fix(signal, desk.now, minutes)
            if fix is None or desk.now - end > ENDED_MS:
                continue
            self.decided[sid] = desk.now
            self._l1(signal, sid, fix, desk, minutes, open_case, recognised(signal.last or signal.start))

    def _l1(
        self, signal: Signal, sid: str, fix: int, desk: Desk, minutes: Minutes, open_case: bool, states: dict[str, float]
    ) -> None:
        day_start = desk.day_start()
        left = min(self.limiter.left(day_start), self.limiter.l1_left(day_start))
        x = {f"state_{name.lower()}": p for name, p in states.items()}
        situation = self._situation(
            desk, minutes, open_case, float(left), ("HEART_RATE", "LOCATION"), signal.start, more=x
        )
        if self.limiter.l1_too_soon(desk.now) and not situation.recent_prompt:
            situation = replace(situation, recent_prompt=True)
        situation = self._sharpened(situation, states)
        evidence = [cond.heart_rate(signal, sid), cond.away(fix), *cond.strain(minutes.strain(signal.start, desk.days))]
        message = Message(
            "L1", signal.start, "HEART_RATE", evidence, sid, signal.start, late=signal.late, model=NAME,
        )  # fmt: skip
        self._decide("L1", (sid,), situation, message, desk, minutes, x)

    def _sharpened(self, situation: trial.Situation, states: dict[str, float]) -> trial.Situation:
        """Not receptive where the episode is taken for calm, unless two in a row have been held."""
        if situation.reasons():
            return situation
        if states.get("CALM", 0.0) < HELD_CALM or self.held >= HELD_IN_A_ROW:
            self.held = 0
            return situation
        self.held += 1
        return replace(situation, receptive=False)

    # -- W1 -----------------------------------------------------------------------------------------------------------

    def invite(self, message: Message, trigger: tuple[Any, ...], desk: Desk, minutes: Minutes, open_case: bool) -> bool:
        """W1: PHQ-2 by the micro-randomised trial; without RESEARCH it is sent without a draw. True if it was said."""
        left = float(self.limiter.left(desk.day_start()))
        if desk.consents.anyone("RESEARCH", message.modality, desk.now):
            situation = self._situation(desk, minutes, open_case, left, (), message.event_time)
            return self._decide("W1", trigger, situation, message, desk, minutes)
        about = desk.notification_id(message)
        if left < 1:
            desk.audit("SUPPRESSED", about, "LIMIT_DAY")
            return False
        return self._say(message, desk) is not None

    # -- of other rooms ----------------------------------------------------------------------------------------------

    def offer(
        self, kind: str, trigger: tuple[Any, ...], message: Message, desk: Desk, minutes: Minutes, open_case: bool
    ) -> bool:
        """A decision point that another room asks for, e.g. PLAY_REMINDER. True if the message was said."""
        left = float(self.limiter.left(desk.day_start()))
        situation = self._situation(desk, minutes, open_case, left, (), message.event_time, message.modality)
        return self._decide(kind, trigger, situation, message, desk, minutes)

    def acted(self, kind: str, desk: Desk) -> None:
        """The person did what a prompt of this kind asked for: its APP_ACTION outcome, if the window is still open."""
        for decision_id, entry in sorted(self.open.items()):
            if entry["kind"] == kind and entry["since"] <= desk.now <= trial.outcome_due(kind, entry["since"]):
                self._outcome(decision_id, desk, proximal=1.0, time=desk.now)

    # -- the decision ---------------------------------------------------------------------------------------------------

    def _situation(
        self, desk: Desk, minutes: Minutes, open_case: bool, left: float, needed: tuple[str, ...], t: int,
        about: str = "ACTIVITY", more: dict[str, float] | None = None,
    ) -> trial.Situation:  # fmt: skip
        driving, vigorous = minutes.moving(desk.now)
        silent = minutes.silent(desk.now)
        modality = needed[0] if needed else about
        context = bool(needed)  # the rule's own modalities were there, or it would not have fired
        return trial.Situation(
            research=desk.consents.anyone("RESEARCH", modality, t)
            and desk.consents.anyone("RESEARCH", modality, desk.now),
            driving=False if driving is None and not context else driving,
            recent_prompt=self.limiter.recent(desk.now),
            budget_left=left,
            quiet=desk.quiet(),
            open_case=open_case,
            modalities_ok=not any(silent[m] for m in needed),
            receptive=not vigorous and self.receptivity.receptive(self._x(desk, minutes) | (more or {})),
        )

    def _decide(
        self,
        kind: str,
        trigger: tuple[Any, ...],
        situation: trial.Situation,
        message: Message,
        desk: Desk,
        minutes: Minutes,
        more: dict[str, float] | None = None,
    ) -> bool:
        x = self._x(desk, minutes) | (more or {})
        profile = desk.profiles.effective(message.event_time)
        items = {arm: self._item(kind, arm, profile, desk) for arm in ITEM_ARMS}
        index = self.counts.get(kind, 0)
        self.counts[kind] = index + 1
        value = trial.decision(
            desk.user, situation, dp_kind=kind, dp_index=index, trigger=trigger, features=x,
            study_key=desk.settings.study_key, items=items,
        )  # fmt: skip
        desk.emit("jitai.decision", desk.event_time, value, value["decision_id"], "DECISION")
        if value["avail"]:
            self.open[value["decision_id"]] = {"value": value, "since": desk.now, "kind": kind}
            desk.timers.set(trial.outcome_due(kind, desk.now) + OUTCOME_LAG_MS, "OUTCOME", value["decision_id"])
        about = desk.notification_id(message)
        if value["action"] == "NOTHING":
            reasons = value["reasons_unavailable"]
            desk.audit("SUPPRESSED", about, REASON[reasons[0]] if reasons else "ARM_NOTHING")
            return False
        said = Message(**{**message.__dict__, "decision_id": value["decision_id"], "arm": value["action"]})
        return self._say(said, desk, x) is not None

    def _item(self, kind: str, arm: str, profile: Profile | None, desk: Desk) -> str | None:
        item = desk.item(kind, "USER", profile, arm, False)
        return None if item is None else item.item_id

    def _say(self, message: Message, desk: Desk, x: dict[str, float] | None = None) -> str | None:
        nid = desk.to_person(message)
        if nid is not None:
            self.limiter.said(message.tier, desk.now)
            self.asked[nid] = {"at": desk.now, "x": x or {}}
            desk.timers.set(desk.now + ANSWER_MS, "OUTCOME", f"answer:{nid}")
        return nid

    def _x(self, desk: Desk, minutes: Minutes) -> dict[str, float]:
        """State as used, for the decision record and receptivity; what is not known is absent."""
        angle = desk.local_minute() / 1440 * 2 * math.pi
        x = {"hour_sin": round(math.sin(angle), 6), "hour_cos": round(math.cos(angle), 6)}
        top = max(0, minutes.sayable(desk.now))
        place = int(minutes.track.at(np.array([minutes.horizon(desk.now) - 1], np.int64))[0][0])
        if place != places.UNKNOWN:
            x["away"] = float(place == places.OTHER)
        steps = minutes.grid.steps[max(0, top - 5) : top]
        known = steps[steps == steps]
        if len(known):
            x["steps_5_min"] = round(float(known.mean()), 3)
        return x

    # -- what came of it ------------------------------------------------------------------------------------------------

    def answered(self, notification_id: str, at: int, desk: Desk) -> None:
        """A receipt says that the person opened or acted on a prompt."""
        entry = self.asked.pop(notification_id, None)
        if entry is not None:
            desk.timers.cancel("OUTCOME", f"answer:{notification_id}")
            self.receptivity.learn_one(entry["x"], at - entry["at"] <= ANSWER_MS)

    def mood(self, total: float, at: int, desk: Desk) -> None:
        """A mood rating within two hours of a W1 decision is its proximal outcome."""
        for decision_id, entry in sorted(self.open.items()):
            if entry["kind"] == "W1" and entry["since"] <= at <= trial.outcome_due("W1", entry["since"]):
                self._outcome(decision_id, desk, proximal=total, time=at)

    def due(self, key: str, desk: Desk, minutes: Minutes) -> None:
        """A window is over: an answer that did not come, or the outcome of a decision."""
        if key.startswith("answer:"):
            entry = self.asked.pop(key.removeprefix("answer:"), None)
            if entry is not None:
                self.receptivity.learn_one(entry["x"], False)
            return
        entry = self.open.get(key)
        if entry is None:
            return
        if entry["kind"] != "L1":
            self._outcome(key, desk, missing="NOT_ANSWERED")
            return
        since = entry["since"]
        value, at = minutes.returned(since, trial.outcome_due("L1", since))
        if value is None:
            self._outcome(key, desk, missing="SENSOR_MISSING")
        else:
            self._outcome(key, desk, proximal=value, time=at)

    def _outcome(self, decision_id: str, desk: Desk, **found: Any) -> None:
        entry = self.open.pop(decision_id)
        desk.timers.cancel("OUTCOME", decision_id)
        desk.emit("jitai.decision", entry["since"], trial.outcome(entry["value"], **found), decision_id, "OUTCOME")

    # -- state --------------------------------------------------------------------------------------------------------

    def forget(self, limit: int) -> None:
        self.decided = {k: t for k, t in self.decided.items() if t >= limit}

    def state(self) -> dict[str, Any]:
        return {
            "limiter": self.limiter.state(), "receptivity": self.receptivity.state(), "counts": self.counts, "decided": self.decided,
            "open": self.open, "asked": self.asked, "held": self.held,
        }  # fmt: skip

    @staticmethod
    def from_state(state: dict[str, Any]) -> Prompts:
        out = Prompts()
        out.limiter = Limiter.from_state(state["limiter"])
        out.receptivity = Receptivity.from_state(state["receptivity"])
        out.counts, out.decided, out.open, out.asked = state["counts"], state["decided"], state["open"], state["asked"]
        out.held = int(state.get("held", 0))  # not in states of before the recogniser was asked
        return out
