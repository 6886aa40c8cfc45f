"""The archive of topics: each record once, also when killed; raw, homes and chat never; its replay is the live run."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from connectors.base import NotALog
from connectors.kafka import archive as archives
from connectors.kafka.archive import OFFSETS, Archive
from connectors.kafka.options import KafkaOptions
from connectors.log_source import LogSource
from deploy.local.broker import Broker
from tests.connectors import kafkas
from tests.connectors.contract import DAY, HEART, T0, beat
from tests.graph.logs import HOUR, life, played, records
from tests.live.stage import end_of, live, said, stage


def taken(options: KafkaOptions, folder: Path) -> int:
    made = Archive(options, folder)
    try:
        return made.take()
    finally:
        made.close()


def test_each_record_is_archived_once_by_topic_and_date_also_after_a_kill(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = kafkas.fresh(broker, {HEART: 2, "clinical.home": 1, "chat.inbound": 1, "raw.search": 1})
    kafkas.produce(options, {HEART: [beat(T0 + i * DAY // 40, user=f"p{i % 7}") for i in range(100)]})
    folder = tmp_path / "archive"

    def killed(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_replace", killed)
        with pytest.raises(KeyboardInterrupt):
            taken(options, folder)
    assert list(folder.rglob("*.parquet")), "files were written, but the offsets not"
    assert taken(options, folder) == 100
    assert taken(options, folder) == 0
    kafkas.produce(options, {HEART: [beat(T0 + 3 * DAY)]})
    assert taken(options, folder) == 1
    assert sorted(p.name for p in (folder / HEART).iterdir()) == ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"]
    assert sum(pq.read_metadata(p).num_rows for p in folder.rglob("*.parquet")) == 101
    with LogSource([folder]) as source:
        assert source.records_in == {HEART: 101}
    assert json.loads((folder / OFFSETS).read_text())[f"{HEART}/0"] > 0


def test_the_replay_of_an_archive_says_what_the_live_run_said(broker: Broker, tmp_path: Path) -> None:
    log = life("p1", 3, 8)
    end = end_of(log) + HOUR
    options = stage(broker, log)
    run = live(options, tmp_path / "s.db", end)
    run.run()
    run.close()
    taken(options, tmp_path / "archive")
    kept = {p.name for p in (tmp_path / "archive").iterdir()}
    assert not kept & {"raw.search", "raw.location", "raw.app_usage", "clinical.home", "chat.inbound"}
    played(tmp_path / "archive", tmp_path / "out", end=end)
    lived = said(options)
    assert {"notifications", "risk.signal", "case.file", "features.minute", "audit"} <= set(lived)
    for topic in sorted({*lived} - {"dlq"}):  # dead letters say where a record stood
        again = sorted(json.dumps(r, sort_keys=True) for r in records(tmp_path / "out", topic))
        assert again == sorted(json.dumps(json.loads(line), sort_keys=True) for line in lived.get(topic, [])), topic


def test_a_folder_that_is_another_thing_is_left_alone(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(NotALog, match="choose a new folder"):
        Archive(kafkas.fresh(broker, [HEART]), tmp_path)
    (tmp_path / OFFSETS).write_text("canary")
    with pytest.raises(NotALog, match="damaged"):
        Archive(kafkas.fresh(broker, [HEART]), tmp_path)
