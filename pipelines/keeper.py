"""The machines of many persons behind an engine that keeps their bytes: Flink, Prism, Dataflow. No Beam here.

The engine's state is the truth. A machine that is still in memory from the last step is used only if the engine's state says
that nothing happened since (`Mark.stamp`); after a restart it does not, and the machine is built from its bytes.
"""

from __future__ import annotations

import hashlib
import struct
import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import parcel
from pipelines.content_log import ContentLog
from pipelines.early import leave_out, said_early, still
from pipelines.grouping import by_person
from pipelines.ingest import Pseudonyms
from pipelines.ingest.machine import FEW
from pipelines.learning.packing import StateError
from pipelines.step import Machine, Stepped
from pipelines.waiting import earliest, within
from schemas.avro_rows import NotColumnsError

MARK = struct.Struct("<2sBq16s")  # and, from version 2 on, what was said early, as JSON
NEVER, FOREVER = -(2**62), 2**62
MINUTE_MS = 60_000
IN_MEMORY = 500  # machines of a process; about 1.2 MB each
BACKLOG_ROWS = 4_000  # rows of one person that wait, at most, while old records are read
BACKLOG_MS = 24 * 3_600_000  # and for how long by the log's clock
LIVE_MS = 120_000
SPREAD_MS = 45_000
FEW_ROWS = 24  # rows a person of one fetch, up to which they are kept row by row


@dataclass
class Mark:
    """The small state of a person.

    Parameters
    ----------
    clock
        Up to where the machine has been run (ms).
    stamp
        Digest of the machine's bytes.
    early
        Id of what was said early and the machine has not come to → its arrival (ms).
    """

    clock: int = NEVER
    stamp: bytes = b"\0" * 16
    early: dict[str, int] = field(default_factory=dict)

    def dump(self) -> bytes:
        return MARK.pack(b"km", 2, self.clock, self.stamp) + (orjson.dumps(self.early) if self.early else b"")

    @staticmethod
    def load(data: bytes | None) -> Mark:
        if not data:
            return Mark()
        if len(data) < MARK.size or data[:3] not in (b"km\x01", b"km\x02") or (data[2] == 1 and len(data) != MARK.size):
            raise StateError("mark of a person: unknown version")
        try:
            early = orjson.loads(data[MARK.size :] or b"{}")
        except ValueError:
            raise StateError("mark of a person: damaged") from None
        _, _, clock, stamp = MARK.unpack_from(data)
        return Mark(clock, stamp, early)


def pack_states(states: tuple[bytes, bytes]) -> bytes:
    """(ingest, person) as one byte string."""
    return b"ks\x01" + struct.pack("<I", len(states[0])) + states[0] + states[1]


def unpack_states(data: bytes) -> tuple[bytes, bytes]:
    """What `pack_states` wrote; StateError for anything else."""
    if data[:3] != b"ks\x01" or len(data) < 7:
        raise StateError("states of a person: unknown version")
    n = struct.unpack_from("<I", data, 3)[0]
    if 7 + n > len(data):
        raise StateError("states of a person: cut off")
    return data[7 : 7 + n], data[7 + n :]


