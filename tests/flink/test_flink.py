"""Live = replay on a real Flink cluster (JobManager, TaskManager, job server) with a real Kafka, also when things are killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.options import KafkaOptions
from deploy.flink import jars as flink_jars
from deploy.flink.cluster import Flink, Ports
from deploy.local import jars
from deploy.local.broker import Broker
from deploy.local.jars import StackError
from pipelines.on_flink import Engine, submit
from pipelines.stream_options import Stream
from simulator.people import simulate
from tests.flink import stage

PARTITIONS = 4
PATIENCE_S = 180
A_FEW = 250  # records a reading takes, so that a kill hits the middle of the work


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    try:
        jars.java()
        jars.maven()
        flink_jars.patch(jars.fetch(flink_jars.POM))
    except StackError as error:
        pytest.skip(f"no Flink here: {error}")
    cluster = Flink(tmp_path_factory.mktemp("flink"), Ports.free())
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import datetime as dt

    out = tmp_path_factory.mktemp("people") / "log"
    simulate(out, 4, 2, 7, dt.date(2026, 3, 2), [], "jsonl", lambda done, total: None)
    return out


@pytest.fixture(scope="module")
def expected(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[stage.Key, bytes], int]:
    said, last = stage.truth(log, tmp_path_factory.mktemp("replay") / "out")
    assert len(said) > 5_000, "the log must say enough to compare"
    return said, last


def start(flink: Flink, broker: Broker, prefix: str, **engine: Any) -> str:
    """Submit the live graph; the id of the Flink job."""
    kafka = KafkaOptions(broker.bootstrap, prefix=prefix)
    stream = Stream(kafka, group=prefix + "kairos", form="json", lanes=PARTITIONS, most=A_FEW)
    made = Engine(
        flink.job_endpoint,
        flink.artifact_endpoint,
        "PROCESS",
        str(flink.worker),
        name=prefix + "job",
        checkpoint_ms=2_000,
        **engine,
    )
    submit(stream, made.options())
    end = time.monotonic() + 60
    while (job := flink.job(prefix + "job")) is None and time.monotonic() < end:
        time.sleep(0.3)
    assert job is not None
    return job


def workers(flink: Flink) -> list[int]:
    """Pids of the Python workers: children of the TaskManager."""
    manager = flink.services["taskmanager"].pid
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                python = b"sdk_worker_main" in (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == manager and python:
                out.append(int(entry.name))
    return out


def await_checkpoint(flink: Flink, job: str, more: int = 1) -> None:
    """Until `more` further checkpoints are complete."""

    def count() -> int:
        return int(flink.get(f"/jobs/{job}/checkpoints")["counts"]["completed"])

    wanted, end = count() + more, time.monotonic() + PATIENCE_S
    while count() < wanted:
        assert time.monotonic() < end, "no checkpoint"
        time.sleep(0.2)


def await_some(broker: Broker, prefix: str, records: int) -> None:
    """Until some output is there, so that a kill hits the middle of the work."""
    end = time.monotonic() + PATIENCE_S
    while sum(1 for _ in stage.read(broker.bootstrap, [prefix + "features.minute"])) < records:
        assert time.monotonic() < end, "nothing came out"
        time.sleep(0.2)


def test_a_backlog_gives_the_records_of_the_replay_although_a_worker_is_killed(
    flink: Flink, broker: Broker, log: Path, expected: tuple[dict[stage.Key, bytes], int]
) -> None:
    said, last = expected
    found = stage.records(log)
    stage.make_topics(broker.bootstrap, "fa-", PARTITIONS)
    stage.produce(broker.bootstrap, "fa-", found)
    job = start(flink, broker, "fa-")
    await_some(broker, "fa-", 500)
    await_checkpoint(flink, job)
    os.kill(workers(flink)[0], signal.SIGKILL)
    verdict = stage.await_clean(broker.bootstrap, "fa-", said, last, PATIENCE_S)
    flink.cancel(job)
    assert verdict.clean, str(verdict)


@pytest.mark.soak
def test_a_dead_cluster_goes_on_from_its_last_checkpoint(
    flink: Flink, broker: Broker, log: Path, expected: tuple[dict[stage.Key, bytes], int]
) -> None:
    said, last = expected
    found = stage.records(log)
    stage.make_topics(broker.bootstrap, "fb-", PARTITIONS)
    stage.produce(broker.bootstrap, "fb-", found)
    job = start(flink, broker, "fb-")
    await_some(broker, "fb-", 500)
    await_checkpoint(flink, job, 2)
    for role in ("taskmanager", "jobmanager", "jobserver"):
        flink.kill(role)
    for pid in workers(flink):
        os.kill(pid, signal.SIGKILL)
    at = flink.last_checkpoint(job)
    assert at is not None
    flink.start()
    job = start(flink, broker, "fb-", savepoint=at)
    verdict = stage.await_clean(broker.bootstrap, "fb-", said, last, PATIENCE_S)
    flink.cancel(job)
    assert verdict.clean, str(verdict)


@pytest.mark.soak
def test_a_dead_task_manager_is_replaced_and_nothing_is_lost(
    flink: Flink, broker: Broker, log: Path, expected: tuple[dict[stage.Key, bytes], int]
) -> None:
    said, last = expected
    found = stage.records(log)
    stage.make_topics(broker.bootstrap, "fc-", PARTITIONS)
    stage.produce(broker.bootstrap, "fc-", found)
    job = start(flink, broker, "fc-")
    await_some(broker, "fc-", 500)
    await_checkpoint(flink, job, 2)
    old = workers(flink)
    flink.kill("taskmanager")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    flink.start(("taskmanager",))
    verdict = stage.await_clean(broker.bootstrap, "fc-", said, last, PATIENCE_S)
    flink.cancel(job)
    assert verdict.clean, str(verdict)


@pytest.mark.soak
def test_a_broker_that_is_away_for_thirty_seconds_costs_no_record(
    flink: Flink, broker: Broker, tmp_path: Path, log: Path, expected: tuple[dict[stage.Key, bytes], int]
) -> None:
    said, last = expected
    found = stage.records(log)
    with Broker(tmp_path / "own") as own:
        stage.make_topics(own.bootstrap, "fd-", PARTITIONS)
        stage.produce(own.bootstrap, "fd-", found)
        job = start(flink, own, "fd-")
        await_some(own, "fd-", 500)
        own.stop()
        time.sleep(30)
        own.start()
        verdict = stage.await_clean(own.bootstrap, "fd-", said, last, PATIENCE_S)
        flink.cancel(job)
        assert verdict.clean, str(verdict)


@pytest.mark.soak
def test_a_savepoint_carries_the_state_into_a_wider_job(
    flink: Flink, broker: Broker, log: Path, expected: tuple[dict[stage.Key, bytes], int]
) -> None:
    said, last = expected
    found = stage.records(log)
    stage.make_topics(broker.bootstrap, "fe-", PARTITIONS)
    stage.produce(broker.bootstrap, "fe-", found)
    job = start(flink, broker, "fe-", parallelism=2)
    await_some(broker, "fe-", 500)
    at = flink.savepoint(job, stop=True)
    job = start(flink, broker, "fe-", parallelism=4, savepoint=at)
    verdict = stage.await_clean(broker.bootstrap, "fe-", said, last, PATIENCE_S)
    flink.cancel(job)
    assert verdict.clean, str(verdict)
