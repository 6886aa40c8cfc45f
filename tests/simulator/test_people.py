"""Whole populations: reproducible, with the truth beside them, and every kind of trouble a site will meet."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.people import CannotWrite, one_person, simulate
from simulator.persona import PERSONAS
from simulator.rows import dicts
from simulator.scenarios import ScenarioError

FIRST = (dt.date(2026, 3, 2) - dt.date(1970, 1, 1)).days * 86_400_000
HOUR = 3_600_000


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def lines(folder: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / topic / "part-00000.jsonl").read_bytes().splitlines()]


def test_the_same_call_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate(tmp_path / name, people=3, days=3, seed=7)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert (tmp_path / "a.truth.json").read_bytes() == (tmp_path / "b.truth.json").read_bytes()


def test_more_people_change_nothing_for_the_others(tmp_path: Path) -> None:
    simulate(tmp_path / "few", people=2, days=3, seed=7)
    simulate(tmp_path / "many", people=4, days=3, seed=7)
    for name, few in content(tmp_path / "few").items():
        assert content(tmp_path / "many")[name].startswith(few), name


def test_the_written_rows_are_records_in_the_contract_form(tmp_path: Path) -> None:
    made = simulate(tmp_path / "log", people=2, days=2, seed=1)
    assert made.people == 2
    for topic, count in made.rows.items():
        records = lines(tmp_path / "log", topic)
        assert len(records) == count
        for r in records:
            assert isinstance(r["user"], str)
            assert isinstance(r["event_time"], int)
            assert r["value"]
    blocks, _, _ = one_person(1, 0, FIRST, 2)
    heart = next(b for b in blocks if b.topic == "device.heart_rate")
    told = [{k: v for k, v in r.items() if k != "event_id"} for r in dicts(heart, "p0001")]
    assert lines(tmp_path / "log", "device.heart_rate")[: len(told)] == told


def test_golden_scenarios_stand_beside_the_people(tmp_path: Path) -> None:
    simulate(tmp_path / "log", people=1, days=1, scenarios=["g10", "g7_without_profile_add"])
    truth = json.loads((tmp_path / "log.truth.json").read_text())
    assert [p["user"] for p in truth["people"]] == ["g10", "g7_without_profile_add", "p0001"]
    assert truth["people"][0]["expect"][0]["tier"] == "RESOURCES"
    assert truth["people"][1]["expect"] == []
    assert len(lines(tmp_path / "log", "content.pack")) == 4


def test_a_dozen_people_show_every_kind_of_trouble() -> None:
    truths = {}
    late, suspect = 0, 0
    for index, persona in enumerate(PERSONAS):
        blocks, log, truth = one_person(4, index, FIRST, 30)
        assert truth["persona"] == persona
        truths[persona] = truth
        for block in blocks:
            delay = block.ingest_time - block.event_time
            late = max(late, int(delay.max()))
            suspect += int((delay < -300_000).sum())
            assert (np.diff(block.ingest_time) >= 0).all()
        for r in log["clinical.consent"]:
            assert r["value"]["valid_to"] - r["value"]["valid_from"] <= 366 * 24 * HOUR
            assert r["value"]["signature"] == "demo"
    assert sum(s["kind"] == "PANIC" for s in truths["PANIC"]["spikes"]) >= 3
    assert truths["WITHDRAWAL"]["withdrawal"]
    assert truths["ILL"]["illness"]
    assert truths["MINOR"]["minor"]
    assert truths["REVOKES"]["revoked_time"]
    assert "THERAPIST_ALERT_ACUTE" not in truths["NO_THERAPIST"]["purposes"]
    assert len(truths["WATCH_OFF"]["watch_off_days"]) >= 3
    assert truths["PHONE_SILENT"]["phone_silent"]
    assert truths["WRONG_CLOCK"]["wrong_clock"]
    assert suspect > 0
    assert max(b - a for a, b in truths["LATE_SYNC"]["watch_gaps"]) > 24 * HOUR
    assert late > 24 * HOUR
    assert any(t["sent_twice"] for t in truths.values())
    assert any(s["severity"] >= 2 for t in truths.values() for s in t["searches"])


def test_nonsense_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="nothing to simulate"):
        simulate(tmp_path / "log")
    with pytest.raises(CannotWrite, match="jsonl or parquet"):
        simulate(tmp_path / "log", people=1, days=1, fmt="csv")
    with pytest.raises(ScenarioError, match="no scenario"):
        simulate(tmp_path / "log", scenarios=["g99"])
    simulate(tmp_path / "log", people=1, days=1)
    with pytest.raises(CannotWrite, match="already holds records"):
        simulate(tmp_path / "log", people=1, days=1)
