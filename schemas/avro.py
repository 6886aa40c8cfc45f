"""Records as Avro single-object encoding: marker, fingerprint of the schema, body (Avro specification 1.11)."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.topics import topic

MARKER = b"\xc3\x01"


class NotThisSchema(ValueError):  # noqa: N818 (says what it is)
    """Bytes that are no record of this topic."""


@cache
def _parsed(name: str) -> tuple[Any, bytes]:
    schema = fastavro.parse_schema(topic(name).avro)
    return schema, bytes.fromhex(fingerprint(to_parsing_canonical_form(topic(name).avro), "CRC-64-AVRO"))


def mark(name: str) -> bytes:
    """What every record of this topic begins with: marker and fingerprint, ten bytes."""
    return MARKER + _parsed(name)[1]


def encode(name: str, record: dict[str, Any]) -> bytes:
    """A record in contract form as single-object Avro."""
    schema, _ = _parsed(name)
    out = io.BytesIO()
    out.write(mark(name))
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def decode(name: str, data: bytes) -> dict[str, Any]:
    """A record in contract form; what is null is absent.

    Raises
    ------
    NotThisSchema
        Another schema, or a damaged body.
    """
    schema, _ = _parsed(name)
    if data[:10] != mark(name):
        raise NotThisSchema(f"not a record of {name}")
    try:
        record = fastavro.schemaless_reader(io.BytesIO(data[10:]), schema, None)
    except Exception:  # fastavro raises whatever the bytes lead to
        raise NotThisSchema(f"damaged record of {name}") from None
    out = _drop(record)
    assert isinstance(out, dict)
    return out


def _drop(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _drop(v) for k, v in x.items() if v is not None}
    return [_drop(v) for v in x] if isinstance(x, list) else x
