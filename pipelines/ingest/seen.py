"""What has been seen already, in bounded memory: duplicates drop out whenever they come (S7).

Risk-bearing and control records are remembered for nine days by their full identity. The many others are remembered for 25
hours: a copy later than that is late anyway and decides nothing (topics.md 2.4). What is summed by day is known as long as
its day is open, else a late copy would count twice.

Of the many, a record with a counter of its source is known exactly, by (topic, source, counter, minute in which it happened):
a source that counts on costs one run a minute, however fast it sends. A record that only has an id is known by its
millisecond and 16 bits of the id; two different ones of one topic and millisecond are taken for one in 1 of 65,536 cases.

The memory of a topic is bounded (`MOST`). When it is full before a record, a quarter of it is forgotten, oldest minutes
first, and counted. Whether it is full depends on the records up to there and on nothing else: not on slices or restarts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.ingest.identity import U64, Told
from pipelines.ingest.runs import Runs, repeated

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
SHORT_MS = 25 * HOUR_MS
SUMMED_MS = 51 * HOUR_MS  # a day of at most 25 h is open until the one after the next begins
SUMMED = frozenset({"device.phone_usage", "device.music", "device.wellness"})
LONG_MS = 9 * 24 * HOUR_MS
MOST_LONG = 4_000
# A run costs one, a record known by its id four: 1-2 and about 4 bytes of state. 1,500 runs are a counter for 25 h.
MOST = {
    "device.heart_rate": 12_000, "device.activity": 8_000, "device.location": 8_000, "device.phone_usage": 6_000,
    "device.wellness": 6_000,
}  # fmt: skip
MOST_OTHER = 3_000
MOST_AHEAD = 500
ID_COST = 4
AHEAD, AHEAD_MS = (
    "|ahead",
    5 * MINUTE_MS,
)  # records from the future are dead letters; they must not fill the place of others

SEQ_BITS, FP_BITS = 36, 16
_SEQ, _FP = (1 << SEQ_BITS) - 1, (1 << FP_BITS) - 1
_LAST_MINUTE, _LAST_MS = (1 << 27) - 1, (1 << 47) - 1
DELTA = ("run_minute", "id_ms", "long")

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Arrays = dict[str, npt.NDArray[Any]]


class Memory:
    """Records of one topic.

    Parameters
    ----------
    most
        What it may cost.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.lines: dict[int, Runs] = {}  # hash of topic and source → minute << 36 | 36 bits of the counter
        self.ids = Runs()  # ms << 16 | 16 bits of the id
        self.forgotten = 0

    def __bool__(self) -> bool:
        return bool(self.lines) or len(self.ids) > 0

    @property
    def cost(self) -> int:
        return sum(map(len, self.lines.values())) + ID_COST * len(self.ids)

    def room(self, rows: int, limit: int) -> int:
        """For how many of the next rows, 1 to `rows`, there is room for certain; makes some if there is none.

        Parameters
        ----------
        limit
            Nothing that happened earlier (ms) counts any longer, as of the first of the rows.
        """
        if self.cost + ID_COST * rows > self.most:
            self.forget_before(limit)
            if self.cost + ID_COST > self.most:
                self._make_room()
        return min(rows, (self.most - self.cost) // ID_COST)

    def take(self, told: Told, event: Ints, rows: Ints) -> Bools:
        """Remember `rows`; which of them have been seen before."""
        out = np.zeros(len(rows), np.bool_)
        for runs, part, numbers in self._parts(told, event, rows):
            out[part] = runs.take(numbers)
        return out

    def has(self, told: Told, event: Ints, rows: Ints) -> Bools:
        """Which of `rows` have been seen before."""
        out = np.zeros(len(rows), np.bool_)
        for runs, part, numbers in self._parts(told, event, rows):
            out[part] = runs.has(numbers)
        return out

    def forget_before(self, limit: int) -> None:
        """Forget what happened before an instant (ms), counters by whole minutes."""
        self._below(min(max(limit // MINUTE_MS, 0), _LAST_MINUTE), min(max(limit, 0), _LAST_MS))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _parts(self, told: Told, event: Ints, rows: Ints) -> Iterator[tuple[Runs, Any, Ints]]:
        counted = told.counted[rows]
        if not counted.all():
            part = np.flatnonzero(~counted)
            at = rows[part]
            fp = (told.identity[at] & np.uint64(_FP)).astype(np.int64)
            yield self.ids, part, np.clip(event[at], 0, _LAST_MS) << FP_BITS | fp
        lines = told.line[rows]
        numbers = np.clip(event[rows] // MINUTE_MS, 0, _LAST_MINUTE) << SEQ_BITS | told.seq[rows] & _SEQ
        if counted.all() and bool((lines == lines[0]).all()):
            yield self.lines.setdefault(int(lines[0]), Runs()), slice(None), numbers
            return
        for line in np.unique(lines[counted]):
            part = np.flatnonzero(counted & (lines == line))
            yield self.lines.setdefault(int(line), Runs()), part, numbers[part]

    def _below(self, minute: int, ms: int) -> None:
        for line, runs in list(self.lines.items()):
            runs.forget_below(minute << SEQ_BITS)
            if not len(runs):
                del self.lines[line]
        self.ids.forget_below(ms << FP_BITS)

    def _make_room(self) -> None:
        known = [(runs.starts >> SEQ_BITS, 1) for runs in self.lines.values()]
        known.append(((self.ids.starts >> FP_BITS) // MINUTE_MS, ID_COST))
        minutes = np.concatenate([m for m, _ in known])
        order = np.argsort(minutes, kind="stable")
        cost = np.cumsum(np.concatenate([np.full(len(m), c) for m, c in known])[order])
        last = int(minutes[order[np.searchsorted(cost, self.most // 4)]])
        before = self._count()
        self._below(last + 1, (last + 1) * MINUTE_MS)
        self.forgotten += before - self._count()

    def _count(self) -> int:
        return sum(runs.count() for runs in self.lines.values()) + self.ids.count()


class Seen:
    """Identities of one person."""

    def __init__(self) -> None:
        self._many: dict[str, Memory] = {}
        self._long: dict[int, int] = {}  # identity → arrival ms
        self._older: dict[str, Ints] = {}  # as the first version of the state had it: sorted (event ms << 16 | 16 bits)

    def repeats_of_few(self, identity: U64, arrival: Ints) -> Bools:
        """Rows that came before (also within these rows); the others are remembered by full identity."""
        out = np.zeros(len(identity), np.bool_)
        for i, (key, at) in enumerate(zip(identity.tolist(), arrival.tolist(), strict=True)):
            known = self._long.get(key)
            if known is not None and known >= at - LONG_MS:
                out[i] = True
            else:
                self._long[key] = at
        return out

    def repeats_of_many(self, topic: str, told: Told, event: Ints, arrival: Ints) -> Bools:
        """Rows that came before; rows that can't be told apart by counter or id only among themselves.

        Parameters
        ----------
        topic
            The one they go on as.
        event, arrival
            ms; arrival never falls.
        """
        known = told.counted | told.named
        out = np.zeros(len(known), np.bool_)
        if not known.all():
            out[~known] = repeated(told.identity[~known])
        known &= event >= arrival - _known_for(topic)
        future = known & (event > arrival + AHEAD_MS)
        if future.any():
            rows = np.flatnonzero(future)
            out[rows] = self._take(topic, topic + AHEAD, told, event, arrival, rows)
            known &= ~future
        rows = np.flatnonzero(known)
        if len(rows):
            out[rows] = self._take(topic, topic, told, event, arrival, rows)
            if ahead := self._many.get(topic + AHEAD):
                out[rows] |= ahead.has(told, event, rows)
        return out

    def older(self, topic: str) -> bool:
        """Whether there is a memory of the first version: for two days after the upgrade."""
        return topic in self._older

    def repeats_of_older(self, topic: str, identity: U64, event: Ints, arrival: Ints) -> Bools:
        """Rows that the first version has seen."""
        known, key = self._older[topic], (event << FP_BITS) | (identity & np.uint64(_FP)).astype(np.int64)
        at = np.minimum(np.searchsorted(known, key), len(known) - 1)
        return np.asarray((known[at] == key) & (event >= arrival - _known_for(topic)))

    def forgotten(self) -> Counter[str]:
        """Records that were forgotten for want of room since it was last asked, by topic."""
        out = Counter({topic: memory.forgotten for topic, memory in self._many.items() if memory.forgotten})
        for topic in out:
            self._many[topic].forgotten = 0
        return out

    def forget(self, clock: int) -> None:
        """Drop what no later record can repeat."""
        for topic, memory in list(self._many.items()):
            memory.forget_before(clock - _known_for(topic))
            if not memory:
                del self._many[topic]
        for topic in list(self._older):
            keys = self._older[topic]
            kept = keys[np.searchsorted(keys, (clock - _known_for(topic)) << FP_BITS) :]
            if len(kept):
                self._older[topic] = kept
            else:
                del self._older[topic]
        self._long = {k: t for k, t in self._long.items() if t >= clock - LONG_MS}
        if len(self._long) > MOST_LONG:
            newest = sorted(self._long.items(), key=lambda e: (-e[1], e[0]))[:MOST_LONG]
            self._long = dict(newest)

    def _take(self, topic: str, name: str, told: Told, event: Ints, arrival: Ints, rows: Ints) -> Bools:
        memory = self._many.get(name)
        if memory is None:
            memory = self._many[name] = Memory(_most(name))
        parts, done = [], 0
        while done < len(rows):
            room = memory.room(len(rows) - done, int(arrival[rows[done]]) - _known_for(topic))
            parts.append(memory.take(told, event, rows[done : done + room]))
            done += room
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Runs of all lines of all topics one after another; `many` says how many are whose."""
        many, runs, ids = [], [], []
        for name, memory in sorted(self._many.items()):
            lines = sorted(memory.lines.items())
            numbers = memory.ids.numbers()
            many.append([name, len(numbers), [[f"{line:x}", len(r)] for line, r in lines]])
            runs += [_packed(r) for _, r in lines]
            ids.append(numbers)
        minute, gap, count = (np.concatenate([r[i] for r in runs] or [np.zeros(0, np.int64)]) for i in range(3))
        known = np.concatenate([*ids, np.zeros(0, np.int64)])
        keys, older = sorted(self._long), sorted(self._older)
        arrays: Arrays = {
            "run_minute": minute.astype(np.int32), "run_gap": gap, "run_count": count.astype(np.uint32),
            "id_ms": known >> FP_BITS, "id_fp": (known & _FP).astype(np.uint16),
            "long": np.array(keys, np.uint64), "long_at": np.array([self._long[k] for k in keys], np.int64),
        }  # fmt: skip
        for i, name in enumerate(older):
            arrays[f"older_ms{i}"] = self._older[name] >> FP_BITS
            arrays[f"older_fp{i}"] = (self._older[name] & _FP).astype(np.uint16)
        return {"many": many, "older": older}, arrays

    @staticmethod
    def from_state(meta: dict[str, Any], arrays: Arrays) -> Seen:
        """What `state` gave; ValueError or KeyError for anything else."""
        out = Seen()
        minute, gap, count = (arrays[n].astype(np.int64) for n in ("run_minute", "run_gap", "run_count"))
        known = (arrays["id_ms"] << FP_BITS) | arrays["id_fp"].astype(np.int64)
        run = number = 0
        for name, ids, lines in meta["many"]:
            memory = out._many[str(name)] = Memory(_most(name))
            if ids:
                memory.ids = Runs.of(known[number : number + ids])
            number += ids
            for line, n in lines:
                memory.lines[int(line, 16)] = _unpacked(*(a[run : run + n] for a in (minute, gap, count)))
                run += n
        if run != len(minute) or number != len(known):
            raise ValueError("memory of seen records: another length")
        for i, name in enumerate(meta["older"]):
            out._older[name] = (arrays[f"older_ms{i}"] << FP_BITS) | arrays[f"older_fp{i}"].astype(np.int64)
        out._long = dict(zip(arrays["long"].tolist(), arrays["long_at"].tolist(), strict=True))
        return out


def from_1(meta: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """State of ingest of version 1: what it has seen is kept in its form until it is too old to matter."""
    names = list(meta["seen"])
    out: Arrays = {"long": arrays["long"], "long_at": arrays["long_at"]}
    for i in range(len(names)):
        out[f"older_ms{i}"], out[f"older_fp{i}"] = arrays[f"ms{i}"], arrays[f"fp{i}"]
    empty = {"run_minute": np.int32, "run_gap": np.int64, "run_count": np.uint32, "id_ms": np.int64, "id_fp": np.uint16}
    out |= {name: np.zeros(0, kind) for name, kind in empty.items()}
    return meta | {"seen": {"many": [], "older": names}}, out


def _packed(runs: Runs) -> tuple[Ints, Ints, Ints]:
    """(minute, counter since the end of the run before, length): nearly always the same numbers again."""
    first, count = runs.starts & _SEQ, runs.ends - runs.starts + 1
    gap = first.copy()
    gap[1:] -= (first + count)[:-1]
    return runs.starts >> SEQ_BITS, gap, count


def _unpacked(minute: Ints, gap: Ints, count: Ints) -> Runs:
    first = np.cumsum(gap + count) - count
    starts = minute << SEQ_BITS | first
    ends = starts + count - 1
    if (
        not len(starts)
        or (count < 1).any()
        or (first < 0).any()
        or (first > _SEQ).any()
        or (starts[1:] <= ends[:-1] + 1).any()
    ):
        raise ValueError("memory of seen records: not runs")
    return Runs(starts, ends)


def _most(name: str) -> int:
    return MOST_AHEAD if name.endswith(AHEAD) else MOST.get(name, MOST_OTHER)


def _known_for(topic: str) -> int:
    return SUMMED_MS if topic in SUMMED else SHORT_MS
