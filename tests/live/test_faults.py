"""What may go wrong while running: it is counted, told in one line, or waited for; nobody in need waits behind it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.base import NotALog
from connectors.kafka.sender import Message
from connectors.kafka.sink import NotPublished
from deploy.local.broker import Broker
from pipelines.intake import TooManyDeadError
from pipelines.ledger import Kept, Ledger, LedgerError, pack, unpack
from pipelines.live import Live
from pipelines.live_options import LiveOptions, Wall
from pipelines.settings import Settings, SettingsError
from pipelines.waiting import Gate, Waiting, is_ready
from schemas import rows
from tests.connectors import kafkas
from tests.graph.logs import HOUR, MINUTE, T0, control, life, row
from tests.live.stage import QUICK, end_of, live, replayed, said, stage, without_dlq


def flag(user: str, at: int, severity: int = 3) -> dict[str, Any]:
    value = {
        "category": "SUICIDE", "severity": severity, "score": 0.9, "lexicon_version": "l-1", "classifier_version": "none",
        "clock_suspect": False,
    }  # fmt: skip
    return row(user, "phone", at % 10**6, at, value, at)


# -- a partition that does not move -----------------------------------------------------------------------------------


def test_a_stalled_partition_does_not_hold_a_crisis(broker: Broker, tmp_path: Path) -> None:
    """Records of the pulse are there and can't be read; the search on another partition is answered all the same."""
    log = control("p1")
    options = stage(broker, {**log, "device.heart_rate": [], "device.search_flag": []})
    now = int(time.time() * 1000)
    beats = [row("p1", "w", i, now - 60_000 + i, {"bpm": 70.0, "quality": "LOCKED"}, now - 60_000 + i) for i in range(50)]
    kafkas.produce(options, {"device.heart_rate": beats, "device.search_flag": [flag("p1", now)]})
    run = Live(options, tmp_path / "s.db", Settings(), LiveOptions(slice_s=0.1, hold_s=0.1, max_hold_s=2.5))
    whole = run.fetcher.poll
    run.fetcher.poll = lambda *a: {p: r for p, r in whole(*a).items() if p[0] != "device.heart_rate"}  # type: ignore[method-assign]
    stuck = next(p for p in run.fetcher.reach if p[0] == "device.heart_rate")
    idle = run.fetcher.idle
    run.fetcher.idle = lambda: idle() - {stuck}  # type: ignore[method-assign]
    begun = time.monotonic()
    while time.monotonic() - begun < 60 and "notifications" not in said(options):
        run.tick()
    run.close()
    assert "notifications" in said(options)


def test_what_bears_risk_is_taken_before_the_longest_hold_is_over_and_the_rest_comes_from_behind_it() -> None:
    def table(topic: str, records: list[dict[str, Any]]) -> Any:
        import numpy as np
        import pyarrow as pa

        made = rows.from_dicts(topic, records)[0]
        made = made.append_column("_file", pa.array(np.zeros(len(made), np.int32)))
        return made.append_column("_line", pa.array(np.arange(len(made), dtype=np.int64)))

    waiting = Waiting(1)
    waiting.add("device.search_flag", table("device.search_flag", [flag("p1", T0 + 9_000)]), at=5.0)
    assert (waiting.risky, waiting.risky_at, waiting.urgent) == (T0 + 9_000, 5.0, T0 + 9_000)
    gate = Gate()
    beats = [row("p1", "w", i, T0 + i, {"bpm": 70.0, "quality": "LOCKED"}, T0 + i) for i in range(3)]
    kept = Kept(T0 + 9_000, None, {("device.heart_rate", 0): 0})
    came = gate.admit("device.heart_rate", table("device.heart_rate", beats), kept, [("device.heart_rate", 0)])
    assert came["ingest_time"].to_pylist() == [T0 + 9_001] * 2, "the first had been taken before the restart"
    assert gate.breaks == {"device.heart_rate": 2}


