"""Ingest of one person: rows as they arrived in, minimised device rows out, everything counted.

The only place that sees search text, coordinates and app names. It classifies and drops; what it can't use it counts with a
closed reason and a position, never with a payload (contracts.md 4). Rows of a topic are taken together, as columns; a
control record (consent, home, profile, erasure) ends a stretch, because it acts on what arrives after it (topics.md 2.5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from content.lexicon import Lexicon, Term
from pipelines.context import consent
from pipelines.context.profile import ProfileBook
from pipelines.ingest import apps, identity
from pipelines.ingest.pseudonym import Pseudonyms
from pipelines.ingest.state import IngestState
from pipelines.settings import Settings
from schemas import TOPICS, ids, rows, signing

HOUR_MS = 3_600_000
FUTURE_MS = 5 * 60_000
TOO_OLD_MS = 7 * 24 * HOUR_MS
LATE_MS = 24 * HOUR_MS
MADE_FROM = {
    "raw.location": "device.location",
    "raw.search": "device.search_flag",
    "raw.app_usage": "device.phone_usage",
}
RAW_OF = {made: raw for raw, made in MADE_FROM.items()}
RISK_BEARING = frozenset({"raw.search", "device.search_flag", "device.content_flag", "chat.inbound"})
CONTROL = ("clinical.consent", "clinical.home", "clinical.profile", "erasure.request")
FEW = frozenset({
    "raw.search", "device.search_flag", "device.content_flag", "chat.inbound", "selfreport", "therapy.event", "delivery.receipt",
    "clinical.ack", *CONTROL,
})  # fmt: skip

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
TimedTerm = tuple[int, Term]  # (arrival ms, term): lexicon items that came with the log


@dataclass
class IngestResult:
    """What one slice gave.

    Parameters
    ----------
    tables
        Topic → rows after ingest (envelope + value, no raw topic), in arrival order.
    dead
        (topic, reason, field, event_time, ingest_time, file, line) of each record that can't be used.
    forgotten
        Records of which a copy will no longer be known though it came in time: the memory for a topic was full.
    suspect
        event_ids whose clock was wrong and was replaced by the arrival time.
    refused_chat
        Envelope and session of chat records without permission: who writes must not meet silence.
    status
        (due ms, monitoring.status value) that ingest asks the person's machine to say.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    dead: list[tuple[str, str, str | None, int, int, int, int]] = field(default_factory=list)
    duplicates: Counter[str] = field(default_factory=Counter)
    processed: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    forgotten: Counter[str] = field(default_factory=Counter)
    suspect: set[str] = field(default_factory=set)
    refused_chat: list[dict[str, Any]] = field(default_factory=list)
    status: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


class Ingest:
    """Ingest of any person; holds nothing of one.

    Parameters
    ----------
    settings
        Keys, study data.
    lexicon
        The signed risk lexicon of `content/`.
    """

    def __init__(self, settings: Settings, lexicon: Lexicon) -> None:
        self.settings = settings
        self.lexicon = lexicon
        self.pseudonyms = Pseudonyms(settings.pseudonym_key)

    def run(
        self, user: str, tables: dict[str, pa.Table], held: IngestState, terms: Sequence[TimedTerm] = ()
    ) -> IngestResult:
        """Take what arrived of one person in a slice of the log.

        Parameters
        ----------
        user
            The pseudonym.
        tables
            Topic → rows in arrival order, envelope + value + `_file` + `_line`.
        held
            What is known of the person; changed in place.
        """
        job = _Job(self, user, held, terms)
        job.walk(tables)
        return job.finish()


