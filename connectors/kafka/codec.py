"""Kafka records ⇄ rows of a topic (contracts.md 1).

Key = user (UTF-8). Value = Avro in the registry's framing (magic 0, four bytes of schema id: Confluent's wire format), Avro
single-object encoding (C3 01, eight bytes of fingerprint), or, where it begins with `{`, JSON of the contract's form.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeAlias

import fastavro
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from connectors.kafka.registry import Registry, RegistryError, UnknownSchemaError
from schemas import avro, avro_columns, avro_rows, checks, rows
from schemas.topics import TOPICS, YEAR_2100, topic

FRAME = b"\x00"
OWN = ("kairos", b"ingest")  # header of what ingest made of a raw record
LONGEST_VALUE = 8 << 20
MANY = 32  # rows from which it is quicker to write columns than records
MANY_READ = 96  # and to read them
BLOCK = 512  # records that are read one by one when one of them is off


class KafkaRecord(Protocol):
    """What is needed of kafka-python's ConsumerRecord."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


_KEY, _VALUE, _HEADERS, _TIME, _OFFSET = map(attrgetter, ("key", "value", "headers", "timestamp", "offset"))
_Bad: TypeAlias = dict[int, tuple[str, str | None, str | None, int | None]]  # number → reason, field, user, event time


class Letter(NamedTuple):
    """A record that can't be used; never its payload."""

    topic: str
    reason: str
    field: str | None
    user: str | None
    event_time: int | None
    ingest_time: int
    partition: int
    offset: int