def test_somebody_in_need_does_not_lose_the_turn_by_waiting_and_old_risk_in_a_backlog_does_not_take_it() -> None:
    import pyarrow as pa

    def search(at: int) -> Any:
        made = rows.from_dicts("device.search_flag", [flag("p1", at)])[0]
        return made.append_column("_file", pa.array([0], pa.int32())).append_column("_line", pa.array([0], pa.int64()))

    old = Waiting(1)
    old.add("device.search_flag", search(T0), at=5.0, now=T0 + 30 * HOUR)
    assert (old.risky, old.needs) == (T0, [])
    old.add("device.search_flag", search(T0 + 30 * HOUR), at=5.0, now=T0 + 30 * HOUR)
    assert old.needs == [T0 + 30 * HOUR]
    old.take(T0 + HOUR)
    assert (old.risky, old.needs) == (T0 + 30 * HOUR, [T0 + 30 * HOUR]), "it is still waited for"
    old.take(T0 + 30 * HOUR)
    assert not old.needs


def test_rows_that_decide_nothing_wait_for_the_minute_and_others_do_not() -> None:
    kept = Kept(T0, T0 + HOUR)
    waiting = Waiting(1, first=T0 + 10, rows=1)
    assert not is_ready(waiting, kept, T0 + 59_999, backlog=False)
    assert is_ready(waiting, kept, T0 + MINUTE, backlog=False)
    assert not is_ready(waiting, kept, T0 + HOUR, backlog=True)
    waiting.urgent = waiting.risky = T0 + 20
    assert is_ready(waiting, kept, T0 + 20, backlog=True)
    assert not is_ready(waiting, kept, T0 + 19, backlog=True)


# -- the broker -------------------------------------------------------------------------------------------------------


def test_a_publication_that_fails_is_tried_again_and_comes_once(broker: Broker, tmp_path: Path) -> None:
    """The first time before anything is sent, the second time after the commit, of which no answer came."""
    log = life("p1", 5, 4)
    end = end_of(log) + HOUR
    options = stage(broker, log)
    run = live(options, tmp_path / "s.db", end)
    act, calls = run.publisher.publish, [0]

    def fails(messages: list[Message], number: int | None = None) -> int:
        calls[0] += 1
        if calls[0] == 2:
            act(messages, number)
        if calls[0] <= 2:
            raise NotPublished("no answer")
        return act(messages, number)

    run.publisher.publish = fails  # type: ignore[method-assign,assignment]
    run.run()
    run.close()
    assert calls[0] >= 2
    assert without_dlq(said(options)) == without_dlq(replayed(log, tmp_path, end))


@pytest.mark.soak
def test_a_broker_that_is_away_for_thirty_seconds_loses_and_doubles_nothing(tmp_path: Path) -> None:
    import threading

    own = Broker(tmp_path / "kafka").start()
    try:
        log = life("p1", 5, 8)
        end = end_of(log) + HOUR
        options = stage(own, log)
        run = live(options, tmp_path / "s.db", end)
        runner = threading.Thread(target=run.run)
        own.kill()
        runner.start()
        time.sleep(30)
        own.start()
        runner.join(300)
        assert not runner.is_alive()
        run.close()
        assert without_dlq(said(options)) == without_dlq(replayed(log, tmp_path, end))
    finally:
        own.stop()


