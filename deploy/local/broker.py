"""A real single-node Apache Kafka (KRaft) on loopback, from jars; with SASL, an authorizer and TLS where asked for.

python -m deploy.local.broker start FOLDER [--port 9092]; python -m deploy.local.broker stop FOLDER
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import jars
from deploy.local.jars import StackError
from deploy.local.service import LOOPBACK, Service, free_port
from deploy.local.tls import Certificate

POM = Path(__file__).parent / "kafka" / "pom.xml"
FORMAT_S = 120


@dataclass(frozen=True)
class Security:
    """Who may connect, and how.

    Parameters
    ----------
    users
        Name → password; empty = anybody. The first is the administrator (super user, also of the broker itself).
    mechanism
        PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    tls
        Encrypt, with a certificate made for this broker (`Broker.certificate`).
    authorizer
        Nobody but the administrator may do anything that no ACL allows.
    """

    users: dict[str, str] = field(default_factory=dict)
    mechanism: str = "PLAIN"
    tls: bool = False
    authorizer: bool = False

    @property
    def protocol(self) -> str:
        return ("SASL_" if self.users else "") + ("SSL" if self.tls else "PLAINTEXT")


class Broker:
    """One broker in one folder; a start in a folder that has one goes on with its data and ports.

    Parameters
    ----------
    folder
        Data, configuration, `kafka.log`, `kafka.pid`.
    port
        Of the clients; 0 = a free one.
    heap
        Java heap.
    settings
        More lines of server.properties.
    """

    def __init__(
        self, folder: Path, port: int = 0, *, security: Security | None = None, heap: str = "320m",
        settings: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder.absolute()
        self.security = security or Security()
        self.heap, self.settings = heap, settings or {}
        kept = self._kept()
        self.port = kept[0] if kept else port or free_port()
        self.controller_port = kept[1] if kept else free_port()
        self.certificate = Certificate(self.folder / "tls") if self.security.tls else None
        self.service = Service("kafka", self.folder, [self.port, self.controller_port])

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self, timeout: float = 90.0) -> Broker:
        """Format if new, start, wait until it accepts connections.

        Raises
        ------
        StackError
            No Java, no jars, a port in use, or a broker that ends; one line, the rest is in `kafka.log`.
        """
        libs = jars.fetch(POM)
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.properties"
        fresh = not (self.folder / "data" / "meta.properties").exists()
        if self.certificate is not None:
            self.certificate.make()
        config.write_text(self._properties(), encoding="utf-8")
        config.chmod(0o600)
        (self.folder / "log4j2.yaml").write_text(LOG4J, encoding="utf-8")
        if fresh:
            self._format(libs, config)
        self.service.start(self._java(libs, "kafka.Kafka", str(config)), timeout)
        return self

    def stop(self) -> None:
        """Stop cleanly; the data stays."""
        self.service.stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.service.kill()

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def client(self, user: str | None = None) -> dict[str, object]:
        """Options of kafka-python for a user (None = the administrator) of this broker."""
        s = self.security
        out: dict[str, object] = {"bootstrap_servers": self.bootstrap, "security_protocol": s.protocol}
        if s.users:
            name = user or next(iter(s.users))
            out |= {
                "sasl_mechanism": s.mechanism,
                "sasl_plain_username": name,
                "sasl_plain_password": s.users[name],
            }
        if self.certificate is not None:
            out["ssl_cafile"] = str(self.certificate.public)
        return out

    # -- configuration ------------------------------------------------------------------------------------------------

    def _properties(self) -> str:
        lines = BASE.format(
            port=self.port, cport=self.controller_port, data=self.folder / "data", protocol=self.security.protocol,
            control="SASL_PLAINTEXT" if self.security.users else "PLAINTEXT",
        )  # fmt: skip
        return lines + "".join(f"{k}={v}\n" for k, v in {**self._secured(), **self.settings}.items())

    def _secured(self) -> dict[str, str]:
        s, out = self.security, {}
        if s.users:
            admin, word = next(iter(s.users.items()))
            login = f'username="{admin}" password="{word}"'
            known = " ".join(f'user_{name}="{w}"' for name, w in s.users.items())
            plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {login}"
            out["sasl.enabled.mechanisms"] = out["sasl.mechanism.inter.broker.protocol"] = s.mechanism
            out["sasl.mechanism.controller.protocol"] = "PLAIN"
            out["listener.name.controller.sasl.enabled.mechanisms"] = "PLAIN"
            out["listener.name.controller.plain.sasl.jaas.config"] = f'{plain} user_{admin}="{word}";'
            if s.mechanism == "PLAIN":
                out["listener.name.client.plain.sasl.jaas.config"] = f"{plain} {known};"
            else:
                module = "org.apache.kafka.common.security.scram.ScramLoginModule"
                out[f"listener.name.client.{s.mechanism.lower()}.sasl.jaas.config"] = f"{module} required {login};"
            if s.authorizer:
                out["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
                out["super.users"] = f"User:{admin}"
        elif s.authorizer:
            raise StackError("an authorizer needs users")
        if self.certificate is not None:
            out |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.certificate.private),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.certificate.public),
            }
        return out

    def _format(self, libs: Path, config: Path) -> None:
        name = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        scram = self.security.mechanism.startswith("SCRAM")
        users = [
            part
            for user, word in (self.security.users.items() if scram else ())
            for part in ("--add-scram", f"{self.security.mechanism}=[name={user},password={word}]")
        ]
        command = self._java(libs, "kafka.tools.StorageTool", "format", f"--cluster-id={name}", "-c", str(config), *users)
        done = subprocess.run(command, capture_output=True, timeout=FORMAT_S, check=False)
        if done.returncode:
            self.service.log.write_bytes(done.stdout + done.stderr)
            raise StackError(f"Kafka could not format its folder; see {self.service.log}")

    def _java(self, libs: Path, main: str, *args: str) -> list[str]:
        return [
            jars.java(), f"-Xmx{self.heap}", f"-Xms{self.heap}", "-XX:+UseSerialGC", "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={self.folder}/log4j2.yaml", "-cp", f"{libs}/*", main, *args,
        ]  # fmt: skip

    def _kept(self) -> tuple[int, int] | None:
        """Ports of an earlier start: clients hold the address, the quorum holds the voter."""
        try:
            text = (self.folder / "server.properties").read_text(encoding="utf-8")
            if not (self.folder / "data" / "meta.properties").exists():
                return None
            kept = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
            ports = [int(kept[k].rsplit(":", 1)[1]) for k in ("advertised.listeners", "controller.quorum.voters")]
        except (OSError, KeyError, ValueError, IndexError):
            return None
        return ports[0], ports[1]


BASE = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{cport}
controller.listener.names=CONTROLLER
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{cport}
advertised.listeners=CLIENT://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:{control},CLIENT:{protocol}
inter.broker.listener.name=CLIENT
log.dirs={data}
num.partitions=4
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
"""
LOG4J = """Configuration:
  Appenders: {Console: {name: C, PatternLayout: {pattern: "%d %p %m (%c)%n"}}}
  Loggers: {Root: {level: WARN, AppenderRef: [{ref: C}]}}
"""


def main(argv: list[str] | None = None) -> int:
    """Start or stop a broker; it stays up after this command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.broker", description=__doc__)
    parser.add_argument("what", choices=["start", "stop"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args(argv)
    broker = Broker(given.folder, given.port)
    try:
        if given.what == "stop":
            broker.stop()
        else:
            print(f"{broker.start().bootstrap} (log: {broker.service.log})")
    except StackError as error:
        print(f"kairos: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
