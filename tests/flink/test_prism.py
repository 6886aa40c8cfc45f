"""The unbounded graph on Prism, Beam's Go runner for tests: its binary is built once where there is Go."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kafka.options import KafkaOptions
from deploy.local import prism
from deploy.local.broker import Broker
from deploy.local.jars import StackError
from pipelines.on_flink import on_prism
from pipelines.stream_options import Stream
from tests.flink import stage

AT_ONCE = 50_000  # a lane in one bundle: of several, Prism 2.77 hands a person's parcels on in another order (docs/flink.md)
READING_S = 5.0  # so long the bundle is kept open, or a busy machine reads the lane in two


def test_prism_gives_the_records_of_the_replay(broker: Broker, tmp_path: Path) -> None:
    try:
        binary = prism.binary()
    except StackError as error:
        pytest.skip(str(error))
    log = stage.people(tmp_path / "log", 2, 2, 5)
    truth = stage.truth(log, tmp_path / "out")
    stage.backlog(broker.bootstrap, "pr-", 2, log)
    kafka = KafkaOptions(broker.bootstrap, prefix="pr-")
    stream = Stream(kafka, group="pr-kairos", form="json", lanes=2, most=AT_ONCE, budget_s=READING_S)
    run = on_prism(stream, str(binary))  # the binary is started by the runner, which only the main thread may do
    try:
        stage.assert_clean(broker.bootstrap, "pr-", truth, 180)
    finally:
        run.cancel()