def test_missing_output_topics_are_named_before_anything_is_read(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(NotALog, match="kairos topics create"):
        Live(kafkas.fresh(broker, ["device.heart_rate"]), tmp_path / "s.db", Settings(), QUICK)


# -- what comes in ----------------------------------------------------------------------------------------------------


def test_poison_in_every_topic_is_counted_once_also_after_a_restart_and_the_rest_goes_on(broker: Broker, tmp_path: Path) -> None:
    log = life("p1", 5, 3)
    end = end_of(log) + HOUR
    options = stage(broker, log)
    kafkas.produce(options, {t: [(b"p1", b"canary\xff", T0 + HOUR)] for t in log})
    for stop in (T0 + 2 * HOUR, end):
        run = live(options, tmp_path / "s.db", stop)
        run.run()
        run.close()
    got = said(options)
    unread = [line for line in got["dlq"] if "UNPARSABLE" in line]
    assert len(unread) == len(log)
    assert "canary" not in str(got)
    want = replayed(log, tmp_path, end)
    assert {t: got.get(t) for t in want if t != "dlq"} == {t: r for t, r in want.items() if t != "dlq"}


def test_a_deploy_that_can_read_almost_nothing_stops_instead_of_passing_everything_over(broker: Broker, tmp_path: Path) -> None:
    options = stage(broker, {"device.heart_rate": []})
    kafkas.produce(options, {"device.heart_rate": [(b"p1", b"canary", T0 + i) for i in range(60)]})
    run = Live(options, tmp_path / "s.db", Settings(), LiveOptions(slice_s=0.2, dead_rows=50), end=T0 + HOUR)
    with pytest.raises(TooManyDeadError, match="60 of 60"):
        run.run()
    run.close()
    assert said(options) == {}


def test_public_data_sets_without_consent_are_refused(tmp_path: Path) -> None:
    from connectors.kafka.options import KafkaOptions

    with pytest.raises(SettingsError, match="study_data"):
        Live(KafkaOptions(), tmp_path / "s.db", Settings(study_data=True))


# -- disk and clock ---------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_nothing_of_the_slice_and_is_one_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "s.db", Settings())
    ledger.commit({"clock": 1}, [("p1", Kept(1, None), (b"a", b"b"))], None)
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(LedgerError, match="disk is full"):
        ledger.commit({"clock": 2}, [("p1", Kept(2, None), (b"x" * 10**6, b"b"))], (0, [Message("audit", b"k", b"v", 1)]))
    ledger.close()
    again = Ledger(tmp_path / "s.db", Settings())
    assert (again.get("clock"), again.states("p1"), again.outbox()) == (1, (b"a", b"b"), [])
    again.close()


def test_a_state_file_of_other_settings_another_thing_or_in_use_is_one_line(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "s.db", Settings())
    with pytest.raises(LedgerError, match="in use"):
        Ledger(tmp_path / "s.db", Settings())
    first.close()
    with pytest.raises(LedgerError, match="another configuration"):
        Ledger(tmp_path / "s.db", Settings(study_key="other"))
    (tmp_path / "x.db").write_bytes(b"canary" * 1000)
    with pytest.raises(LedgerError, match="not a state file"):
        Ledger(tmp_path / "x.db", Settings())
    assert (tmp_path / "s.db").stat().st_mode & 0o077 == 0


def test_the_outbox_keeps_its_messages_byte_for_byte_and_refuses_damage() -> None:
    given = [Message("audit", b"\x00k", b"\xffv" * 9, -5), Message("notifications", b"", b"", 2**50)]
    assert unpack(pack(given)) == given
    for cut in range(1, len(pack(given[:1]))):
        with pytest.raises(LedgerError):
            unpack(pack(given)[:cut])


def test_the_run_goes_on_when_the_hosts_clock_is_set_back_or_forward() -> None:
    wall, steady = [1_000.0], [50.0]
    clock = Wall(lambda: wall[0], lambda: steady[0])
    assert clock.now() == 1_000_000
    wall[0], steady[0] = 400.0, 51.0
    assert clock.now() == 1_001_000, "set back: it goes on by the steady clock"
    wall[0], steady[0] = 5_000.0, 52.0
    assert clock.now() == 5_000_000


def test_no_raw_record_and_no_text_lies_in_the_state_file(broker: Broker, tmp_path: Path) -> None:
    log = life("p1", 4, 3)
    log["raw.search"] = [row("p1", "d", 900, T0 + HOUR, {"query": "canary zzself", "lang": "en"}, T0 + HOUR)]
    options = stage(broker, log)
    run = live(options, tmp_path / "s.db", T0 + 2 * HOUR)
    run.run()
    run.close()
    assert b"canary" not in b"".join(p.read_bytes() for p in tmp_path.glob("s.db*"))
    assert "canary" not in str(said(options))
    assert sqlite3.connect(tmp_path / "s.db").execute("SELECT count(*) FROM people").fetchone() == (1,)


@pytest.mark.parametrize("wrong", [{"hold_s": 11.0}, {"hold_s": -1.0}, {"slice_s": 0.0}, {"max_hold_s": 12.0}])
def test_a_hold_that_no_crisis_may_wait_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        LiveOptions(**wrong)  # type: ignore[arg-type]
