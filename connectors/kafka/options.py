"""How to reach Kafka: section `[kafka]` of kairos.toml, the rest of kafka-python's options passed through."""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.base import NotALog

SECURITY = frozenset({
    "security_protocol", "ssl_check_hostname", "ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile", "ssl_password",
    "ssl_ciphers", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password", "sasl_kerberos_name",
    "sasl_kerberos_service_name", "sasl_kerberos_domain_name",
})  # fmt: skip
QUICK = {"bootstrap_timeout_ms": 15_000, "request_timeout_ms": 10_000, "reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 1_000}
NATIVE = {  # names of kafka-python's options → those of librdkafka; what is not here it can't do
    "security_protocol": "security.protocol", "ssl_check_hostname": "ssl.endpoint.identification.algorithm",
    "ssl_cafile": "ssl.ca.location", "ssl_certfile": "ssl.certificate.location", "ssl_keyfile": "ssl.key.location",
    "ssl_crlfile": "ssl.crl.location", "ssl_password": "ssl.key.password", "ssl_ciphers": "ssl.cipher.suites",
    "sasl_mechanism": "sasl.mechanism", "sasl_plain_username": "sasl.username", "sasl_plain_password": "sasl.password",
}  # fmt: skip
NATIVE_SASL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")  # what its wheels can do from settings alone
LIBRARIES = ("auto", "kafka-python", "librdkafka")
AWAY_S = 120  # for so long a job on an engine waits for its broker: giving up would restart it (decision 0063)


class KafkaSettingsError(NotALog):
    """The section can't be used; one line for the operator."""


@dataclass(frozen=True)
class KafkaOptions:
    """Section `[kafka]`.

    Parameters
    ----------
    brokers
        `host:port,host:port`.
    registry
        URL of a schema registry with Confluent's API; empty = Avro single-object encoding.
    prefix
        Put before every topic's name, for several sites on one cluster.
    library
        What reads and sends records: `kafka-python`, `librdkafka` (package confluent-kafka), or `auto`: librdkafka if it is
        installed and can do what `security` asks for (Kerberos it can't, as its wheels come).
    security
        Names of kafka-python's `security_protocol`, `ssl_*`, `sasl_*` options.
    """

    brokers: str = "127.0.0.1:9092"
    registry: str = ""
    prefix: str = ""
    library: str = "auto"
    security: dict[str, Any] = field(default_factory=dict)

    def client(self, **more: Any) -> dict[str, Any]:
        """Options of any kafka-python client."""
        servers = [s.strip() for s in self.brokers.split(",") if s.strip()]
        return {"bootstrap_servers": servers, **QUICK, **self.security, **more}

    def name(self, topic: str) -> str:
        """A topic's name on this cluster."""
        return self.prefix + topic

    def native(self) -> bool:
        """Whether librdkafka reads and sends.

        Raises
        ------
        KafkaSettingsError
            `library` asks for it, and it is not installed or can't do what `security` asks for.
        """
        if self.library == "kafka-python":
            return False
        mechanism = self.security.get("sasl_mechanism", "PLAIN")
        lacking = sorted(set(self.security) - set(NATIVE)) + [mechanism] * (mechanism not in NATIVE_SASL)
        there = importlib.util.find_spec("confluent_kafka") is not None
        if self.library == "librdkafka" and (lacking or not there):
            why = f"it can't do {lacking[0]}" if lacking else "pip install 'kairos-jitai[librdkafka]' installs it"
            raise KafkaSettingsError(f"kafka.library is librdkafka: {why}")
        return there and not lacking

    @staticmethod
    def load(path: Path | None, brokers: str | None = None) -> KafkaOptions:
        """Read `[kafka]` of kairos.toml; `brokers` (of the command line) goes before.

        Raises
        ------
        KafkaSettingsError
            An unknown name or a value of the wrong type.
        """
        given: dict[str, Any] = {}
        if path is not None:
            try:
                given = tomllib.loads(path.read_text(encoding="utf-8")).get("kafka", {})
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise KafkaSettingsError(f"{path}: not a readable TOML file ({type(error).__name__})") from None
        return KafkaOptions.read(given, str(path), brokers)

    @staticmethod
    def read(given: Any, where: str = "kairos.toml", brokers: str | None = None) -> KafkaOptions:
        """The section as parsed TOML."""
        if not isinstance(given, dict):
            raise KafkaSettingsError(f"{where}: kafka must be a [section]")
        own = {k: v for k, v in given.items() if k in ("brokers", "registry", "prefix", "library")}
        security = {k: v for k, v in given.items() if k not in own}
        for key, value in own.items():
            if not isinstance(value, str):
                raise KafkaSettingsError(f"{where}: kafka.{key} must be a str")
        if own.get("library", "auto") not in LIBRARIES:
            raise KafkaSettingsError(f"{where}: kafka.library must be one of {', '.join(LIBRARIES)}")
        for key, value in security.items():
            if key not in SECURITY:
                raise KafkaSettingsError(f"{where}: unknown setting kafka.{key}")
            if not isinstance(value, (str, bool)):
                raise KafkaSettingsError(f"{where}: kafka.{key} must be a str or a bool")
        if brokers:
            own["brokers"] = brokers
        return KafkaOptions(**own, security=security)
