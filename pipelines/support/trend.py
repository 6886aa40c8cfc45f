"""The mornings of rule A2: features of yesterday, the withdrawal signal, W1 and W2, and the TREND case (support.md 4)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from pipelines.context.calendar import Day
from pipelines.context.profile import Profile
from pipelines.gate.desk import DAY_MS, Desk, Message
from pipelines.learning.poisson_cusum import PoissonCusum
from pipelines.settings import RULE_VERSION
from pipelines.support import withdrawal
from pipelines.support.acute import Acute, new_file, write_case
from pipelines.support.daily import FEATURES, VERSION, Daily, DayRow
from pipelines.support.minutes import Minutes
from pipelines.support.prompts import Prompts
from pipelines.support.triggers import signal_id
from pipelines.support.withdrawal import Usual, Verdict
from schemas.ids import derive

SEARCH_DAYS = 7
COOL_DOWN_DAYS = 7
FROZEN_DAYS = 28


class Trend:
    """Withdrawal of one person over days. Day indices are days since 1970."""

    def __init__(self) -> None:
        self.state_now = ""
        self.signal: dict[str, Any] | None = None  # the signal last said, while it is not OFF
        self.on_since: int | None = None  # index of the first low day of a running W-ON
        self.began: int | None = None  # index of the day on which it was found
        self.last_w1 = -(2**40)
        self.last_w2 = -(2**40)
        self.cusum = PoissonCusum()
        self.written: dict[int, Any] = {}  # day → what features.day said of it

    # -- features.day -------------------------------------------------------------------------------------------------

    def tell_day(self, row: DayRow, revision: int, daily: Daily, desk: Desk) -> None:
        """A `features.day` record; revision 1 only if late records changed it."""
        amounts = {f: (row.amounts.get(f), row.states.get(f, "ABSENT")) for f in FEATURES}
        key = [row.valid, [list(amounts[f]) for f in FEATURES], row.strain]
        if revision == 1 and self.written.get(row.index, key) == key:
            self.written.pop(row.index, None)
            return
        self.written = {i: k for i, k in self.written.items() if i >= row.index - 3}
        self.written[row.index] = key
        features = {}
        usual = withdrawal.baselines(daily.rows, row.index, FEATURES)
        for name in FEATURES:
            amount, state = amounts[name]
            own = usual[name]
            features[name] = {
                "amount": amount, "baseline_median": None if own is None else round(own.median, 3),
                "mad": None if own is None else round(own.mad, 3), "n_valid": 0 if own is None else own.n, "state": state,
                "definition": f"{name}@{VERSION}",
            }  # fmt: skip
        profile = desk.profiles.effective(row.start)
        value: dict[str, Any] = {
            "local_date": _date(row.index), "start_time": row.start, "end_time": row.end, "revision": revision, "valid": row.valid,
            "strain": row.strain, "features": {n: {k: v for k, v in f.items() if v is not None} for n, f in features.items()},
        }  # fmt: skip
        if profile is not None:
            value["profile_version"] = profile.version
        desk.emit("features.day", row.start, value, value["local_date"], revision)

    def learn(self, row: DayRow) -> None:
        """A day whose lateness is over teaches the outings CUSUM."""
        if row.valid and "outings" in row.amounts:
            self.cusum.update(row.amounts["outings"], weekend=row.weekend)

    # -- the rule -----------------------------------------------------------------------------------------------------

    def evaluate(
        self, yesterday: Day, daily: Daily, acute: Acute, prompts: Prompts, desk: Desk, minutes: Minutes
    ) -> None:
        """09:00: judge yesterday; say the signal if it changed, and W1 or W2 if it is ON."""
        day = yesterday.index
        profile = desk.profiles.effective(yesterday.start_time) or Profile.default()
        normal = withdrawal.usual(daily.rows, self._anchor(day), profile.ratio)
        verdict = withdrawal.judge(daily.rows, day, profile, normal)
        evidence: list[dict[str, Any]] = []
        if verdict.state != "UNKNOWN":
            evidence = withdrawal.conditions(daily.rows, day, profile, normal, verdict)
        if self.on_since is None:
            self._not_yet(verdict, day, yesterday, daily, desk)
        elif verdict.state != "UNKNOWN" and verdict.recovered:
            self._exit(day, yesterday, acute, desk)
        if self.on_since is not None:
            if verdict.state == "ON":
                self._speak(day, evidence, normal, daily, acute, prompts, desk, minutes)
            self._follow(acute, desk, yesterday)

    def _anchor(self, day: int) -> int:
        """The baseline is frozen while the signal is ON, for 28 days at most."""
        if self.began is not None and day - self.began <= FROZEN_DAYS:
            return self.began
        return day

    def _not_yet(self, verdict: Verdict, day: int, yesterday: Day, daily: Daily, desk: Desk) -> None:
        if verdict.state == self.state_now:
            return
        before, self.state_now = self.state_now, verdict.state
        if verdict.state == "ON":
            self._close_signal(yesterday.start_time, "SUPERSEDED", desk)
            self.on_since = min(i for f in verdict.needed for i in verdict.low[f])
            self.began = day
            row = daily.rows[self.on_since]
            strength = float(min(len(verdict.low[f]) for f in verdict.needed))
            refs = [str(daily.rows[i].start) for i in sorted({i for f in verdict.needed for i in verdict.low[f]})]
            self._open_signal("ON", row.start, desk, strength=strength, refs=refs)
        elif verdict.state == "UNKNOWN":
            self._open_signal("UNKNOWN", yesterday.start_time, desk, missing=verdict.missing)
        elif before == "UNKNOWN":
            self._close_signal(yesterday.start_time, None, desk)

    def _exit(self, day: int, yesterday: Day, acute: Acute, desk: Desk) -> None:
        self._close_signal(yesterday.end_time, "EXIT", desk)
        file = self._file(acute)
        if file is not None and file["state"] != "CLOSED":
            file["state"], file["final"] = "CLOSED", True
            desk.audit("CASE_CLOSED", file["case_id"])
            write_case(file, desk)
        self.on_since, self.began, self.state_now = None, None, "OFF"

    def _open_signal(
        self,
        state: str,
        start: int,
        desk: Desk,
        missing: list[str] | None = None,
        strength: float | None = None,
        refs: list[str] | None = None,
    ) -> None:
        sid = signal_id(desk.user, "WITHDRAWAL", None if state == "ON" else state, start)
        self.signal = {
            "signal_id": sid, "revision": 0, "kind": "WITHDRAWAL", "state": state, "start_time": start,
            "missing": sorted(missing or []), "refs": refs or [], "clock_suspect": False, "versions": {"rule": "a2-1"},
        }  # fmt: skip
        if strength is not None:
            self.signal["strength"] = strength
        desk.emit("risk.signal", start, dict(self.signal), sid, 0)

    def _close_signal(self, end: int, reason: str | None, desk: Desk) -> None:
        if self.signal is None:
            return
        value = {
            **self.signal,
            "revision": self.signal["revision"] + 1,
            "state": "OFF",
            "end_time": max(end, self.signal["start_time"]),
        }
        if reason:
            value["end_reason"] = reason
        desk.emit("risk.signal", value["start_time"], value, value["signal_id"], value["revision"])
        self.signal = None

    # -- W1, W2 -------------------------------------------------------------------------------------------------------

    def _speak(
        self, day: int, evidence: list[dict[str, Any]], normal: Usual, daily: Daily, acute: Acute, prompts: Prompts, desk: Desk,
        minutes: Minutes,
    ) -> None:  # fmt: skip
        assert self.signal is not None
        profile = desk.profiles.effective(desk.now)
        searches = acute.searches_since(desk.now - SEARCH_DAYS * DAY_MS, 1)
        tier = "W2" if searches else "W1"
        sid = self.signal["signal_id"]
        if self.cusum.raised:
            evidence = [
                *evidence,
                {
                    "name": "OUTINGS_FALL",
                    "met": True,
                    "amount": round(self.cusum.evidence, 2),
                    "threshold": 4.0,
                    "refs": [],
                },
            ]
        if searches:
            evidence = [*evidence, {
                "name": f"SEARCH_{SEARCH_DAYS}D", "met": True, "start_time": min(f.t for f in searches), "amount": float(len(searches)),
                "threshold": 1.0, "unit": max(searches, key=lambda f: (f.severity, f.t, f.event_id)).category,
                "refs": sorted(f.event_id for f in searches),
            }]  # fmt: skip
        case_id = self._case_id(desk) if tier == "W2" else None
        message = Message(
            tier, desk.now, "LOCATION", [{"signal_id": sid, **c} for c in evidence], case_id or sid, desk.now, case_id=case_id,
            missing=(), params={"questionnaire": "PHQ2"} if tier == "W1" else {},
        )  # fmt: skip
        about = desk.notification_id(message)
        if profile is None:
            desk.audit("SUPPRESSED", about, "NO_PROFILE")
            return
        if profile.context_note(desk.now) is not None:
            desk.audit("SUPPRESSED", about, "CONTEXT_NOTE")
            return
        if day - (self.last_w2 if tier == "W2" else max(self.last_w1, self.last_w2)) < COOL_DOWN_DAYS:
            desk.audit("SUPPRESSED", about, "COOL_DOWN")
            return
        if tier == "W1":
            if prompts.invite(message, (sid, _date(day)), desk, minutes, acute.open_case()):
                self.last_w1 = day
            return
        self._w2(day, message, acute, prompts, desk, profile)

    def _w2(self, day: int, message: Message, acute: Acute, prompts: Prompts, desk: Desk, profile: Profile) -> None:
        file = self._file(acute)
        if file is None:
            assert self.signal is not None
            assert message.case_id is not None
            file = new_file(message.case_id, "TREND", self.signal["start_time"])
            acute.files[message.case_id] = file
            desk.audit("CASE_OPENED", message.case_id)
        if prompts.limiter.left(desk.day_start()) < 1:
            desk.audit("SUPPRESSED", desk.notification_id(message), "LIMIT_DAY")
        elif desk.to_person(message) is not None:
            prompts.limiter.said("W2", desk.now)
            self.last_w2 = day
            file["tier_said"] = "W2"
        purpose = "THERAPIST_ALERT_TREND"
        permitted = [
            r
            for r in desk.consents.recipients(purpose, "SEARCH", desk.now)
            if desk.consents.permitted(purpose, r, "LOCATION", desk.now)
        ]
        routed = desk.route(permitted, profile)
        before = len(desk.queued)
        if routed and desk.to_therapist(message, purpose, routed) and len(desk.queued) == before:
            file["therapist_alerted"] = True
        file.update(
            tier="W2", triggers=[self.signal["signal_id"]] if self.signal else [], conditions=message.conditions,
            therapist_due=bool(routed), versions={"rule": RULE_VERSION, "profile": str(profile.version)},
        )  # fmt: skip

    def _follow(self, acute: Acute, desk: Desk, yesterday: Day) -> None:
        """The case of a running signal follows its last day."""
        file = self._file(acute)
        if file is not None and file["state"] != "CLOSED":
            file["last_evidence_time"] = max(file["last_evidence_time"], yesterday.start_time)
            write_case(file, desk)

    def _case_id(self, desk: Desk) -> str:
        assert self.on_since is not None
        return derive("case.file", desk.user, "TREND", _date(self.on_since))

    def _file(self, acute: Acute) -> dict[str, Any] | None:
        return next((f for f in acute.files.values() if f["kind"] == "TREND" and f["state"] != "CLOSED"), None)

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "now": self.state_now, "signal": self.signal, "on_since": self.on_since, "began": self.began, "w1": self.last_w1,
            "w2": self.last_w2, "cusum": self.cusum.state(), "written": {str(k): v for k, v in self.written.items()},
        }  # fmt: skip

    @staticmethod
    def from_state(state: dict[str, Any]) -> Trend:
        out = Trend()
        out.state_now, out.signal = str(state["now"]), state["signal"]
        out.on_since, out.began = state["on_since"], state["began"]
        out.last_w1, out.last_w2 = int(state["w1"]), int(state["w2"])
        out.cusum = PoissonCusum.from_state(state["cusum"])
        out.written = {int(k): v for k, v in state["written"].items()}
        return out


def _date(index: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=index)).isoformat()
