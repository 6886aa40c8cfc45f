"""A program's front end in a hundred lines: plays one exposure session against Kairos, over Kafka or in process.

    python -m examples.program_client                              # in process, nothing else is needed
    python -m examples.program_client --brokers localhost:9092     # against a running `kairos run`

It says what it sends and what it is told. The person is made up. Research software. Not a medical device.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any, Protocol

USER, SESSION = "example-person", "example-session"
SHOWN = ("SET_STIMULUS", "STEP_UP", "STEP_DOWN", "HOLD")
FACTORS = ("colour", "type", "size")


class Wire(Protocol):
    """How records go out and commands come back."""

    def send(self, kind: str, **fields: Any) -> None: ...
    def heart(self, bpm: float) -> None: ...
    def wait(self, seconds: float) -> dict[str, Any] | None: ...


class KafkaWire:
    """therapy.event and device.heart_rate out, therapy.command in; values are JSON records (contracts: record).

    Parameters
    ----------
    grant
        Also send the consent of a made-up person, for trying things out.
    """

    def __init__(self, brokers: str, user: str = USER, session: str | None = None, grant: bool = False) -> None:
        from kafka import KafkaConsumer, KafkaProducer

        self.user, self.session, self.seq = user, session or f"{SESSION}-{int(time.time())}", 0
        self.producer = KafkaProducer(bootstrap_servers=brokers, linger_ms=0)
        self.consumer = KafkaConsumer("therapy.command", bootstrap_servers=brokers, auto_offset_reset="latest", group_id=None)
        self.consumer.poll(timeout_ms=2_000)  # from here on
        self.told: list[dict[str, Any]] = []
        if grant:
            self._grant()

    def _put(self, topic: str, value: dict[str, Any]) -> None:
        now = int(time.time() * 1_000)
        record = {"user": self.user, "event_time": now, "tz_offset_min": 0, "source_id": f"client-{self.session}", "seq": self.seq,
                  "value": value}  # fmt: skip
        self.seq += 1
        self.producer.send(topic, key=self.user.encode(), value=json.dumps(record).encode())
        self.producer.flush()

    def _grant(self) -> None:
        now = int(time.time() * 1_000)
        self._put("clinical.consent", {
            "consent_id": "example", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": "SELF",
            "purpose": "CARE_USER_MSG", "modalities": ["THERAPY", "HEART_RATE"], "effect": "PERMIT", "valid_from": now - 60_000,
            "valid_to": now + 86_400_000, "signature": "demo",
        })  # fmt: skip
        time.sleep(2)

    def send(self, kind: str, **fields: Any) -> None:
        self._put("therapy.event", {"program": "SPIDER", "session_id": self.session, "kind": kind, **fields})

    def heart(self, bpm: float) -> None:
        self._put("device.heart_rate", {"bpm": bpm, "quality": "STRAP", "sample_period_s": 1.0})

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """The next command of this session, None if none comes in time. Commands of both forms are read."""
        end = time.monotonic() + seconds
        while not self.told and time.monotonic() < end:
            for batch in self.consumer.poll(timeout_ms=50).values():
                for message in batch:
                    value = _value(message.value)
                    if value.get("session_id") == self.session:
                        self.told.append(value)
        return self.told.pop(0) if self.told else None


def _value(data: bytes) -> dict[str, Any]:
    """The value of a record: JSON, or Avro with the schemas of this repository."""
    if data[:1] == b"{":
        return dict(json.loads(data)["value"])
    import io

    import fastavro

    from schemas import topic

    # single-object encoding has ten bytes before the body, a registry's framing five
    body = io.BytesIO(data[10:] if data[:2] == b"\xc3\x01" else data[5:])
    return dict(fastavro.schemaless_reader(body, fastavro.parse_schema(topic("therapy.command").avro))["value"])  # type: ignore[arg-type,call-overload,index]


class InProcessWire:
    """The same against a machine in this process; its clock jumps, so that nobody has to wait."""

    def __init__(self, user: str = USER, session: str = SESSION) -> None:
        from simulator.patients import Player

        self.now, self.user, self.session = 1_779_278_400_000, user, session
        consent = {
            "consent_id": "example", "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": "SELF",
            "purpose": "CARE_USER_MSG", "modalities": ["THERAPY", "HEART_RATE"], "effect": "PERMIT", "valid_from": self.now - 60_000,
            "valid_to": self.now + 86_400_000, "signature": "demo",
        }  # fmt: skip
        record = {"user": user, "event_time": self.now - 60_000, "ingest_time": self.now - 60_000, "tz_offset_min": 0,
                  "source_id": "clinic", "seq": 0, "event_id": "example-consent", "value": consent}  # fmt: skip
        self.player = Player(user, {"clinical.consent": [record]})
        self.told: list[dict[str, Any]] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.player.event("SPIDER", self.session, kind, self.now, **fields)

    def heart(self, bpm: float) -> None:
        self.player.heart(self.now, bpm)
        self.now += 1_000

    def wait(self, seconds: float) -> dict[str, Any] | None:
        self.now += 2_000
        self.told += self.player.run(self.now)
        return self.told.pop(0) if self.told else None


def play(wire: Wire, trials: int, seconds: int = 60, rest: int = 120, pause: int = 30, seed: int = 1) -> list[dict[str, Any]]:
    """One session: rest, trials as commanded, end. Every command received, in order.

    A command may come twice or out of turn after a lost connection: the one with the highest `command_seq` counts.
    """
    rng = random.Random(seed)
    wire.send("SESSION_START", stage="GRADED")
    wire.send("BASELINE_START")
    for _ in range(rest):
        wire.heart(66 + rng.gauss(0, 1))
    wire.send("BASELINE_END")
    said: list[dict[str, Any]] = []
    for i in range(trials):
        command = wire.wait(10)
        if command is None:
            print("no answer: what is shown stays as it is")
        else:
            print(f"{command['command_seq']:3} {command['action']:12} {command['reason']:14} {dict(command['params'])}")
            said.append(command)
        if said and said[-1]["action"] == "STOP":
            break
        shown = next((c["params"] for c in reversed(said) if c["action"] in SHOWN and "colour" in c["params"]), {})
        factors = {f: shown[f] for f in FACTORS if f in shown}
        for _ in range(pause):
            wire.heart(66 + rng.gauss(0, 1))
        wire.send("TRIAL_START", trial_id=f"t{i}", factors=factors)
        fear = 14.0 * (factors.get("colour") == "BLACK") + 3.0
        for _ in range(seconds):
            wire.heart(66 + fear + rng.gauss(0, 1))
        wire.send("TRIAL_END", trial_id=f"t{i}", factors=factors, suds=min(88.0, 12 + fear + max(0.0, 20.0 - 5 * i)))
    wire.send("SESSION_END")
    while (command := wire.wait(2)) is not None:
        said.append(command)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.program_client", description=__doc__)
    parser.add_argument("--brokers", help="HOST:PORT of a Kafka with `kairos run` on it; absent: in process")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=60, help="of a trial")
    given = parser.parse_args()
    wire: Wire = KafkaWire(given.brokers, grant=True) if given.brokers else InProcessWire()
    said = play(wire, given.trials, given.seconds)
    print(f"{len(said)} commands. A made-up person. Research software. Not a medical device.")


if __name__ == "__main__":
    main()