class _Job:
    """One call of `Ingest.run`."""

    def __init__(self, ingest: Ingest, user: str, held: IngestState, terms: Sequence[TimedTerm]) -> None:
        self.settings = ingest.settings
        self.lexicon = ingest.lexicon
        self.user = user
        self.held = held
        self.terms = terms
        self.token = ingest.pseudonyms.token(user, "HOME")
        self.out = IngestResult()
        self.parts: dict[str, list[pa.Table]] = {}

    # -- the way through a slice --------------------------------------------------------------------------------------

    def walk(self, tables: dict[str, pa.Table]) -> None:
        tables = {t: tables[t].combine_chunks() for t in sorted(tables) if len(tables[t])}
        controls = sorted(
            (int(at), topic, i)
            for topic in CONTROL
            if topic in tables
            for i, at in enumerate(tables[topic]["ingest_time"].to_pylist())
        )
        arrivals = {t: table["ingest_time"].to_numpy() for t, table in tables.items() if t not in CONTROL}
        done = dict.fromkeys(arrivals, 0)
        for at, control, i in controls:
            for topic, arrival in arrivals.items():
                end = np.searchsorted(arrival, at, side="right" if topic < control else "left")
                self._stretch(topic, tables[topic], done, int(end))
            self._control(control, tables[control].slice(i, 1))
        for topic in arrivals:
            self._stretch(topic, tables[topic], done, len(tables[topic]))

    def _stretch(self, topic: str, table: pa.Table, done: dict[str, int], end: int) -> None:
        start = done[topic]
        if end > start:
            done[topic] = end
            self._take(topic, table if end - start == len(table) else table.slice(start, end - start))

    def finish(self) -> IngestResult:
        self.out.forgotten = self.held.seen.forgotten()
        for topic, parts in sorted(self.parts.items()):
            table = pa.concat_tables(parts) if len(parts) > 1 else parts[0]
            if len(parts) > 1:  # raw and ready-made records of one topic: back into arrival order
                order = np.argsort(table["ingest_time"].to_numpy(), kind="stable")
                table = table.take(pa.array(order))
            self.out.tables[topic] = table
        return self.out

    # -- one stretch of one topic -------------------------------------------------------------------------------------

    def _take(self, topic: str, table: pa.Table) -> None:
        event, arrival = table["event_time"].to_numpy(), table["ingest_time"].to_numpy()
        names = self._names(topic, table)
        repeated = self._repeated(topic, table, names, event, arrival)
        if repeated.any():
            self.out.duplicates[topic] += int(repeated.sum())
            keep = ~repeated
            table, event, arrival = table.filter(pa.array(keep)), event[keep], arrival[keep]
            names = names.filter(pa.array(keep)) if names is not None else None
        risky = self._risky(topic, table)
        future = event > arrival + FUTURE_MS
        suspect = future & risky
        if suspect.any():
            event = np.where(suspect, arrival, event)
            future &= ~risky
        old = (event < arrival - TOO_OLD_MS) & ~risky
        refused = ~(future | old) & ~self._permitted(topic, event)
        if future.any() or old.any() or refused.any():
            self._bury(topic, table, "FUTURE", None, future)
            self._bury(topic, table, "TOO_OLD", None, old)
            self._bury(topic, table, "NO_CONSENT", None, refused)
            if topic == "chat.inbound":
                self._refuse_chat(table, names, refused)
            keep = ~(future | old | refused)
            table, event, arrival, suspect, risky = (
                table.filter(pa.array(keep)),
                event[keep],
                arrival[keep],
                suspect[keep],
                risky[keep],
            )
            names = names.filter(pa.array(keep)) if names is not None else None
        if not len(table):
            return
        self.out.processed[topic] += len(table)
        late = int(((arrival - event > LATE_MS) & ~risky).sum())
        if late:
            self.out.late[topic] += late
        self._pass_on(topic, table, names, event, suspect)

    def _names(self, topic: str, table: pa.Table) -> pa.Array | None:
        """event_id of each record after ingest, where it must have one; high-rate rows may go without."""
        if topic not in FEW and topic not in MADE_FROM:
            return None
        given = record_ids(topic, self.user, table)
        if topic not in MADE_FROM:
            return pa.array(given, pa.string())
        return ids.output_ids(MADE_FROM[topic], self.user, given)

    def _repeated(self, topic: str, table: pa.Table, names: pa.Array | None, event: Ints, arrival: Ints) -> Bools:
        target, seen = MADE_FROM.get(topic, topic), self.held.seen
        if topic in FEW:
            return seen.repeats_of_few(identity.by_id(target, names), arrival)
        told = identity.told(topic, target, self.user, table, names, RAW_OF.get(topic))
        repeated = seen.repeats_of_many(target, told, event, arrival)
        if seen.older(target):
            repeated |= seen.repeats_of_older(target, identity.hashed(target, table, names), event, arrival)
        return repeated

    def _risky(self, topic: str, table: pa.Table) -> Bools:
        """Records that no wrong clock may lose (topics.md 2.3)."""
        if topic in RISK_BEARING:
            return np.ones(len(table), np.bool_)
        if topic == "selfreport":
            item9 = table["value"].combine_chunks().field("item9").fill_null(0)
            return np.asarray(item9.to_numpy(zero_copy_only=False) >= 1)
        return np.zeros(len(table), np.bool_)

    def _permitted(self, topic: str, event: Ints) -> Bools:
        """CARE_USER_MSG for the modality at the event time."""
        settings = TOPICS[topic]
        if settings.control:
            return np.ones(len(event), np.bool_)
        if self.held.erased and not self.held.consents.has_any():
            return np.zeros(len(event), np.bool_)
        if topic == "device.status":
            out = np.zeros(len(event), np.bool_)
            for modality in consent.MODALITIES:
                out |= self._inside(modality, event)
                if out.all():
                    break
            return out
        return self._inside(settings.modality or "", event)

    def _inside(self, modality: str, event: Ints) -> Bools:
        spans = self.held.consents.intervals(consent.CARE, consent.SELF, modality)
        if not spans:
            return np.zeros(len(event), np.bool_)
        starts, ends = np.array([a for a, _ in spans], np.int64), np.array([b for _, b in spans], np.int64)
        at = np.searchsorted(starts, event, side="right") - 1
        return np.asarray((at >= 0) & (event < ends[np.maximum(at, 0)]))

    # -- minimisation -------------------------------------------------------------------------------------------------

    def _pass_on(self, topic: str, table: pa.Table, names: pa.Array | None, event: Ints, suspect: Bools) -> None:
        if topic == "raw.search":
            self._searches(table, names, event, suspect)
            return
        value = table["value"].combine_chunks()
        if topic == "raw.location":
            offset = table["tz_offset_min"].cast(pa.int64()).to_numpy()
            self._nights(event, table["ingest_time"].to_numpy(), offset, value)
            columns = self.held.homes.place(event, value, self.token)
            self._put("device.location", table, event, names, _struct("device.location", columns))
        elif topic == "raw.app_usage":
            self._put("device.phone_usage", table, event, names, _struct("device.phone_usage", apps.usage(value)))
        else:
            if names is not None and suspect.any():
                self.out.suspect.update(names.filter(pa.array(suspect)).to_pylist())
                if topic == "device.search_flag":
                    columns = {f.name: value.field(f.name) for f in value.type}
                    told = columns["clock_suspect"].fill_null(False).to_numpy(zero_copy_only=False)
                    columns["clock_suspect"] = pa.array(told | suspect)
                    value = _struct(topic, columns)
            self._put(topic, table, event, names if names is not None else table["event_id"], value)

    def _searches(self, table: pa.Table, names: pa.Array | None, event: Ints, suspect: Bools) -> None:
        assert names is not None
        value = table["value"].combine_chunks()
        arrivals, times = table["ingest_time"].to_pylist(), event.tolist()
        found, flags = [], []
        pairs = zip(value.field("query").to_pylist(), value.field("lang").to_pylist(), strict=True)
        for i, (query, lang) in enumerate(pairs):
            known = [term for at, term in self.terms if at <= arrivals[i]]
            match = self.lexicon.classify(query, lang, known, self.held.shifts(times[i]))
            if match is None:
                continue
            found.append(i)
            flags.append({
                "category": match.category, "severity": match.severity, "score": match.score,
                "lexicon_version": match.lexicon_version, "classifier_version": "none", "clock_suspect": bool(suspect[i]),
            })  # fmt: skip
        if not found:
            return
        part = pa.array(found)
        kept = names.take(part)
        self.out.suspect.update(n for n, i in zip(kept.to_pylist(), found, strict=True) if suspect[i])
        made = pa.array(flags, TOPICS["device.search_flag"].value_type)
        self._put("device.search_flag", table.take(part), event[found], kept, made)

    def _nights(self, event: Ints, arrival: Ints, offset: Ints, value: pa.StructArray) -> None:
        homes = self.held.homes
        if homes.homes:
            return
        hours = arrival // HOUR_MS
        for hour in np.unique(hours):
            part = hours == hour
            homes.sleep_over(event[part], offset[part], value.filter(pa.array(part)))
            if not homes.proposed and homes.proposal() is not None:
                homes.proposed = True
                due = (int(hour) + 1) * HOUR_MS
                told = {"modality": "LOCATION", "state": "DEGRADED", "since_time": due, "reason": "HOME_NOT_CONFIRMED"}
                self.out.status.append((due, told))

    def _put(self, topic: str, table: pa.Table, event: Ints, names: Any, value: pa.StructArray) -> None:
        schema = TOPICS[topic].table_schema
        n = len(table)
        user = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([self.user])).cast(pa.string())
        columns = {
            "user": user, "event_time": pa.array(event, pa.int64()), "ingest_time": table["ingest_time"],
            "tz_offset_min": table["tz_offset_min"], "source_id": table["source_id"], "seq": table["seq"], "event_id": names,
            "value": value,
        }  # fmt: skip
        made = pa.table([columns[f.name] for f in schema], schema=schema)
        self.parts.setdefault(topic, []).append(made)

    # -- control records ----------------------------------------------------------------------------------------------

    def _control(self, topic: str, row: pa.Table) -> None:
        names = pa.array(record_ids(topic, self.user, row), pa.string())
        if self.held.seen.repeats_of_few(identity.by_id(topic, names), row["ingest_time"].to_numpy())[0]:
            self.out.duplicates[topic] += 1
            return
        record = rows.to_dicts(topic, row)[0]
        value = record["value"]
        narrows = topic == "clinical.consent" and (value["status"] == "REVOKED" or value["effect"] == "DENY")
        narrows = narrows or topic == "erasure.request"
        defect = _clock_defect(record)
        if defect is not None and not narrows:
            self._bury(topic, row, defect, None, np.ones(1, np.bool_))
            return
        if defect == "FUTURE":  # what narrows is never lost to a wrong clock
            record["event_time"] = record["ingest_time"]
        problem = self._check(topic, value)
        if problem is not None:
            self._bury(topic, row, problem[0], problem[1], np.ones(1, np.bool_))
            return
        self.out.processed[topic] += 1
        self._apply(topic, record)
        if topic != "clinical.home":
            event = np.array([record["event_time"]], np.int64)
            self._put(topic, row, event, names, row["value"].combine_chunks())

    def _check(self, topic: str, value: dict[str, Any]) -> tuple[str, str] | None:
        if topic == "clinical.consent":
            return consent.check(value, self.settings.trusted_keys)
        if topic == "clinical.profile":
            return ProfileBook(self.settings.trusted_keys).check(value)
        if topic == "erasure.request":
            return None if signing.verify(value, self.settings.trusted_keys) else ("UNSIGNED", "signature")
        complete = value.get("confirm_proposal") or value.get("removed") or {"latitude", "longitude"} <= set(value)
        return None if complete else ("SCHEMA", "latitude")

    def _apply(self, topic: str, record: dict[str, Any]) -> None:
        value = record["value"]
        if topic == "clinical.consent":
            self.held.consents.add(record)
        elif topic == "clinical.profile":
            self.held.profile(value)
        elif topic == "clinical.home":
            self.held.homes.register(value)
        elif value["scope"] == "ALL":
            self.held.erase()

    # -- what can't be used -------------------------------------------------------------------------------------------

    def _bury(self, topic: str, table: pa.Table, reason: str, name: str | None, where: Bools) -> None:
        if not where.any():
            return
        gone = table.filter(pa.array(where))
        columns = [gone[c].to_pylist() for c in ("event_time", "ingest_time", "_file", "_line")]
        self.out.dead += [(topic, reason, name, *row) for row in zip(*columns, strict=True)]

    def _refuse_chat(self, table: pa.Table, names: pa.Array | None, refused: Bools) -> None:
        assert names is not None
        part = table.filter(pa.array(refused))
        sessions = part["value"].combine_chunks().field("session_id").to_pylist()
        columns = [part[c].to_pylist() for c in ("event_time", "ingest_time", "tz_offset_min")]
        for event, arrival, offset, name, session in zip(
            *columns, names.filter(pa.array(refused)).to_pylist(), sessions, strict=True
        ):
            self.out.refused_chat.append(
                {
                    "event_time": min(event, arrival),
                    "ingest_time": arrival,
                    "tz_offset_min": offset,
                    "event_id": name,
                    "session_id": session,
                }
            )


