"""What a live run logs: lines that say something, no flood while a broker is away, no payload."""

from __future__ import annotations

import logging

from kairos.kafka import SELDOM_S, _Lines, _Seldom


def record(name: str, message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, args, None)


def test_the_same_trouble_of_a_client_is_one_line_a_minute_and_our_own_lines_are_all_kept() -> None:
    now = [0.0]
    seldom = _Seldom(lambda: now[0])
    flood = [
        record("kafka.net.manager", "Connection failed: %s", "a"),
        record("kafka.cluster", "Metadata refresh: failed %s", "b"),
        record("kairos.librdkafka", "FAIL [rdkafka#consumer-1] a:9092: Connect failed"),
        record("kairos.librdkafka", "FAIL [rdkafka#consumer-2] b:9092: Connect failed"),
        record("kairos.live", "not published, trying again: %s", "c"),
    ]
    assert [seldom.filter(r) for r in flood] == [True, True, True, False, True]
    assert [seldom.filter(r) for r in flood] == [False, False, False, False, True]
    now[0] = SELDOM_S
    assert [seldom.filter(r) for r in flood] == [True, True, True, False, True]


def test_what_others_put_into_their_lines_is_not_shown() -> None:
    line = _Lines().format(record("kafka.net.manager", "Connection failed: %s", "canary"))
    assert "canary" not in line
    assert "Connection failed" in line