class Decoder:
    """Kafka records of one partition as rows.

    Parameters
    ----------
    registry
        Where records in the registry's framing are known; without one they are `UNPARSABLE`.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry

    def read(
        self, name: str, partition: int, records: Sequence[Any], file: int, *, own: bool = False
    ) -> tuple[pa.Table, list[Letter]]:
        """Rows in the order of the partition with `_file` and `_line` (offset), and the letters.

        Parameters
        ----------
        records
            With `offset`, `timestamp` (ms, the broker's: the log's clock), `key`, `value`.
        file
            Number of the partition among the source's files.
        own
            Also what ingest made of raw records (it carries `OWN`), by the arrival of these. Who reads the raw topics
            leaves them out: they are the same records once more.

        Notes
        -----
        Records without a value (tombstones) say nothing and give neither a row nor a letter.
        """
        made = [r for r in records if _is_own(r)] if any(map(_HEADERS, records)) else []
        if made and own and len(made) < len(records):
            return self._both(name, partition, records, file)
        if made and not own:
            records = [r for r in records if not _is_own(r)]
        if None in map(_VALUE, records):
            records = [r for r in records if r.value is not None]
        table, bad = self._rows(name, records)
        letters = [
            Letter(name, reason, what, user, event, int(records[i].timestamp), partition, int(records[i].offset))
            for i, (reason, what, user, event) in sorted(bad.items())
        ]
        keep = [r for i, r in enumerate(records) if i not in bad] if bad else records
        n = len(keep)
        table = table.append_column("_file", pa.array(np.full(n, file, np.int32)))
        return table.append_column("_line", pa.array(np.fromiter(map(_OFFSET, keep), np.int64, n))), letters

    def _both(self, name: str, partition: int, records: Sequence[Any], file: int) -> tuple[pa.Table, list[Letter]]:
        """Records of devices and of ingest in one partition, in the order of the partition."""
        parts = [[r for r in records if _is_own(r) == mine] for mine in (False, True)]
        (a, bad), (b, worse) = (self.read(name, partition, p, file, own=True) for p in parts)
        table = pa.concat_tables([a, b])
        return table.take(pa.array(np.argsort(table["_line"].to_numpy()))), bad + worse

    # -- many at once -------------------------------------------------------------------------------------------------

    def _rows(self, name: str, records: Sequence[Any]) -> tuple[pa.Table, _Bad]:
        """By columns what can be, the rest one by one."""
        found = self._columns(name, records)
        if found is not None:
            return found
        if len(records) <= BLOCK:
            return self._one_by_one(name, records)
        tables: list[pa.Table] = []
        bad: _Bad = {}
        for start in range(0, len(records), BLOCK):
            block = records[start : start + BLOCK]
            table, wrong = self._columns(name, block) or self._one_by_one(name, block)
            tables.append(table)
            bad |= {start + i: why for i, why in wrong.items()}
        return pa.concat_tables(tables).combine_chunks(), bad

    def _columns(self, name: str, records: Sequence[Any]) -> tuple[pa.Table, _Bad] | None:
        """All by columns, if every record can be read so."""
        if not records:
            return rows.empty(name), {}
        head = records[0].value[:1]
        if head == b"{":
            return self._json_columns(name, records)
        if len(records) < MANY_READ:
            return None
        if head == avro.MARKER[:1]:
            return _avro_columns(name, records, avro.mark(name))
        if head == FRAME and self._ours(name, records[0].value):
            return _avro_columns(name, records, records[0].value[:5])
        return None

    def _json_columns(self, name: str, records: Sequence[Any]) -> tuple[pa.Table, _Bad] | None:
        values = [*map(_VALUE, records)]
        data = b"\n".join(values) + b"\n"
        if name not in rows.AS_COLUMNS or data.count(b"\n") != len(values) or not data.isascii():
            return None
        if any(len(v) > LONGEST_VALUE for v in values):
            return None
        arrival = _arrivals(records)
        if arrival.min() < 0 or arrival.max() > YEAR_2100:
            return None
        read = rows.from_lines(name, data)
        if read is None or read[1] or not _keys_fit(records, read[0]):
            return None
        return _arrived(read[0], records, arrival), {}

    def _ours(self, name: str, value: bytes) -> bool:
        """Whether the registry's schema of a value is our own."""
        if self.registry is None or len(value) < 5:
            return False
        try:
            return _same(self.registry, int.from_bytes(value[1:5], "big"), name)
        except UnknownSchemaError:
            return False
        except RegistryError:
            raise
        except Exception:  # a wrong schema: each record is then looked at
            return False

    # -- one by one ---------------------------------------------------------------------------------------------------

    def _one_by_one(
        self, name: str, records: Sequence[Any]
    ) -> tuple[pa.Table, _Bad]:
        bad: _Bad = {}
        good: list[dict[str, Any]] = []
        where: list[int] = []
        for i, r in enumerate(records):
            record = self._parse(name, r.value)
            key = _text(r.key)
            if record is None:
                bad[i] = "UNPARSABLE", None, _person(key), None
                continue
            if key is not None and "user" not in record:
                record["user"] = key
            if not (_is_own(r) and "ingest_time" in record):
                record["ingest_time"] = int(r.timestamp)
            if key is not None and record.get("user") != key:
                bad[i] = "SCHEMA", "user", _person(key), _instant(record.get("event_time"))
                continue
            good.append(record)
            where.append(i)
        table, defects = rows.from_dicts(name, good)
        for d in defects:
            record = good[d.index]
            bad[where[d.index]] = d.reason, d.field, _person(record.get("user")), _instant(record.get("event_time"))
        return table, bad

    def _parse(self, name: str, value: bytes) -> dict[str, Any] | None:
        if len(value) > LONGEST_VALUE:
            return None
        try:
            if value[:1] == b"{":
                found = orjson.loads(value)
            elif value[:1] == FRAME:
                found = self._framed(value, name)
            else:
                found = avro.decode(name, value)
        except UnknownSchemaError:
            return None
        except RegistryError:  # an error of the deploy, not of the record
            raise
        except (ValueError, KeyError):
            return None
        return found if isinstance(found, dict) else None

    def _framed(self, value: bytes, name: str) -> Any:
        if self.registry is None or len(value) < 5:
            return None
        writer = _parsed(self.registry, int.from_bytes(value[1:5], "big"))
        try:
            stream = io.BytesIO(value)
            stream.seek(5)
            return _drop(fastavro.schemaless_reader(stream, writer, _own(name)))
        except Exception:  # fastavro raises whatever the bytes lead to
            return None


