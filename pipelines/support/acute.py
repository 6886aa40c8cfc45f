"""Rule A1 and the search rule: what risk evidence asks for, in tiers, and the case file (support.md 3, 8).

Crisis paths (L4) have no limiter, no learned model, no randomisation, and wait for nothing (design 7).
"""

from __future__ import annotations

from typing import Any

from pipelines.context.profile import Profile
from pipelines.context.risk import Flag
from pipelines.gate.desk import DAY_MS, Desk, Message
from pipelines.gate.disclosure import Condition
from pipelines.learning.expected_heart_rate import NAME
from pipelines.settings import RULE_VERSION
from pipelines.support import conditions as cond
from pipelines.support.minutes import Minutes
from pipelines.support.signals import Signal
from pipelines.support.triggers import RANK, Case, Trigger, cases, count_24h, merge, own_tier, signal_id

HOUR_MS = 3_600_000
AWAY_BEFORE_MS = HOUR_MS  # confirmed OTHER fix in [start - 60 min, end]
HR_VALID_MS = 12 * HOUR_MS  # a search in [HR start, HR end + 12 h]
DEDUPE_MS = 10 * 60_000
LATE_MS = HOUR_MS
JUDGE_MS = 24 * HOUR_MS + 10 * 60_000  # evidence about a trigger is complete after this
CLOSE_MS = 72 * HOUR_MS
KEEP_MS = 9 * DAY_MS
MAX_FLAGS = 300


