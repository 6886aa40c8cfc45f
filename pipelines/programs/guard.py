"""The one place for hard stops and for what may rise (programs.md 1; invariant S16). It comes before every other rule.

STOP: stop button, therapist, SUDS >= 90, heart rate above the limit for 30 s at rest. After it nothing follows but
SESSION_END. A level may rise by one at most, with fresh heart rate, inside the therapist's lock and the profile's highest level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.context.consent import CARE, SELF
from pipelines.context.profile import Profile
from pipelines.gate.desk import Desk
from pipelines.programs.session import Session

POLICY = "guard-1"
SUDS_STOP = 90.0
HR_SHARE, AGE_MAX, UNKNOWN_AGE_LIMIT_BPM = 0.85, 220, 127.0  # programs.md 1
LONG_MS = 30_000
GAP_MS = 10_000
AROUND_MS = 2 * LONG_MS
STOP_REASON = {"STOP_BUTTON": "STOP_BUTTON", "THERAPIST_STOP": "THERAPIST"}


def hr_limit(profile: Profile | None) -> float:
    """bpm; 0.85 x (220 - age), 127 where the age is not known."""
    if profile is None or profile.age_years is None:
        return UNKNOWN_AGE_LIMIT_BPM
    return HR_SHARE * (AGE_MAX - profile.age_years)


def too_fast(
    session: Session, limit: float, moving: Sequence[tuple[int, int]], around: tuple[int, int]
) -> tuple[int, int] | None:
    """[from, to] of 30 s or more in which every sample of a session is above `limit` at rest, None if there is none.

    Parameters
    ----------
    around
        [first, last] sample that is new: a run that was not there before lies about them.
    moving
        [from, to) in which steps were counted or the effort was not light: not at rest. Not known = at rest.
    """
    since = last = None
    for t, bpm in session.heart.samples(max(session.start, around[0] - AROUND_MS), around[1] + AROUND_MS):
        walking = any(a <= t < b for a, b in moving)
        if bpm <= limit or walking or (last is not None and t - last > GAP_MS):
            since = None
        if bpm > limit and not walking:
            since = t if since is None else since
            if t - since >= LONG_MS:
                return since, t
        last = t
    return None


def stop(session: Session, desk: Desk, reason: str, **evidence: float) -> None:
    """Say STOP, once; the therapist is flagged and the audit knows."""
    if session.stopped is not None or session.ended:
        return
    session.stopped = reason
    session.say(desk, "STOP", {}, reason, POLICY)
    session.flag(desk, "STOPPED", **evidence)
    desk.audit("STOPPED", session.session_id, actor="programs")


def obstacle(session: Session, desk: Desk, case_open: bool) -> str | None:
    """Why nothing may be chosen now: CASE_OPEN, NO_CONSENT, NOT_ENABLED, or what holds the session; None = go on."""
    if case_open:
        return "CASE_OPEN"
    if not desk.consents.permitted(CARE, SELF, "THERAPY", desk.now):
        return "NO_CONSENT"
    if setting(desk, session.program).get("enabled") is False:
        return "NOT_ENABLED"
    return session.held


def setting(desk: Desk, program: str) -> Mapping[str, object]:
    """What the clinician's profile says of a program."""
    profile = desk.profiles.effective(desk.now)
    return (profile.programs.get(program) or {}) if profile is not None else {}


def highest(session: Session, desk: Desk) -> int | None:
    """Highest level that may be shown at all: lock and profile; None = no bound."""
    bounds = [setting(desk, session.program).get("level_max")]
    if session.lock is not None:
        bounds.append(session.lock.get("level"))
    known = [int(b) for b in bounds if isinstance(b, int | float)]
    return min(known, default=None)


def ceiling(session: Session, desk: Desk) -> tuple[int, str | None]:
    """(highest level that may come next, why it is not one more than now: SIGNAL_LOST, THERAPIST, None)."""
    level, why = session.level + 1, None
    if not session.fresh(desk.now):
        level, why = session.level, "SIGNAL_LOST"
    if session.lock == {}:
        level, why = session.level, "THERAPIST"
    bound = highest(session, desk)
    if bound is not None and bound < level:
        level, why = bound, "THERAPIST"
    return level, why


def inside(lock: Mapping[str, object] | None, factors: Mapping[str, str]) -> bool:
    """Whether a stimulus lies within the locked bounds: a number at most the bound, a word the same."""
    for name, bound in (lock or {}).items():
        if name == "level" or name not in factors:
            continue
        try:
            if float(factors[name]) > float(str(bound)):
                return False
        except ValueError:
            if factors[name] != bound:
                return False
    return True
