"""A person's models in the whole graph: answers teach the recogniser, days have snapshots, and there is a way back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from kairos.main import run as command
from pipelines.graph import replay
from pipelines.settings import Settings
from tests.graph.logs import DAY, HOUR, MINUTE, T0, Log, control, row

DAYS = 24
USER = "p01"
ANSWERS: tuple[dict[str, Any], ...] = (
    {"instrument": "STRESS", "items": {"1": 1.0}, "total": 1.0},
    {"instrument": "STRESS", "items": {"1": 8.0}, "total": 8.0},
    {"instrument": "EMA", "items": {"panic": 1.0}},
)


def lived() -> Log:
    """Days with three short hours at rest and an answer after each: racing pulse = PANIC, raised = STRESSED, else CALM.

    Answers come four hours late; every tenth comes twice under one id.
    """
    log, rng = control(USER), random.Random(7)
    seq = 0
    for day in range(DAYS):
        for minute in range(7 * 60, 20 * 60):
            at = T0 + day * DAY + minute * MINUTE
            hour, inside = divmod(minute, 60)
            asked = hour in (10, 14, 18) and inside >= 40
            kind = (day * 7 + hour) % 3
            lift = (0, 9, 40)[kind] if asked and inside >= 48 else 0
            seq += 1
            pulse = {"bpm": round(64 + rng.gauss(0, 2) + lift, 1), "quality": "LOCKED"}
            log["device.heart_rate"].append(row(USER, "watch", seq, at, pulse, at + 2000))
            still = {"steps": 0 if inside >= 5 else 60, "period_s": 60.0, "intensity": 0 if inside >= 5 else 1}
            log["device.activity"].append(row(USER, "watch", seq, at, still, at + 2000))
            if asked and inside == 59:
                said = ANSWERS[kind]
                answer = row(USER, "phone", seq, at, said, at + 4 * HOUR)
                log["selfreport"] += [answer] * (2 if seq % 10 == 0 else 1)
    return log


def write(log: Log, folder: Path) -> Path:
    for topic, rows in log.items():
        (folder / topic).mkdir(parents=True)
        (folder / topic / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def read(folder: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for p in sorted((folder / topic).glob("*.jsonl")) for line in p.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write(lived(), root / "log")
    replay([root / "log"], root / "out", state_dir=root / "state", settings=Settings())
    return root


def test_the_recogniser_goes_on_when_it_has_earned_it_and_says_so(made: Path) -> None:
    told = [r for r in read(made / "out", "monitoring.status") if r["value"]["modality"] == "RECOGNISER"]
    assert [r["value"]["state"] for r in told] == ["OK"]
    since = told[0]["value"]["since_time"]
    signals = [r for r in read(made / "out", "risk.signal") if r["value"]["kind"] == "HR_EPISODE"]
    before = [r["value"] for r in signals if r["ingest_time"] < since]
    after = [r["value"] for r in signals if r["ingest_time"] >= since]
    assert before
    assert all(v.get("state_prob") is None for v in before)
    assert after
    final = {v["signal_id"]: v for v in after if v.get("state_prob")}  # revisions in order: the last one counts
    best = [max(v["state_prob"], key=v["state_prob"].get) for v in final.values()]
    assert best.count("PANIC") / len(best) > 0.7
    assert all(0 <= v["state_confidence"] <= 1 and v["state_context"] for v in after if v.get("state_prob"))


def test_it_tells_no_therapist_anything(made: Path) -> None:
    assert not [r for r in read(made / "out", "notifications") if r["value"]["audience"] == "THERAPIST"]


def test_each_answer_is_learned_once(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["models", "show", USER, "--log", str(made / "out")]) == 0
    shown = json.loads(capsys.readouterr().out)["recogniser"]
    assert shown["on"] is True
    assert (DAYS - 4) * 3 <= shown["answers"] <= DAYS * 3


def test_every_local_day_has_a_snapshot_of_bounded_size(made: Path) -> None:
    dates = [r["value"]["local_date"] for r in read(made / "out", "model.snapshot")]
    assert len(dates) == len(set(dates)) >= DAYS - 4
    assert all(len(r["value"]["state"]) * 3 / 4 <= 65_536 for r in read(made / "out", "model.snapshot"))


def test_rolling_back_goes_on_with_the_old_models_and_stands_in_the_audit_chain(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, state = str(made / "out"), str(made / "state")
    chain = read(made / "out", "audit")
    date = read(made / "out", "model.snapshot")[-6]["value"]["local_date"]
    assert command(["models", "rollback", USER, "--log", out, "--state", state, "--date", date]) == 0
    capsys.readouterr()
    last = max(read(made / "out", "audit"), key=lambda r: r["value"]["chain_seq"])["value"]
    assert last["action"] == "MODEL_ROLLED_BACK"
    newest = max(chain, key=lambda r: r["value"]["chain_seq"])["value"]
    assert last["chain_seq"] == newest["chain_seq"] + 1
    assert last["prev_hash"] == newest["hash"]
    assert command(["models", "rollback", USER, "--log", out, "--state", state, "--date", "1999-01-01"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert command(["models", "list", "nobody", "--log", out]) == 1
