"""Topics and who may use them, from the settings in `schemas/` (topics.md 1)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewTopic,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)  # fmt: skip
from kafka.errors import KafkaError

from connectors.base import NotALog
from connectors.kafka.options import KafkaOptions
from schemas import TOPICS
from schemas.topics import Topic

DAY_MS = 86_400_000
SPREAD_S = 60.0
ROLES = ("ingest", "person", "delivery", "clinic", "study", "app", "program", "ops", "auditor", "privacy")
MACHINES = ("ingest", "person")


@dataclass(frozen=True)
class Rule:
    """One permission: a role may do something with a thing of a name."""

    role: str
    operation: str
    kind: str
    name: str


def configs(t: Topic) -> dict[str, str]:
    """Kafka's settings of a topic: retention, compaction, the broker's clock."""
    if t.compacted:
        kept = {"cleanup.policy": "compact"}
    else:
        days = t.retention_days
        kept = {"cleanup.policy": "delete", "retention.ms": "-1" if days is None else str(days * DAY_MS)}
    clock = "LogAppendTime" if t.klass in ("PRIVATE", "IN", "MID") else "CreateTime"
    return {**kept, "message.timestamp.type": clock}


def _of_an_archive(t: Topic, clock: str | None) -> dict[str, str]:
    if clock is None:
        return {}
    forever = {} if t.compacted or clock != "CreateTime" else {"retention.ms": "-1"}
    return {"message.timestamp.type": clock, **forever}


def create(options: KafkaOptions, *, replication: int = 1, partitions: int | None = None, clock: str | None = None) -> list[str]:
    """Make the topics that are not there; their names.

    Parameters
    ----------
    partitions
        Of every topic; None = as `schemas/` says. All topics of one person's records must agree in number.
    clock
        `CreateTime` for all, to fill topics from an archive with its own times. Brokers delete by these times: such topics keep
        their records until they are deleted by hand.
    """
    with _admin(options) as admin:
        there = set(admin.client.list_topics())
        new = [t for t in TOPICS.values() if options.name(t.name) not in there]
        made = [
            NewTopic(
                name=options.name(t.name), num_partitions=partitions or t.partitions, replication_factor=replication,
                topic_configs={**configs(t), **_of_an_archive(t, clock)},
            )
            for t in new
        ]  # fmt: skip
        if made:
            admin.client.create_topics(made, wait_for_metadata=True)
    return [t.name for t in new]


def check(options: KafkaOptions) -> list[str]:
    """What differs from the settings, one line each; empty = all well."""
    out = []
    with _admin(options) as admin:
        there = set(admin.client.list_topics())
        known = [t for t in TOPICS.values() if options.name(t.name) in there]
        out += [f"{t.name}: missing" for t in TOPICS.values() if t not in known]
        if not known:
            return out
        described = admin.client.describe_topics([options.name(t.name) for t in known])
        counts = {d["name"]: len(d["partitions"]) for d in described}
        asked = [ConfigResource(ConfigResourceType.TOPIC, options.name(t.name)) for t in known]
        found = _values(admin.client.describe_configs(asked, config_filter="all"))
    for t in known:
        name = options.name(t.name)
        if counts[name] < t.partitions:
            out.append(f"{t.name}: {counts[name]} partitions, not {t.partitions}")
        for key, value in configs(t).items():
            if (has := found.get(name, {}).get(key)) != value:
                out.append(f"{t.name}: {key} is {has}, not {value}")
    return out


def rules(prefix: str = "") -> list[Rule]:
    """Least privilege: a topic's readers read it; ingest alone reads raw topics; the two machines write what they make."""
    out: set[Rule] = set()
    for t in TOPICS.values():
        name = prefix + t.name
        for role in t.readers:
            if role in ROLES:
                out |= {Rule(role, "READ", "TOPIC", name), Rule(role, "DESCRIBE", "TOPIC", name)}
        if t.klass == "MID":
            out |= _writes("ingest", name)
        if t.klass in ("OUT", "STATE"):
            out |= _writes("person", name)
        if t.klass in ("IN", "MID") and not t.control:  # what ingest passes on
            out |= {Rule("ingest", "READ", "TOPIC", name), Rule("ingest", "DESCRIBE", "TOPIC", name)}
        if t.control:
            out |= {Rule("ingest", "READ", "TOPIC", name), Rule("ingest", "DESCRIBE", "TOPIC", name)}
    out |= _writes("ingest", prefix + "dlq")
    for role in ROLES:
        out.add(Rule(role, "READ", "GROUP", f"{prefix}kairos-{role}"))
    for role in MACHINES:
        out |= {Rule(role, o, "TRANSACTIONAL_ID", f"{prefix}kairos-{role}") for o in ("WRITE", "DESCRIBE")}
        out.add(Rule(role, "READ", "TOPIC", prefix + "dlq"))  # where the marker of the outbox lies
        out.add(Rule(role, "DESCRIBE", "TOPIC", prefix + "dlq"))
    return sorted(out, key=lambda r: (r.role, r.kind, r.name, r.operation))


