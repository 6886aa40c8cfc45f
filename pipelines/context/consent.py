"""Consent of one person, evaluated at any instant (privacy.md 2). No permission is the default; DENY beats PERMIT."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from schemas import signing

CARE, RESEARCH, SELF = "CARE_USER_MSG", "RESEARCH", "SELF"
STUDY_DATA, STUDY_RECIPIENT, NONE = "STUDY_DATA", "STUDY", "NONE"
MODALITIES = (
    "LOCATION", "HEART_RATE", "ACTIVITY", "WELLNESS", "SEARCH", "CONTENT", "PHONE_USAGE", "MUSIC", "SELFREPORT",
    "THERAPY", "CHAT",
)  # fmt: skip
WILDCARDS = frozenset({"", "*", "ANY", "ALL", "EVERYONE"})
LONGEST_MS = 366 * 86_400_000  # topics.md clinical.consent: 12 months
BEGINNING, END = -(1 << 62), 1 << 62  # instants outside every log, for open intervals


class Version(NamedTuple):
    """One version of a consent, reduced to what evaluation needs. Instants in ms since 1970."""

    consent_id: str
    version: int
    ingest_time: int
    start: int  # max(valid_from, event_time): nobody can consent for the past
    valid_to: int
    revoked: bool
    deny: bool
    guardian: bool
    minor: bool
    recipient: str
    purpose: str
    modalities: tuple[str, ...]

    def counts(self, t: int) -> bool:
        return not self.revoked and t < self.valid_to

    def lists(self, purpose: str, recipient: str, modality: str) -> bool:
        return self.purpose == purpose and self.recipient == recipient and modality in self.modalities


def check(value: Mapping[str, Any], trusted_keys: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """Why a `clinical.consent` value cannot be used: (reason, field), or None.

    Parameters
    ----------
    value
        The record's value, already of the schema's types.
    trusted_keys
        Base64 Ed25519 public keys; none = any non-empty signature passes (topics.md 1).

    Notes
    -----
    Dates are judged on an ACTIVE PERMIT only: a revocation or a denial narrows, and is never lost to a wrong date.
    """
    if not signing.verify(dict(value), trusted_keys):
        return "UNSIGNED", "signature"
    if value["status"] == "REVOKED" or value["effect"] == "DENY":
        return None
    if str(value["recipient_ref"]).strip().upper() in WILDCARDS:
        return "SCHEMA", "recipient_ref"
    if value["valid_to"] - value["valid_from"] > LONGEST_MS:
        return "OUT_OF_RANGE", "valid_to"
    return None


class ConsentBook:
    """All consents of one person.

    Records may be added in any order. A `consent_id` with the same `version` twice: the one that arrived first is kept;
    if both arrived at the same instant, the one whose content sorts first, so that order cannot matter [choice].

    Parameters
    ----------
    study_data
        `[consent] study_data`: a person without any record permits CARE_USER_MSG and RESEARCH (replay of public data).
    """

    def __init__(self, study_data: bool = False) -> None:
        self.study_data = study_data
        self._versions: dict[str, dict[int, Version]] = {}
        self._changes: list[int] | None = None
        self._cells: dict[int, tuple[Version, ...]] = {}
        self._intervals: dict[tuple[str, str, str], list[tuple[int, int]]] = {}

    def add(self, record: Mapping[str, Any]) -> bool:
        """Take a `clinical.consent` record in contract form; False if it says nothing new."""
        return self._keep(_read(record))

    def _keep(self, new: Version) -> bool:
        versions = self._versions.setdefault(new.consent_id, {})
        old = versions.get(new.version)
        if old is not None and old <= new:
            return False
        versions[new.version] = new
        self._changes = None
        self._cells.clear()
        self._intervals.clear()
        # the same content that arrived twice is one record, whichever copy came first
        return old is None or old._replace(ingest_time=0) != new._replace(ingest_time=0)

    # -- asking -------------------------------------------------------------------------------------------------------

    def permitted(self, purpose: str, recipient: str, modality: str, t: int) -> bool:
        """Whether `recipient` may have `modality` for `purpose` at instant `t` (ms)."""
        return self._permits(self._counting(t), purpose, recipient, modality) is not None

    def recipients(self, purpose: str, modality: str, t: int) -> list[str]:
        """Everyone permitted at `t`, sorted. CARE_USER_MSG knows only `SELF`."""
        if self._is_study(purpose):
            return [SELF if purpose == CARE else STUDY_RECIPIENT]
        counting = self._counting(t)
        named = sorted({v.recipient for v in counting if v.purpose == purpose and not v.deny})
        return [r for r in named if self._permits(counting, purpose, r, modality) is not None]

    def anyone(self, purpose: str, modality: str, t: int) -> bool:
        """Whether anybody is permitted, e.g. RESEARCH, whose recipient no rule names."""
        return bool(self.recipients(purpose, modality, t))

    def listed_modalities(self, purpose: str, recipient: str, t: int) -> frozenset[str]:
        """What this recipient may see for this purpose at `t`."""
        counting = self._counting(t)
        return frozenset(m for m in MODALITIES if self._permits(counting, purpose, recipient, m) is not None)

    def version(self, purpose: str, recipient: str, modality: str, t: int) -> str:
        """For `versions.consent`: "c0:1" ("c0:1+c9:2" if two were needed), "STUDY_DATA", or "NONE"."""
        return self._permits(self._counting(t), purpose, recipient, modality) or NONE

    def intervals(self, purpose: str, recipient: str, modality: str) -> list[tuple[int, int]]:
        """Instants [from, to) in ms at which it is permitted: sorted, disjoint, merged; for vectorised gates."""
        key = (purpose, recipient, modality)
        if key not in self._intervals:
            self._intervals[key] = self._merge(*key)
        return list(self._intervals[key])

    def change_times(self) -> list[int]:
        """Sorted instants (ms) at which an answer may change."""
        if self._changes is None:
            every = [v for versions in self._versions.values() for v in versions.values()]
            self._changes = sorted({t for v in every for t in (v.start, v.valid_to)})
        return self._changes

    def has_any(self) -> bool:
        """Whether any record was ever taken, in force or not."""
        return bool(self._versions)

    def is_minor(self, t: int | None = None) -> bool:
        """Whether a counting record at `t` says minor; without `t`, whether any record held says so."""
        if t is None:
            return any(v.minor for versions in self._versions.values() for v in versions.values())
        return any(v.minor for v in self._counting(t))

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def _is_study(self, purpose: str) -> bool:
        return self.study_data and not self._versions and purpose in (CARE, RESEARCH)

    def _counting(self, t: int) -> tuple[Version, ...]:
        """The versions that count at `t`. They are the same for all instants between two changes."""
        cell = bisect_right(self.change_times(), t)
        if cell not in self._cells:
            self._cells[cell] = tuple(v for v in self._in_force(t) if v.counts(t))
        return self._cells[cell]

    def _in_force(self, t: int) -> Iterator[Version]:
        for consent_id in sorted(self._versions):
            begun = [v for v in self._versions[consent_id].values() if v.start <= t]
            if begun:
                yield max(begun, key=lambda v: v.version)

    def _permits(self, counting: tuple[Version, ...], purpose: str, recipient: str, modality: str) -> str | None:
        """The version string of what permits it, or None."""
        if purpose == CARE and recipient != SELF:
            return None
        if self._is_study(purpose):
            return STUDY_DATA
        about = [v for v in counting if v.lists(purpose, recipient, modality)]
        if any(v.deny for v in about):
            return None
        own = next((v for v in about if not v.guardian), None)
        guardian = next((v for v in about if v.guardian), None)
        if any(v.minor for v in counting):
            needed = [own, guardian]
        else:
            needed = [own or guardian]
        found = [v for v in needed if v is not None]
        if len(found) < len(needed):
            return None
        return "+".join(f"{v.consent_id}:{v.version}" for v in found)

    def _merge(self, purpose: str, recipient: str, modality: str) -> list[tuple[int, int]]:
        out: list[tuple[int, int]] = []
        edges = [BEGINNING, *self.change_times(), END]
        for a, b in pairwise(edges):
            if not self.permitted(purpose, recipient, modality, a):
                continue
            if out and out[-1][1] == a:
                out[-1] = (out[-1][0], b)
            else:
                out.append((a, b))
        return out

    # -- state --------------------------------------------------------------------------------------------------------

    def forget(self, before: int) -> None:
        """Drop versions that can decide nothing at or after `before` (ms), so that state stays bounded.

        A newer version that had begun by `before` hides an older one for good. The last version of each id stays.
        """
        for versions in self._versions.values():
            hidden_below = max((v.version for v in versions.values() if v.start <= before), default=None)
            for number in [n for n in versions if hidden_below is not None and n < hidden_below]:
                del versions[number]
        self._changes = None
        self._cells.clear()
        self._intervals.clear()

    def state(self) -> list[list[Any]]:
        """JSON-able, sorted, so that equal books give equal bytes."""
        every = [v for versions in self._versions.values() for v in versions.values()]
        return [[*v[:-1], list(v.modalities)] for v in sorted(every)]

    @staticmethod
    def from_state(state: list[list[Any]], study_data: bool = False) -> ConsentBook:
        book = ConsentBook(study_data=study_data)
        for row in state:
            book._keep(Version._make([*row[:-1], tuple(row[-1])]))
        return book


def _read(record: Mapping[str, Any]) -> Version:
    value = record["value"]
    event_time = int(record["event_time"])
    return Version(
        consent_id=str(value["consent_id"]),
        version=int(value["version"]),
        ingest_time=int(record.get("ingest_time", event_time)),
        start=max(int(value["valid_from"]), event_time),
        valid_to=int(value["valid_to"]),
        revoked=value["status"] == "REVOKED",
        deny=value["effect"] == "DENY",
        guardian=value["grantor"] == "GUARDIAN",
        minor=bool(value.get("subject_is_minor") or False),
        recipient=str(value["recipient_ref"]),
        purpose=str(value["purpose"]),
        modalities=tuple(sorted(set(value["modalities"]))),
    )
