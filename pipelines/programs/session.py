"""One session of a program: what is known of it, and how it speaks. Every program stands on this frame.

Nothing here decides. Times are ms: `t` by event time, `now` by the log's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.gate.desk import Desk
from pipelines.programs.heart import HeartTrace
from pipelines.trial import draw

PRE_MS = 30_000  # programs.md 2.1
ASSESS, ENTRY, GRADED, CONSOLIDATE = STAGES = ("ASSESS", "ENTRY", "GRADED", "CONSOLIDATE")
VIEWED = 60  # trials whose view goes into the summary


@dataclass
class Trial:
    """One trial (exposure or speech), put together from the events that name it, in any order.

    Parameters
    ----------
    stage
        Stage in which it began.
    phases
        Phase → [start, end, eyes-closed fraction, distress]; null = not known.
    told
        [command_seq, action, reason, expected low, expected high] of the command it followed.
    """

    trial_id: str
    start: int | None = None
    end: int | None = None
    factors: dict[str, str] = field(default_factory=dict)
    stage: str = ASSESS
    level: int | None = None
    suds: float | None = None
    distance: float | None = None
    eyes: float | None = None
    delay_s: float | None = None
    violated: bool = False
    refused: bool = False
    music: bool = False
    phases: dict[str, list[float | None]] = field(default_factory=dict)
    told: list[Any] | None = None


@dataclass
class Session:
    """What is known of a session while it is open, and for what is still on its way afterwards.

    Parameters
    ----------
    opened, last
        Log's clock at its first and its latest event.
    start
        Event time of its first event.
    rest
        [start, end] of the resting period, by event time.
    level
        Level shown last; the ladder counts from it.
    stopped, ended
        Reason of the stop; whether SESSION_END came.
    lock
        Bounds set by the therapist: {} = nothing may rise, null = no lock.
    pending
        Action, params, reason, probability of the last choice, said again after a pause.
    held
        Why nothing is chosen now (PAUSE, RESIGNATION, CASE_OPEN …), null = nothing is in the way.
    own
        The program's own plain data.
    """

    session_id: str
    program: str
    opened: int
    start: int
    last: int = 0
    stage: str = ASSESS
    number: int = 0
    seq: int = 0
    level: int = 0
    rest: list[int | None] = field(default_factory=lambda: [None, None])
    trials: dict[str, Trial] = field(default_factory=dict)
    stopped: str | None = None
    ended: bool = False
    lock: dict[str, Any] | None = None
    held: str | None = None
    pending: list[Any] | None = None
    suds_max: float | None = None
    mood: list[float | None] = field(default_factory=lambda: [None, None])
    said: list[str] = field(default_factory=list)
    own: dict[str, Any] = field(default_factory=dict)
    heart: HeartTrace = field(default_factory=HeartTrace)

    # -- asking -------------------------------------------------------------------------------------------------------

    def resting(self) -> float | None:
        """Resting level HR0: mean heart rate of the resting period; without one, of the first two minutes."""
        a, b = self.rest
        if a is None:
            a, b = self.start, self.start + 120_000
        return self.heart.average(a, b if b is not None else a + 120_000)

    def in_order(self) -> list[Trial]:
        """Trials by start; one whose start was lost, by its end."""
        return sorted(self.trials.values(), key=lambda t: (t.start if t.start is not None else t.end or 0, t.trial_id))

    def done(self) -> list[Trial]:
        return [t for t in self.in_order() if t.end is not None]

    def open_trial(self) -> Trial | None:
        """The trial under way: begun last, and not ended."""
        begun = [t for t in self.in_order() if t.start is not None and t.end is None]
        return begun[-1] if begun else None

    def seen(self, event_time: int) -> None:
        self.start = min(self.start, event_time)

    def note_suds(self, suds: float | None) -> None:
        if suds is not None:
            self.suds_max = suds if self.suds_max is None else max(self.suds_max, suds)

    def fresh(self, now: int) -> bool:
        """Heart rate is there: the last sample is at most 10 s old."""
        newest = self.heart.newest()
        return newest is not None and now - newest <= 10_000

    # -- drawing and speaking -----------------------------------------------------------------------------------------

    def parts(self, desk: Desk, policy: str) -> list[Any]:
        """What the draw of the next command is made from: study key apart, (user, session_id, command_seq, policy)."""
        return [desk.user, self.session_id, self.seq, policy]

    def draw(self, desk: Desk, policy: str) -> float:
        """u in [0, 1) of the next command (programs.md 1, trial.md 3)."""
        return draw.u(desk.settings.study_key, desk.user, f"{self.session_id}:{self.seq}", policy)

    def say(
        self, desk: Desk, action: str, params: Mapping[str, Any], reason: str, policy: str, prob: float | None = None,
        expected: Mapping[str, float | None] | None = None,
    ) -> int:  # fmt: skip
        """One `therapy.command`; its number."""
        value: dict[str, Any] = {
            "program": self.program, "session_id": self.session_id, "command_seq": self.seq, "action": action,
            "params": {k: str(v) for k, v in params.items()}, "policy_version": policy, "reason": reason,
        }  # fmt: skip
        if prob is not None:
            value["prob"] = min(1.0, max(0.0, round(float(prob), 9)))
        value |= {k: round(v, 3) for k, v in (expected or {}).items() if v is not None}
        desk.emit("therapy.command", desk.event_time, value, self.session_id, self.seq)
        self.seq += 1
        return self.seq - 1

    def flag(self, desk: Desk, code: str, **evidence: float) -> None:
        """One `therapy.flag`, once a session and code."""
        if code in self.said:
            return
        self.said.append(code)
        value = {"program": self.program, "session_id": self.session_id, "code": code, "evidence": evidence}
        desk.emit("therapy.flag", desk.event_time, value, self.session_id, code)

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        out = {k: v for k, v in self.__dict__.items() if k not in ("trials", "heart")}
        out["trials"] = [_short(asdict(t)) for t in self.trials.values()]
        out["heart"] = self.heart.state()
        return out

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Session:
        given = dict(state)
        trials, heart = given.pop("trials"), given.pop("heart")
        session = Session(**given)
        session.trials = {str(t["trial_id"]): Trial(**t) for t in trials}
        session.heart = HeartTrace.from_state(heart)
        return session


def _short(trial: dict[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {k: v for k, v in trial.items() if v is not None and v is not False and v != {}}


def pick(u: float, probabilities: list[float]) -> int:
    """First index whose cumulated probability exceeds u."""
    total = 0.0
    for i, p in enumerate(probabilities):
        total += p
        if total > u:
            return i
    return max(i for i, p in enumerate(probabilities) if p > 0)  # a sum a rounding below 1
