"""`kairos run`, `archive`, `topics` and `replay kafka://` as commands; the process killed at random moments."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connectors.kafka.options import KafkaOptions
from deploy.local.broker import Broker
from deploy.local.service import free_port
from kairos.main import run as kairos
from tests.graph.logs import HOUR, both, life
from tests.live.stage import end_of, replayed, said, stage, without_dlq


def settings_of(options: KafkaOptions, folder: Path) -> Path:
    path = folder / "kairos.toml"
    path.write_text(f'[kafka]\nbrokers = "{options.brokers}"\nprefix = "{options.prefix}"\n[live]\nslice_s = 0.2\n')
    return path


def test_a_range_of_topics_is_replayed_by_its_address_and_a_live_run_ends_at_an_instant(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = life("p1", 6, 4)
    end = end_of(log) + HOUR
    options = stage(broker, log)
    config = settings_of(options, tmp_path)
    url = f"kafka://{options.brokers}?to={end}"
    assert kairos(["replay", url, "--out", str(tmp_path / "out"), "--config", str(config)]) == 0
    assert kairos(["run", "--state", str(tmp_path / "s.db"), "--until", str(end), "--config", str(config)]) == 0
    want = replayed(log, tmp_path / "want", end)
    assert without_dlq(said(options)) == without_dlq(want)
    again = {p.parent.name: p.read_text().splitlines(keepends=True) for p in (tmp_path / "out").rglob("*.jsonl")}
    assert {t: sorted(again[t]) for t in want if t != "dlq"} == {t: r for t, r in want.items() if t != "dlq"}
    assert kairos(["archive", "--out", str(tmp_path / "archive"), "--config", str(config)]) == 0
    assert "records of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "--runner", "spark"], "direct or flink"),
        (["run", "--format", "xml"], "avro or json"),
        (["replay", "kafka://", "--out", "x"], "kafka:"),
        (["topics", "acls", "--user", "boss=me"], "ROLE=NAME"),
    ],
)
def test_a_wrong_argument_is_one_line(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert kairos(argv) != 0
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


@pytest.mark.parametrize("command", [["run", "--state", "s.db"], ["archive", "--out", "a"], ["topics", "check"]])
def test_no_broker_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("connectors.kafka.options.QUICK", {"bootstrap_timeout_ms": 300})
    assert kairos([*command, "--brokers", f"127.0.0.1:{free_port()}"]) == 1
    assert "Kafka at 127.0.0.1" in capsys.readouterr().err


@pytest.mark.soak
@pytest.mark.parametrize("kills", [20])
def test_killed_at_random_moments_nothing_is_lost_and_nothing_doubled(broker: Broker, tmp_path: Path, kills: int) -> None:
    rng = random.Random(7)
    log = both(life("p1", 1, 40), life("p2", 51, 30), life("p3", 52, 20))
    end = end_of(log) + HOUR
    options = stage(broker, log, partitions=3)
    command = [
        sys.executable, "-W", "ignore", "-m", "kairos", "run", "--state", str(tmp_path / "s.db"), "--until", str(end),
        "--config", str(settings_of(options, tmp_path)),
    ]  # fmt: skip
    done = 0
    while done < kills:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()  # it is up
        time.sleep(rng.uniform(0.0, 3.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            done += 1
        process.wait()
        process.stdout.close()
        if process.returncode == 0:
            break
    assert done >= 3
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    assert without_dlq(said(options)) == without_dlq(replayed(log, tmp_path, end))
