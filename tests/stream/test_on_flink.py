"""What is checked before a job starts, and how one that only looks healthy is noticed."""

from __future__ import annotations

import pytest

from pipelines.on_flink import Engine, Heartbeat, NotSafe, preflight
from pipelines.read_lane import Offsets, OffsetsCoder, OffsetsTracker

ENGINE = Engine("127.0.0.1:1", "127.0.0.1:2", environment_config="/bin/true")
HEART, SEARCH = ("device.heart_rate", 0), ("device.search_flag", 0)


def test_our_own_options_pass() -> None:
    preflight(ENGINE.options(), connect=False)


@pytest.mark.parametrize(
    "name",
    [
        "checkpointing_interval", "finish_bundle_before_checkpointing", "externalized_checkpoints_enabled",
        "retain_externalized_checkpoints_on_cancellation",
    ],
)  # fmt: skip
def test_a_job_without_what_keeps_it_alive_is_refused(name: str) -> None:
    options = [o for o in ENGINE.options() if not o.startswith(f"--{name}")]
    with pytest.raises(NotSafe, match=name):
        preflight(options, connect=False)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--checkpointing_interval=-1", "checkpointing_interval"),
        ("--checkpointing_interval=600000", "checkpointing_interval"),
        ("--finish_bundle_before_checkpointing=false", "finish_bundle"),
        ("--shutdown_sources_after_idle_ms=0", "shutdown_sources"),
        ("--flink_master=[local]", "local"),
        ("--parallelism=65", "max_parallelism"),
        ("--parallelism=1", "at least 2"),
    ],
)
def test_a_site_cannot_switch_it_off_either(more: str, said: str) -> None:
    engine = Engine("127.0.0.1:1", "127.0.0.1:2", more=(more,))
    with pytest.raises(NotSafe, match=said):
        preflight(engine.options(), connect=False)


def test_a_job_server_that_does_not_answer_is_said_in_one_line() -> None:
    with pytest.raises(NotSafe, match="job_endpoint"):
        preflight(ENGINE.options())


def test_a_job_that_reads_nothing_while_records_wait_is_noticed() -> None:
    heart = Heartbeat(still_s=60)
    assert heart.see(0, {HEART: 10}, {HEART: 5}) is None
    assert heart.see(30, {HEART: 20}, {HEART: 9}) is None
    assert heart.see(60, {HEART: 30}, {HEART: 9}) is None
    assert "21 records wait" in (heart.see(95, {HEART: 30}, {HEART: 9}) or "")
    assert heart.see(100, {HEART: 30}, {HEART: 30}) is None


def test_silence_of_the_topics_is_no_alarm() -> None:
    heart = Heartbeat(still_s=60)
    assert all(heart.see(t, {HEART: 10, SEARCH: 0}, {HEART: 10, SEARCH: 0}) is None for t in range(0, 600, 10))


def test_one_partition_that_moves_does_not_hide_that_it_is_the_only_thing_that_moves() -> None:
    heart = Heartbeat(still_s=60)
    for t in range(0, 600, 10):
        assert heart.see(t, {HEART: t + 5, SEARCH: 3}, {HEART: t, SEARCH: 3}) is None


def test_offsets_survive_their_bytes() -> None:
    offsets = Offsets({HEART: 12, SEARCH: 0}, 1_779_235_200_000)
    coder = OffsetsCoder()
    assert coder.decode(coder.encode(offsets)) == offsets
    with pytest.raises(ValueError, match="version"):
        coder.decode(b'{"version":2}')


def test_a_lane_splits_only_where_it_stands_and_never_ends() -> None:
    tracker = OffsetsTracker(Offsets())
    assert not tracker.is_bounded()
    assert tracker.try_claim(Offsets({HEART: 7}, 1))
    assert tracker.try_split(0.5) is None
    with pytest.raises(ValueError, match="never ends"):
        tracker.check_done()
    split = tracker.try_split(0)
    assert split is not None
    assert split[0].done
    assert split[1] == Offsets({HEART: 7}, 1)
    assert tracker.check_done()
    assert not tracker.try_claim(Offsets({HEART: 9}, 2))
