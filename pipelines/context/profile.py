"""Clinician-interview profile: effective-dated, signed, inside guard rails (support.md 6; invariants S9, S20)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipelines.context.guard_rails import violation
from schemas import signing

DAY_MS = 86_400_000
REMINDER_MS = 7 * DAY_MS
FLOOR_BPM, FLOOR_BETA_BLOCKER_BPM, Z = 12.0, 8.0, 2.5  # support.md 2 and 6
RATIO, LOW_DAYS, OF_DAYS = 0.7, 3, 5  # support.md 4
DAY_START_MIN = 4 * 60
QUIET_FROM_MIN, QUIET_TO_MIN = 22 * 60, 7 * 60
REQUIRED_FEATURES = ("steps", "outings")  # ACT and OUT of rule A2


@dataclass(frozen=True)
class Profile:
    """A profile with every default filled in. Minutes count from local midnight; instants are ms since 1970.

    Parameters
    ----------
    floor_bpm, z
        Threshold of the heart-rate episode: max(floor, z sigma).
    ratio, k, n
        Withdrawal: low at ratio x median on k of n days.
    hours
        (weekday 1-7, from, to) at which the care team is reachable; empty = always.
    behaviour
        Feature → (direction, weight).
    context_notes
        (kind, from, to): W rules are suspended inside.
    terms
        Term hash → shift of severity, -1 or +1.
    """

    version: int = 0
    profile_id: str = ""
    effective_from: int = 0
    valid_to: int = 0
    age_years: int | None = None
    floor_bpm: float = FLOOR_BPM
    z: float = Z
    medication: tuple[str, ...] = ()
    panic_disorder: bool = False
    exercise: tuple[str, ...] = ()
    ratio: float = RATIO
    k: int = LOW_DAYS
    n: int = OF_DAYS
    day_start_min: int = DAY_START_MIN
    therapist_ref: str | None = None
    backup_ref: str | None = None
    hours: tuple[tuple[int, int, int], ...] = ()
    quiet_from_min: int = QUIET_FROM_MIN
    quiet_to_min: int = QUIET_TO_MIN
    crisis_refs: tuple[str, ...] = ()
    tier_to_therapist: str = "L3"
    behaviour: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    context_notes: tuple[tuple[str, int, int], ...] = ()
    disabled: frozenset[str] = frozenset()
    pinned: tuple[str, ...] = ()
    terms: Mapping[str, int] = field(default_factory=dict)
    programs: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def default() -> Profile:
        """What signals are computed with when no profile is valid."""
        return _DEFAULT

    def expiring(self, t: int) -> bool:
        """Whether the clinic is to be reminded at `t`: 7 d before the end."""
        return self.valid_to - REMINDER_MS <= t < self.valid_to

    def risk_up(self, feature: str) -> bool:
        """Whether the clinician re-signed this behaviour (GAMING, WALK_ALONE, a day feature) as a sign of risk."""
        direction, weight = self.behaviour.get(feature, ("", 0.0))
        return direction == "RISK_UP" and weight > 0

    def removed(self, feature: str) -> bool:
        """Whether a day feature is taken out: NEUTRAL or weight 0."""
        direction, weight = self.behaviour.get(feature, ("RISK_DOWN", 1.0))
        return direction == "NEUTRAL" or weight == 0

    @cached_property
    def required_features(self) -> tuple[str, ...]:
        """Features that must agree for W-ON: `steps` (ACT) and `outings` (OUT), less those taken out.

        WALK_ALONE RISK_UP: activity is no sign of recovery, so ACT leaves both tests. Empty: the rule is UNKNOWN.
        """
        out = [f for f in REQUIRED_FEATURES if not self.removed(f)]
        if self.risk_up("WALK_ALONE") and "steps" in out:
            out.remove("steps")
        return tuple(out)

    def context_note(self, t: int) -> str | None:
        """Kind of the note that suspends the W rules at `t`, or None."""
        return next((kind for kind, a, b in self.context_notes if a <= t < b), None)


_DEFAULT = Profile()


class ProfileBook:
    """All accepted profiles of one person.

    Records may be added in any order. The profile at an instant is the one with the highest version among those
    effective then; a rejected one changes nothing. Two with the same `profile_id` and version: the first to arrive.

    Parameters
    ----------
    trusted_keys
        Base64 Ed25519 public keys; none = any non-empty signature passes (topics.md 1).
    """

    def __init__(self, trusted_keys: tuple[str, ...] = ()) -> None:
        self.trusted_keys = trusted_keys
        self._held: dict[tuple[int, str], tuple[int, dict[str, Any], Profile]] = {}

    def check(self, value: Mapping[str, Any]) -> tuple[str, str] | None:
        """Why a `clinical.profile` value cannot be used: (UNSIGNED | SCHEMA | GUARD_RAIL, field), or None.

        Parameters
        ----------
        value
            The record's value, of the schema's types (nulls dropped or None).
        """
        if not signing.verify(dict(value), self.trusted_keys):
            return "UNSIGNED", "signature"
        return violation(value)

    def add(self, record: Mapping[str, Any]) -> bool:
        """Take a `clinical.profile` record in contract form; False if it is refused or says nothing new."""
        value = dict(record["value"])
        if self.check(value) is not None:
            return False
        arrived = int(record.get("ingest_time", record["event_time"]))
        key = (int(value["version"]), str(value["profile_id"]))
        held = self._held.get(key)
        if held is not None and (held[0] <= arrived or held[1] == value):
            return False
        self._held[key] = (arrived, value, read(value))
        return True

    def effective(self, t: int) -> Profile | None:
        """The profile in force at `t` (ms), or None: then L1, L3, W1, W2 are off."""
        found = [p for _, _, p in self._held.values() if p.effective_from <= t < p.valid_to]
        return max(found, key=lambda p: (p.version, p.effective_from, p.profile_id), default=None)

    def thresholds(self, t: int) -> tuple[float, float]:
        """(floor in bpm, z) at `t`, defaults without a profile."""
        profile = self.effective(t) or _DEFAULT
        return profile.floor_bpm, profile.z

    def change_times(self) -> list[int]:
        """Sorted instants (ms) at which `effective` may change."""
        return sorted({t for _, _, p in self._held.values() for t in (p.effective_from, p.valid_to)})

    def has_any(self) -> bool:
        return bool(self._held)

    def forget(self, before: int) -> None:
        """Drop profiles that ended by `before` (ms), so that state stays bounded."""
        self._held = {key: held for key, held in self._held.items() if held[2].valid_to > before}

    def state(self) -> list[list[Any]]:
        """JSON-able, sorted by version."""
        return [[arrived, value] for _, (arrived, value, _) in sorted(self._held.items())]

    @staticmethod
    def from_state(state: list[list[Any]], trusted_keys: tuple[str, ...] = ()) -> ProfileBook:
        """Profiles were checked when they came: a key that is no longer trusted does not unsay them."""
        book = ProfileBook(trusted_keys)
        for arrived, value in state:
            book._held[int(value["version"]), str(value["profile_id"])] = (int(arrived), value, read(value))
        return book


def read(value: Mapping[str, Any]) -> Profile:
    """A checked `clinical.profile` value with its defaults filled in."""
    hr, withdrawal = value.get("hr") or {}, value.get("withdrawal") or {}
    contact, content = value.get("contact") or {}, value.get("content") or {}
    medication = tuple(hr.get("medication") or ())
    floor = FLOOR_BETA_BLOCKER_BPM if "BETA_BLOCKER" in medication else FLOOR_BPM
    return Profile(
        version=int(value["version"]),
        profile_id=str(value["profile_id"]),
        effective_from=int(value["effective_from"]),
        valid_to=int(value["valid_to"]),
        age_years=value.get("age_years"),
        floor_bpm=float(_or(hr.get("floor_bpm"), floor)),
        z=float(_or(hr.get("z"), Z)),
        medication=medication,
        panic_disorder=bool(hr.get("panic_disorder")),
        exercise=tuple(hr.get("exercise") or ()),
        ratio=float(_or(withdrawal.get("ratio"), RATIO)),
        k=int(_or(withdrawal.get("k"), LOW_DAYS)),
        n=int(_or(withdrawal.get("n"), max(OF_DAYS, _or(withdrawal.get("k"), 0)))),
        day_start_min=int(_or(withdrawal.get("day_start_min"), DAY_START_MIN)),
        therapist_ref=contact.get("therapist_ref") or None,
        backup_ref=contact.get("backup_ref") or None,
        hours=tuple(
            sorted((int(h["weekday"]), int(h["from_min"]), int(h["to_min"])) for h in contact.get("hours") or ())
        ),
        quiet_from_min=int(_or(contact.get("quiet_from_min"), QUIET_FROM_MIN)),
        quiet_to_min=int(_or(contact.get("quiet_to_min"), QUIET_TO_MIN)),
        crisis_refs=tuple(contact.get("crisis_refs") or ()),
        tier_to_therapist=value.get("tier_to_therapist") or "L3",
        behaviour={
            str(b["feature"]): (str(b["direction"]), float(_or(b.get("weight"), 1.0)))
            for b in value.get("behaviour") or ()
        },
        context_notes=tuple(
            (str(note["kind"]), int(note["valid_from"]), int(note["valid_to"]))
            for note in value.get("context_note") or ()
        ),
        disabled=frozenset(content.get("disabled") or ()),
        pinned=tuple(content.get("pinned") or ()),
        terms={str(t["term_hash"]): int(t["shift"]) for t in value.get("terms") or ()},
        programs={str(k): dict(v) for k, v in dict(value.get("programs") or {}).items()},
    )


def _or(given: Any, default: Any) -> Any:
    return default if given is None else given
