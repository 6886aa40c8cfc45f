"""Small logs written by hand: one person, a few days, only what a test is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from simulator.rows import Log, Record, event_ids, in_arrival_order
from simulator.scenarios import control, instant, raw

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
OFFSET = 120
BEGIN = instant("05-18") - OFFSET * MINUTE  # Monday, local midnight
END_OF_CONSENT = BEGIN + 300 * DAY
SYNC = 2_000
TERMS = {0: "zz-help", 1: "zz-death", 2: "zz-self", 3: "zz-method"}


def ms(when: str) -> int:
    """'05-20 14:00' local → ms UTC."""
    return instant(when) - OFFSET * MINUTE


class Small:
    """A log that grows record by record; instants are ms UTC."""

    def __init__(self, user: str = "p1", consents: bool = True, profile: bool = True) -> None:
        self.user = user
        self.log: Log = defaultdict(list)
        for record in control.lexicon(raw("base")["lexicon"]):
            value = record["value"] | {"valid_from": BEGIN, "valid_to": END_OF_CONSENT}
            self.log["content.pack"].append(record | {"event_time": BEGIN, "ingest_time": BEGIN, "value": value})
        if consents:
            self.consent("c0")
            self.consent("c1", purpose="THERAPIST_ALERT_ACUTE", recipient_ref="dr_a")
        if profile:
            self.profile()

    def add(
        self,
        topic: str,
        at: int,
        value: Record,
        *,
        arrives: int | None = None,
        source: str = "phone-1",
        tz: int = OFFSET,
    ) -> Record:
        """One record, by default two seconds after it happened."""
        seq = len(self.log[topic])
        record: Record = {
            "user": self.user,
            "event_time": at,
            "ingest_time": at + SYNC if arrives is None else arrives,
            "tz_offset_min": tz,
            "source_id": source,
            "seq": seq,
            "event_id": event_ids(topic, self.user, source, [seq])[0],
            "value": value,
        }
        self.log[topic].append(record)
        return record

    def consent(self, consent_id: str, at: int = BEGIN, **fields: Any) -> Record:
        """A consent in the short form of base.yaml; by default SELF permits CARE_USER_MSG for everything."""
        whole = {"consent_id": consent_id, "valid_from": at, "valid_to": at + 300 * DAY} | fields
        return self.add("clinical.consent", at, control.consent_value(whole, {}, OFFSET), arrives=at, source="clinic-1")

    def profile(self, at: int = BEGIN, **fields: Any) -> Record:
        """The profile of base.yaml with other fields."""
        whole = raw("base")["profile"] | {"effective_from": at, "valid_to": at + 60 * DAY} | fields
        return self.add("clinical.profile", at, control.profile_value(whole, OFFSET), arrives=at, source="clinic-1")

    def home(self, at: int = BEGIN) -> Record:
        value = raw("base")["person"]["home"] | {"effective_from": at}
        return self.add("clinical.home", at, value, arrives=at, source="clinic-1")

    def search(self, at: int, severity: int, arrives: int | None = None) -> Record:
        return self.add("raw.search", at, {"query": TERMS[severity], "lang": "en"}, arrives=arrives)

    def until(self, at: int) -> None:
        """The log's clock goes on to this instant: a heartbeat of the phone."""
        status = {"device": "PHONE", "worn": "UNKNOWN", "connected": True}
        self.add("device.status", at, status, arrives=at)

    def finished(self) -> Log:
        return in_arrival_order({t: rs for t, rs in self.log.items() if rs})


# -- the consents a person really gave, told again from privacy.md 2 without the product's code ---------------------


def permitted(records: Sequence[Record], purpose: str, recipient: str, modality: str, at: int) -> bool:
    """Whether these clinical.consent records permit it at an instant."""
    newest: dict[str, Record] = {}
    for record in records:
        value = record["value"]
        start = max(value["valid_from"], record["event_time"])
        old = newest.get(value["consent_id"])
        if start <= at and (old is None or value["version"] > old["version"]):
            newest[value["consent_id"]] = value
    counting = [v for v in newest.values() if v["status"] == "ACTIVE" and at < v["valid_to"]]
    listed = [
        v
        for v in counting
        if v["purpose"] == purpose and v["recipient_ref"] == recipient and modality in v["modalities"]
    ]
    permits = {v["grantor"] for v in listed if v["effect"] == "PERMIT"}
    if not permits or any(v["effect"] == "DENY" for v in listed):
        return False
    minor = any(v.get("subject_is_minor", False) for v in counting)
    return permits >= {"SELF", "GUARDIAN"} if minor else True


def without(log: Log, topics: Iterable[str]) -> Log:
    gone = set(topics)
    return {t: rs for t, rs in log.items() if t not in gone}
