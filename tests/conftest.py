"""What many tests share: a real broker, started once a session, also when several workers run the tests."""

from __future__ import annotations

import fcntl
import importlib.util
import os
from pathlib import Path

import pytest

from deploy.local import jars
from deploy.local.broker import Broker
from deploy.local.jars import StackError
from tests.connectors import kafkas


def _shared(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kafka"


def java_and_maven() -> None:
    """Skip with a reason where the local stack can't be had."""
    try:
        jars.java()
        jars.maven()
    except StackError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Broker:
    """A single-node Apache Kafka; topics of a test have names of their own, or a prefix."""
    java_and_maven()
    folder = _shared(tmp_path_factory)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Broker(folder)
        if made.service.pid is None:
            made.start()
    return made


@pytest.fixture(params=["kafka-python", "librdkafka"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with each of the two libraries that read and send."""
    if request.param == "librdkafka" and importlib.util.find_spec("confluent_kafka") is None:
        pytest.skip("confluent-kafka is not installed")
    monkeypatch.setattr(kafkas, "library", request.param)
    return str(request.param)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The last process of the session stops the broker."""
    if hasattr(session.config, "workerinput"):
        return
    factory: pytest.TempPathFactory | None = getattr(session.config, "_tmp_path_factory", None)
    folder = None if factory is None else factory.getbasetemp() / "kafka"
    if folder is not None and folder.exists():
        Broker(folder).stop()
