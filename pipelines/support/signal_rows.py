"""`risk.signal` of the signals that the minutes give: one record a change."""

from __future__ import annotations

from typing import Any

from pipelines.gate.desk import Desk
from pipelines.learning.expected_heart_rate import NAME
from pipelines.support.signals import HR_EPISODE, Signal
from pipelines.support.triggers import signal_id

RULES = {HR_EPISODE: "hr-2", "LEFT_HOME": "place-1"}


def tell(s: Signal, desk: Desk, more: dict[str, Any]) -> None:
    """Say the signal as it stands now, times in ms; `more` = what the personal recogniser adds, {} while it is off."""
    sid = signal_id(desk.user, s.kind, None, s.start)
    versions = {"rule": RULES[s.kind]}
    if s.kind == HR_EPISODE:
        profile = desk.profiles.effective(s.start)
        versions |= {"model": NAME, "profile": str(profile.version) if profile is not None else "NONE"}
    value: dict[str, Any] = {
        "signal_id": sid, "revision": s.revision, "kind": s.kind, "state": s.state, "start_time": s.start, "missing": [],
        "refs": [str(s.start), str(s.last or s.start)], "clock_suspect": False, "versions": versions,
    }  # fmt: skip
    for name, given in (("end_time", s.end), ("end_reason", s.reason), ("strength", s.strength)):
        if given is not None:
            value[name] = given
    if more:
        versions["recogniser"] = "recogniser:1"
    desk.emit("risk.signal", s.start, value | more, sid, s.revision)
