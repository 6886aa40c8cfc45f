"""The pieces of the local stack: jars are those recorded, programs start on free ports only and stop by pid."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from deploy.local import jars
from deploy.local.broker import Broker
from deploy.local.jars import StackError
from deploy.local.service import Service, free_port, is_open

SERVER = "import socket,sys,time; s=socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


def test_a_program_is_ready_when_its_port_is_open_and_is_stopped_from_another_process(tmp_path: Path) -> None:
    port = free_port()
    Service("demo", tmp_path, [port]).start([sys.executable, "-c", SERVER, str(port)])
    other = Service("demo", tmp_path, [port])
    assert other.pid is not None
    assert is_open(port)
    assert other.stop()
    assert other.pid is None
    assert not is_open(port)
    assert not other.stop()


def test_a_port_in_use_is_refused_before_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match="in use"):
            Service("demo", tmp_path, [port]).start([sys.executable, "-c", "pass"])


def test_a_program_that_ends_while_starting_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"status 3.*demo\.log"):
        Service("demo", tmp_path, [free_port()]).start([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_pid_that_belongs_to_another_program_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo.pid").write_text("1 Mon_Jan__1_00:00:00_1990")
    assert Service("demo", tmp_path, []).pid is None


def test_a_jar_that_is_not_the_recorded_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "a.jar").write_bytes(b"one")
    jars.record(tmp_path / "jars", tmp_path / "jars.sha256")
    jars.check(tmp_path / "jars", tmp_path / "jars.sha256")
    (tmp_path / "jars" / "a.jar").write_bytes(b"two")
    with pytest.raises(StackError, match=r"a\.jar"):
        jars.check(tmp_path / "jars", tmp_path / "jars.sha256")
    (tmp_path / "jars" / "b.jar").write_bytes(b"")
    with pytest.raises(StackError, match="not recorded"):
        jars.check(tmp_path / "jars", tmp_path / "jars.sha256")


def test_without_java_or_maven_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StackError, match="Java 17"):
        jars.java()
    with pytest.raises(StackError, match="Maven"):
        jars.maven()


def test_the_broker_of_the_session_answers_on_loopback_only(broker: Broker) -> None:
    assert broker.service.pid is not None
    assert is_open(broker.port)
    assert "CLIENT://127.0.0.1:" in (broker.folder / "server.properties").read_text()
    assert Broker(broker.folder).bootstrap == broker.bootstrap, "a second start finds its ports again"


def test_a_cluster_id_that_begins_with_a_dash_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One id in 64 does; Kafka's own tool then took it for an option and the broker did not start."""
    commands: list[list[str]] = []
    monkeypatch.setattr("deploy.local.broker.uuid.uuid4", lambda: uuid.UUID(bytes=b"\xfb" + bytes(15)))
    monkeypatch.setattr(jars, "java", lambda: "java")
    monkeypatch.setattr(
        "deploy.local.broker.subprocess.run",
        lambda command, **_: commands.append(command) or subprocess.CompletedProcess(command, 0),
    )
    Broker(tmp_path / "kafka")._format(tmp_path, tmp_path / "server.properties")
    assert any(part.startswith("--cluster-id=-") for part in commands[0])
