"""Records in the framing of a schema registry, against a real one (Apicurio)."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from connectors.base import NotALog
from connectors.kafka.codec import Decoder, Encoder
from connectors.kafka.registry import Registry, RegistryError
from deploy.local import registry as local
from deploy.local.jars import StackError
from deploy.local.registry import SchemaRegistry
from schemas import rows
from tests.conftest import java_and_maven
from tests.connectors.contract import HEART, T0, beat


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SchemaRegistry]:
    java_and_maven()
    try:
        local.java()
    except StackError as error:
        pytest.skip(str(error))
    with SchemaRegistry(tmp_path_factory.mktemp("registry")) as made:
        yield made


def record(value: bytes, offset: int = 0) -> SimpleNamespace:
    return SimpleNamespace(offset=offset, timestamp=T0, key=b"p01", value=value, headers=[])


@pytest.mark.soak
def test_framed_records_come_back_and_a_reader_finds_the_schema_by_its_id(server: SchemaRegistry) -> None:
    value = Encoder(Registry(server.url)).value(HEART, beat(T0))
    assert value[:1] == b"\x00"
    other = Registry(server.url)
    table, letters = Decoder(other).read(HEART, 0, [record(value), record(b"\x00\x7f\xff\xff\xff" + value[5:], 1)], 0)
    assert rows.to_dicts(HEART, table.drop_columns(["_file", "_line"])) == [beat(T0)]
    assert [(x.reason, x.offset) for x in letters] == [("UNPARSABLE", 1)], "an id nobody registered is an error of the record"


@pytest.mark.soak
def test_an_older_writer_with_a_field_fewer_is_read_by_our_schema(server: SchemaRegistry) -> None:
    import io
    import json
    import urllib.request

    import fastavro

    from schemas.topics import topic

    older = json.loads(json.dumps(topic(HEART).avro))
    fields = older["fields"][-1]["type"]["fields"]
    fields[:] = [f for f in fields if f["name"] != "sample_period_s"]
    body = json.dumps({"schemaType": "AVRO", "schema": json.dumps(older)}).encode()
    kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    ask = urllib.request.Request(f"{server.url}/subjects/older-value/versions", body, kind)
    with urllib.request.urlopen(ask, timeout=10) as answer:
        number = json.loads(answer.read())["id"]
    out = io.BytesIO()
    out.write(b"\x00" + number.to_bytes(4, "big"))
    fastavro.schemaless_writer(out, fastavro.parse_schema(older), beat(T0))
    table, letters = Decoder(Registry(server.url)).read(HEART, 0, [record(out.getvalue())], 0)
    assert (len(table), letters) == (1, [])


def test_a_registry_that_does_not_answer_stops_the_run_instead_of_losing_records() -> None:
    away = Registry("http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="no answer"):
        Encoder(away).value(HEART, beat(T0))
    with pytest.raises(NotALog):
        Decoder(away).read(HEART, 0, [record(b"\x00\x00\x00\x00\x01abc")], 0)


def test_without_a_registry_a_framed_record_is_unparsable() -> None:
    table, letters = Decoder().read(HEART, 0, [record(b"\x00\x00\x00\x00\x01abc")], 0)
    assert (len(table), [x.reason for x in letters]) == (0, ["UNPARSABLE"])
