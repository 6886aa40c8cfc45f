"""The commands over Kafka: `kairos run`, `kairos archive`, `kairos topics create|check|acls` (contracts.md 3)."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

SELDOM_S = 60.0
topics_app = typer.Typer(no_args_is_help=True, help="Topics on a Kafka cluster, and who may use them.")

Brokers = Annotated[str | None, typer.Option("--brokers", metavar="HOST:PORT[,…]", help="Default: [kafka] of the settings.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="kairos.toml", help="Settings; all have defaults.")]


def register(app: typer.Typer) -> None:
    """Put the commands into the program."""
    app.command()(run)
    app.command()(archive)
    app.add_typer(topics_app, name="topics")


def run(
    brokers: Brokers = None,
    runner: Annotated[
        str, typer.Option("--runner", metavar="direct|flink", help="direct = this process; flink = kairos up.")
    ] = "direct",
    state: Annotated[
        Path, typer.Option("--state", metavar="FILE", help="SQLite file that a later run continues from.")
    ] = Path("out/live/state.db"),
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help="Stop when all is read and the log's clock is at T.")
    ] = None,
    fmt: Annotated[str, typer.Option("--format", metavar="avro|json", help="Form of the output records.")] = "avro",
    metrics_port: Annotated[int | None, typer.Option("--metrics-port", help="Serve Prometheus metrics on loopback.")] = None,
    config: Config = None,
) -> None:
    """Read the input topics live and publish who is to be told what, when and why; go on after any stop.

    Example: kairos run --brokers 127.0.0.1:9092
    """
    from connectors.kafka.options import KafkaOptions
    from kairos.main import ArgumentError, _instant, _say_demo
    from pipelines.live import Live
    from pipelines.live_options import LiveOptions
    from pipelines.monitoring import metrics
    from pipelines.settings import Settings

    if runner not in ("direct", "flink"):
        raise ArgumentError(f"--runner is direct or flink, not {runner!r}")
    if fmt not in ("avro", "json"):
        raise ArgumentError(f"--format is avro or json, not {fmt!r}")
    if runner == "flink":
        from kairos import flink_run

        flink_run.run(brokers=brokers, config=config, fmt=fmt)
        return
    end = _instant("--until", until)
    settings, options, live = Settings.load(config), KafkaOptions.load(config, brokers), LiveOptions.load(config)
    _say_demo(settings)
    _quiet_logs()
    carrier = Live(options, state, settings, live, end=end, form=fmt)
    if metrics_port is not None:
        print(f"metrics: http://127.0.0.1:{metrics.serve(metrics_port)}/metrics")
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: setattr(carrier, "stopping", True))
    print(f"live on {options.brokers}, state in {state}; stop with Ctrl-C. Research software. Not a medical device.", flush=True)
    try:
        carrier.run()
    finally:
        carrier.close()


def archive(
    out: Annotated[Path, typer.Option("--out", help="Log folder, new or of an earlier run.")],
    brokers: Brokers = None,
    config: Config = None,
) -> None:
    """Copy what is new on the topics to a Parquet log folder, each record exactly once; raw topics, homes and chat never.

    Example: kairos archive --brokers 127.0.0.1:9092 --out archive
    """
    from connectors.kafka.archive import Archive
    from connectors.kafka.options import KafkaOptions

    made = Archive(KafkaOptions.load(config, brokers), out)
    try:
        n = made.take()
    finally:
        made.close()
    dead = sum(made.dead.values())
    print(f"{n:,} records of {len(made.counts)} topics added to {out}" + (f", {dead} could not be read" if dead else ""))


@topics_app.command("create")
def create(
    brokers: Brokers = None,
    config: Config = None,
    replication: Annotated[int, typer.Option("--replication", help="Copies of each partition.")] = 1,
    partitions: Annotated[int | None, typer.Option("--partitions", help="Of every topic; default as the schemas say.")] = None,
    clock: Annotated[
        str | None, typer.Option("--clock", metavar="CreateTime", help="Keep the producer's times, to refill from an archive.")
    ] = None,
) -> None:
    """Make the topics that are missing: partitions, retention, compaction, the broker's clock."""
    from connectors.kafka import topics
    from connectors.kafka.options import KafkaOptions

    made = topics.create(KafkaOptions.load(config, brokers), replication=replication, partitions=partitions, clock=clock)
    print(f"{len(made)} topics made" + ("" if made else ": all were there"))


@topics_app.command("check")
def check(brokers: Brokers = None, config: Config = None) -> None:
    """Say what differs from the schemas' settings; non-zero if anything does."""
    from connectors.kafka import topics
    from connectors.kafka.options import KafkaOptions

    _tell(topics.check(KafkaOptions.load(config, brokers)), "topics are not as the schemas say", "all topics are as they should be")


@topics_app.command("acls")
def acls(
    brokers: Brokers = None,
    config: Config = None,
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="ROLE=NAME", help="The cluster's user of a role; default: its name.")
    ] = None,
    only_check: Annotated[bool, typer.Option("--check", help="Change nothing, say what is missing or too much.")] = False,
) -> None:
    """Give each role what it needs and no more: only ingest reads raw topics."""
    from connectors.kafka import topics
    from connectors.kafka.options import KafkaOptions
    from kairos.main import ArgumentError

    users: dict[str, str] = {}
    for pair in user or []:
        role, sign, name = pair.partition("=")
        if not sign or role not in topics.ROLES or not name:
            raise ArgumentError(f"--user {pair!r}: ROLE=NAME is expected, roles: {', '.join(topics.ROLES)}")
        users[role] = name
    options = KafkaOptions.load(config, brokers)
    if not only_check:
        print(f"{topics.apply(options, users)} permissions given")
    _tell(topics.missing(options, users), "permissions are not as they should be", "permissions are as they should be")


def _tell(problems: list[str], wrong: str, well: str) -> None:
    from kairos.main import ArgumentError

    for line in problems:
        print(line)
    if problems:
        raise ArgumentError(f"{len(problems)} {wrong}")
    print(well)


class _Lines(logging.Formatter):
    """One line a message, no trace: a trace could hold what was in a record."""

    def format(self, record: logging.LogRecord) -> str:
        kind = f" {record.exc_info[0].__name__}" if record.exc_info and record.exc_info[0] else ""
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        text = record.getMessage() if record.name.startswith("kairos") else str(record.msg)[:80]
        return " ".join(f"{stamp} {record.levelname} {record.name} {text}{kind}".split())


class _Seldom(logging.Filter):
    """Of the same trouble with a connection one line a minute: a client tries again twenty times a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock, self._said = clock, dict[tuple[str, str], float]()

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(("kafka", "kairos.librdkafka")):
            return True
        what = str(record.msg)
        kind = record.name, what.split(" ", 1)[0] if record.name == "kairos.librdkafka" else what
        now = self._clock()
        if now - self._said.get(kind, -SELDOM_S) < SELDOM_S:
            return False
        self._said[kind] = now
        return True


def _quiet_logs() -> None:
    handler: Any = logging.StreamHandler()
    handler.setFormatter(_Lines())
    handler.addFilter(_Seldom())
    logging.getLogger().handlers = [handler]
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("kairos").setLevel(logging.INFO)
