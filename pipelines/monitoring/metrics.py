"""Every metric of a live run, in one place: name, kind, meaning. No label carries a person or a payload."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

REGISTRY = CollectorRegistry()
SECONDS = (0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 15, 30, 60, 300)

# counter: records read from Kafka, by topic, also those that can't be used
RECORDS_IN = Counter("kairos_records_in", "Records read", ["topic"], registry=REGISTRY)
# counter: records published, by topic
RECORDS_OUT = Counter("kairos_records_out", "Records published", ["topic"], registry=REGISTRY)
# counter: dead letters, by closed reason
DEAD_LETTERS = Counter("kairos_dead_letters", "Records that could not be used", ["reason"], registry=REGISTRY)
# counter: records that came from behind the hold, by topic: the one way in which live may differ from replay
LOOKED_AHEAD = Counter("kairos_looked_ahead", "Times somebody in need was answered ahead of the log's clock", registry=REGISTRY)
ORDER_BREAKS = Counter("kairos_order_breaks", "Records from behind the hold", ["topic"], registry=REGISTRY)
# counter: offsets that retention deleted before they were read, by topic: data that is lost; must stay 0
EXPIRED_RECORDS = Counter("kairos_expired_records", "Deleted by retention before they were read", ["topic"], registry=REGISTRY)
# counter: records of which a copy would no longer be known though it came in time, by topic: the memory of the topic was full
FORGOTTEN_RECORDS = Counter("kairos_forgotten_records", "Copies of these are no longer known", ["topic"], registry=REGISTRY)
# gauge: records that are in Kafka and not read yet
LAG_RECORDS = Gauge("kairos_lag_records", "Records not read yet", registry=REGISTRY)
# gauge: seconds from the log's clock to now
HOLD_SECONDS = Gauge("kairos_hold_seconds", "Now minus the log's clock", registry=REGISTRY)
# gauge: rows that have been read and wait for the clock or for their person's turn
WAITING_ROWS = Gauge("kairos_waiting_rows", "Rows read and not taken yet", registry=REGISTRY)
# gauge: people known
PEOPLE = Gauge("kairos_people", "People known", registry=REGISTRY)
# histogram: seconds of one slice, from the first poll to the publish
TICK_SECONDS = Histogram("kairos_tick_seconds", "Seconds of a slice", buckets=SECONDS, registry=REGISTRY)
# counter: machines run
STEPS = Counter("kairos_person_steps", "Steps of a person's machine", registry=REGISTRY)
# histogram: bytes of one person's states after a step
STATE_BYTES = Histogram(
    "kairos_person_state_bytes", "Bytes of one person", buckets=[2**k for k in range(10, 18)], registry=REGISTRY
)
# histogram: seconds from a notification's instant (arrival of what made it, or its timer) to its publication
ALERT_SECONDS = Histogram("kairos_alert_seconds", "Arrival to published notification", buckets=SECONDS, registry=REGISTRY)
# counter: publishing failed and will be tried again
PUBLISH_RETRIES = Counter("kairos_publish_retries", "Failed attempts to publish", registry=REGISTRY)
# gauge: seconds of the monotonic clock at which the last slice ended; a stalled run shows as one that stands still
LAST_TICK = Gauge("kairos_last_tick_seconds", "When the last slice ended (monotonic)", registry=REGISTRY)
# gauge: partitions that have not moved for longer than the longest hold though they have records
STALLED_PARTITIONS = Gauge("kairos_stalled_partitions", "Partitions that do not move", registry=REGISTRY)


def serve(port: int, host: str = "127.0.0.1") -> int:
    """Serve `/metrics`; the port (0 = a free one)."""
    server, _ = start_http_server(port, addr=host, registry=REGISTRY)
    return int(server.server_port)
