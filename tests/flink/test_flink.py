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
    return stage.people(tmp_path_factory.mktemp("people") / "log", 4, 2, 7)


@pytest.fixture(scope="module")
def expected(log: Path, tmp_path_factory: pytest.TempPathFactory) -> stage.Truth:
    truth = stage.truth(log, tmp_path_factory.mktemp("replay") / "out")
    assert len(truth[0]) > 5_000, "the log must say enough to compare"
    return truth


class Run:
    """The live graph over a log on topics of its own, in the middle of its work."""

    def __init__(
        self, flink: Flink, broker: Broker, prefix: str, log: Path, expected: stage.Truth, checkpoints: int = 0
    ) -> None:
        self.flink, self.broker, self.prefix, self.expected = flink, broker, prefix, expected
        stage.backlog(broker.bootstrap, prefix, PARTITIONS, log)
        self.job = self.start()
        self._await_some(500)
        if checkpoints:
            self._await_checkpoints(checkpoints)

    def start(self, **engine: Any) -> str:
        """Submit the graph; the id of the Flink job."""
        kafka = KafkaOptions(self.broker.bootstrap, prefix=self.prefix)
        stream = Stream(kafka, group=self.prefix + "kairos", form="json", lanes=PARTITIONS, most=A_FEW)
        flink, name = self.flink, self.prefix + "job"
        where = flink.job_endpoint, flink.artifact_endpoint, "PROCESS", str(flink.worker)
        submit(stream, Engine(*where, name=name, checkpoint_ms=2_000, **engine).options())
        end = time.monotonic() + 60
        while (job := flink.job(name)) is None and time.monotonic() < end:
            time.sleep(0.3)
        assert job is not None
        self.job = job
        return job

    def assert_all_is_said(self) -> None:
        """The records of the replay, ids and bytes, no more and no less; then the job is ended."""
        stage.assert_clean(self.broker.bootstrap, self.prefix, self.expected, PATIENCE_S)
        self.flink.cancel(self.job)

    def workers(self) -> list[int]:
        """Pids of the Python workers: children of the TaskManager."""
        manager = self.flink.services["taskmanager"].pid
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

    def _await_checkpoints(self, more: int) -> None:
        """Until `more` further checkpoints are complete."""

        def count() -> int:
            return int(self.flink.get(f"/jobs/{self.job}/checkpoints")["counts"]["completed"])

        wanted, end = count() + more, time.monotonic() + PATIENCE_S
        while count() < wanted:
            assert time.monotonic() < end, "no checkpoint"
            time.sleep(0.2)

    def _await_some(self, records: int) -> None:
        """Until some output is there, so that a kill hits the middle of the work."""
        end = time.monotonic() + PATIENCE_S
        while sum(1 for _ in stage.read(self.broker.bootstrap, [self.prefix + "features.minute"])) < records:
            assert time.monotonic() < end, "nothing came out"
            time.sleep(0.2)


def test_a_backlog_gives_the_records_of_the_replay_although_a_worker_is_killed(
    flink: Flink, broker: Broker, log: Path, expected: stage.Truth
) -> None:
    run = Run(flink, broker, "fa-", log, expected, checkpoints=1)
    os.kill(run.workers()[0], signal.SIGKILL)
    run.assert_all_is_said()


@pytest.mark.soak
def test_a_dead_cluster_goes_on_from_its_last_checkpoint(
    flink: Flink, broker: Broker, log: Path, expected: stage.Truth
) -> None:
    run = Run(flink, broker, "fb-", log, expected, checkpoints=2)
    old = run.workers()
    for role in ("taskmanager", "jobmanager", "jobserver"):
        flink.kill(role)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    at = flink.last_checkpoint(run.job)
    assert at is not None
    flink.start()
    run.start(savepoint=at)
    run.assert_all_is_said()


@pytest.mark.soak
def test_a_dead_task_manager_is_replaced_and_nothing_is_lost(
    flink: Flink, broker: Broker, log: Path, expected: stage.Truth
) -> None:
    run = Run(flink, broker, "fc-", log, expected, checkpoints=2)
    old = run.workers()
    flink.kill("taskmanager")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    flink.start(("taskmanager",))
    run.assert_all_is_said()


@pytest.mark.soak
def test_a_broker_that_is_away_for_thirty_seconds_costs_no_record(
    flink: Flink, tmp_path: Path, log: Path, expected: stage.Truth
) -> None:
    with Broker(tmp_path / "own") as own:
        run = Run(flink, own, "fd-", log, expected)
        own.stop()
        time.sleep(30)
        own.start()
        assert flink.get(f"/jobs/{run.job}/checkpoints")["counts"]["restored"] == 0, (
            "the job waits, it does not start anew"
        )
        run.assert_all_is_said()


@pytest.mark.soak
def test_a_savepoint_carries_the_state_into_a_wider_job(
    flink: Flink, broker: Broker, log: Path, expected: stage.Truth
) -> None:
    run = Run(flink, broker, "fe-", log, expected)
    at = flink.savepoint(run.job, stop=True)
    run.start(parallelism=4, savepoint=at)
    run.assert_all_is_said()
