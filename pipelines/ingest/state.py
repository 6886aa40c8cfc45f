"""What ingest knows of one person, as explicit bytes. It holds homes: it never leaves ingest's own store."""

from __future__ import annotations

from typing import Any

from pipelines.context.consent import ConsentBook
from pipelines.ingest.homes import Homes
from pipelines.ingest.seen import DELTA, Seen, from_1
from pipelines.learning import packing
from pipelines.settings import Settings

KIND, VERSION = "ingest", 2


class IngestState:
    """Consents, homes, personal terms and recent identities of one person.

    Parameters
    ----------
    settings
        `study_data`: a person without any consent record permits collection, unless erased.
    """

    def __init__(self, settings: Settings) -> None:
        self.study_data = settings.study_data
        self.consents = ConsentBook(study_data=settings.study_data)
        self.homes = Homes()
        self.seen = Seen()
        self.terms: list[list[Any]] = []  # [version, effective_from, valid_to, {term_hash: shift}]
        self.erased = False

    def shifts(self, t: int) -> dict[str, int]:
        """Personal severity shifts in force at `t` (ms)."""
        held = [row for row in self.terms if row[1] <= t < row[2]]
        return dict(max(held, key=lambda row: (row[0], row[1]))[3]) if held else {}

    def profile(self, value: dict[str, Any]) -> None:
        """Keep the terms of an accepted profile (also none: a newer profile hides an older one)."""
        row = [int(value["version"]), int(value["effective_from"]), int(value["valid_to"]),
               {str(t["term_hash"]): int(t["shift"]) for t in value.get("terms") or ()}]  # fmt: skip
        self.terms = sorted([r for r in self.terms if r[:2] != row[:2]] + [row], key=lambda r: r[:2])[-12:]

    def erase(self) -> None:
        """Nothing of the person stays but that nothing may be collected until a new consent comes (privacy.md 4)."""
        self.consents = ConsentBook()
        self.homes, self.terms, self.erased = Homes(), [], True

    def forget(self, clock: int) -> None:
        """Drop identities that no later record can repeat (ms of the log's clock)."""
        self.seen.forget(clock)

    def dump(self, clock: int) -> bytes:
        self.forget(clock)
        seen, arrays = self.seen.state()
        meta = {
            "consents": self.consents.state(), "homes": self.homes.state(), "terms": self.terms, "erased": self.erased,
            "seen": seen,
        }  # fmt: skip
        return packing.pack(
            KIND, VERSION, meta, arrays, delta=[n for n in arrays if n in DELTA or n.startswith("older_ms")]
        )

    @staticmethod
    def load(data: bytes, settings: Settings) -> IngestState:
        """Read what `dump` wrote; StateError for anything else."""
        meta, arrays = packing.unpack(KIND, data, versions={1: from_1, VERSION: None})
        out = IngestState(settings)
        try:
            out.erased = bool(meta["erased"])
            out.consents = ConsentBook.from_state(meta["consents"], study_data=settings.study_data and not out.erased)
            out.homes = Homes.from_state(meta["homes"])
            out.terms = [list(row) for row in meta["terms"]]
            out.seen = Seen.from_state(meta["seen"], arrays)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise packing.StateError("state of ingest cannot be read") from None
        return out
