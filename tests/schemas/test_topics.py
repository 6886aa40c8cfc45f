"""Topics as data: the table and the field lists of topics.md, and what no field may hold."""

import json
import re

import pytest

from schemas import TOPICS, Field, UnknownTopic, topic
from tests.schemas.cases import examples

LATER = [t for t in TOPICS.values() if t.klass != "PRIVATE" and t.name != "clinical.home"]
FORBIDDEN = re.compile(r"query|url|latitude|longitude|^lat$|^lon$|package|(^|_)text$|body|message")


def walk(fields: tuple[Field, ...], where: str = "") -> list[tuple[str, Field]]:
    out = []
    for f in fields:
        out.append((where + f.name, f))
        inner = f.items.fields if f.items is not None else f.fields
        out += walk(inner, f"{where}{f.name}.")
    return out


def test_there_are_the_41_topics_of_the_specification_and_no_export_or_partner_topic() -> None:
    assert len(TOPICS) == 41
    assert not [n for n in TOPICS if re.search("export|partner|market", n)]


def test_an_unknown_name_is_no_topic() -> None:
    with pytest.raises(UnknownTopic):
        topic("device.mood_ring")


@pytest.mark.parametrize("t", LATER, ids=lambda t: t.name)
def test_s05_no_field_after_ingest_can_hold_text_coordinates_or_app_names(t) -> None:
    found = {path for path, _ in walk(t.fields) if FORBIDDEN.search(path.rsplit(".", 1)[-1])}
    assert found <= ({"text"} if t.name == "chat.inbound" else set())


def test_chat_outbound_has_no_free_text() -> None:
    free = {p for p, f in walk(TOPICS["chat.outbound"].fields) if f.kind == "string"}
    assert free == {"session_id", "reply_id", "pack_id", "pack_version", "pack_hash", "locale", "intent"}


def test_s15_no_field_names_a_cause_a_code_of_an_illness_or_a_commercial_tag() -> None:
    bad = re.compile("icd|aetiolog|etiolog|diagnos|commercial|sponsor|campaign")
    assert not [(t.name, p) for t in TOPICS.values() for p, _ in walk(t.fields) if bad.search(p)]


def test_s19_no_purpose_of_consent_is_marketing() -> None:
    purpose = next(f for f in TOPICS["clinical.consent"].fields if f.name == "purpose")
    assert purpose.symbols == (
        "CARE_USER_MSG", "THERAPIST_ALERT_ACUTE", "THERAPIST_ALERT_TREND", "MONITORING_STATUS",
        "THERAPIST_SESSION_VIEW", "RESEARCH",
    )  # fmt: skip


def test_every_field_says_what_it_is() -> None:
    assert not [(t.name, f.name) for t in TOPICS.values() for f in t.fields if not f.doc.strip()]


def test_every_topic_has_an_example() -> None:
    assert not [t.name for t in TOPICS.values() if not t.examples]


def test_raw_and_device_records_stay_7_days_and_decisions_5_years() -> None:
    short = [t for t in TOPICS.values() if t.name.startswith(("raw.", "device."))]
    assert {t.retention_days for t in short} == {7}
    assert {TOPICS[n].retention_days for n in ("jitai.decision", "notifications", "audit", "case.file")} == {1826}
    assert TOPICS["model.snapshot"].compacted
    assert TOPICS["clinical.consent"].retention_days is None


def test_raw_topics_are_read_by_ingest_alone() -> None:
    assert {t.readers for t in TOPICS.values() if t.klass == "PRIVATE"} == {("ingest",)}


@pytest.mark.parametrize("name", TOPICS)
def test_the_avro_schema_says_the_version_and_documents_every_field(name: str) -> None:
    schema = TOPICS[name].avro
    assert schema["kairos"] == f"{name}:{TOPICS[name].version}"
    value = next(f for f in schema["fields"] if f["name"] == "value")
    assert all(f["doc"] for f in schema["fields"] + value["type"]["fields"])


@pytest.mark.parametrize("name", TOPICS)
def test_examples_are_those_of_the_contract_form(name: str) -> None:
    for record in examples(name):
        assert json.loads(json.dumps(record)) == record
