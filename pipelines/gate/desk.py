"""The desk of one person: what rules may ask, and the one door through which they speak.

Every message passes `to_person` or `to_therapist`: consent at the event time of the trigger and again at the log's clock
(privacy.md 2), contact hours, approved content, explanation, audit. Nothing is said twice under one dedupe key.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from content.explain import sentence
from content.library import Item, Library
from pipelines.context.calendar import DayClock, contact_deadline, in_contact_hours, in_quiet_hours, next_contact_start
from pipelines.context.consent import ConsentBook
from pipelines.context.profile import Profile, ProfileBook
from pipelines.gate.disclosure import Condition, visible
from pipelines.gate.timers import Timers
from pipelines.privacy.audit import Chain
from pipelines.settings import RULE_VERSION, Settings
from schemas.ids import output_id

DAY_MS = 24 * 3_600_000
MINUTE_MS = 60_000
ACK_MIN = 30
KEEP_KEYS_MS = 10 * DAY_MS
URGENCY = {"L4": "CRISIS", "SAFEGUARD": "HIGH", "L3": "HIGH", "L2": "HIGH", "CASE_NOTE": "NORMAL", "W2": "NORMAL", "W1": "NORMAL",
           "L1": "NORMAL", "RESOURCES": "NORMAL"}  # fmt: skip
ACTION = {
    "L4": "CRISIS_CARD",
    "L1": "QUESTIONNAIRE",
    "W1": "QUESTIONNAIRE",
    "DEVICE_REMINDER": "REMINDER",
    "PLAY_REMINDER": "REMINDER",
}
EXPIRY_MS = {"L1": 30 * MINUTE_MS, "CASE_NOTE": 7 * DAY_MS}


@dataclass(frozen=True)
class Message:
    """What a rule wants said."""

    tier: str
    event_time: int
    modality: str
    conditions: list[Condition]
    about: str  # case or signal id, for the dedupe key
    trigger_start: int
    case_id: str | None = None
    decision_id: str | None = None
    missing: tuple[str, ...] = ()
    late: bool = False
    suspect: bool = False
    params: dict[str, str] = field(default_factory=dict)
    arm: str | None = None
    model: str = "NONE"


class Desk:
    """Context and outbox of one person during a run; `now` is the log's clock (ms)."""

    def __init__(self, user: str, settings: Settings, library: Library, days: DayClock | None) -> None:
        self.user = user
        self.settings = settings
        self.library = library
        self.consents = ConsentBook(study_data=settings.study_data)
        self.profiles = ProfileBook(settings.trusted_keys)
        self.days = days
        self.chain = Chain()
        self.timers = Timers()
        self.keys: dict[str, int] = {}
        self.queued: list[dict[str, Any]] = []
        self.waiting_acks: dict[str, dict[str, Any]] = {}
        self.now = 0
        self.event_time = 0
        self.offset = 0
        self.out: dict[str, list[dict[str, Any]]] = defaultdict(list)

    # -- speaking -----------------------------------------------------------------------------------------------------

    def emit(self, topic: str, event_time: int, value: dict[str, Any], *id_parts: Any) -> str:
        """One output record; its id is derived from `id_parts` (topics.md 1)."""
        event_id = output_id(topic, self.user, *id_parts)
        # what stood in a state comes back with its keys sorted: maps are said that way always
        value = {k: dict(sorted(v.items())) if isinstance(v, dict) else v for k, v in value.items()}
        self.out[topic].append({
            "user": self.user, "event_time": event_time, "ingest_time": self.now, "tz_offset_min": self.tz(),
            "event_id": event_id, "value": value,
        })  # fmt: skip
        return event_id

    def audit(self, action: str, object_id: str | None = None, reason: str | None = None, actor: str = "gate") -> None:
        versions = {"rule": RULE_VERSION}
        envelope = {"user": self.user, "event_time": self.now, "ingest_time": self.now, "tz_offset_min": self.tz()}
        seq = self.chain.next_seq
        envelope["event_id"] = output_id("audit", self.user, seq)
        value = self.chain.append(
            envelope, actor=actor, action=action, reason=reason, object_id=object_id, versions=versions
        )
        self.out["audit"].append({**envelope, "value": value})

    def to_person(self, m: Message) -> str | None:
        """Say it to the person now; the notification's id, or None with the reason in the audit."""
        key = f"{m.tier}|{m.about}|SELF|{m.trigger_start}"
        nid = output_id("notifications", self.user, key)
        if key in self.keys:
            return None
        if not self.consents.permitted("CARE_USER_MSG", "SELF", m.modality, m.event_time):
            self.audit("SUPPRESSED", nid, "NO_CONSENT")
            return None
        if not self.consents.permitted("CARE_USER_MSG", "SELF", m.modality, self.now):
            self.audit("CANCELLED_CONSENT", nid, "NO_CONSENT")
            return None
        profile = self.profiles.effective(m.event_time)
        unattended = profile is None or not profile.therapist_ref or not self.in_hours(profile)
        item = self.item(m.tier, "USER", profile, m.arm, unattended, m.params.get("questionnaire"))
        if item is None:
            self.audit("SUPPRESSED", nid, "NO_CONTENT")
            return None
        consent = self.consents.version("CARE_USER_MSG", "SELF", m.modality, m.event_time)
        self._notify(m, "USER", "SELF", key, item, m.conditions, consent, profile, None)
        return nid

    def to_therapist(self, m: Message, purpose: str, recipients: list[str] | None = None) -> bool:
        """Tell those whom this person's consent names; outside contact hours it waits. True if said or queued."""
        profile = self.profiles.effective(m.event_time)
        permitted = self.consents.recipients(purpose, m.modality, m.event_time)
        told = self.route(permitted, profile) if recipients is None else [r for r in recipients if r in permitted]
        if not told:
            return False
        done = False
        for recipient in told:
            done = self._one_therapist(m, purpose, recipient, profile) or done
        return done

    def _one_therapist(self, m: Message, purpose: str, recipient: str, profile: Profile | None) -> bool:
        key = f"{m.tier}|{m.about}|{recipient}|{m.trigger_start}"
        nid = output_id("notifications", self.user, key)
        if key in self.keys:
            return False
        if not self.consents.permitted(purpose, recipient, m.modality, self.now):
            self.audit("CANCELLED_CONSENT", nid, "NO_CONSENT")
            return False
        urgent_ref = profile is not None and recipient in profile.crisis_refs and m.tier == "L4"
        if profile is not None and not urgent_ref and not self.in_hours(profile):
            due = next_contact_start(profile, self.now, self.tz())
            self.keys[key] = self.now
            self.queued.append(
                {"key": key, "due": due, "since": self.now, "purpose": purpose, "to": recipient, "message": _as_dict(m)}
            )
            self.timers.set(due, "QUEUED", key)
            self.audit("QUEUED", nid)
            if m.tier == "L4":
                self.to_therapist(m, purpose, [r for r in profile.crisis_refs if r != recipient])
            return True
        return self._therapist_now(m, purpose, recipient, key, profile, None)

    def deliver_queued(self, key: str) -> str | None:
        """Contact hours begin: check consent again, then say it. The case id of what was said."""
        entry = next((q for q in self.queued if q["key"] == key), None)
        if entry is None:
            return None
        self.queued.remove(entry)
        m = Message(**{**entry["message"], "missing": tuple(entry["message"]["missing"])})
        nid = output_id("notifications", self.user, key)
        if not self.consents.permitted(entry["purpose"], entry["to"], m.modality, self.now):
            self.audit("CANCELLED_CONSENT", nid, "NO_CONSENT")
            return None
        profile = self.profiles.effective(m.event_time)
        if self._therapist_now(m, entry["purpose"], entry["to"], key, profile, int(entry["since"])):
            return m.case_id
        return None

    def _therapist_now(
        self, m: Message, purpose: str, to: str, key: str, profile: Profile | None, since: int | None
    ) -> bool:
        nid = output_id("notifications", self.user, key)
        item = self.item(m.tier, "THERAPIST", profile, None, False)
        if item is None:
            self.audit("SUPPRESSED", nid, "NO_CONTENT")
            return False
        listed = self.consents.listed_modalities(purpose, to, m.event_time)
        consent = self.consents.version(purpose, to, m.modality, m.event_time)
        self._notify(m, "THERAPIST", to, key, item, visible(m.conditions, listed), consent, profile, since)
        if (
            m.tier in ("L3", "L4")
            and m.case_id
            and profile is not None
            and profile.backup_ref
            and to != profile.backup_ref
        ):
            due = contact_deadline(profile, self.now, ACK_MIN, self.tz())
            self.waiting_acks[m.case_id] = {"purpose": purpose, "message": _as_dict(m)}
            self.timers.set(due, "ACK_DUE", m.case_id)
        return True

    def escalate(self, case_id: str, actor: str = "gate") -> None:
        """Nobody acknowledged in time, or the therapist asks: the backup once, by the same consent."""
        entry = self.waiting_acks.pop(case_id, None)
        self.timers.cancel("ACK_DUE", case_id)
        if entry is None:
            return
        m = Message(**{**entry["message"], "missing": tuple(entry["message"]["missing"])})
        profile = self.profiles.effective(m.event_time)
        if profile is None or not profile.backup_ref:
            return
        if self.to_therapist(m, entry["purpose"], [profile.backup_ref]):
            self.audit("ESCALATED", case_id, actor=actor)
        else:
            self.audit("SUPPRESSED", case_id, "NO_CONSENT", actor=actor)

    def rename_case(self, old: str, new: str) -> None:
        """A case got another id: an acknowledgement that is awaited is awaited under the new one."""
        due, entry = self.timers.due("ACK_DUE", old), self.waiting_acks.pop(old, None)
        self.timers.cancel("ACK_DUE", old)
        if entry is None or new in self.waiting_acks:
            return
        self.waiting_acks[new] = {**entry, "message": {**entry["message"], "case_id": new}}
        if due is not None:
            self.timers.set(due, "ACK_DUE", new)

    def _notify(
        self, m: Message, audience: str, to: str, key: str, item: Item, conditions: list[Condition], consent: str,
        profile: Profile | None, since: int | None,
    ) -> None:  # fmt: skip
        locale = self.locale()
        crisis = m.tier == "L4"
        params = {**m.params, "crisis_line_id": self.library.crisis_line_id(locale)}
        if "questionnaire" in item.tags:
            params.setdefault("questionnaire", item.tags["questionnaire"])
        value: dict[str, Any] = {
            "notification_id": output_id("notifications", self.user, key),
            "audience": audience,
            "recipient_ref": to,
            "tier": m.tier,
            "urgency": URGENCY.get(m.tier, "LOW"),
            "action": ACTION.get(m.tier, "MESSAGE") if audience == "USER" else "ALERT",
            "template_id": item.item_id,
            "locale": item.locale,
            "params": params,
            "conditions": conditions,
            "missing": sorted(m.missing),
            "explanation": sentence(conditions, sorted(m.missing), locale),
            "late": m.late,
            "clock_suspect": m.suspect,
            "versions": {
                "rule": RULE_VERSION,
                "profile": str(profile.version) if profile is not None else "NONE",
                "consent": consent,
                "content": f"{item.pack_id}:{item.version}",
                "model": m.model,
            },
            "expires_at": 0 if crisis else self.now + EXPIRY_MS.get(m.tier, DAY_MS),
            "dedupe_key": key,
        }
        for name, given in (("case_id", m.case_id), ("decision_id", m.decision_id), ("queued_since", since)):
            if given is not None:
                value[name] = given
        self.keys[key] = self.now
        event_time = self.now if since is not None else self.event_time
        self.emit("notifications", event_time, value, key)
        self.audit("NOTIFIED", value["notification_id"])

    # -- asking -------------------------------------------------------------------------------------------------------

    def route(self, permitted: list[str], profile: Profile | None) -> list[str]:
        """Whom of the permitted an alert goes to: the profile's therapist, else all but the backup."""
        if profile is None or not profile.therapist_ref:
            return permitted
        if profile.therapist_ref in permitted:
            return [profile.therapist_ref]
        return [r for r in permitted if r != profile.backup_ref and r not in profile.crisis_refs]

    def item(
        self,
        tier: str,
        audience: str,
        profile: Profile | None,
        arm: str | None,
        unattended: bool,
        offers: str | None = None,
    ) -> Item | None:
        """The approved item to say now, None if there is none; `offers` = a questionnaire that goes with it."""
        disabled = profile.disabled if profile is not None else frozenset()
        pinned = profile.pinned if profile is not None else ()
        return self.library.item(
            tier,
            audience,
            self.locale(),
            self.now,
            arm=arm,
            unattended=unattended,
            disabled=disabled,
            pinned=pinned,
            offers=offers,
        )

    def locale(self) -> str:
        return self.settings.locale_of.get(self.user, self.settings.default_locale)

    def in_hours(self, profile: Profile) -> bool:
        return in_contact_hours(profile, self.now, self.tz())

    def notification_id(self, m: Message) -> str:
        """Id that a message to the person has, sent or suppressed."""
        return output_id("notifications", self.user, f"{m.tier}|{m.about}|SELF|{m.trigger_start}")

    def day_start(self) -> int:
        """Start (ms) of the local day under way."""
        return self.days.today().start_time if self.days is not None else self.now - DAY_MS

    def local_minute(self) -> int:
        """Minutes after local midnight, now."""
        return (self.now // MINUTE_MS + self.tz()) % 1440

    def quiet(self) -> bool:
        return in_quiet_hours(self.profiles.effective(self.now) or Profile.default(), self.now, self.tz())

    def tz(self) -> int:
        """Offset in force, minutes east of UTC: read once at the start of the local day."""
        return self.days.offset_at(self.now) if self.days is not None else self.offset

    # -- state --------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        limit = self.now - KEEP_KEYS_MS
        self.keys = {k: t for k, t in self.keys.items() if t >= limit}

    def state(self) -> dict[str, Any]:
        return {
            "consents": self.consents.state(),
            "profiles": self.profiles.state(),
            "days": self.days.state() if self.days is not None else None,
            "chain": self.chain.state(),
            "timers": self.timers.state(),
            "keys": self.keys,
            "queued": self.queued,
            "acks": self.waiting_acks,
            "offset": self.offset,
        }

    @staticmethod
    def from_state(user: str, settings: Settings, library: Library, state: dict[str, Any]) -> Desk:
        desk = Desk(user, settings, library, DayClock.from_state(state["days"]) if state["days"] is not None else None)
        desk.consents = ConsentBook.from_state(state["consents"], study_data=settings.study_data)
        desk.profiles = ProfileBook.from_state(state["profiles"], settings.trusted_keys)
        desk.chain = Chain.from_state(state["chain"])
        desk.timers = Timers.from_state(state["timers"])
        desk.keys = {str(k): int(t) for k, t in state["keys"].items()}
        desk.queued = state["queued"]
        desk.waiting_acks = state["acks"]
        desk.offset = int(state["offset"])
        return desk


def _as_dict(m: Message) -> dict[str, Any]:
    return {**m.__dict__, "missing": list(m.missing)}