class Acute:
    """Risk evidence, what was said about it, and the case files of one person."""

    def __init__(self) -> None:
        self.flags: list[Flag] = []
        self.told: dict[str, int] = {}  # event_id → rank of the highest tier said to the person
        self.sent_l4: list[int] = []  # trigger starts of crisis cards
        self.said_l3: list[list[int]] = []  # [trigger start, log clock] of L3 / L4 said to the person
        self.last_resources = -(2**60)
        self.searches: dict[str, dict[str, Any]] = {}
        self.judged: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.cuts: list[int] = []

    # -- records ------------------------------------------------------------------------------------------------------

    def add(self, flag: Flag, desk: Desk, minutes: Minutes) -> None:
        """A risk-bearing record arrived."""
        if flag.event_id in {f.event_id for f in self.flags}:
            return
        self.flags.append(flag)
        if len(self.flags) > MAX_FLAGS:  # the first of a case names it; the middle may go
            names = {r for f in self.files.values() for r in f["refs"][:1]}
            del self.flags[next(i for i, f in enumerate(self.flags) if f.event_id not in names)]
        self.review(desk, minutes)

    def acknowledge(self, case_id: str, action: str, desk: Desk, minutes: Minutes) -> None:
        """ACK, CONTACTED, DISMISS_FALSE, ESCALATE; an old id of a re-keyed case still reaches it."""
        file = next((f for cid, f in self.files.items() if cid == case_id or case_id in f["supersedes"]), None)
        if file is None or file["state"] == "CLOSED":
            return
        current = file["case_id"]
        if action == "ESCALATE":
            desk.escalate(current, actor="therapist")
            return
        desk.timers.cancel("ACK_DUE", current)
        if action == "ACK":  # whom to escalate to stays known: the therapist may still ask
            file["state"] = "ACKED"
            desk.audit("CASE_ACKED", current, actor="therapist")
        else:
            file["state"] = "CLOSED"
            desk.waiting_acks.pop(current, None)
            if file["kind"] == "ACUTE":
                self.cuts.append(desk.event_time)
            desk.audit("CASE_CLOSED", current, actor="therapist")
        self._write(file, desk)

    # -- the rule -----------------------------------------------------------------------------------------------------

    def review(self, desk: Desk, minutes: Minutes) -> None:
        """Derive everything again from the evidence known now; say what is new. Nothing said is ever unsaid."""
        triggers = merge(desk.user, self.flags)
        self._publish(triggers, desk)
        by_trigger: dict[str, Case] = {}
        found = cases(desk.user, triggers, self.cuts)
        for case in found:
            for t in case.triggers:
                by_trigger[t.signal_id] = case
        for t in triggers:
            self._judge(t, triggers, desk, minutes)
        self._rekey(found, desk)
        for t in triggers:
            self._speak(t, by_trigger.get(t.signal_id), desk, minutes)
        for case in found:
            self._update(case, desk)

    def _judge(self, t: Trigger, triggers: list[Trigger], desk: Desk, minutes: Minutes) -> None:
        known = self.judged.get(t.signal_id)
        if known is not None and desk.now > t.end + JUDGE_MS:
            return
        n = count_24h(t, triggers)
        tier, evidence, late = own_tier(t, n), cond.trigger(t, n), False
        if t.note:
            evidence.append({"name": "LATE_EVIDENCE", "met": True, "refs": list(t.refs)})
        if t.kind == "SEARCH" and t.severity >= 2 and not t.note and desk.profiles.effective(t.start) is not None:
            match = self.heart_rate_away(t.start, desk, minutes)
            if match is not None:
                tier = "L3" if tier == "L2" else tier
                signal, fix = match
                evidence = [
                    cond.heart_rate(signal, signal_id(desk.user, "HR_EPISODE", None, signal.start)),
                    cond.away(fix),
                    *cond.strain(minutes.strain(signal.start, desk.days)),
                    *evidence,
                ]
                late = signal.late
        self.judged[t.signal_id] = {"tier": tier, "conditions": evidence, "late": late}

    def heart_rate_away(self, search: int, desk: Desk, minutes: Minutes) -> tuple[Signal, int] | None:
        """The L1 condition whose time covers a search: HR episode, confirmed OTHER, then the search within 12 h."""
        for signal in reversed(minutes.hr_episodes(desk.now)):
            end = signal.end if signal.end is not None else desk.now
            if not signal.start <= search <= end + HR_VALID_MS:
                continue
            fix = away_fix(signal, desk.now, minutes)
            if fix is not None:
                return signal, fix
        return None

    def _speak(self, t: Trigger, case: Case | None, desk: Desk, minutes: Minutes) -> None:
        judged = self.judged[t.signal_id]
        tier, told = judged["tier"], max(self.told.get(r, 0) for r in t.refs)
        if tier == "NONE" or RANK[tier] <= told:
            return
        fresh = [f for f in self.flags if f.event_id in t.refs and f.event_id not in self.told]
        late = any(f.arrival - f.t > LATE_MS for f in fresh) or (judged["late"] and tier == "L3")
        file = self.files.get(case.case_id) if case is not None else None
        message = self._message(tier, t, file, judged["conditions"], late, desk, minutes)
        if tier == "RESOURCES":
            self._resources(message, desk)
        elif tier == "CASE_NOTE":
            desk.to_therapist(message, "THERAPIST_ALERT_ACUTE")
        elif tier == "L4":
            self._crisis(t, message, file, desk)
        elif tier == "L3":
            self._help_with_therapist(t, message, file, told, desk)
        else:
            desk.to_person(message)
        for ref in t.refs:
            self.told[ref] = max(self.told.get(ref, 0), RANK[tier])

    def _message(
        self,
        tier: str,
        t: Trigger,
        file: dict[str, Any] | None,
        evidence: list[Condition],
        late: bool,
        desk: Desk,
        minutes: Minutes,
    ) -> Message:
        silent = minutes.silent(desk.now) if tier in ("L2", "L3", "L4") else {}
        case_id = file["case_id"] if file is not None else None
        params = {"questionnaire": "CSSRS"} if t.kind == "ITEM9" and tier == "L2" else {}
        return Message(
            tier, t.start, t.modality, evidence, case_id or t.signal_id, t.start, case_id=case_id,
            missing=tuple(m for m, gone in silent.items() if gone), late=late, suspect=t.suspect, params=params,
            model=NAME if any(c["name"] == "HR_EPISODE" for c in evidence) else "NONE",
        )  # fmt: skip

    def _resources(self, message: Message, desk: Desk) -> None:
        if desk.now - self.last_resources < DAY_MS:
            desk.audit("SUPPRESSED", message.about, "COOL_DOWN")
            return
        if desk.to_person(message) is not None:
            self.last_resources = desk.now

    def _crisis(self, t: Trigger, message: Message, file: dict[str, Any] | None, desk: Desk) -> None:
        """No limiter of any kind; one card for what lies within ten minutes either side."""
        if any(abs(t.start - s) <= DEDUPE_MS for s in self.sent_l4):
            desk.audit("SUPPRESSED", message.about, "DEDUPE")
            return
        if desk.to_person(message) is not None:
            self.sent_l4.append(t.start)
            self.said_l3.append([t.start, desk.now])
            self._said(file, "L4")
        self._alert(message, file, desk)

    def _help_with_therapist(
        self, t: Trigger, message: Message, file: dict[str, Any] | None, told: int, desk: Desk
    ) -> None:
        """L3: once an open case, again after 24 h; a further search still gets its help message."""
        own = [clock for start, clock in self.said_l3 if file is not None and start in file["starts"]]
        if own and desk.now - max(own) < DAY_MS:
            desk.audit("SUPPRESSED", message.about, "OPEN_CASE")
            if told < RANK["L2"]:
                own_search = cond.trigger(t, 0)  # what L2 rests on, so that the tier can be recomputed (S12)
                desk.to_person(Message(**{**message.__dict__, "tier": "L2", "conditions": own_search, "model": "NONE"}))
                self._said(file, "L2")
            return
        if desk.to_person(message) is not None:
            self.said_l3.append([t.start, desk.now])
            self._said(file, "L3")
        self._alert(message, file, desk)

    def _alert(self, message: Message, file: dict[str, Any] | None, desk: Desk) -> None:
        profile = desk.profiles.effective(message.event_time)
        if not reaches_therapist(message.tier, profile):
            return
        before = len(desk.queued)
        if desk.to_therapist(message, "THERAPIST_ALERT_ACUTE") and file is not None and len(desk.queued) == before:
            file["therapist_alerted"] = True

    def _said(self, file: dict[str, Any] | None, tier: str) -> None:
        if file is not None and RANK[tier] > RANK[file["tier_said"]]:
            file["tier_said"] = tier

    # -- search signals -----------------------------------------------------------------------------------------------

    def _publish(self, triggers: list[Trigger], desk: Desk) -> None:
        current = {t.signal_id: t for t in triggers}
        for sid, old in self.searches.items():
            if sid not in current and old["state"] == "ON":
                old["state"], old["revision"] = "OFF", old["revision"] + 1
                self._signal(sid, old, desk, "SUPERSEDED")
        for sid, t in current.items():
            seen = self.searches.get(sid)
            body = {"kind": t.kind, "start": t.start, "end": t.end, "severity": t.severity, "category": t.category,
                    "count": t.count, "refs": list(t.refs), "suspect": t.suspect, "state": "ON"}  # fmt: skip
            if seen is not None and {k: seen[k] for k in body} == body:
                continue
            entry = {**body, "revision": 0 if seen is None else seen["revision"] + 1}
            self.searches[sid] = entry
            self._signal(sid, entry, desk, None)

    def _signal(self, sid: str, s: dict[str, Any], desk: Desk, reason: str | None) -> None:
        value: dict[str, Any] = {
            "signal_id": sid, "revision": s["revision"], "kind": s["kind"], "state": s["state"], "start_time": s["start"],
            "end_time": s["end"], "severity": s["severity"], "count": s["count"], "missing": [], "refs": s["refs"],
            "clock_suspect": s["suspect"], "versions": {"rule": "search-1"},
        }  # fmt: skip
        if s["category"]:
            value["category"] = s["category"]
        if reason:
            value["end_reason"] = reason
        desk.emit("risk.signal", s["start"], value, sid, s["revision"])

    # -- case files ---------------------------------------------------------------------------------------------------

    def _rekey(self, found: list[Case], desk: Desk) -> None:
        """New cases get a file. A late trigger may come before a case, or join two: the old id is superseded."""
        ids = {c.case_id for c in found}
        for case in found:
            refs = {r for t in case.triggers for r in t.refs}
            old = [
                f for cid, f in self.files.items() if f["kind"] == "ACUTE" and cid not in ids and refs & set(f["refs"])
            ]
            fresh = case.case_id not in self.files
            if not fresh and not old:
                continue
            file = self.files.setdefault(case.case_id, new_file(case.case_id, "ACUTE", case.triggers[0].start))
            if old:
                states = {f["state"] for f in (old if fresh else [file, *old])}
                file["state"] = next(s for s in ("OPEN", "ACKED", "CLOSED") if s in states)
            for f in old:
                file["supersedes"] = sorted({*file["supersedes"], f["case_id"], *f["supersedes"]})
                file["therapist_alerted"] = file["therapist_alerted"] or f["therapist_alerted"]
                self._said(file, f["tier_said"])
                del self.files[f["case_id"]]
                for kind in ("CASE_FINAL", "CASE_CLOSE"):
                    desk.timers.cancel(kind, f["case_id"])
                desk.rename_case(f["case_id"], case.case_id)
                desk.audit("CASE_REKEYED", case.case_id)
            file["starts"] = [t.start for t in case.triggers]
            if fresh and not old:
                desk.audit("CASE_OPENED", case.case_id)

    def _update(self, case: Case, desk: Desk) -> None:
        file = self.files[case.case_id]
        judged = [(RANK[self.judged[t.signal_id]["tier"]], t) for t in case.triggers]
        top = max(rank for rank, _ in judged)
        best = next(t for rank, t in judged if rank == top)
        tier = next(name for name, rank in RANK.items() if rank == top)
        if RANK[tier] > RANK[file["tier"]] and file["tier"] != "NONE":
            desk.audit("CASE_UPGRADED", case.case_id)
        profile = desk.profiles.effective(best.start)
        permitted = desk.route(desk.consents.recipients("THERAPIST_ALERT_ACUTE", best.modality, best.start), profile)
        file.update(
            tier=tier,
            starts=[t.start for t in case.triggers],
            refs=[r for t in case.triggers for r in t.refs],
            triggers=[t.signal_id for t in case.triggers],
            conditions=self.judged[best.signal_id]["conditions"],
            last_evidence_time=case.last,
            therapist_due=bool(permitted) and reaches_therapist(tier, profile),
            late_notes=[t.signal_id for t in case.triggers if t.note],
            versions={"rule": RULE_VERSION, "profile": str(profile.version) if profile is not None else "NONE"},
            final=desk.now >= case.last + DAY_MS,
        )
        if tier == "CASE_NOTE":
            self._said(file, tier)
        told = max((self.told.get(r, 0) for r in file["refs"]), default=0)
        if told == RANK["L2"]:
            self._said(file, "L2")
        if not file["final"]:
            desk.timers.set(case.last + DAY_MS, "CASE_FINAL", case.case_id)
        if file["state"] != "CLOSED":
            desk.timers.set(max(case.last + CLOSE_MS, desk.now), "CASE_CLOSE", case.case_id)
        self._write(file, desk)

    def _write(self, file: dict[str, Any], desk: Desk) -> None:
        write_case(file, desk)

    def case_timer(self, kind: str, case_id: str, desk: Desk, minutes: Minutes) -> None:
        """CASE_FINAL: last evidence is 24 h old; CASE_CLOSE: 72 h."""
        file = self.files.get(case_id)
        if file is None:
            return
        if kind == "CASE_CLOSE" and file["state"] != "CLOSED":
            file["state"] = "CLOSED"
            desk.waiting_acks.pop(case_id, None)
            desk.timers.cancel("ACK_DUE", case_id)
            desk.audit("CASE_CLOSED", case_id)
            self._write(file, desk)
        elif kind == "CASE_FINAL":
            self.review(desk, minutes)

    def delivered(self, case_id: str, desk: Desk) -> None:
        """A queued therapist message has gone out."""
        file = self.files.get(case_id) or next((f for f in self.files.values() if case_id in f["supersedes"]), None)
        if file is not None and not file["therapist_alerted"]:
            file["therapist_alerted"] = True
            self._write(file, desk)

    def open_case(self) -> bool:
        """An open case of tier L3 or L4 (trial.md 2)."""
        return any(
            f["kind"] == "ACUTE" and f["state"] == "OPEN" and RANK[f["tier"]] >= RANK["L3"] for f in self.files.values()
        )

    def searches_since(self, t: int, severity: int) -> list[Flag]:
        return [f for f in self.flags if f.kind == "SEARCH" and f.severity >= severity and f.t >= t]

    # -- state --------------------------------------------------------------------------------------------------------

    def forget(self, now: int) -> None:
        """Evidence of cases that are over goes after nine days; a running case keeps its triggers."""
        limit = now - KEEP_MS
        running = {
            r
            for f in self.files.values()
            if f["state"] != "CLOSED" or not f["final"] or f["last_evidence_time"] >= limit  # else its id would change
            for r in f.get("refs", [])
        }
        self.flags = [f for f in self.flags if f.t >= limit or f.arrival >= limit or f.event_id in running]
        keep = {f.event_id for f in self.flags}
        self.told = {k: v for k, v in self.told.items() if k in keep}
        self.sent_l4 = [s for s in self.sent_l4 if s >= limit]
        self.said_l3 = [s for s in self.said_l3 if s[1] >= limit]
        self.cuts = [c for c in self.cuts if c >= limit]
        self.searches = {k: v for k, v in self.searches.items() if set(v["refs"]) & keep}
        self.judged = {k: v for k, v in self.judged.items() if k in self.searches}
        self.files = {
            k: f for k, f in self.files.items()
            if f["state"] != "CLOSED" or f["last_evidence_time"] >= limit or set(f.get("refs", [])) & keep
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {**self.__dict__, "flags": [dict(vars(f)) for f in self.flags]}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Acute:
        self = Acute()
        self.__dict__.update(state)
        self.flags = [Flag(**f) for f in state["flags"]]
        return self


def away_fix(signal: Signal, now: int, minutes: Minutes) -> int | None:
    """Last confirmed OTHER fix in [start - 60 min, end] of an episode, as known at `now`."""
    end = signal.end if signal.end is not None else now
    return minutes.track.confirmed_other(signal.start - AWAY_BEFORE_MS, min(end, minutes.horizon(now) - 1))


def reaches_therapist(tier: str, profile: Profile | None) -> bool:
    """Lowest tier that reaches the therapist is the profile's; never creates consent (support.md 6)."""
    lowest = profile.tier_to_therapist if profile is not None else "L3"
    return RANK.get(tier, 0) >= RANK[lowest] or tier == "CASE_NOTE"


def new_file(case_id: str, kind: str, opened: int) -> dict[str, Any]:
    """A case file of which nothing has been written yet."""
    return {
        "case_id": case_id, "kind": kind, "state": "OPEN", "tier": "NONE", "tier_said": "NONE", "opened_time": opened,
        "last_evidence_time": opened, "final": False, "triggers": [], "conditions": [], "therapist_due": False,
        "therapist_alerted": False, "supersedes": [], "late_notes": [], "versions": {}, "refs": [], "starts": [],
        "revision": -1, "written": None,
    }  # fmt: skip


FILE_FIELDS = ("case_id", "kind", "state", "tier", "tier_said", "opened_time", "last_evidence_time", "final", "triggers",
               "conditions", "therapist_due", "therapist_alerted", "supersedes", "late_notes", "versions")  # fmt: skip


def write_case(file: dict[str, Any], desk: Desk) -> None:
    """A new revision of `case.file` if anything in it changed."""
    value = {k: file[k] for k in FILE_FIELDS}
    if value == file["written"]:
        return
    file["written"] = {k: (list(v) if isinstance(v, list) else v) for k, v in value.items()}
    file["revision"] += 1
    desk.emit("case.file", desk.event_time, {**value, "revision": file["revision"]}, file["case_id"], file["revision"])