def turn(user: str, clock: int, live: bool) -> int:
    """Until when rows that decide nothing by themselves may wait (ms of the log's clock).

    Live, everybody has a second of their own in the minute, so that not all are run at once when a minute is full.
    """
    if not live:
        return (clock // BACKLOG_MS + 1) * BACKLOG_MS
    own = zlib.crc32(user.encode()) % SPREAD_MS
    return ((clock - own) // MINUTE_MS + 1) * MINUTE_MS + own


class Keeper:
    """Runs machines from state bytes to state bytes.

    Parameters
    ----------
    content
        Library, lexicon and settings, by instant of the log's clock.
    """

    def __init__(self, content: ContentLog, in_memory: int = IN_MEMORY) -> None:
        self.content = content
        self.breaks: Counter[str] = Counter()
        self._held: OrderedDict[str, tuple[bytes, Machine]] = OrderedDict()
        self._waits: dict[str, tuple[int, int]] = {}  # advice only: person → (until when, rows)
        self._most = in_memory
        self._lock = threading.Lock()  # a process serves several parts of a job

    def may_wait(self, user: str, label: parcel.Label) -> int | None:
        """Until when (ms) a parcel may wait with those before it; None = run the person now.

        What is remembered of earlier parcels is only advice: without it, after a restart, the person is run at once.
        """
        until, rows = self._waits.get(user, (NEVER, 0))
        full = not label.live and rows + label.rows > BACKLOG_ROWS
        if until <= label.clock or full or (label.live and label.urgent):
            return None
        self._waits[user] = until, rows + label.rows
        return min(until, turn(user, label.clock, label.live))

    def run(
        self, user: str, mark: Mark, kept: Callable[[], bytes | None], parcels: list[bytes], until: int
    ) -> tuple[list[Stepped], bytes]:
        """Take what waits and run the machine up to `until`, or to the newest row if that is later; `mark` is brought up to date.

        Parameters
        ----------
        kept
            Reads the machine's bytes from the engine; called only if the machine is not in memory.

        Returns
        -------
        stepped, states
            Outputs, and the bytes to keep.
        """
        tables = self._in_time(parcel.unpack(parcels), mark.clock)
        times = [t["ingest_time"].to_numpy() for t in tables.values()]
        complete = [parcel.label(p).clock for p in parcels]
        until = max([until, mark.clock, *complete, *(int(t.max()) for t in times)])
        begin = mark.clock if mark.clock > NEVER else min((int(t.min()) - 1 for t in times), default=until - 1)
        machine = self._machine(user, mark, kept, until)
        done = list(self._steps(machine, tables, begin, until))
        for stepped in done:
            leave_out(stepped, mark.early)
        states = pack_states(machine.dump(until))
        mark.clock, mark.early = until, still(mark.early, until)
        mark.stamp = hashlib.blake2b(states, digest_size=16).digest()
        self._hold(user, mark.stamp, machine)
        return done, states

    def look(self, user: str, mark: Mark, kept: bytes | None, parcels: list[bytes], now_ms: int) -> Stepped:
        """What a copy of the machine says at once of rows that come in their order later; `mark` remembers its ids.

        Parameters
        ----------
        kept
            The machine's bytes, as the engine has them.
        parcels
            What waits, and the look ahead.
        """
        tables = within(parcel.unpack(parcels, FEW), mark.clock, FOREVER)
        if not tables:
            return Stepped(user)
        until = max(int(t["ingest_time"][-1].as_py()) for t in tables.values())
        begin = mark.clock if mark.clock > NEVER else earliest(tables, until) - 1
        machine = Machine(user, self.content.at(begin), unpack_states(kept) if kept else None)
        return said_early(user, self._steps(machine, tables, begin, until), mark.early, now_ms)

    def due(self, user: str, mark: Mark, now_ms: int) -> int | None:
        """When to run again if nothing comes. While old records are read, in larger strides: nothing shows of it."""
        held = self._held.get(user)
        due = held[1].next_due(mark.clock) if held is not None else mark.clock + MINUTE_MS
        live = mark.clock > now_ms - LIVE_MS
        self._waits[user] = turn(user, mark.clock, live), 0
        if due is None:
            return None
        if not live:
            return max(due, min(mark.clock + BACKLOG_MS, now_ms))
        return due if due % MINUTE_MS else max(due, turn(user, due - 1, live=True))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _steps(self, machine: Machine, tables: dict[str, pa.Table], begin: int, until: int) -> Iterator[Stepped]:
        """Steps of a machine between content packs."""
        for after, to, shared in self.content.spans(begin, until):
            yield machine.step(within(tables, after, to), to, shared)

    def _machine(self, user: str, mark: Mark, kept: Callable[[], bytes | None], until: int) -> Machine:
        with self._lock:
            held = self._held.pop(user, None)
        if held is not None and held[0] == mark.stamp:
            return held[1]
        data = kept()
        return Machine(user, self.content.at(until), unpack_states(data) if data else None)

    def _hold(self, user: str, stamp: bytes, machine: Machine) -> None:
        with self._lock:
            self._held[user] = stamp, machine
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def _in_time(self, tables: dict[str, pa.Table], clock: int) -> dict[str, pa.Table]:
        """What came from behind the clock is taken when it comes: its arrival is one ms after what is done."""
        out = {}
        for topic, table in tables.items():
            arrival = table["ingest_time"].to_numpy()
            if (behind := int((arrival <= clock).sum())) != 0:
                self.breaks[topic] += behind
                i = table.schema.get_field_index("ingest_time")
                table = table.set_column(i, table.schema.field(i), pa.array(np.maximum(arrival, clock + 1)))
            out[topic] = table
        return out


def parcels_of(
    tables: dict[str, pa.Table], pseudonyms: Pseudonyms, clock: int, live: bool, look: bool = False
) -> Iterable[tuple[str, bytes]]:
    """(person, parcel) of what a lane released, in whichever form is shorter."""
    users = {user for table in tables.values() for user in pc.unique(table["user"]).to_pylist()}
    if sum(map(len, tables.values())) <= FEW_ROWS * len(users):
        try:
            return list(parcel.row_by_row(tables, pseudonyms.of, clock, live, look))
        except NotColumnsError:  # whatever it is, the machine is to see it
            pass
    people = by_person(tables, pseudonyms)
    return ((user, parcel.Parcel(clock, live, found, look).dump()) for user, found in people.items())
