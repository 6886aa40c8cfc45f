"""What tests of the connectors share."""

from __future__ import annotations

import importlib.util

import pytest

from tests.connectors import kafkas


@pytest.fixture(params=["kafka-python", "librdkafka"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with each of the two libraries that read and send."""
    if request.param == "librdkafka" and importlib.util.find_spec("confluent_kafka") is None:
        pytest.skip("confluent-kafka is not installed")
    monkeypatch.setattr(kafkas, "library", request.param)
    return str(request.param)
