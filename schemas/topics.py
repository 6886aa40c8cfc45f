"""Topics read from their files, with the Arrow and Avro types that follow from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

FOLDER = Path(__file__).parent / "definitions"
NAMESPACE = "org.kairos"
SCALARS = {
    "string": pa.string(), "enum": pa.string(), "int": pa.int32(), "long": pa.int64(), "double": pa.float64(),
    "boolean": pa.bool_(),
}  # fmt: skip


class UnknownTopic(KeyError):  # noqa: N818 (says what it is)
    """A name that is no topic."""


@dataclass(frozen=True)
class Field:
    """One field of a value.

    Parameters
    ----------
    kind
        string, int (32 bit), long (64 bit), double (finite), boolean, enum, array, map (string keys), record.
    doc
        Unit, range and meaning.
    minimum, maximum
        Outside: `OUT_OF_RANGE`.
    symbols
        Of an enum.
    items
        Element of an array or value of a map.
    fields
        Of a record.
    """

    name: str
    kind: str
    required: bool = False
    doc: str = ""
    minimum: float | None = None
    maximum: float | None = None
    symbols: tuple[str, ...] = ()
    items: Field | None = None
    fields: tuple[Field, ...] = ()

    @cached_property
    def arrow(self) -> pa.DataType:
        """Arrow type; everything may be null, what must not is checked in `schemas.rows`."""
        if self.kind == "array":
            assert self.items is not None
            return pa.list_(self.items.arrow)
        if self.kind == "map":
            assert self.items is not None
            return pa.map_(pa.string(), self.items.arrow)
        if self.kind == "record":
            return pa.struct([(f.name, f.arrow) for f in self.fields])
        return SCALARS[self.kind]

    @property
    def nested(self) -> bool:
        return self.kind in ("array", "map", "record")

    @property
    def range_text(self) -> str:
        """Range as read by people, empty if there is none."""
        if self.minimum is None and self.maximum is None:
            return ""
        low, high = ("" if end is None else str(end) for end in (self.minimum, self.maximum))
        return f"{low} to {high}"


@dataclass(frozen=True)
class Topic:
    """Settings and fields of one topic.

    Parameters
    ----------
    klass
        PRIVATE (raw, ingest only), IN, MID (made by a room, may arrive ready-made), OUT, STATE.
    modality
        Consent modality; ANY = any one permitted; None = control or output.
    retention_days
        None = compacted, or kept until erasure.
    control
        Acts by its own effective time on what arrives after it.
    risk_bearing
        A record that no wrong clock or unknown field may lose (topics.md 2.3).
    """

    name: str
    version: str
    doc: str
    klass: str
    modality: str | None
    retention_days: int | None
    compacted: bool
    partitions: int
    readers: tuple[str, ...]
    id_parts: tuple[str, ...]
    control: bool
    risk_bearing: bool
    fields: tuple[Field, ...]
    examples: tuple[dict[str, Any], ...]

    @cached_property
    def value_type(self) -> pa.StructType:
        return pa.struct([(f.name, f.arrow) for f in self.fields])

    @cached_property
    def table_schema(self) -> pa.Schema:
        """Envelope columns and one struct column `value`."""
        return pa.schema([*((f.name, f.arrow) for f in ENVELOPE), ("value", self.value_type)])

    @cached_property
    def avro(self) -> dict[str, Any]:
        """Avro schema of a record: envelope and value, with a doc on every field."""
        stem = "".join(p.capitalize() for p in self.name.replace("_", ".").split("."))
        fields = [_avro_field(f, stem) for f in ENVELOPE]
        own = [_avro_field(f, stem) for f in self.fields]
        value = {"type": "record", "name": f"{stem}Value", "doc": self.doc, "fields": own}
        fields.append({"name": "value", "type": value, "doc": "the topic's own fields"})
        return {
            "type": "record", "name": stem, "namespace": NAMESPACE, "doc": self.doc, "fields": fields,
            "kairos": f"{self.name}:{self.version}",
        }  # fmt: skip


YEAR_2100 = 4_102_444_800_000  # a clock beyond it is none: it would run the timers of decades
ENVELOPE = (
    Field("user", "string", True, "person; Kafka key everywhere; a pseudonym after ingest"),
    Field("event_time", "long", True, "when it happened by the device, ms since 1970 UTC"),
    Field(
        "ingest_time",
        "long",
        minimum=0,
        maximum=YEAR_2100,
        doc="when it arrived, ms since 1970 UTC: the log's clock; absent in a log = event_time",
    ),
    Field("tz_offset_min", "int", False, "minutes east of UTC; absent = 0", -1080, 1080),
    Field("source_id", "string", False, "device stream"),
    Field("seq", "long", False, "counter of the device stream"),
    Field("event_id", "string", False, "what duplicates are known by"),
)


def _avro_field(field: Field, stem: str) -> dict[str, Any]:
    kind = _avro_type(field, f"{stem}{''.join(p.capitalize() for p in field.name.split('_'))}")
    doc = f"{field.doc} [{field.range_text}]" if field.range_text else field.doc
    if field.required:
        return {"name": field.name, "type": kind, "doc": doc}
    return {"name": field.name, "type": ["null", kind], "default": None, "doc": doc}


def _avro_type(field: Field, name: str) -> Any:
    if field.kind == "enum":
        return {"type": "enum", "name": name, "symbols": list(field.symbols)}
    if field.kind in ("array", "map"):
        assert field.items is not None
        key = "items" if field.kind == "array" else "values"
        return {"type": field.kind, key: _avro_type(field.items, f"{name}Item")}
    if field.kind == "record":
        return {"type": "record", "name": name, "fields": [_avro_field(f, name) for f in field.fields]}
    return field.kind


def read_field(data: dict[str, Any]) -> Field:
    """A field as its file writes it."""
    return Field(
        name=str(data.get("name", "")),
        kind=str(data["type"]),
        required=bool(data.get("required", False)),
        doc=str(data.get("doc", "")),
        minimum=data.get("minimum"),
        maximum=data.get("maximum"),
        symbols=tuple(data.get("symbols", ())),
        items=read_field(data["items"]) if "items" in data else None,
        fields=tuple(read_field(f) for f in data.get("fields", ())),
    )


def read_topic(path: Path) -> Topic:
    data = json.loads(path.read_text(encoding="utf-8"))
    return Topic(
        name=data["topic"], version=data["version"], doc=data["doc"], klass=data["class"], modality=data["modality"],
        retention_days=data["retention_days"], compacted=data["compacted"], partitions=data["partitions"],
        readers=tuple(data["readers"]), id_parts=tuple(data["id_parts"]), control=data["control"],
        risk_bearing=data["risk_bearing"],
        fields=tuple(read_field(f) for f in data["fields"]), examples=tuple(data["examples"]),
    )  # fmt: skip


TOPICS: dict[str, Topic] = {t.name: t for t in map(read_topic, sorted(FOLDER.glob("*.json")))}


def topic(name: str) -> Topic:
    """The topic of this name; UnknownTopic if there is none."""
    if name not in TOPICS:
        raise UnknownTopic(name)
    return TOPICS[name]
