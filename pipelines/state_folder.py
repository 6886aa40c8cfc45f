"""The state folder of a replay: where an earlier one stopped, so that the next goes on with the same output (design 5)."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.learning.packing import StateError
from pipelines.settings import Settings

VERSION = 1
PEOPLE = pa.schema([("user", pa.string()), ("ingest", pa.binary()), ("person", pa.binary())])


@dataclass
class Kept:
    """What a replay left behind.

    Parameters
    ----------
    clock
        ms of the log's clock up to which everything has been taken.
    people
        Pseudonym → (ingest state, person state).
    packs
        content.pack records that came with the log, by arrival.
    """

    clock: int
    people: dict[str, tuple[bytes, bytes]]
    packs: list[dict[str, Any]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)


class StateFolder:
    """`kairos replay --state DIR`. Written to a new file and renamed, so that a kill leaves the old or the new."""

    def __init__(self, folder: Path | None, settings: Settings) -> None:
        self.folder = folder
        self.mark = hashlib.sha256(
            json.dumps({**asdict(settings), "slice_rows": 0, "slice_people": 0}, sort_keys=True).encode()
        ).hexdigest()

    def load(self) -> Kept | None:
        """The last state, None if there is none yet.

        Raises
        ------
        StateError
            Not a state folder, another version, or other settings than those it was made with.
        """
        if self.folder is None or not (self.folder / "state.parquet").exists():
            return None
        try:
            table = pq.read_table(self.folder / "state.parquet")
            metadata = table.schema.metadata or {}
            meta = json.loads(metadata[b"kairos"])
            version, settings = meta["version"], meta["settings"]
            people = {r["user"]: (r["ingest"], r["person"]) for r in table.to_pylist()}
            if not all(type(u) is str and type(a) is type(b) is bytes for u, (a, b) in people.items()):
                raise ValueError("not a person's state")
            kept = Kept(int(meta["clock"]), people, list(meta["packs"]), dict(meta["report"]))
        except (OSError, KeyError, TypeError, ValueError, AttributeError, MemoryError, pa.ArrowException):
            raise StateError(f"{self.folder}: not a state folder of kairos replay") from None
        if version != VERSION:
            raise StateError(f"{self.folder}: state of version {version}, this is {VERSION}")
        if metadata.get(b"digest") != _digest(metadata[b"kairos"], people):
            raise StateError(f"{self.folder}: the state is damaged; start again with a new folder")
        if settings != self.mark:
            raise StateError(f"{self.folder}: made with another configuration; use the same one or a new folder")
        return kept

    def save(self, kept: Kept) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        users = sorted(kept.people)
        meta = {
            "version": VERSION,
            "settings": self.mark,
            "clock": kept.clock,
            "packs": kept.packs,
            "report": kept.report,
        }
        text = json.dumps(meta, sort_keys=True).encode()
        schema = PEOPLE.with_metadata({b"kairos": text, b"digest": _digest(text, kept.people)})
        table = pa.table([users, [kept.people[u][0] for u in users], [kept.people[u][1] for u in users]], schema=schema)
        part = self.folder / "state.parquet.part"
        pq.write_table(table, part, compression="none")
        os.replace(part, self.folder / "state.parquet")


def _digest(meta: bytes, people: dict[str, tuple[bytes, bytes]]) -> bytes:
    """Parquet does not notice a damaged byte: a wrong clock or somebody else's state must not be taken up silently."""
    digest = hashlib.sha256(meta)
    for user in sorted(people):
        for part in (user.encode(), *people[user]):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest().encode()
