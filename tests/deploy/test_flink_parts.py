"""The parts of a local Flink: pinned jars, settings on loopback, the worker's script. Without starting anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deploy.flink import jars
from deploy.flink.cluster import Flink, Ports
from kairos.flink_run import newest
from pipelines.on_flink import NotSafe


def test_every_version_of_the_pom_is_pinned() -> None:
    text = jars.POM.read_text()
    versions = re.findall(r"<version>([^<]+)</version>", text)
    named = dict(re.findall(r"<(beam\.version|flink\.version)>([^<]+)<", text))
    assert named == {"beam.version": "2.70.0", "flink.version": "1.19.3"}
    assert all(re.fullmatch(r"[\w.]+|\$\{(beam|flink)\.version\}", v) for v in versions)
    sums = jars.POM.with_name("jars.sha256").read_text().split()
    assert f"beam-runners-flink-1.19-{named['beam.version']}.jar" in sums
    assert f"flink-runtime-{named['flink.version']}.jar" in sums


def test_the_replaced_classes_stand_as_source_only() -> None:
    names = sorted(p.stem for p in jars.PATCH.rglob("*") if p.is_file())
    assert names == ["BundleCheckpointHandlers", "ClasspathScanningResourcesDetector", "ServerFactory"]
    assert all(p.suffix == ".java" for p in jars.PATCH.rglob("*") if p.is_file())


def test_flink_listens_on_loopback_and_keeps_what_it_needs_to_restore(tmp_path: Path) -> None:
    flink = Flink(tmp_path, Ports(1, 2, 3, 4))
    flink._configure()
    conf = dict(line.split(": ", 1) for line in (tmp_path / "conf" / "flink-conf.yaml").read_text().splitlines())
    for name in ("rest.bind-address", "jobmanager.bind-host", "taskmanager.bind-host"):
        assert conf[name] == "127.0.0.1"
    assert conf["execution.checkpointing.externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert conf["state.checkpoints.dir"] == (tmp_path / "checkpoints").as_uri()


def test_a_second_start_uses_the_ports_of_the_first(tmp_path: Path) -> None:
    Flink(tmp_path, Ports(1, 2, 3, 4))._configure()
    assert Flink(tmp_path).ports == Ports(1, 2, 3, 4)
    assert json.loads((tmp_path / "ports.json").read_text())["rest"] == 1


def test_the_newest_checkpoint_or_savepoint_is_found(tmp_path: Path) -> None:
    with pytest.raises(NotSafe, match="no checkpoint"):
        newest(tmp_path)
    import os

    for i, name in enumerate(("checkpoints/a/chk-3", "savepoints/savepoint-x", "checkpoints/b/chk-1")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "_metadata").touch()
        os.utime(tmp_path / name / "_metadata", (i, i))
    assert newest(tmp_path) == (tmp_path / "checkpoints/b/chk-1").as_uri()
