"""The programs' room of one person's machine: events and self-reports in, commands out (spec: programs; topics therapy.*).

While a session is open a timer looks every second of the log's clock: heart rate that has arrived is joined by event time, and
the guard judges it. Nothing shows of where a run ends: rows are taken by their arrival, never because they are there.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from pipelines.context.columns import Columns
from pipelines.context.risk import Flag
from pipelines.gate.desk import Desk
from pipelines.gate.room import Scene
from pipelines.programs import aphasia, evidence, exposure, guard, music, play, sparx, speaking, summary
from pipelines.programs.catalogue import FACTORS, Catalogue
from pipelines.programs.memory import LADDERS, Memory
from pipelines.programs.session import STAGES, Session

SECOND = 1_000
TICK = "tick"
LATE_MS = 24 * 3_600_000
SILENT_MS = 60 * 60_000  # without any event: the session is over, its program did not say so
FIRST_MS = 10_000  # without a resting period by then, the first stimulus comes without one
OPEN = 3  # sessions at a time
HEART, ACTIVITY = "device.heart_rate", "device.activity"
Rows = tuple[np.ndarray[Any, Any], ...]


class Programs:
    """Open sessions, and what is kept between them."""

    name: ClassVar[str] = "programs"
    topics: ClassVar[frozenset[str]] = frozenset({"therapy.event", "selfreport"})
    timers: ClassVar[frozenset[str]] = frozenset({"PROGRAM"})

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.memory = Memory()
        self.moving: list[tuple[int, int]] = []
        self._cursor: dict[str, int] = {}
        self._rows: dict[str, Rows] = {}
        self._catalogue: Catalogue | None = None

    # -- what the machine asks ------------------------------------------------------------------------------------------

    def take(self, topic: str, record: dict[str, Any], scene: Scene) -> list[Flag]:
        self._absorb(scene)
        value, t = record["value"], int(record["event_time"])
        if topic == "selfreport":
            self._report(value, t, scene)
        elif scene.desk.now - t <= LATE_MS:
            self._event(value, t, scene)
        return []

    def due(self, kind: str, key: str, scene: Scene) -> list[Flag]:
        desk = scene.desk
        if key == "return":
            sparx.settle(self.memory.sparx, False, desk)
        elif key == "remind":
            play.remind(self.memory.sparx, scene)
        elif key == TICK:
            self._absorb(scene)
            for session in list(self.sessions.values()):
                self._look(session, scene)
            self._set_tick(desk)
        return []

    def finish(self, until: int, scene: Scene) -> list[Flag]:
        now, scene.desk.now = scene.desk.now, until
        self._absorb(scene)
        scene.desk.now = now
        self._cursor, self._rows = {}, {}
        return []

    # -- heart rate -----------------------------------------------------------------------------------------------------

    def _absorb(self, scene: Scene) -> None:
        """Join what has arrived by now to the sessions that are open."""
        for topic in (HEART, ACTIVITY):
            if topic not in scene.columns:
                continue
            rows = self._rows.get(topic)
            if rows is None:
                rows = self._rows[topic] = (
                    _heart(scene.columns[topic]) if topic == HEART else _moving(scene.columns[topic])
                )
            upto = int(np.searchsorted(rows[0], scene.desk.now, side="right"))
            begin, self._cursor[topic] = self._cursor.get(topic, 0), max(upto, self._cursor.get(topic, 0))
            if self.sessions:
                for i in range(begin, upto):
                    if topic == HEART:
                        self._sample(int(rows[1][i]), float(rows[2][i]), float(rows[3][i]))
                    else:
                        self.moving = [*self.moving, (int(rows[1][i]), int(rows[2][i]))][-60:]

    def _sample(self, t: int, bpm: float, period: float) -> None:
        for session in self.sessions.values():
            if t >= session.start - 60_000:
                session.heart.add(t, bpm, period if period == period else None)
                a, b = session.own.get("new_hr") or (t, t)
                session.own["new_hr"] = [min(a, t), max(b, t)]

    def _look(self, session: Session, scene: Scene) -> None:
        """Every second: hard stops, a session that nobody ended, a first stimulus that nobody asked for."""
        desk = scene.desk
        self._watch_heart(session, desk)
        if scene.case_open and session.held is None and session.stopped is None:
            session.held = "CASE_OPEN"  # until the therapist or the person goes on and the case is no longer open
            session.say(desk, "HOLD", {"cause": "CASE_OPEN"}, "THERAPIST", guard.POLICY)
        if desk.now - session.last > SILENT_MS:
            self._close(session, session.last, scene)
        elif (
            session.program in LADDERS and session.seq == 0 and session.stopped is None and session.rest[0] is None
            and not session.trials and desk.now - session.opened >= FIRST_MS and "music" not in session.own
        ):  # fmt: skip
            self._next(session, scene)

    def _watch_heart(self, session: Session, desk: Desk) -> None:
        new = session.own.pop("new_hr", None)
        if session.stopped is None and new is not None:
            limit = guard.hr_limit(desk.profiles.effective(desk.now))
            found = guard.too_fast(session, limit, self.moving, (new[0], new[1]))
            if found is not None:
                guard.stop(session, desk, "HR_LIMIT", limit_bpm=limit, seconds=(found[1] - found[0]) / SECOND)

    def _set_tick(self, desk: Desk) -> None:
        if self.sessions:
            desk.timers.set((desk.now // SECOND + 1) * SECOND, "PROGRAM", TICK)
        else:
            desk.timers.cancel("PROGRAM", TICK)
            self.moving = []

    # -- self-reports -----------------------------------------------------------------------------------------------------

    def _report(self, value: dict[str, Any], t: int, scene: Scene) -> None:
        total = value.get("total")
        if total is None and value.get("items"):
            total = sum(value["items"].values())
        if total is None:
            return
        if value["instrument"] == "PHQA" and self.memory._sparx is not None:
            sparx.phqa(self.memory.sparx, float(total))
        session = self._session_of(value.get("session_id"), t)
        if session is None:
            return
        if value["instrument"] == "SUDS":
            self._suds(session, float(total), t, {}, scene)
        elif value["instrument"] == "MOOD":
            before = session.own.get("module") is None and not session.trials
            session.mood[0 if before and session.mood[0] is None else 1] = float(total)

    def _session_of(self, session_id: str | None, t: int) -> Session | None:
        """The session a report names; without a name, the one that was open when it was given."""
        if session_id is not None:
            return self.sessions.get(session_id)
        return next((s for s in self.sessions.values() if s.start <= t), None)

    def _suds(self, session: Session, suds: float, t: int, value: dict[str, Any], scene: Scene) -> None:
        """Distress: the guard first, then the trial it belongs to."""
        if exposure.too_much(session, suds, scene.desk):
            return
        trial = session.open_trial() or next(iter(reversed(session.done())), None)
        named = session.trials.get(str(value.get("trial_id")))
        trial = named if named is not None else trial
        if trial is not None and trial.suds is None and (trial.start is None or t >= trial.start):
            trial.suds = suds

    # -- events -----------------------------------------------------------------------------------------------------------

    def _event(self, value: dict[str, Any], t: int, scene: Scene) -> None:
        desk, kind = scene.desk, str(value["kind"])
        session = self._open(value, t, scene)
        if session is None:
            return
        session.last = desk.now
        if kind in guard.STOP_REASON:
            guard.stop(session, desk, guard.STOP_REASON[kind])
        elif kind == "SESSION_END":
            self._close(session, t, scene)
        elif session.stopped is None:
            self._watch_heart(session, desk)
            if value.get("suds") is not None and exposure.too_much(session, float(value["suds"]), desk):
                self._note(session, kind, value, t, scene)
            elif session.stopped is None:
                self._frame(session, kind, value, t, scene)
        self._set_tick(desk)

    def _open(self, value: dict[str, Any], t: int, scene: Scene) -> Session | None:
        """The session of an event, opened by whatever event of it comes first; None if it is over."""
        name, desk = str(value["session_id"]), scene.desk
        session = self.sessions.get(name)
        if session is not None:
            if session.program != value["program"]:
                return None
            session.seen(t)
            return session
        if name in self.memory.closed:
            return None
        if len(self.sessions) >= OPEN:
            oldest = min(self.sessions.values(), key=lambda s: (s.opened, s.session_id))
            self._close(oldest, oldest.last, scene)
        session = Session(name, str(value["program"]), desk.now, t, desk.now)
        self.memory.begin(session)
        self.sessions[name] = session
        if session.program == "SPARX":
            sparx.begin(session, self.memory.sparx, desk)
            play.played(self.memory.sparx, scene)
        return session

    def _frame(self, session: Session, kind: str, value: dict[str, Any], t: int, scene: Scene) -> None:
        """What all programs share; the rest is theirs."""
        if kind in ("SESSION_START", "RESUME", "THERAPIST_UNLOCK") and value.get("stage") in STAGES:
            self.memory.stage(session, str(value["stage"]))
        if kind == "SESSION_START":
            if session.program == "APHASIA" and session.seq == 0:
                self._next(session, scene)
        elif kind == "BASELINE_START":
            session.rest[0] = t
        elif kind == "BASELINE_END":
            again = session.rest[1] is not None
            session.rest = [session.rest[0] if session.rest[0] is not None else t - 120_000, t]
            if not again and session.seq == 0:
                self._next(session, scene)
        elif kind == "THERAPIST_LOCK":
            bounds: dict[str, Any] = dict(value.get("factors") or {})
            session.lock = bounds if value.get("level") is None else {**bounds, "level": int(value["level"])}
        elif kind == "PAUSE":
            session.held = session.held or "PAUSE"
        elif kind in ("RESUME", "THERAPIST_UNLOCK"):
            self._go_on(session, kind, scene)
        elif kind == "SUDS":
            if value.get("suds") is not None:
                self._suds(session, float(value["suds"]), t, value, scene)
        else:
            self._note(session, kind, value, t, scene)

    def _go_on(self, session: Session, kind: str, scene: Scene) -> None:
        """After a pause or a lost connection the last choice is said again, if nothing is in the way."""
        if kind == "THERAPIST_UNLOCK":
            session.lock = None
            if session.held is None:
                return
        session.held, session.own["refused"] = None, []
        if session.program in LADDERS:
            ladder = exposure.LADDER if session.program == "SPIDER" else speaking.LADDER
            free = guard.obstacle(session, scene.desk, scene.case_open) is None
            if free and self._still_right(session, scene.desk) and ladder.again(session, scene.desk):
                return
        self._next(session, scene)

    def _still_right(self, session: Session, desk: Desk) -> bool:
        """Whether the last choice may be said again: not yet begun, of this stage, inside lock and bounds."""
        if session.pending is None or session.open_trial() is not None:
            return False
        shown, bound = session.pending[1], guard.highest(session, desk)
        if shown.get("stage") != session.stage or (bound is not None and session.level > bound):
            return False
        return (
            guard.inside(session.lock, shown) and self._items(desk).stimulus(session.program, shown, desk) is not None
        )

    def _note(self, session: Session, kind: str, value: dict[str, Any], t: int, scene: Scene) -> None:
        """Events of the programs themselves."""
        desk = scene.desk
        if kind.startswith("SLOT_"):
            if music.slot_event(session, kind, value, t) and session.stopped is None:
                music.decide(session, self.memory.of(session.program), desk, self._items(desk), scene.case_open)
        elif kind.startswith("PHASE_"):
            speaking.phase_event(session, kind, value, t)
        elif kind in ("APPROACH", "REFUSAL"):
            if session.stopped is None:
                exposure.approach(session, kind, value, t, desk)
        elif kind.startswith("TRIAL_") or kind == "EXPECTANCY_VIOLATED":
            self._trial(session, kind, value, t, scene)
        elif kind == "ITEM_RESPONSE":
            aphasia.answer(session, self.memory.practice, value, t, desk, self._items(desk), scene.case_open)
        elif kind == "MODULE_START":
            module = value.get("module")
            if module is not None and session.own.get("module") != module:
                sparx.message(session, self.memory.sparx, int(module), desk, self._items(desk), scene.case_open)
        elif kind in ("MODULE_END", "MODULE_MISSED"):
            module = value.get("module", session.own.get("module"))
            sparx.module_event(session, self.memory.sparx, kind, module, desk)

    def _trial(self, session: Session, kind: str, value: dict[str, Any], t: int, scene: Scene) -> None:
        if session.program not in LADDERS:
            return
        entry = self._items(scene.desk).stimulus(session.program, value.get("factors") or {}, scene.desk)
        level = entry.level if entry is not None else None
        if value.get("phase") is not None and session.program == "SPEECH":
            speaking.phase_event(session, kind.replace("TRIAL", "PHASE"), value, t)
        ended = exposure.trial_event(session, kind, value, t, level)
        trial = session.trials.get(str(value.get("trial_id")))
        if trial is not None and trial.told is None and session.pending is not None and session.seq:
            expected = session.pending[4]
            band = [expected.get("expected_hr_low_bpm"), expected.get("expected_hr_high_bpm")]
            trial.told = [session.seq - 1, session.pending[0], session.pending[2], *band]
        if trial is not None and trial.level is not None and kind == "TRIAL_START":
            session.level = min(session.level, trial.level)
        if not ended or trial is None:
            return
        if session.pending is not None and not trial.factors:  # the program does not repeat what it was told to show
            trial.factors = {f: v for f, v in session.pending[1].items() if f in FACTORS[session.program]}
        if session.pending is not None and trial.level is None:
            trial.level = int(session.pending[1]["level"])
        trial.music = music.playing(session, trial.start or t, t)
        if session.stopped is None and session.held is None and session.in_order()[-1] is trial:
            exposure.accepted(session)
        if session.stopped is None and session.in_order()[-1] is trial:
            self._next(session, scene)

    def _next(self, session: Session, scene: Scene) -> None:
        """What comes next, by the session's program."""
        desk = scene.desk
        if session.program == "SPIDER":
            exposure.LADDER.decide(session, self.memory.of("SPIDER"), desk, self._items(desk), scene.case_open)
        elif session.program == "SPEECH":
            speaking.decide(session, self.memory.of("SPEECH"), desk, self._items(desk), scene.case_open)
        elif session.program == "APHASIA":
            aphasia.decide(session, self.memory.practice, desk, self._items(desk), scene.case_open)

    def _close(self, session: Session, end: int, scene: Scene) -> None:
        """A session is over: what it showed, and what is kept of it."""
        desk, memory = scene.desk, self.memory
        del self.sessions[session.session_id]
        memory.close(session.session_id)
        rows: list[evidence.Row] = []
        if session.program in LADDERS:
            mem = memory.of(session.program)
            rows = evidence.rows_of(session)
            if rows:
                evidence.attribute(session, [*mem["rows"], *rows], desk)
            music.attribute(session, mem, desk)
        elif session.program == "APHASIA":
            aphasia.end(session, memory.practice, desk, self._items(desk))
        elif session.program == "SPARX":
            sparx.end(session, memory.sparx, desk)
        session.ended = True
        summary.say(session, memory, rows, desk, end)
        if session.program in LADDERS:
            memory.keep(session, rows)
            music.close(session, memory.of(session.program))
        self._set_tick(desk)

    def _items(self, desk: Desk) -> Catalogue:
        if self._catalogue is None or self._catalogue.library is not desk.library:
            self._catalogue = Catalogue(desk.library)
        return self._catalogue

    # -- state ------------------------------------------------------------------------------------------------------------

    def state(self) -> Any:
        memory = self.memory.state()
        if not (self.sessions or self.memory.closed or memory["sparx"]):
            return None
        return {"sessions": [s.state() for s in self.sessions.values()], "memory": memory, "moving": self.moving}

    def restore(self, state: Any) -> None:
        if state is None:
            return
        self.sessions = {s["session_id"]: Session.from_state(s) for s in state["sessions"]}
        self.memory = Memory.from_state(state["memory"])
        self.moving = [(int(a), int(b)) for a, b in state["moving"]]


def _heart(c: Columns) -> Rows:
    """Arrival, event, bpm, period of usable samples."""
    bpm = c.numbers("bpm", np.nan)
    good = c.among("quality", "LOCKED", "STRAP") & (bpm >= 30) & (bpm <= 220)
    return c.arrival[good], c.event[good], bpm[good], c.numbers("sample_period_s", np.nan)[good]


def _moving(c: Columns) -> Rows:
    """Arrival, from, to of rows with steps or more than light effort."""
    on = (c.numbers("steps", 0) > 0) | (c.numbers("intensity", 0) >= 2)
    end = c.event + (c.numbers("period_s", 60) * SECOND).astype(np.int64)
    return c.arrival[on], c.event[on], end[on]
