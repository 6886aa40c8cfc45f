"""The machine of one person: records in the order of the log in, explained and consented records out (design 1).

Plain Python without Beam. It walks a record through the rooms in this order: context, signals, decisions, gate. Order at one
instant of the log's clock: records, then the minute's tick, then timers. Everything it knows is in `dump()`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

import pyarrow as pa

from content.lexicon import Lexicon
from content.library import Library
from pipelines.context.calendar import DAY_MS, Day, DayClock
from pipelines.context.columns import Columns, columns
from pipelines.context.completeness import GRID_MIN
from pipelines.context.risk import Flag, flag_of
from pipelines.gate.desk import Desk
from pipelines.gate.room import PersonRoom, Scene
from pipelines.ingest import IngestResult
from pipelines.rooms import rooms
from pipelines.settings import Settings
from pipelines.support import inbox, snapshot
from pipelines.support.acute import Acute
from pipelines.support.arrivals import Queue
from pipelines.support.daily import Daily, DayRow
from pipelines.support.evidence import LEAD, MINUTE_MS
from pipelines.support.minute_rows import minute_table
from pipelines.support.minutes import Minutes
from pipelines.support.monitor import Monitor
from pipelines.support.prompts import Prompts
from pipelines.support.recognition import Recognition
from pipelines.support.reminders import Reminders
from pipelines.support.signal_rows import tell
from pipelines.support.signals import Change
from pipelines.support.trend import Trend

Entry: TypeAlias = tuple[int, str, int, dict[str, Any]]  # (arrival ms, topic, number, record)
GRID_MS = GRID_MIN * MINUTE_MS
MORNING_MIN = 9 * 60  # support.md 4: W rules at 09:00 local


class Person:
    """One person between two slices of the log.

    Parameters
    ----------
    user
        Pseudonym.
    settings, library, lexicon
        Shared by all.
    """

    def __init__(self, user: str, settings: Settings, library: Library, lexicon: Lexicon) -> None:
        self.user = user
        self.settings = settings
        self.lexicon = lexicon
        self.desk = Desk(user, settings, library, None)
        self.acute = Acute()
        self.trend = Trend()
        self.prompts = Prompts()
        self.recognition = Recognition()
        self.reminders = Reminders()
        self.daily = Daily()
        self.monitor = Monitor()
        self.rooms: list[PersonRoom] = rooms()
        self.minutes: Minutes | None = None
        self.learned: int | None = None  # last day index that has been learned
        self.offset: tuple[int, int] | None = None  # (event time, minutes) of the newest record
        self.cols: dict[str, Columns] = {}
        self.signs: list[Any] = []
        self.suspect: frozenset[str] = frozenset()
        self.waiting: dict[str, Queue] = {}  # rows that arrived after the last tick

    # -- a slice of the log -------------------------------------------------------------------------------------------

    def run(self, came: IngestResult, until: int) -> dict[str, pa.Table | list[dict[str, Any]]]:
        """Take what arrived, run what is due up to `until` (ms of the log's clock); output rows by topic.

        Returns
        -------
        dict
            Topic → Arrow table (`features.minute`) or records in contract form.
        """
        self.cols = columns(came.tables)
        records = inbox.records(came.tables)
        records += [(r["ingest_time"], "chat.refused", i, r) for i, r in enumerate(came.refused_chat)]
        records += [
            (row[4], "profile.rejected", i, {"reason": row[1]})
            for i, row in enumerate(came.dead)
            if row[0] == "clinical.profile"
        ]
        records.sort(key=lambda e: e[:3])
        self.suspect = frozenset(came.suspect)
        self.monitor.feed(self.cols, came.status)
        self._begin(records)
        if self.minutes is None:
            return {}
        self.signs = inbox.watch_signs(self.cols)
        queues = inbox.joined(self.waiting, inbox.queues(self.cols))
        self.minutes.feed(queues)
        self.minutes.recognise = self._recognised
        self.daily.feed(inbox.sums(self.cols))
        self._expect_watch()
        self._walk(records, until)
        self.waiting = inbox.left(queues)
        self.minutes.finish(until)
        self.daily.advance(until, self.day_clock())
        self.offset = self._offset(until)
        self.reminders.remember(inbox.latest(self.signs, until))
        for room in self.rooms:
            self._weigh(room.finish(until, self._scene()))
        self.monitor.finish(until, self.desk)
        return self._take()

    def use(self, library: Library, lexicon: Lexicon) -> None:
        """Content of the steps to come."""
        self.lexicon, self.desk.library = lexicon, library

    def next_due(self, until: int) -> int | None:
        """When something can be said next (ms) if nothing arrives, as known at `until`; None = never.

        A timer; the next whole minute while anything of the last hours is still to be told; else the next judgement of
        completeness.
        """
        if self.minutes is None:
            return None
        minute = (until // MINUTE_MS + 1) * MINUTE_MS
        grid = -(-(until + 1) // GRID_MS) * GRID_MS
        fresh = self.waiting or self.minutes.restless
        timer = self.desk.timers.next_due()
        return min(t for t in (timer, minute if fresh else grid) if t is not None)

    def _take(self) -> dict[str, pa.Table | list[dict[str, Any]]]:
        """What was said, and nothing of this slice kept."""
        assert self.minutes is not None
        out: dict[str, pa.Table | list[dict[str, Any]]] = dict(self.desk.out)
        self.desk.out = defaultdict(list)
        told = self.minutes.take_rows()
        if told is not None:
            out["features.minute"] = minute_table(self.user, told, self.day_clock())
        self.cols, self.signs, self.suspect = {}, [], frozenset()
        return out

    def _begin(self, records: list[Entry]) -> None:
        """The first arrival starts the person's days and minutes."""
        if self.minutes is not None or not (self.cols or records):
            return
        first = min([int(c.arrival[0]) for c in self.cols.values()] + [r[0] for r in records])
        found = inbox.offset(self.cols, first)
        offset = found[1] if found is not None else int(records[0][3].get("tz_offset_min", 0))
        self.offset = found
        self.desk.now = self.desk.event_time = first
        days = DayClock.first(first - DAY_MS, offset)
        self.desk.days = days
        while days.next_boundary <= first:
            days.advance(offset)
        base = days.days()[0].start_time // MINUTE_MS - LEAD
        self.minutes = Minutes(base, first // MINUTE_MS * MINUTE_MS - MINUTE_MS)
        self.learned = days.days()[0].index - 1
        self.desk.timers.set(days.next_boundary, "DAY_START")
        morning = days.today().at(MORNING_MIN)
        if morning > first:
            self.desk.timers.set(morning, "MORNING")

    def _walk(self, records: list[Entry], until: int) -> None:
        i, n = 0, len(records)
        while True:
            arrival = records[i][0] if i < n else None
            due = self.desk.timers.next_due()
            if arrival is not None and (due is None or arrival <= due):
                self._ticks(arrival - 1)
                if (due := self.desk.timers.next_due()) is not None and due < arrival:
                    continue  # a tick set something earlier
                self._now(arrival)
                self._record(records[i][1], records[i][3])
                i += 1
            elif due is not None and due <= until:
                self._ticks(due)
                if self.desk.timers.next_due() != due:  # a tick set something earlier
                    continue
                self._now(due)
                self._timer(*self.desk.timers.pop()[1:])
            else:
                self._ticks(until)
                later = self.desk.timers.next_due()
                if later is None or later > until:
                    return

    def _now(self, t: int) -> None:
        self.desk.now = self.desk.event_time = t

    # -- the clock grid -------------------------------------------------------------------------------------------------

    def _ticks(self, until: int) -> None:
        """Work off the minutes up to `until` or to the next timer; what changed is acted on at its own tick."""
        assert self.minutes is not None
        while True:
            due = self.desk.timers.next_due()
            stop = until if due is None else min(until, due)
            if self.minutes.tick >= stop // MINUTE_MS * MINUTE_MS:
                return
            for change in self.minutes.advance(stop, self.day_clock(), self.desk.profiles):
                while (due := self.desk.timers.next_due()) is not None and due < change.tick:
                    self._now(due)
                    self._timer(*self.desk.timers.pop()[1:])
                self._now(change.tick)
                self._changed(change)

    def _changed(self, change: Change) -> None:
        assert self.minutes is not None
        s = change.signal
        more = self.recognition.of(s.last or s.start, self.minutes, self.desk) if s.kind == "HR_EPISODE" else {}
        tell(s, self.desk, more)
        if s.kind == "HR_EPISODE":
            if self.acute.flags:
                self.acute.review(self.desk, self.minutes)
            self._check_in()

    def _recognised(self, t: int) -> dict[str, Any]:
        return self.recognition.of(t, self._minutes(), self.desk)

    def _check_in(self) -> None:
        assert self.minutes is not None
        episodes, case_open, minutes = self.minutes.hr_episodes(self.desk.now), self.acute.open_case(), self.minutes
        self.prompts.check_in(
            episodes, self.desk, minutes, case_open, lambda t: self.recognition.states(t, minutes, self.desk)
        )

    # -- records ------------------------------------------------------------------------------------------------------

    def _record(self, topic: str, record: dict[str, Any]) -> None:
        assert self.minutes is not None
        self.desk.event_time = int(record.get("event_time", self.desk.now))
        value = record.get("value", record)
        if topic == "clinical.consent":
            self.monitor.advance(self.desk.now - 1, self.desk)  # what was judged before it came stays judged
            if self.desk.consents.add(record):
                self.desk.audit("CONSENT_CHANGED", value["consent_id"], actor="context")
        elif topic == "clinical.profile":
            if self.desk.profiles.add(record):
                self.desk.audit("PROFILE_ACCEPTED", value["profile_id"], actor="context")
        elif topic == "profile.rejected":
            self.desk.audit(
                "PROFILE_REJECTED", None, "GUARD_RAIL" if value["reason"] == "GUARD_RAIL" else None, actor="context"
            )
        elif topic == "clinical.ack":
            self.acute.acknowledge(value["case_id"], value["action"], self.desk, self.minutes)
        elif topic == "delivery.receipt":
            if value["state"] in ("OPENED", "ACTED"):
                self.prompts.answered(value["notification_id"], int(value["state_time"]), self.desk)
        elif topic == "erasure.request":
            if value["scope"] == "ALL":
                self._erase()
        else:
            self._evidence(topic, record, value)

    def _evidence(self, topic: str, record: dict[str, Any], value: dict[str, Any]) -> None:
        if topic == "selfreport" and value["instrument"] == "MOOD" and "total" in value:
            self.prompts.mood(float(value["total"]), self.desk.now, self.desk)
        if topic == "selfreport":
            self.recognition.take(record, self.prompts.asked, self.desk)
        flag = flag_of(topic, record, record.get("event_id") in self.suspect) if "value" in record else None
        self._weigh([flag] if flag is not None else [])
        for room in self.rooms:
            if topic in room.topics:
                self._weigh(room.take(topic, record, self._scene()))

    def _weigh(self, flags: list[Flag]) -> None:
        """Risk evidence of whatever room: one rule judges it."""
        assert self.minutes is not None
        for flag in flags:
            self.acute.add(flag, self.desk, self.minutes)

    def _scene(self) -> Scene:
        case_open = self.acute.open_case()
        return Scene(
            self.desk, self.lexicon, self.cols, case_open, self.suspect,
            invite=lambda kind, trigger, message: self.prompts.offer(
                kind, trigger, message, self.desk, self._minutes(), case_open
            ),
            acted=lambda kind: self.prompts.acted(kind, self.desk),
        )  # fmt: skip

    def _minutes(self) -> Minutes:
        assert self.minutes is not None
        return self.minutes

    def _erase(self) -> None:
        """Everything known of the person goes; the audit chain stays and says so (privacy.md 4)."""
        assert self.minutes is not None
        self.monitor.advance(self.desk.now - 1, self.desk)
        fresh = Desk(self.user, self.settings, self.desk.library, self.desk.days)
        fresh.chain, fresh.out = self.desk.chain, self.desk.out
        fresh.now, fresh.event_time = self.desk.now, self.desk.event_time
        fresh.audit("ERASED", self.desk.chain.last_hash, actor="privacy")
        fresh.timers.set(self.day_clock().next_boundary, "DAY_START")
        self.daily.advance(fresh.now, self.day_clock())  # what arrived before goes too
        self.desk, self.minutes, self.daily = fresh, self.minutes.emptied(fresh.now), self.daily.emptied()
        self.acute, self.trend, self.prompts, self.reminders = Acute(), Trend(), Prompts(), Reminders()
        self.recognition = Recognition()
        self.rooms, self.monitor = rooms(), self.monitor.emptied(fresh.now)

    # -- timers -------------------------------------------------------------------------------------------------------

    def _timer(self, kind: str, key: str) -> None:
        assert self.minutes is not None
        desk = self.desk
        if kind == "DAY_START":
            self._day_start()
        elif kind == "MORNING":
            self._morning()
        elif kind == "QUEUED":
            case_id = desk.deliver_queued(key)
            if case_id is not None:
                self.acute.delivered(case_id, desk)
        elif kind == "ACK_DUE":
            desk.escalate(key)
        elif kind in ("CASE_FINAL", "CASE_CLOSE"):
            self.acute.case_timer(kind, key, desk, self.minutes)
        elif kind == "WATCH":
            self._watch()
        elif kind == "OUTCOME":
            self.prompts.due(key, desk, self.minutes)
        else:
            room = next(r for r in self.rooms if kind in r.timers)
            self._weigh(room.due(kind, key, self._scene()))

    def _watch(self) -> None:
        """Look at the watch's silence; again when it is due or, once it has been told, when the watch is heard."""
        now = self.desk.now
        again = self.reminders.look(inbox.latest(self.signs, now), self.desk, self.prompts.limiter)
        heard = inbox.next_arrival(self.signs, now) if self.reminders.waiting else None
        due = min((t for t in (again, heard) if t is not None), default=None)
        if due is not None:
            self.desk.timers.set(due, "WATCH")

    def _expect_watch(self) -> None:
        """At the start of a run: the first sign in it matters if none came before or a silence has been told."""
        first = inbox.next_arrival(self.signs, -1) if self.reminders.waiting else None
        due = self.desk.timers.due("WATCH")
        if first is not None and (due is None or first < due):
            self.desk.timers.set(first, "WATCH")

    def _day_start(self) -> None:
        """Local 04:00: close the day before yesterday, learn it, and forget what lies before yesterday."""
        assert self.minutes is not None
        assert self.learned is not None
        days = self.day_clock()
        self.daily.advance(self.desk.now, days)
        self.offset = self._offset(self.desk.now)
        profile = self.desk.profiles.effective(self.desk.now)
        offset = self.offset[1] if self.offset is not None else days.offset_at(self.desk.now)
        today = days.advance(offset, *([profile.day_start_min] if profile is not None else []))
        self.desk.timers.set(days.next_boundary, "DAY_START")
        if today is None:
            return
        held = [d for d in days.days() if d.index < today.index]
        over = [d for d in held if self.learned < d.index <= today.index - 2]
        for day in over:
            row = self._final(day)
            self.trend.learn(row)
            self.daily.close(day.index)
            self.learned = day.index
        yesterday = [d for d in held if d.index == today.index - 1]
        if over:
            self.recognition.learn(over[-1].end_time, self.minutes, self.desk)
        keep_from = yesterday[0].start_time if yesterday else today.start_time
        self.minutes.start_day(today.index, [(d.start_time, d.end_time) for d in over], keep_from, days)
        snapshot.tell(self.models(), today.local_date, self.desk)
        self.desk.timers.set(today.at(MORNING_MIN), "MORNING")
        self._forget()

    def models(self) -> snapshot.Models:
        """Everything that learns."""
        assert self.minutes is not None
        return snapshot.Models(self.minutes.models, self.prompts.receptivity, self.recognition.model)

    def roll_back(self, then: snapshot.Models, object_id: str, now: int) -> list[dict[str, Any]]:
        """Go on with the models of a snapshot from `now` (ms) on; the audit records to append."""
        assert self.minutes is not None
        self._now(now)
        models = snapshot.roll_back(self.models(), then, self.desk, object_id)
        self.minutes.models, self.prompts.receptivity = models.heart, models.receptivity
        self.recognition = Recognition(models.recogniser)
        said, self.desk.out = self.desk.out["audit"], defaultdict(list)
        return said

    def _final(self, day: Day) -> DayRow:
        """The row of a day whose lateness is over: that of its morning, unless something came after it."""
        assert self.minutes is not None
        row = self.daily.rows.get(day.index)
        late = self.minutes.touched_from * MINUTE_MS < day.end_time or day.index in self.daily.changed
        if row is None or late or row.end != day.end_time:
            row = self.daily.summarise(day, self.minutes, self.desk.now)
            self.daily.keep(row)
        return row

    def _morning(self) -> None:
        """09:00: features of yesterday and, if late records changed them, of the day before; then the W rules."""
        assert self.minutes is not None
        days = self.day_clock()
        self.daily.advance(self.desk.now, days)
        today = days.today()
        before = self.daily.rows.get(today.index - 2)
        if before is not None:
            self.trend.tell_day(before, 1, self.daily, self.desk)
        yesterday = next((d for d in days.days() if d.index == today.index - 1), None)
        if yesterday is None:
            return
        row = self.daily.summarise(yesterday, self.minutes, self.desk.now)
        self.minutes.mark()
        self.daily.keep(row)
        self.trend.tell_day(row, 0, self.daily, self.desk)
        self.trend.evaluate(yesterday, self.daily, self.acute, self.prompts, self.desk, self.minutes)

    def _forget(self) -> None:
        now = self.desk.now
        self.desk.forget()
        self.acute.forget(now)
        self.prompts.forget(now - 5 * DAY_MS)
        self.desk.consents.forget(now - 10 * DAY_MS)
        self.desk.profiles.forget(now - 10 * DAY_MS)

    def _offset(self, until: int) -> tuple[int, int] | None:
        found = inbox.offset(self.cols, until)
        both = [o for o in (self.offset, found) if o is not None]
        return max(both, default=None)

    def day_clock(self) -> DayClock:
        assert self.desk.days is not None
        return self.desk.days
