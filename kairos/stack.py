"""`kairos up`, `kairos down`, `kairos status`: Apache Kafka, Flink and Beam's job server on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.flink.cluster import Flink
    from deploy.local.broker import Broker

FOLDER = Path(".kairos")
Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Data, settings, pids and logs of the stack.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def parts(folder: Path, flink: bool = True) -> tuple[Broker, Flink | None]:
    """Broker and Flink of a stack folder; None where there is no Flink in it."""
    from deploy.flink.cluster import Flink
    from deploy.local.broker import Broker

    there = flink or (folder / "flink" / "ports.json").exists()
    return Broker(folder / "kafka"), Flink(folder / "flink") if there else None


def up(
    folder: Folder = FOLDER,
    flink: Annotated[bool, typer.Option("--flink/--no-flink", help="Also Flink and Beam's job server.")] = True,
    kafka_port: Annotated[int, typer.Option("--kafka-port", metavar="PORT")] = 9092,
    flink_port: Annotated[int, typer.Option("--flink-port", metavar="PORT", help="Flink's web page and REST.")] = 8081,
    job_port: Annotated[
        int, typer.Option("--job-port", metavar="PORT", help="Beam's jobs; artifacts one below.")
    ] = 8099,
    backend: Annotated[
        str, typer.Option("--backend", metavar="hashmap|rocksdb", help="Where Flink keeps state.")
    ] = "hashmap",
) -> None:
    """Start Apache Kafka and Flink on this machine, all on loopback. The first time fetches about 250 MB of jars.

    Needs a JDK 17 or newer and Maven. Example: kairos up && kairos run --brokers 127.0.0.1:9092 --runner flink
    """
    from deploy.flink.cluster import Flink, Ports
    from deploy.local.broker import Broker

    broker = Broker(folder / "kafka", kafka_port)
    if broker.service.pid is None:
        broker.start()
    print(f"Apache Kafka      {broker.bootstrap}   log {broker.service.log}")
    if flink:
        ports = Ports(rest=flink_port, job=job_port, artifact=job_port - 1)
        cluster = Flink(folder / "flink", ports, backend=backend).start()
        print(f"Flink             {cluster.rest}   logs {cluster.folder}/*.log")
        print(f"Beam job server   {cluster.job_endpoint}")
    print(f"Next: kairos topics create --brokers {broker.bootstrap}; stop with: kairos down")


def down(folder: Folder = FOLDER) -> None:
    """Stop what `kairos up` started, by its pids. Data and checkpoints stay."""
    broker, cluster = parts(folder, flink=False)
    stopped = cluster.stop() if cluster is not None else []
    if broker.service.stop():
        stopped.append("kafka")
    print(f"stopped: {', '.join(stopped) or 'nothing ran'}")


def status(folder: Folder = FOLDER) -> None:
    """Say what runs, and exit with 1 if a part that was started does not."""
    from deploy.local.jars import StackError

    broker, cluster = parts(folder, flink=False)
    missing = []
    services = {"kafka": broker.service, **(cluster.services if cluster is not None else {})}
    for name, service in services.items():
        fine = service.pid is not None and service.ready()
        print(f"{name:12} {'up, pid ' + str(service.pid) if fine else 'DOWN':20} {service.log}")
        if not fine:
            missing.append(name)
    if cluster is not None and cluster.services["jobmanager"].pid is not None:
        for job in cluster.get("/jobs/overview")["jobs"]:
            if job["state"] in ("RUNNING", "RESTARTING"):
                done = cluster.get(f"/jobs/{job['jid']}/checkpoints")
                last = done["latest"]["completed"]
                told = f"last checkpoint {last['id']}, {last['state_size']:,} bytes" if last else "no checkpoint yet"
                print(f"job          {job['name']} {job['state']} {job['jid']}: {told}")
    if missing:
        raise StackError(f"not running: {', '.join(missing)}")
