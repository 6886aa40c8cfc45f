"""A live run on Flink (or Prism): submit, watch, stop with a savepoint. `kairos run --runner flink` and `kairos flink …`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kairos.stack import FOLDER, Folder, parts

if TYPE_CHECKING:
    from connectors.kafka.options import KafkaOptions

app = typer.Typer(no_args_is_help=True, help="Live runs on Apache Flink.")
EVERY_S = 5.0


def lanes_at(kafka: KafkaOptions) -> int:
    """Lanes of the topics at a broker (`connectors.kafka.lanes`).

    Raises
    ------
    NotSafe
        There are no input topics.
    """
    from connectors.kafka.lane_client import KafkaLaneClient
    from connectors.kafka.lanes import lanes_of
    from pipelines.on_flink import NotSafe
    from pipelines.read_lane import READ

    client = KafkaLaneClient(kafka, "kairos-lanes")
    try:
        found = client.partitions(READ)
    finally:
        client.close()
    if not found:
        raise NotSafe("no input topics at these brokers: create them first (kairos topics create)")
    return lanes_of(len(p) for p in found.values())


@app.command("run")
def run(
    brokers: Annotated[str | None, typer.Option("--brokers", metavar="HOST:PORT")] = None,
    folder: Folder = FOLDER,
    config: Annotated[Path | None, typer.Option("--config", metavar="kairos.toml")] = None,
    name: Annotated[str, typer.Option("--name", help="Of the job and of its consumer group.")] = "kairos",
    parallelism: Annotated[int, typer.Option("--parallelism", metavar="N")] = 2,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Python processes a TaskManager.")] = 2,
    environment: Annotated[
        str, typer.Option("--environment", metavar="PROCESS|EXTERNAL|DOCKER|LOOPBACK", help="Where Python runs.")
    ] = "PROCESS",
    environment_config: Annotated[
        str, typer.Option("--environment-config", help="Command, HOST:PORT or image; default: this installation.")
    ] = "",
    job_server: Annotated[
        str, typer.Option("--job-server", metavar="HOST:PORT", help="Default: that of kairos up.")
    ] = "",
    checkpoint_ms: Annotated[int, typer.Option("--checkpoint-ms", metavar="MS")] = 5_000,
    fmt: Annotated[
        str, typer.Option("--format", metavar="avro|json", help="Form of the output records.")
    ] = "avro",
    hold_ms: Annotated[
        int, typer.Option("--hold-ms", metavar="MS", help="Wait for stragglers of other topics.")
    ] = 2_000,
    savepoint: Annotated[
        str | None, typer.Option("--restore", metavar="PATH|last", help="Savepoint or checkpoint to go on from.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="Further Beam or Flink option.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not watch; the job goes on by itself either way.")
    ] = False,
) -> None:
    """Start the live graph on Flink and watch that it reads. Ctrl-C ends the watching, not the job.

    Example: kairos flink run --brokers 127.0.0.1:9092
    """
    from connectors.kafka.options import KafkaOptions
    from pipelines.on_flink import Engine, NotSafe, submit
    from pipelines.settings import Settings
    from pipelines.stream_options import Stream

    _, cluster = parts(folder)
    assert cluster is not None
    if savepoint == "last":
        savepoint = newest(cluster.folder)
    host, _, port = job_server.rpartition(":")
    artifact = f"{host}:{int(port) - 1}" if port.isdigit() else cluster.artifact_endpoint
    engine = Engine(
        job_server or cluster.job_endpoint, artifact, environment, environment_config or str(cluster.worker), workers, parallelism,
        checkpoint_ms=checkpoint_ms, savepoint=savepoint, name=name, more=tuple(option or ()),
    )  # fmt: skip
    if environment == "PROCESS" and not environment_config and not cluster.worker.exists():
        raise NotSafe(f"{cluster.worker} is not there: start the stack first (kairos up), or give --environment-config")
    kafka = KafkaOptions.load(config, brokers)
    stream = Stream(kafka, Settings.load(config), group=name, form=fmt, lanes=lanes_at(kafka), hold_ms=hold_ms)
    result = submit(stream, engine.options())
    print(
        f"submitted: {name}, {stream.lanes} lanes; {cluster.rest} shows it; stop with: kairos flink stop --name {name}"
    )
    if not detach:
        watch(kafka, name, result)


@app.command("stop")
def stop(
    folder: Folder = FOLDER,
    name: Annotated[str, typer.Option("--name")] = "kairos",
    keep: Annotated[bool, typer.Option("--keep-running", help="Only write the savepoint.")] = False,
) -> None:
    """Write a savepoint and end the job; prints where `kairos flink run --restore` can go on."""
    from pipelines.on_flink import NotSafe

    _, cluster = parts(folder)
    assert cluster is not None
    job = cluster.job(name)
    if job is None:
        raise NotSafe(f"no job {name!r} runs")
    print(cluster.savepoint(job, stop=not keep))


@app.command("worker")
def worker(
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="On loopback.")] = 50_000,
    folder: Folder = FOLDER,
) -> None:
    """A pool of Python workers for `--environment EXTERNAL --environment-config 127.0.0.1:PORT`."""
    from deploy.flink.worker_pool import serve

    _, cluster = parts(folder)
    assert cluster is not None
    serve(port, str(cluster.worker))


def newest(folder: Path) -> str:
    """The newest retained checkpoint or savepoint of a Flink folder, of whichever job.

    Raises
    ------
    NotSafe
        There is none.
    """
    from pipelines.on_flink import NotSafe

    found = [*folder.glob("checkpoints/*/chk-*/_metadata"), *folder.glob("savepoints/*/_metadata")]
    if not found:
        raise NotSafe(f"{folder}: no checkpoint or savepoint to go on from")
    return max(found, key=lambda p: p.stat().st_mtime).parent.as_uri()


def watch(kafka: KafkaOptions, group: str, result: Any) -> None:
    """Until the job ends: say at once when it fails, or runs without reading."""
    from kafka import KafkaConsumer, TopicPartition

    from pipelines.on_flink import Heartbeat, NotSafe
    from pipelines.read_lane import READ

    consumer = KafkaConsumer(**kafka.client(group_id=group, enable_auto_commit=False))
    heart, told = Heartbeat(), False
    while result.state not in ("DONE", "FAILED", "CANCELLED"):
        time.sleep(EVERY_S)
        try:
            there = consumer.topics()
            names = [n for t in READ if (n := kafka.name(t)) in there]
            parts_ = [TopicPartition(n, p) for n in names for p in consumer.partitions_for_topic(n) or ()]
            ends = {(p.topic, p.partition): int(o) for p, o in consumer.end_offsets(parts_).items()}
            done = {(p.topic, p.partition): int(consumer.committed(p) or 0) for p in parts_}
        except Exception as error:
            print(f"kairos: the brokers do not answer ({type(error).__name__})", file=sys.stderr)
            continue
        wrong = heart.see(time.monotonic(), ends, done)
        if wrong and not told:
            print(f"kairos: {wrong}", file=sys.stderr)
        told = bool(wrong)
    if result.state == "FAILED":
        raise NotSafe("the job failed; see Flink's logs (kairos status)")