def record_ids(topic: str, user: str, table: pa.Table) -> list[str]:
    """event_id of each row: given, of (topic, user, source_id, seq), or of the whole record (contracts.md 1)."""
    given: list[str] = table["event_id"].to_pylist()
    if None not in given:
        return given
    if table["event_id"].null_count == len(table) and not table["seq"].null_count:
        made: list[str] = ids.input_ids(topic, [user] * len(table), table["source_id"], table["seq"]).to_pylist()
        return made
    sources, numbers = table["source_id"].to_pylist(), table["seq"].to_pylist()
    out: list[str] = []
    bare = [i for i, g in enumerate(given) if g is None and numbers[i] is None]
    whole = dict(zip(bare, _whole_ids(topic, user, table, bare), strict=True)) if bare else {}
    for i, name in enumerate(given):
        if name is None:
            name = whole[i] if i in whole else ids.input_id(topic, user, sources[i], numbers[i])
        out.append(name)
    return out


def _whole_ids(topic: str, user: str, table: pa.Table, which: list[int]) -> list[str]:
    part = table.take(pa.array(which))
    files = part["_file"].to_pylist()
    count: Counter[tuple[int, str]] = Counter()
    out = []
    for file, record in zip(files, rows.to_dicts(topic, part.drop_columns(["_file", "_line"])), strict=True):
        record["user"] = user
        first = ids.content_id(topic, record, 0)
        out.append(ids.content_id(topic, record, count[file, first]) if count[file, first] else first)
        count[file, first] += 1
    return out


def _clock_defect(record: dict[str, Any]) -> str | None:
    if record["event_time"] > record["ingest_time"] + FUTURE_MS:
        return "FUTURE"
    return "TOO_OLD" if record["event_time"] < record["ingest_time"] - TOO_OLD_MS else None


def _struct(topic: str, columns: dict[str, pa.Array]) -> pa.StructArray:
    kind = TOPICS[topic].value_type
    return pa.StructArray.from_arrays([columns[f.name].cast(f.type) for f in kind], fields=list(kind))
