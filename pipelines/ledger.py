"""What the embedded live run must not lose, in one SQLite file: states, offsets, clocks, packs, outbox.

One transaction a slice. Kafka keeps the input: rows that wait (within the hold, or for their person's turn) are not written here,
they are read again after a restart, and what a person has taken already is known by (clock, offsets seen). So no raw record and
no text ever lies in this file (privacy.md 1).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from connectors.kafka.reader import Part
from connectors.kafka.sender import Message
from pipelines.learning.packing import StateError
from pipelines.settings import Settings

VERSION = 1
TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS people (user TEXT PRIMARY KEY, clock INTEGER NOT NULL, due INTEGER, seen TEXT NOT NULL,
  ingest BLOB NOT NULL, person BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, messages BLOB NOT NULL);
"""
HEAD = struct.Struct("<HHIq")  # lengths of topic, key, value; time (ms)


@dataclass
class Kept:
    """One person between two steps.

    Parameters
    ----------
    clock
        Up to where the machine has been run (ms of the log's clock).
    due
        When it must be run next even if nothing arrives; None = not before something does.
    seen
        Part → last offset of this person that has been taken: of those before it, what arrived up to `clock` has been taken too.
    """

    clock: int
    due: int | None
    seen: dict[Part, int] = field(default_factory=dict)


class LedgerError(StateError):
    """The file can't be used or written; one line."""


class Ledger:
    """The SQLite file of one embedded run.

    Raises
    ------
    LedgerError
        Not such a file, of another version or of other settings, or locked by another run.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        mark = hashlib.sha256(json.dumps(asdict(settings) | {"slice_rows": 0, "slice_people": 0}, sort_keys=True).encode())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            os.chmod(path, 0o600)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)  # one at a time
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(TABLES)
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"{path}: {_why(error)}") from None
        known = self.get("version"), self.get("settings")
        if known == (None, None):
            with self._transaction():
                self._put("version", VERSION)
                self._put("settings", mark.hexdigest())
        elif known[0] != VERSION:
            raise LedgerError(f"{path}: of version {known[0]}, this is {VERSION}")
        elif known[1] != mark.hexdigest():
            raise LedgerError(f"{path}: made with another configuration; use the same one or a new file")

    # -- reading ------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """A value of `meta`, None if there is none."""
        row = self._ask("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(row[0][0]) if row else None

    def offsets(self) -> dict[Part, int]:
        """Where to read on: everything before has been taken or is known to have been."""
        return {_part(k): v for k, v in (self.get("offsets") or {}).items()}

    def people(self) -> dict[str, Kept]:
        """Everybody, without the states."""
        rows = self._ask("SELECT user, clock, due, seen FROM people", ())
        return {u: Kept(c, d, {_part(k): v for k, v in json.loads(s).items()}) for u, c, d, s in rows}

    def states(self, user: str) -> tuple[bytes, bytes] | None:
        """(ingest, person) of somebody."""
        rows = self._ask("SELECT ingest, person FROM people WHERE user = ?", (user,))
        return (rows[0][0], rows[0][1]) if rows else None

    def outbox(self) -> list[tuple[int, list[Message]]]:
        """Batches that may not have been published yet, in order."""
        return [(n, unpack(data)) for n, data in self._ask("SELECT number, messages FROM outbox ORDER BY number", ())]

    def _ask(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path}: {_why(error)}") from None

    # -- writing ------------------------------------------------------------------------------------------------------

    def commit(
        self, meta: Mapping[str, Any], people: Iterable[tuple[str, Kept, tuple[bytes, bytes]]],
        outbox: tuple[int, list[Message]] | None,
    ) -> None:  # fmt: skip
        """One slice: all of it or nothing.

        Raises
        ------
        LedgerError
            Disk full or damaged: nothing of the slice is kept, so a restart takes it again.
        """
        try:
            with self._transaction():
                for key, value in meta.items():
                    self._put(key, value)
                self._db.executemany(
                    "REPLACE INTO people VALUES (?, ?, ?, ?, ?, ?)",
                    [(u, k.clock, k.due, _seen(k), *states) for u, k, states in people],
                )
                if outbox is not None:
                    self._db.execute("INSERT INTO outbox VALUES (?, ?)", (outbox[0], pack(outbox[1])))
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"{self.path}: {_why(error)}") from None

    def sent(self, number: int) -> None:
        """Batches up to a number are published."""
        try:
            self._db.execute("DELETE FROM outbox WHERE number <= ?", (number,))
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path}: {_why(error)}") from None

    def _put(self, key: str, value: Any) -> None:
        self._db.execute("REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def close(self) -> None:
        self._db.close()


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __enter__(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.db.execute("COMMIT")
        elif self.db.in_transaction:
            self.db.execute("ROLLBACK")


def pack(messages: list[Message]) -> bytes:
    """Messages as bytes, in order."""
    out = []
    for m in messages:
        topic = m.topic.encode()
        out += [HEAD.pack(len(topic), len(m.key), len(m.value), m.time), topic, m.key, m.value]
    return b"".join(out)


def unpack(data: bytes) -> list[Message]:
    """What `pack` wrote; LedgerError for anything else."""
    out, at = [], 0
    try:
        while at < len(data):
            topic, key, value, time = HEAD.unpack_from(data, at)
            at += HEAD.size
            parts = [data[at : at + topic], data[at + topic : at + topic + key]]
            at += topic + key
            if at + value > len(data):
                raise ValueError("cut off")
            out.append(Message(parts[0].decode(), parts[1], data[at : at + value], time))
            at += value
    except (struct.error, ValueError):
        raise LedgerError("the outbox is damaged") from None
    return out


def part_name(part: Part) -> str:
    """A part as a key of JSON."""
    return f"{part[0]}/{part[1]}"


def _part(name: str) -> Part:
    topic, _, number = name.rpartition("/")
    return topic, int(number)


def _seen(kept: Kept) -> str:
    return json.dumps({part_name(p): o for p, o in sorted(kept.seen.items())}, separators=(",", ":"))


def _why(error: Exception) -> str:
    text = str(error)
    if "full" in text:
        return "the disk is full"
    if "locked" in text:
        return "in use by another run"
    if "not a database" in text or "malformed" in text:
        return "not a state file of kairos run, or damaged"
    return f"cannot be used ({type(error).__name__})"