class Encoder:
    """Rows as Kafka values.

    Parameters
    ----------
    registry
        Frame with its ids; None = single-object encoding.
    form
        `avro` or `json`.
    """

    def __init__(self, registry: Registry | None = None, form: str = "avro") -> None:
        self.registry, self.form = registry, form

    def values(self, name: str, table: pa.Table) -> list[bytes]:
        """One value a row."""
        if self.form == "json":
            return rows.to_json_lines(name, table).splitlines()
        if len(table) >= MANY:
            try:
                return avro_rows.bodies(name, table, self._head(name))
            except avro_rows.NotColumnsError:  # fastavro then says what is wrong
                pass
        return [self.value(name, record) for record in rows.to_dicts(name, table)]

    def value(self, name: str, record: dict[str, Any]) -> bytes:
        """One record in contract form."""
        if self.form == "json":
            return orjson.dumps(record)
        out = io.BytesIO()
        out.write(self._head(name))
        fastavro.schemaless_writer(out, _own(name), record)
        return out.getvalue()

    def _head(self, name: str) -> bytes:
        return avro.mark(name) if self.registry is None else FRAME + self.registry.register(name).to_bytes(4, "big")


@cache
def _own(name: str) -> Any:
    return fastavro.parse_schema(topic(name).avro)


@cache
def _parsed(registry: Registry, number: int) -> Any:
    return fastavro.parse_schema(registry.schema(number))


@cache
def _same(registry: Registry, number: int, name: str) -> bool:
    """Whether a schema of the registry is read as our own: the same canonical form, and no type that is read as another."""
    form, theirs = fastavro.schema.to_parsing_canonical_form, registry.schema(number)
    return form(theirs) == form(topic(name).avro) and b'"logicalType"' not in orjson.dumps(theirs)


def _avro_columns(name: str, records: Sequence[Any], head: bytes) -> tuple[pa.Table, _Bad] | None:
    values = [*map(_VALUE, records)]
    if max(map(len, values)) > LONGEST_VALUE:
        return None
    try:
        given = avro_columns.table(name, values, head)
    except avro_rows.NotColumnsError:
        return None
    if not _keys_fit(records, given):
        return None
    given = _arrived(given, records, _arrivals(records))
    table, defects = rows.conform(name, given)
    if not defects:
        return table, {}
    if checks.needs_a_look(topic(name), given):  # several faults of a record: which is told is a matter of order
        return None
    at = pa.array([d.index for d in defects])
    whose = zip(defects, given["user"].take(at).to_pylist(), given["event_time"].take(at).to_pylist(), strict=True)
    return table, {d.index: (d.reason, d.field, _person(user), _instant(event)) for d, user, event in whose}


def _arrivals(records: Sequence[Any]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(_TIME, records), np.int64, len(records))


def _arrived(table: pa.Table, records: Sequence[Any], arrival: npt.NDArray[np.int64]) -> pa.Table:
    """Rows by the broker's time; what ingest made keeps its own."""
    times, place = pa.array(arrival), table.schema.get_field_index("ingest_time")
    if _is_own(records[0]):
        times = pc.coalesce(table["ingest_time"], times)
    return table.set_column(place, table.schema.field(place), times)


def _is_own(record: Any) -> bool:
    return bool(record.headers) and OWN in record.headers


def _keys_fit(records: Sequence[Any], table: pa.Table) -> bool:
    """Whether every key is the user of its record."""
    keys = pa.array([*map(_KEY, records)], pa.binary())
    users = table["user"].combine_chunks().cast(pa.binary())
    return keys.null_count == 0 and bool(keys.equals(users))


def _text(key: bytes | None) -> str | None:
    try:
        return key.decode() if key else None
    except UnicodeDecodeError:
        return None


def _person(user: Any) -> str | None:
    return user if isinstance(user, str) and user and not user.startswith("_") else None


def _instant(x: Any) -> int | None:
    return x if type(x) is int and 0 <= x <= YEAR_2100 else None


def _drop(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _drop(v) for k, v in x.items() if v is not None}
    return [_drop(v) for v in x] if isinstance(x, list) else x


READ = tuple(sorted(t.name for t in TOPICS.values() if t.klass in ("PRIVATE", "IN", "MID")))
