"""Whoever is in need is answered while older records are unread, and the log is then worked off as if nothing had been said."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.options import KafkaOptions
from deploy.local.broker import Broker
from pipelines.live import Live
from pipelines.live_options import LiveOptions
from pipelines.settings import Settings
from tests.graph.logs import HOUR, MINUTE, Log, both, life, row
from tests.live.stage import replayed, said, stage, without_dlq
from tests.live.test_faults import flag

FAST = LiveOptions(slice_s=0.1, hold_s=0.1, in_memory=2)


def recent(log: Log, now: int) -> Log:
    """The same log, its last record an hour before `now`, and nobody but the person may be told: what waits for a therapist's
    hours is due at some hours of the day and not at others."""
    by = now - HOUR - max(r["ingest_time"] for rs in log.values() for r in rs)
    by -= by % MINUTE
    out: Log = {}
    for topic, records in log.items():
        out[topic] = [{**r, "event_time": r["event_time"] + by, "ingest_time": r["ingest_time"] + by} for r in records]
        for r in out[topic]:
            times = ("valid_from", "valid_to", "effective_from")
            r["value"] = {k: v + by if k in times else v for k, v in r["value"].items()}
    out["clinical.consent"] = [r for r in out["clinical.consent"] if r["value"]["purpose"] != "THERAPIST_ALERT_ACUTE"]
    return out


def held(options: KafkaOptions, state: Path, end: int | None = None) -> Live:
    """A run that does not come to the pulse and the fixes: their partitions have records that are never read."""
    run = Live(options, state, Settings(), FAST, end=end)
    rest, idle = run.fetcher.rest, run.fetcher.rest.idle
    rest.poll = lambda wait_s: {}  # type: ignore[method-assign]
    rest.idle = lambda: {p for p in idle() if rest.reach[p].position}  # type: ignore[method-assign]
    return run


def ticks(run: Live, options: KafkaOptions, until_said: bool) -> list[dict[str, Any]]:
    begun = time.monotonic()
    found: list[dict[str, Any]] = []
    while time.monotonic() - begun < (60 if until_said else 1.5) and not found:
        run.tick()
        found = [json.loads(line) for line in said(options).get("notifications", [])] if until_said else []
    return found


@pytest.fixture
def crowd(broker: Broker) -> tuple[Log, KafkaOptions, int]:
    """Some hours of two people, and a dangerous search of one of them just now."""
    now = int(time.time() * 1000)
    log = recent(both(life("p1", 5, 4, messy=False), life("p2", 6, 4, messy=False)), now)
    log["device.search_flag"] = [flag("p1", now)]
    return log, stage(broker, log), now


def test_a_crisis_does_not_wait_for_a_backlog_and_the_log_is_worked_off_to_the_records_of_the_replay(
    crowd: tuple[Log, KafkaOptions, int], tmp_path: Path
) -> None:
    log, options, now = crowd
    end = now + 5 * MINUTE
    run = held(options, tmp_path / "s.db")
    early = ticks(run, options, until_said=True)
    run.close()
    assert {(n["user"], n["value"]["tier"], n["ingest_time"]) for n in early} == {("p1", "L4", now)}
    assert set(said(options)) == {"notifications"}, "nothing but what somebody waits for is said early"

    run = Live(options, tmp_path / "s.db", Settings(), FAST, end=end)
    run.wall.now = lambda: end + MINUTE  # type: ignore[method-assign]
    run.run()
    breaks, left = run.order_breaks, run.ahead.early
    run.close()
    assert not breaks
    assert not left
    got, want = without_dlq(said(options)), without_dlq(replayed(log, tmp_path, end))
    assert {t: r for t, r in got.items() if t != "notifications"} == {t: r for t, r in want.items() if t != "notifications"}
    assert _but_what_was_not_known(got["notifications"]) == _but_what_was_not_known(want["notifications"])


def _but_what_was_not_known(lines: list[str]) -> list[dict[str, Any]]:
    """Notifications without what they say was missing: an early one has less to go by, and says so."""
    out = [json.loads(line) for line in lines]
    for n in out:
        del n["value"]["missing"], n["value"]["explanation"]
    return out


def test_what_was_said_early_is_not_said_again_after_a_kill(crowd: tuple[Log, KafkaOptions, int], tmp_path: Path) -> None:
    _, options, _ = crowd
    run = held(options, tmp_path / "s.db")
    first = ticks(run, options, until_said=True)
    run.close()
    run = held(options, tmp_path / "s.db")
    ticks(run, options, until_said=False)
    run.close()
    assert [json.loads(line) for line in said(options)["notifications"]] == first


def test_without_consent_nothing_is_said_early(broker: Broker, tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    log = recent(life("p1", 5, 4, messy=False), now)
    withdrawn = log["clinical.consent"][0]["value"] | {"version": 2, "status": "REVOKED"}
    log["clinical.consent"].append(row("p1", "clinic", 30, now - 1, withdrawn, now - 1))
    log["device.search_flag"] = [flag("p1", now)]
    options = stage(broker, log)
    run = held(options, tmp_path / "s.db")
    ticks(run, options, until_said=False)
    looked = run.ahead.early
    run.close()
    assert "p1" in looked
    assert "notifications" not in said(options)
