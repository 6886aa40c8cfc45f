"""Avro bytes, signatures, and what may change between versions."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import avro, compatibility, signing
from tests.schemas.cases import examples

KEY = bytes(range(32))
VALUE = {"profile_id": "pr1", "version": 2, "note": "ü", "signature": "old"}


def test_avro_bytes_of_another_topic_or_damaged_ones_are_refused_without_their_content() -> None:
    data = avro.encode("raw.search", examples("raw.search")[0])
    for name, wrong in (("device.music", data), ("raw.search", data[:-9]), ("raw.search", b"{}"), ("raw.search", b"")):
        with pytest.raises(avro.NotThisSchema) as caught:
            avro.decode(name, wrong)
        assert "train" not in str(caught.value)


def test_a_signature_holds_for_this_value_and_no_other() -> None:
    signed = {**VALUE, "signature": signing.sign(VALUE, KEY)}
    trusted = [signing.public_key(bytes(32)), signing.public_key(KEY)]
    assert signing.verify(signed, trusted)
    assert not signing.verify({**signed, "version": 3}, trusted)
    assert not signing.verify(signed, trusted[:1])
    assert signing.verify({**signed, "absent": None}, trusted), "null is absent"


def test_without_trusted_keys_any_signature_passes_but_an_empty_one() -> None:
    assert signing.verify({"signature": "demo"})
    assert not any(
        signing.verify(v) for v in ({}, {"signature": ""}, {"signature": " "}, {"signature": None}, {"signature": 5})
    )
    assert not signing.verify({"signature": "demo"}, [signing.public_key(KEY)])


def test_canonical_json_has_sorted_keys_and_no_spaces() -> None:
    assert (
        signing.canonical_json({"b": [1, {"z": 1, "a": "ü"}], "a": None})
        == '{"a":null,"b":[1,{"a":"ü","z":1}]}'.encode()
    )


def test_every_schema_is_compatible_with_its_released_versions() -> None:
    assert compatibility.check() == []


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> list[str]:
    folder = tmp_path / "definitions"
    shutil.copytree(compatibility.FOLDER, folder)
    path = folder / "device.heart_rate.json"
    data = json.loads(path.read_text())
    data["version"] = "1.1"
    change(data)
    path.write_text(json.dumps(data))
    history = tmp_path / "history"
    shutil.copytree(compatibility.HISTORY, history)
    (history / "device.heart_rate" / "1.1.json").write_text(json.dumps(data))
    return compatibility.check(folder, history)


def test_a_new_optional_field_is_fine(tmp_path: Path) -> None:
    assert changed(tmp_path, lambda d: d["fields"].append({"name": "site", "type": "string", "doc": "where"})) == []


@pytest.mark.parametrize(("change", "told"), [
    (lambda d: d["fields"].append({"name": "site", "type": "string", "required": True}), "site is required"),
    (lambda d: d["fields"].pop(0), "bpm is gone"),
    (lambda d: d["fields"][0].update(type="long"), "bpm was double, is long"),
    (lambda d: d["fields"][1]["symbols"].remove("STRAP"), "quality lost STRAP"),
    (lambda d: d["fields"][2].update(required=True), "sample_period_s became required"),
])  # fmt: skip
def test_what_breaks_earlier_records_is_told(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    assert any(told in problem for problem in changed(tmp_path, change))


def test_fields_do_not_change_without_a_new_version(tmp_path: Path) -> None:
    def silent(data: dict[str, Any]) -> None:
        data["version"] = "1.0"
        data["fields"].append({"name": "site", "type": "string"})

    assert any("without a new version" in problem for problem in changed(tmp_path, silent))
