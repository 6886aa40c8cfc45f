"""A session in numbers, and trial by trial, when it is over: `therapy.session_summary`, and SESSION_SUMMARY by consent."""

from __future__ import annotations

from typing import Any

from pipelines.gate.desk import Desk, Message
from pipelines.programs import aphasia, speaking
from pipelines.programs.evidence import Row, hr_change
from pipelines.programs.memory import LADDERS, Memory
from pipelines.programs.session import VIEWED, Session

VIEW = "THERAPIST_SESSION_VIEW"


def say(session: Session, memory: Memory, rows: list[Row], desk: Desk, end: int) -> None:
    """One `therapy.session_summary`; the therapist is told where the person's consent names them."""
    value = summary(session, memory, rows, desk, end)
    desk.emit("therapy.session_summary", desk.event_time, value, session.session_id)
    told = {"name": "SESSION_ENDED", "met": True, "start_time": session.start, "end_time": max(end, session.start),
            "unit": session.program, "refs": [session.session_id]}  # fmt: skip
    missing = () if value["hr_minutes"] else ("HEART_RATE",)
    desk.to_therapist(
        Message(
            "SESSION_SUMMARY", desk.event_time, "THERAPY", [told], session.session_id, session.start, missing=missing
        ),
        VIEW,
    )


def summary(session: Session, memory: Memory, rows: list[Row], desk: Desk, end: int) -> dict[str, Any]:
    """The value."""
    end = max(end, session.start)
    rest = session.resting()
    begin = session.rest[1] if session.rest[1] is not None else session.start
    mean = session.heart.average(begin, end)
    value: dict[str, Any] = {
        "program": session.program, "session_id": session.session_id, "start_time": session.start, "end_time": end,
        "hr_minutes": round(session.heart.minutes(session.start, end), 3),
    }  # fmt: skip
    if mean is not None and rest is not None:
        value["stress_residual_bpm"] = round(mean - rest, 3)
    for name, given in (
        ("mood_before", session.mood[0]), ("mood_after", session.mood[1]), ("suds_max", session.suds_max),
        ("stop_reason", session.stopped), ("resting_bpm", None if rest is None else round(rest, 2)),
    ):  # fmt: skip
        if given is not None:
            value[name] = given
    if session.program in LADDERS:
        done = session.done()
        value |= {"stage": session.stage, "trials": len(done), "trial_view": view(session)}
        levels = [t.level for t in done if t.level is not None]
        if levels:
            value["level_max"] = max(levels)
        if session.program == "SPEECH":
            index = speaking.avoidance([*memory.of("SPEECH")["rows"], *rows], session.number)
            if index is not None:
                value["avoidance_index"] = round(index, 4)
    elif session.program == "APHASIA":
        value |= aphasia.summary(session, memory.practice, desk)
    return value


def view(session: Session) -> list[dict[str, Any]]:
    """Trial by trial: what was shown, heart rate with the band expected, distress, and why it was chosen."""
    out = []
    for t in session.done()[-VIEWED:]:
        row: dict[str, Any] = {"trial_id": t.trial_id, "end_time": t.end, "factors": dict(sorted(t.factors.items()))}
        seq, action, reason, low, high = t.told or [None] * 5
        hr = None if t.start is None or t.end is None else session.heart.mean(max(t.start, t.end - 30_000), t.end)
        for name, given in (
            ("start_time", t.start), ("stage", t.stage), ("level", t.level), ("suds", t.suds), ("hr_bpm", hr),
            ("hr_change_bpm", hr_change(session, t)), ("hr_expected_low_bpm", low), ("hr_expected_high_bpm", high),
            ("command_seq", seq), ("action", action), ("reason", reason),
        ):  # fmt: skip
            if given is not None:
                row[name] = round(given, 3) if isinstance(given, float) else given
        out.append(row)
    return out
