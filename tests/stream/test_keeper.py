"""The keeper against the replay: whatever is cut, waits, is forgotten or restarted, the same records come out."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from connectors.kafka.codec import Encoder
from connectors.log_source import LogSource
from pipelines import keeper, parcel
from pipelines.content_log import ContentLog
from pipelines.grouping import by_person
from pipelines.ingest import Pseudonyms
from pipelines.ingest.machine import FEW
from pipelines.keeper import Keeper, Mark
from pipelines.learning.packing import StateError
from pipelines.publish import outgoing
from pipelines.settings import Settings
from pipelines.step import Stepped
from pipelines.waiting import within
from tests.flink import stage
from tests.graph.logs import Log, both, life, write
from tests.live.test_faults import flag
from tests.live.test_lookahead import recent

MINUTE = 60_000
T0 = 1_779_235_200_000


class Engine:
    """State, waiting parcels and timers by person, as Flink would hold them; and what was said."""

    def __init__(self, content: ContentLog) -> None:
        self.content = content
        self.keeper = Keeper(content)
        self.marks: dict[str, bytes] = {}
        self.machines: dict[str, bytes] = {}
        self.waiting: dict[str, list[bytes]] = {}
        self.due: dict[str, int] = {}
        self.turn: dict[str, int] = {}
        self.said: dict[stage.Key, bytes] = {}
        self.repeated: Counter[str] = Counter()
        self.now = 0  # the wall clock, for the choice of strides only

    def restart(self) -> None:
        self.keeper = Keeper(self.content)

    def take(self, user: str, data: bytes) -> None:
        until = self.keeper.may_wait(user, parcel.label(data))
        if until is None:
            self._run(user, [data], keeper.NEVER)
        else:
            self.waiting.setdefault(user, []).append(data)
            self.turn[user] = until

    def pass_time(self, until: int) -> None:
        """Fire timers up to `until`, in order."""
        while True:
            timers = [(t, user) for held in (self.due, self.turn) for user, t in held.items() if t <= until]
            if not timers:
                return
            t, user = min(timers)
            for held in (self.due, self.turn):
                if held.get(user) == t:
                    del held[user]
            self._run(user, [], t)

    def _run(self, user: str, came: list[bytes], until: int) -> None:
        mark = Mark.load(self.marks.get(user))
        held = self.waiting.pop(user, [])
        if not came and not held and until <= mark.clock:
            return
        done, states = self.keeper.run(user, mark, lambda: self.machines.get(user), held + came, until)
        self.machines[user], self.marks[user] = states, mark.dump()
        self.turn.pop(user, None)
        self.due.pop(user, None)
        wanted = self.keeper.due(user, mark, self.now)
        if wanted is not None:
            self.due[user] = wanted
        for stepped in done:
            self._say(stepped)

    def look(self, user: str, data: bytes) -> None:
        mark = Mark.load(self.marks.get(user))
        said = self.keeper.look(user, mark, self.machines.get(user), [*self.waiting.get(user, []), data], self.now)
        if said.records:
            self.marks[user] = mark.dump()
            self._say(said)

    def _say(self, stepped: Stepped) -> None:
        for m in outgoing(stepped, Encoder(form="json")):
            record = orjson.loads(m.value)
            key = stage.key_of(m.topic, record)
            if m.topic != "dlq":
                self.repeated[m.topic] += key in self.said
                self.said[key] = m.value


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage.people(tmp_path_factory.mktemp("people") / "log", 2, 2, 3)


@pytest.fixture(scope="module")
def truth(log: Path, tmp_path_factory: pytest.TempPathFactory) -> stage.Truth:
    return stage.truth(log, tmp_path_factory.mktemp("replay") / "out")


def _live(log: Path, seed: int, *, live: bool, restarts: int) -> Engine:
    draw = random.Random(seed)
    with LogSource([log]) as source:
        first, last = source.first, source.last
        assert first is not None
        assert last is not None
        packs = source.read(first - 1, last).pop("content.pack", None)
        handed = [packs]
        content = ContentLog(Settings(), lambda: (handed.pop() if handed else None, last + 10**9))
        engine = Engine(content)
        begin = last - 6 * 60 * MINUTE if live else last  # the present: everybody by the minute
        cuts = sorted({draw.randrange(first, last) for _ in range(30)} | {last})
        if live:
            cuts = sorted({*cuts, *(draw.randrange(begin, last) for _ in range(120))})
        stops = set(draw.sample(cuts, restarts))
        after = first - 1
        for until in cuts:
            present = live and until > begin
            engine.now = until if present else last + 10**10
            tables = source.read(after, until)
            tables.pop("content.pack", None)
            for user, data in keeper.parcels_of(tables, Pseudonyms(""), until, present):
                engine.take(user, data)
            engine.pass_time(until)
            after = until
            if until in stops:
                engine.restart()
        for user in sorted(engine.marks | engine.waiting):
            engine._run(user, [], last)
    return engine


@pytest.mark.parametrize(("live", "restarts"), [(False, 0), (False, 5), (True, 3)])
def test_parcels_timers_and_restarts_give_the_records_of_the_replay(
    live: bool, restarts: int, log: Path, truth: stage.Truth
) -> None:
    expected, last = truth
    engine = _live(log, 11, live=live, restarts=restarts)
    said = {k: v for k, v in engine.said.items() if k[2] <= last}
    assert said.keys() == expected.keys()
    assert all(said[k] == expected[k] for k in expected)
    assert not +engine.repeated
    assert not engine.keeper.breaks


def test_a_record_from_behind_the_clock_is_taken_and_counted(log: Path) -> None:
    with LogSource([log]) as source:
        assert source.first is not None
        assert source.last is not None
        middle = (source.first + source.last) // 2
        early = by_person(
            {"device.heart_rate": source.read(source.first - 1, middle)["device.heart_rate"]}, Pseudonyms("")
        )
    user, tables = next(iter(early.items()))
    engine = Engine(ContentLog(Settings()))
    engine.take(user, parcel.Parcel(middle + MINUTE, True, {}).dump())
    late = {"device.heart_rate": tables["device.heart_rate"].slice(0, 3)}
    engine._run(user, [parcel.Parcel(middle + MINUTE, True, late).dump()], keeper.NEVER)
    assert engine.keeper.breaks == {"device.heart_rate": 3}
    assert Mark.load(engine.marks[user]).clock == middle + MINUTE + 1


def test_a_machine_in_memory_that_the_engine_knows_nothing_of_is_not_used(log: Path) -> None:
    with LogSource([log]) as source:
        assert source.first is not None
        assert source.last is not None
        people = by_person(
            {"device.heart_rate": source.read(source.first - 1, source.last)["device.heart_rate"]}, Pseudonyms("")
        )
    user, tables = next(iter(people.items()))
    whole = tables["device.heart_rate"]
    at = int(whole["ingest_time"][len(whole) // 2].as_py())
    first, rest = (within({"device.heart_rate": whole}, *span)["device.heart_rate"] for span in ((0, at), (at, 2**60)))
    engine = Engine(ContentLog(Settings()))
    engine._run(user, [parcel.Parcel(at, True, {"device.heart_rate": first}).dump()], keeper.NEVER)
    before = engine.marks[user], engine.machines[user]
    end = int(rest["ingest_time"][-1].as_py())
    engine._run(user, [parcel.Parcel(end, True, {"device.heart_rate": rest}).dump()], keeper.NEVER)
    once = engine.machines[user]
    engine.marks[user], engine.machines[user] = before  # the bundle failed; the engine goes back
    engine._run(user, [parcel.Parcel(end, True, {"device.heart_rate": rest}).dump()], keeper.NEVER)
    assert engine.machines[user] == once


def test_everybody_has_a_second_of_their_own_in_the_minute() -> None:
    turns = [keeper.turn(f"p{i}", 10 * MINUTE, live=True) - 10 * MINUTE for i in range(300)]
    assert all(0 < t <= MINUTE for t in turns)
    assert len({t // 1000 for t in turns}) > 35
    assert all(keeper.turn(f"p{i}", 10 * MINUTE + turns[i], live=True) == 11 * MINUTE + turns[i] for i in range(300))


@pytest.mark.parametrize("data", [b"", b"xx\x01" + b"0" * 60, b"km\x03" + b"0" * 24])
def test_a_mark_of_another_version_is_refused(data: bytes) -> None:
    if data:
        with pytest.raises(StateError):
            Mark.load(data)
    else:
        assert Mark.load(data) == Mark()


def test_states_survive_their_bytes_and_a_cut_is_refused() -> None:
    data = keeper.pack_states((b"ingest", b"person"))
    assert keeper.unpack_states(data) == (b"ingest", b"person")
    with pytest.raises(StateError):
        keeper.unpack_states(data[:9])
    with pytest.raises(parcel.ParcelError):
        parcel.label(b"kx" + b"0" * 40)


def test_a_parcel_gives_the_same_rows_in_either_form(log: Path) -> None:
    with LogSource([log]) as source:
        assert source.first is not None
        assert source.last is not None
        tables = source.read(source.first - 1, source.last)
    batches = {u: parcel.Parcel(T0, False, t).dump() for u, t in by_person(tables, Pseudonyms("")).items()}
    cells = dict(parcel.row_by_row(tables, Pseudonyms("").of, T0, False))
    assert batches.keys() == cells.keys()
    for user, data in cells.items():
        assert parcel.label(data) == parcel.label(batches[user])
        assert parcel.unpack([data]) == parcel.unpack([batches[user]])
        assert parcel.unpack([data, batches[user]]).keys() == parcel.unpack([data]).keys()


def _beats(log: Path) -> pa.Table:
    with LogSource([log]) as source:
        assert source.first is not None
        assert source.last is not None
        return source.read(source.first - 1, source.last)["device.heart_rate"]


def test_parcels_of_the_first_version_are_read(log: Path) -> None:
    table = _beats(log)
    (batch,) = table.combine_chunks().to_batches()
    body, name = batch.serialize().to_pybytes(), b"device.heart_rate"
    old = parcel.HEAD.pack(b"kp", 1, 0, T0, len(batch), 1) + parcel.OLD_TABLE.pack(len(name), len(body)) + name + body
    assert parcel.unpack([old]) == parcel.unpack([parcel.Parcel(T0, False, {"device.heart_rate": table}).dump()])


@pytest.mark.parametrize("n", [5, 5_000])  # row by row, and as a batch
def test_a_look_ahead_is_told_from_other_parcels(log: Path, n: int) -> None:
    tables = {"device.heart_rate": _beats(log).slice(0, n)}
    for look in (False, True):
        parcels = dict(keeper.parcels_of(tables, Pseudonyms(""), T0, False, look))
        assert {parcel.label(data).look for data in parcels.values()} == {look}


# -- a crisis in a backlog --------------------------------------------------------------------------------------------


def _in_need(log: Log, now: int) -> Log:
    """Some hours up to an hour ago, and a dangerous search of p1 just now."""
    return {**{t: r for t, r in recent(log, now).items() if t != "content.pack"}, "device.search_flag": [flag("p1", now)]}


@pytest.mark.parametrize("restart", [False, True])
def test_a_crisis_is_said_early_and_the_log_is_then_worked_off_to_the_records_of_the_replay(restart: bool, tmp_path: Path) -> None:
    now = 1_790_000_000_000
    crowd = _in_need(both(life("p1", 5, 4, messy=False), life("p2", 6, 4, messy=False)), now)
    expected, last = stage.truth(write(crowd, tmp_path / "log"), tmp_path / "out")
    with LogSource([tmp_path / "log"]) as source:
        first = source.first
        assert first is not None
        half = (first + now) // 2
        engine = Engine(ContentLog(Settings()))
        engine.now = now
        _feed(engine, source.read(first - 1, half), half)
        rest = source.read(half, last)
        few = {t: table for t, table in rest.items() if t in FEW}
        (shown,) = [d for u, d in keeper.parcels_of(few, Pseudonyms(""), half, False, look=True) if u == "p1"]
        engine.look("p1", shown)
        early = dict(engine.said)
        if restart:
            engine.restart()
        engine.look("p1", shown)
        _feed(engine, rest, last)
        for user in sorted(engine.marks):
            engine._run(user, [], last)
    assert {k[0] for k in early if k[2] == now} == {"notifications"}
    assert len([k for k in early if k[2] == now]) == 1
    assert not +engine.repeated, "and not said again"
    assert engine.said.keys() == expected.keys()
    other = {k for k in expected if k not in early}
    assert all(engine.said[k] == expected[k] for k in other)
    assert not any(Mark.load(m).early for m in engine.marks.values()), "nothing is remembered longer than it takes"


def _feed(engine: Engine, tables: dict[str, pa.Table], until: int) -> None:
    for user, data in keeper.parcels_of(tables, Pseudonyms(""), until, False):
        engine.take(user, data)
    engine.pass_time(until)


def test_who_has_been_run_beyond_a_look_ahead_is_told_nothing_more(tmp_path: Path) -> None:
    now = 1_790_000_000_000
    with LogSource([write(_in_need(life("p1", 5, 4, messy=False), now), tmp_path / "log")]) as source:
        tables = source.read(0, now)
    engine = Engine(ContentLog(Settings()))
    engine.now = now
    _feed(engine, tables, now)
    engine._run("p1", [], now)
    said = dict(engine.said)
    assert any(k[0] == "notifications" for k in said)
    few = {"device.search_flag": tables["device.search_flag"]}
    ((_, shown),) = keeper.parcels_of(few, Pseudonyms(""), now, False, look=True)
    engine.look("p1", shown)
    assert engine.said == said


@pytest.mark.parametrize("data", [Mark(5, b"s" * 16).dump(), b"km\x01" + Mark(5, b"s" * 16).dump()[3:]])
def test_marks_of_both_versions_are_read(data: bytes) -> None:
    assert Mark.load(data) == Mark(5, b"s" * 16)
    early = Mark(5, b"s" * 16, {"n-1": 7})
    assert Mark.load(early.dump()) == early
    with pytest.raises(StateError):
        Mark.load(early.dump()[:-2])
