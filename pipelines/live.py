"""The embedded live run: slices of Kafka through bounded Beam runs, everything that counts in one SQLite transaction.

A slice: read what has come; let the log's clock go on to where nothing older can come any more; answer those in need for whom
that is too late; run the machines of those people of whom something decides now; commit states, offsets and outbox together;
publish the outbox in one Kafka transaction that also moves a marker. A kill at any instruction leaves a state from which the same
records come out, once each for a `read_committed` reader.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.base import NotALog
from connectors.kafka.codec import READ, Decoder, Encoder, Letter
from connectors.kafka.options import KafkaOptions
from connectors.kafka.prioritised import Prioritised
from connectors.kafka.reader import Part
from connectors.kafka.registry import Registry
from connectors.kafka.sender import MADE, Message
from connectors.kafka.sink import NotPublished, Publisher
from pipelines.carrier import Given, LiveCarrier, Work
from pipelines.content_log import PACK
from pipelines.grouping import by_person
from pipelines.ingest import Pseudonyms
from pipelines.ingest.machine import FEW
from pipelines.intake import Came, Intake
from pipelines.ledger import Ledger
from pipelines.live_content import LiveContent
from pipelines.live_options import LiveOptions, Wall
from pipelines.lookahead import Lookahead
from pipelines.monitoring import metrics
from pipelines.outgoing import OUT, letter, outgoing
from pipelines.settings import Settings, SettingsError
from pipelines.step import Machine, Stepped
from pipelines.turns import Turns
from pipelines.waiting import Gate, earliest, oldest
from schemas import TOPICS

log = logging.getLogger("kairos.live")
AHEAD_MS = 5 * 60_000  # a timestamp further ahead is no time of a broker
QUIET_S = 5.0  # how often offsets are kept while nothing happens
PRESSED_S = 0.15  # how long is read while machines wait
SHORT_LAG = 5_000  # records that are read at once before the clock goes on
CLOSE_S = 0.15  # but no longer
FIRST_S = 0.5  # how long what is read first is read up to its end
LOOKAHEAD_S = 1.0  # how long a slice looks ahead for those in need, about
READ_FIRST = {t for t in READ if t in {*FEW, PACK}}  # somebody waits for these, or what is said depends on them


class Live:
    """One embedded run.

    Parameters
    ----------
    state
        SQLite file; a run that finds one goes on where it stopped.
    end
        Stop when everything has been read and the log's clock stands there (ms); None = never.
    form
        `avro` or `json`: of what is published.

    Raises
    ------
    SettingsError, NotALog, LedgerError
        Each with one clear line.
    """

    def __init__(
        self, options: KafkaOptions, state: Path, settings: Settings, live: LiveOptions | None = None, *,
        end: int | None = None, form: str = "avro", wall: Wall | None = None,
    ) -> None:  # fmt: skip
        if settings.study_data:
            raise SettingsError("consent.study_data is for replays of public data sets; kairos run refuses it (privacy.md 2)")
        self.live, self.settings, self.end = live or LiveOptions(), settings, end
        self.wall = wall or Wall()
        registry = Registry(options.registry) if options.registry else None
        self._encoder = Encoder(registry, form)
        self.ledger = Ledger(state, settings)
        self.publisher = Publisher(options, options.prefix + self.live.name)
        self.fetcher = Prioritised(options, READ_FIRST, {*READ} - READ_FIRST, self.ledger.offsets())
        lacking = self.fetcher.missing({*MADE, *(t.name for t in TOPICS.values() if t.klass in OUT)})
        if lacking:
            raise NotALog(f"{len(lacking)} output topics are missing ({lacking[0]}, …): kairos topics create makes them")
        self.content = LiveContent(settings, self.ledger.get("packs") or [])
        self.clock: int | None = self.ledger.get("clock")
        self.number: int = self.ledger.get("number") or 0
        self.turns = Turns(self.live, self.ledger.people(), end)
        self.people, self.waiting = self.turns.people, self.turns.waiting
        self.ahead = Lookahead(self.live, self.content, self.ledger.states, self.ledger.get("early"))
        self.carrier = LiveCarrier()
        self.gate = Gate()
        self._pseudonyms = Pseudonyms(settings.pseudonym_key)
        self.intake = Intake(self.fetcher, Decoder(registry), self.live, self._pseudonyms, self.ledger.get("read") or {})
        self._machines: OrderedDict[str, Machine] = OrderedDict()
        self._outbox: list[tuple[int, list[Message]]] = []
        self._letters: list[dict[str, Any]] = []  # dead letters that wait for a commit
        self._ran, self._over = 0, 0.0  # machines run in this slice; when it is to end (monotonic seconds)
        self._recovered = False
        self._answers = True
        self._committed = 0.0
        self.order_breaks: Counter[str] = Counter()
        self.stopping = False

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Slices until `stopping` is set or `end` is reached."""
        while not self.stopping and not self.tick():
            pass

    def tick(self) -> bool:
        """One slice; whether `end` is reached."""
        begun = time.monotonic()
        if not self._deliver():
            time.sleep(min(1.0, self.live.slice_s))
            return False
        (tables, letters), idle = self._read()
        self._heard()
        now = self.wall.now()
        self._admit(tables, now)
        self._letters += letters
        if not self.intake.goes_on(idle, self.fetcher.stalled(self.live.max_hold_s)):
            metrics.LAST_TICK.set(time.monotonic())
            return False
        letters, self._letters = self._letters + self.content.letters(), []
        until, horizon = self._until(now, idle)
        early = self._look_ahead(until, horizon, now)
        if early:  # at once: the machines of this slice take their time
            self._commit(until, [], [], outgoing(early, letters, self._encoder))
            letters = []
            self._deliver()
        work, steps = self._run(until, now)
        done = [s for given, _ in steps for s in given]
        self.ahead.leave_out(done)
        out = outgoing(done, letters + self._buried(done), self._encoder)
        if out or work or tables or time.monotonic() - self._committed > QUIET_S:
            self._commit(until, work, [states for _, states in steps], out)
        delivered = self._deliver()
        self._measure(begun, until, now, len(work))
        finished = self.end is not None and until >= self.end and len(idle) == len(self.fetcher.reach)
        return finished and delivered and not self.turns.left(until)

    def close(self) -> None:
        """Give back what is held; what is committed stays."""
        self.fetcher.close()
        self.publisher.close()
        self.ledger.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> tuple[Came, set[Part]]:
        """What comes within a slice, and the partitions of which nothing up to now is missing."""
        wait_s = PRESSED_S if self.turns.pressed else self.live.slice_s
        came = self.intake.read(wait_s, self.turns.rows, self.clock, wait=self.end is None)
        idle = self.fetcher.idle()
        if self.fetcher.first.lag:
            idle |= self.intake.close_up(came, self.fetcher.first, FIRST_S)
        if 0 < self.fetcher.lag <= SHORT_LAG:
            idle |= self.intake.close_up(came, self.fetcher, CLOSE_S)
        return came, idle

    def _heard(self) -> None:
        """Say once that the broker is away, and once that it is back."""
        if self.fetcher.answers != self._answers:
            self._answers = self.fetcher.answers
            log.warning("the broker %s", "answers again" if self._answers else "does not answer: the log's clock stands until it does")

    def _admit(self, tables: dict[str, list[pa.Table]], now: int) -> None:
        """Rows to the people they belong to."""
        packs = tables.pop(PACK, [])
        if packs:
            self.content.take(pa.concat_tables(packs), self.clock or 0, self.intake.parts)
        joined = {t: _sane(pa.concat_tables(parts), now) for t, parts in tables.items()}
        at = time.monotonic()
        for user, topics in by_person(joined, self._pseudonyms).items():
            kept = self.people.get(user)
            for topic, table in topics.items():
                table = self.gate.admit(topic, table, kept, self.intake.parts)
                if len(table):
                    self.turns.add(user, topic, table, at, now, self.intake.number)
        for topic, n in self.gate.breaks.items():
            metrics.ORDER_BREAKS.labels(topic).inc(n)
        self.order_breaks += self.gate.breaks
        self.gate = Gate()

    # -- the log's clock ----------------------------------------------------------------------------------------------

    def _until(self, now: int, idle: set[Part]) -> tuple[int, int]:
        """Where the log's clock may go: nothing older can come, unless from behind the hold. Horizon: of what is read first."""
        hold = int(self.live.hold_s * 1000)
        until = horizon = now - hold
        stalled = self.fetcher.stalled(self.live.max_hold_s) - idle
        for part, reach in self.fetcher.reach.items():
            if part in idle:
                reach.empty = now
                continue
            if part in stalled:  # others are heard, this one is not: it holds nobody any longer
                continue
            known = max(-1 if reach.seen is None else reach.seen - hold, reach.empty - hold)
            until = min(until, known)
            if part[0] in READ_FIRST:
                horizon = min(horizon, known)
        metrics.STALLED_PARTITIONS.set(len(stalled))
        if self.end is not None:
            until = min(until, self.end)
        self.clock = max(until, self.clock or 0)  # 0: a partition has not been heard at all
        return self.clock, max(horizon, self.clock)

    # -- people -------------------------------------------------------------------------------------------------------

    def _look_ahead(self, until: int, horizon: int, now: int) -> list[Stepped]:
        """What those in need are told before the log's clock has come to them."""
        out: list[Stepped] = []
        over = time.monotonic() + LOOKAHEAD_S
        for user in self.ahead.wanted(self.waiting, until, horizon, time.monotonic()):
            if out and time.monotonic() > over:
                break
            out.append(self.ahead.look(user, self.waiting[user], self.people.get(user), horizon, now))
            metrics.LOOKED_AHEAD.inc()
        return out

    def _run(self, until: int, now: int) -> tuple[list[Work], list[Given]]:
        """Run the machines of the slice: those for whom there was time, and what they gave."""
        chosen = self.turns.choose(until, now)
        self._ran, self._over = 0, time.monotonic() + self.turns.work_s(until, now)
        both = [(w, s) for w, s in zip(chosen, self.carrier.take(chosen, self._step), strict=True) if s is not None]
        self.turns.put_off({w.user for w in chosen} - {w.user for w, _ in both})
        return [w for w, _ in both], [s for _, s in both]

    def _step(self, work: Work) -> Given | None:
        """Run one machine up to its target, in parts between content packs; None if the slice has no time left for it."""
        if not work.must and self._ran and time.monotonic() > self._over:
            return None
        self._ran += 1
        user, until = work.user, work.until
        kept = self.people.get(user)
        waiting = self.waiting.get(user)
        tables = waiting.take(until) if waiting is not None else {}
        begin = kept.clock if kept is not None else earliest(tables, until) - 1
        machine = self._machines.pop(user, None)
        if machine is None:
            machine = Machine(user, self.content.at(begin), self.ledger.states(user))
        done = self.content.run(machine, tables, begin, until)
        states = machine.dump(until)
        self._machines[user] = machine
        while len(self._machines) > self.live.in_memory:
            self._machines.popitem(last=False)
        work.due, work.seen = machine.next_due(until), _last(tables, self.intake.parts)
        return done, states

    def _buried(self, done: list[Stepped]) -> list[dict[str, Any]]:
        """Dead letters of ingest; what it forgot early is counted."""
        out = []
        for s in done:
            for topic, n in s.came.forgotten.items():
                metrics.FORGOTTEN_RECORDS.labels(topic).inc(n)
            for topic, reason, name, event, arrival, file, line in s.came.dead:
                metrics.DEAD_LETTERS.labels(reason).inc()
                part = self.intake.parts[file]
                out.append(letter(Letter(topic, reason, name, s.user, event, arrival, part[1], line), s.user))
        return out

    # -- keeping and publishing ---------------------------------------------------------------------------------------

    def _commit(self, until: int, work: list[Work], states: list[tuple[bytes, bytes]], out: list[Message]) -> None:
        """States, clocks, offsets, outbox: one transaction."""
        people = []
        for w, kept in zip(work, states, strict=True):
            people.append((w.user, self.turns.ran(w), kept))
            self.ahead.passed(w.user, w.until)
            metrics.STATE_BYTES.observe(len(kept[0]) + len(kept[1]))
        told, offsets = self.intake.stand(oldest(self.waiting.values(), self.intake.number))
        meta: dict[str, Any] = {
            "clock": until, "read": told, "offsets": offsets,
            "number": self.number + bool(out), "early": self.ahead.state(),
        }  # fmt: skip
        if self.content.changed:
            meta["packs"] = self.content.packs
        self.ledger.commit(meta, people, (self.number, out) if out else None)
        self.content.changed = False
        if out:
            self._outbox.append((self.number, out))
            self.number += 1
        self._committed = time.monotonic()

    def _deliver(self) -> bool:
        """Publish what the outbox holds, in order; whether it is empty now."""
        try:
            if not self._recovered:  # what was committed before a kill is not sent again
                self.ledger.sent(self.publisher.published())
                self._outbox, self._recovered = self.ledger.outbox(), True
            while self._outbox:
                number, batch = self._outbox[0]
                self.publisher.publish(batch, number)
                self.ledger.sent(number)
                self._outbox.pop(0)
                self._count(batch)
        except NotPublished as error:
            self._recovered = False  # the commit may have happened without an answer: ask before anything is sent again
            metrics.PUBLISH_RETRIES.inc()
            log.warning("not published, trying again: %s", error)
            return False
        return True

    def _count(self, published: list[Message]) -> None:
        now = self.wall.now()
        for topic, n in Counter(m.topic for m in published).items():
            metrics.RECORDS_OUT.labels(topic).inc(n)
        for m in published:
            if m.topic == "notifications":
                metrics.ALERT_SECONDS.observe(max(0.0, (now - m.time) / 1000))

    def _measure(self, begun: float, until: int, now: int, steps: int) -> None:
        metrics.STEPS.inc(steps)
        metrics.HOLD_SECONDS.set((now - until) / 1000 if until else 0)
        metrics.WAITING_ROWS.set(self.turns.rows)
        metrics.LAG_RECORDS.set(self.fetcher.lag)
        for topic, n in self.fetcher.expired().items():
            metrics.EXPIRED_RECORDS.labels(topic).inc(n)
        metrics.PEOPLE.set(len(self.people))
        metrics.TICK_SECONDS.observe(time.monotonic() - begun)
        metrics.LAST_TICK.set(time.monotonic())


def _sane(table: pa.Table, now: int) -> pa.Table:
    """A timestamp far ahead is no time of a broker: such a row arrives now."""
    arrival = table["ingest_time"].to_numpy()
    if not (arrival > now + AHEAD_MS).any():
        return table
    place = table.schema.get_field_index("ingest_time")
    return table.set_column(place, table.schema.field(place), pa.array(np.where(arrival > now + AHEAD_MS, now, arrival)))


def _last(tables: dict[str, pa.Table], parts: list[Part]) -> dict[Part, int]:
    """Part → largest offset of these rows."""
    out: dict[Part, int] = {}
    for table in tables.values():
        files, lines = table["_file"].to_numpy(), table["_line"].to_numpy()
        for file in np.unique(files).tolist():
            last = int(lines[files == file].max())
            out[parts[file]] = max(last, out.get(parts[file], -1))
    return out
