"""Which library reads and sends, and what librdkafka is told; that both do the same is tested in `test_kafka.py`."""

from __future__ import annotations

import pytest

from connectors.kafka import options as kafka_options
from connectors.kafka.options import NATIVE, SECURITY, KafkaOptions, KafkaSettingsError

KERBEROS = {"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI", "sasl_kerberos_domain_name": "clinic"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_options.importlib.util, "find_spec", lambda name: object())


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_options.importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("installed")
def test_librdkafka_is_used_where_it_is_installed_unless_the_settings_say_otherwise_or_it_cannot() -> None:
    assert KafkaOptions().native()
    assert KafkaOptions.read({"library": "librdkafka"}).native()
    assert not KafkaOptions.read({"library": "kafka-python"}).native()
    assert not KafkaOptions.read(KERBEROS).native()
    assert not KafkaOptions.read({"sasl_mechanism": "GSSAPI"}).native()


@pytest.mark.usefixtures("absent")
def test_without_it_kafka_python_reads_and_sends_and_who_asks_for_it_is_told_how_to_get_it() -> None:
    assert not KafkaOptions().native()
    with pytest.raises(KafkaSettingsError, match=r"kairos-jitai\[librdkafka\]"):
        KafkaOptions.read({"library": "librdkafka"}).native()


@pytest.mark.usefixtures("installed")
def test_asked_for_what_it_cannot_do_it_says_so() -> None:
    with pytest.raises(KafkaSettingsError, match="sasl_kerberos_domain_name"):
        KafkaOptions.read({**KERBEROS, "library": "librdkafka"}).native()
    with pytest.raises(KafkaSettingsError, match="auto, kafka-python, librdkafka"):
        KafkaOptions.read({"library": "java"})


def test_security_is_said_in_the_names_that_librdkafka_knows() -> None:
    native = pytest.importorskip("connectors.kafka.librdkafka", reason="confluent-kafka is not installed")
    given = {
        "security_protocol": "SASL_SSL", "ssl_cafile": "ca.pem", "ssl_check_hostname": False, "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "u", "sasl_plain_password": "p",
    }  # fmt: skip
    said = native.settings(KafkaOptions.read({"brokers": "a:1,b:2", **given}))
    assert said.items() >= {
        "bootstrap.servers": "a:1,b:2", "security.protocol": "SASL_SSL", "ssl.ca.location": "ca.pem",
        "ssl.endpoint.identification.algorithm": "none", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p",
    }.items()  # fmt: skip
    assert NATIVE.keys() <= SECURITY


def test_errors_are_those_of_kafka_python_by_name_and_nothing_else() -> None:
    confluent = pytest.importorskip("confluent_kafka")
    native = pytest.importorskip("connectors.kafka.librdkafka")
    names = {confluent.KafkaError._FENCED: "ProducerFencedError", confluent.KafkaError._MSG_TIMED_OUT: "KafkaTimeoutError",
             confluent.KafkaError._TRANSPORT: "KafkaConnectionError", 29: "TopicAuthorizationFailedError"}  # fmt: skip
    for code, name in names.items():
        made = native.as_error(confluent.KafkaError(code, "canary"))
        assert type(made).__name__ == name
        assert "canary" not in str(made)
