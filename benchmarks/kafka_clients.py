"""What reading and sending cost by either library: records per CPU second of the process, without anything else.

    python -m benchmarks.kafka_clients [--records 300000]

One partition of a broker of its own, 120 bytes a record, sent in transactions of 5,000 by `Sender`, read whole by `Reader`, making
of the client included. One line of JSON for each library.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from connectors.kafka import topics
from connectors.kafka.options import KafkaOptions
from connectors.kafka.reader import reader_of
from connectors.kafka.sender import Message, sender_of
from deploy.local.broker import Broker

TOPIC = "audit"
BATCH = 5_000
NOW_MS = 1_780_000_000_000


def sent(options: KafkaOptions, records: int) -> None:
    """Send in transactions."""
    values = [os.urandom(60) + b"x" * 60 for _ in range(1_000)]
    sender = sender_of(options, options.prefix + "bench")
    for first in range(0, records, BATCH):
        sender.begin()
        for i in range(first, min(first + BATCH, records)):
            sender.send(Message(TOPIC, b"p%03d" % (i % 100), values[i % 1_000], NOW_MS + i))
        sender.flush()
        sender.commit()
    sender.close(10)


def read(options: KafkaOptions, records: int) -> None:
    """Read everything."""
    reader, part, left = reader_of(options, wait_ms=100), (TOPIC, 0), records
    reader.assign([part])
    reader.seek(part, 0)
    while left > 0:
        left -= sum(map(len, reader.poll(500).values()))
    reader.close()


def per_cpu_s(act: Callable[[KafkaOptions, int], None], options: KafkaOptions, records: int) -> int:
    """Records per CPU second of this process."""
    begun = time.process_time()
    act(options, records)
    return round(records / (time.process_time() - begun))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=300_000)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder) / "kafka") as broker:
        for library in ("kafka-python", "librdkafka"):
            options = KafkaOptions(broker.bootstrap, prefix=library + ".", library=library)
            topics.create(options, partitions=1)
            rates = {act.__name__: per_cpu_s(act, options, records) for act in (sent, read)}
            print(json.dumps({"library": library, "records": records, **rates}), flush=True)


if __name__ == "__main__":
    main()