def _writes(role: str, name: str) -> set[Rule]:
    return {Rule(role, "WRITE", "TOPIC", name), Rule(role, "DESCRIBE", "TOPIC", name)}


def apply(options: KafkaOptions, users: dict[str, str] | None = None) -> int:
    """Give the permissions; how many there are.

    Parameters
    ----------
    users
        Role → name of its user on the cluster; a role not named is its own user.
    """
    named = users or {}
    wanted = [
        ACL(
            principal=f"User:{named.get(r.role, r.role)}", host="*", operation=ACLOperation[r.operation],
            permission_type=ACLPermissionType.ALLOW, resource_pattern=ResourcePattern(ResourceType[r.kind], r.name),
        )
        for r in rules(options.prefix)
    ]  # fmt: skip
    with _admin(options) as admin:
        answer = admin.client.create_acls(wanted)
    failed = answer.get("failed", []) if isinstance(answer, dict) else []
    if failed:
        raise NotALog(f"Kafka at {options.brokers}: {len(failed)} permissions were refused")
    end = time.monotonic() + SPREAD_S
    while (left := [line for line in missing(options, users) if " may not " in line]) and time.monotonic() < end:
        time.sleep(0.5)  # the controller has them, the brokers hear of them
    if left:
        raise NotALog(f"Kafka at {options.brokers}: {len(left)} permissions were given and do not show, e.g. {left[0]}")
    return len(wanted)


def missing(options: KafkaOptions, users: dict[str, str] | None = None) -> list[str]:
    """Permissions that should be there and are not, and such that let others than ingest read a raw topic."""
    named = users or {}
    with _admin(options) as admin:
        anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        answer = admin.client.describe_acls(
            ACLFilter(
                principal=None, host=None, operation=ACLOperation.ANY, permission_type=ACLPermissionType.ANY,
                resource_pattern=anything,
            )
        )  # fmt: skip
    acls = answer[0] if isinstance(answer, tuple) else answer
    there = {(a.principal, a.operation.name, a.resource_pattern.resource_type.name, a.resource_pattern.resource_name) for a in acls}
    out = []
    for r in rules(options.prefix):
        if (f"User:{named.get(r.role, r.role)}", r.operation, r.kind, r.name) not in there:
            out.append(f"{r.role} may not {r.operation} {r.kind} {r.name}")
    raw = {options.name(t.name) for t in TOPICS.values() if t.klass == "PRIVATE"}
    own = f"User:{named.get('ingest', 'ingest')}"
    for who, operation, kind, name in sorted(there):
        if kind == "TOPIC" and name in raw | {"*"} and operation in ("READ", "ALL") and who != own:
            out.append(f"{who} may read {name}: only ingest may")
    return out


class _admin:  # noqa: N801 (reads as a word)
    """An admin client that is closed; errors of the cluster are one line."""

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options

    def __enter__(self) -> _admin:
        try:
            self.client = KafkaAdminClient(**self.options.client())
        except (KafkaError, OSError) as error:
            raise NotALog(f"Kafka at {self.options.brokers}: {type(error).__name__}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.client.close()
        if isinstance(error, KafkaError):
            raise NotALog(f"Kafka at {self.options.brokers}: {type(error).__name__}") from None


def _values(answer: dict[str, dict[str, dict[str, dict[str, object]]]]) -> dict[str, dict[str, str]]:
    """Topic → setting → value of `describe_configs`."""
    return {t: {k: str(v["value"]) for k, v in entries.items()} for t, entries in answer.get("topic", {}).items()}
