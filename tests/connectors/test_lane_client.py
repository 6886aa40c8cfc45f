"""What a lane asks of Kafka, against a real broker."""

from __future__ import annotations

import time

import pytest

from connectors.kafka.lane_client import KafkaLaneClient
from connectors.kafka.reader import Part
from deploy.local.broker import Broker
from tests.connectors import kafkas
from tests.connectors.contract import HEART, STEPS, T0

pytestmark = pytest.mark.usefixtures("library")
EACH = 6_000
FAR, NEAR = (HEART, 0), (STEPS, 0)


def test_a_partition_that_was_paused_gives_the_rest_of_its_records_afterwards(broker: Broker) -> None:
    options = kafkas.fresh(broker, [HEART, STEPS])
    kafkas.produce(options, {t: [(b"p01", b"x" * 100, T0 + i) for i in range(EACH)] for t in (HEART, STEPS)})
    client = KafkaLaneClient(options, options.prefix + "lane")
    client.assign([FAR, NEAR])
    client.seek(FAR, 0)
    client.seek(NEAR, 0)
    seen: dict[Part, list[int]] = {FAR: [], NEAR: []}

    def poll_until(part: Part, count: int) -> None:
        end = time.monotonic() + 10
        while len(seen[part]) < count and time.monotonic() < end:
            for p, records in client.poll(50).items():
                seen[p] += [r.offset for r in records]

    poll_until(FAR, 1)
    client.pause([FAR])
    poll_until(NEAR, EACH)
    client.resume([FAR])
    poll_until(FAR, EACH)
    client.close()
    assert seen == {FAR: list(range(EACH)), NEAR: list(range(EACH))}
