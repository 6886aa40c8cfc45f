"""The command as a user meets it: what is printed, where, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kairos import main as command
from kairos import times
from kairos.main import run
from kairos.outputs import records
from kairos.summary import gather, show

LABEL = "Research software. Not a medical device."
REPORT: dict[str, Any] = {
    "records_in": {"device.heart_rate": 1000, "raw.search": 1},
    "records_out": {"notifications": 2},
    "dlq": {"OUT_OF_RANGE": 3},
    "late": {"device.activity": 4},
    "people": 1,
    "first": 1_779_235_200_000,
    "last": 1_779_321_600_000,
    "wall_s": 1.0,
    "cpu_s": 0.5,
}


def notification(audience: str, **changes: Any) -> dict[str, Any]:
    value = {
        "audience": audience,
        "recipient_ref": "SELF" if audience == "USER" else "dr_a",
        "tier": "L2",
        "explanation": "A search was flagged 'suicide'. Not a diagnosis.",
        "missing": ["HEART_RATE"],
        "late": False,
        "clock_suspect": False,
    }
    return {
        "user": "p01",
        "event_time": 0,
        "ingest_time": 1_779_287_400_000,
        "tz_offset_min": 120,
        "value": value | changes,
    }


def write(folder: Path, topic: str, rows: list[dict[str, Any]]) -> None:
    (folder / topic).mkdir(parents=True)
    (folder / topic / "part-00000.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A graph that writes two notifications; the calls it got."""
    calls: list[dict[str, Any]] = []

    def fake(logs: list[Path], out: Path, **options: Any) -> dict[str, Any]:
        calls.append({"logs": logs, "out": out, **options})
        write(out, "notifications", [notification("USER"), notification("THERAPIST", late=True)])
        write(
            out, "audit", [{"value": {"action": "SUPPRESSED", "reason": "LIMIT_GAP"}}, {"value": {"action": "QUEUED"}}]
        )
        (out / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
        return REPORT

    from pipelines import graph

    monkeypatch.setattr(graph, "replay", fake)
    return calls


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on stderr that is no warning; nothing on stdout."""
    out = capsys.readouterr()
    lines = [line for line in out.err.splitlines() if "demonstration settings" not in line]
    assert out.out == ""
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]


def test_the_help_teaches_and_carries_the_label(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "kairos simulate --out demo --scenario g1" in told
    assert LABEL in told


@pytest.mark.parametrize("name", ["replay", "simulate", "schemas"])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage: kairos " + name in capsys.readouterr().out


def test_a_replay_is_told_to_people(
    replayed: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    log.mkdir()
    given = ["--from", "2026-05-20", "--to", "2026-05-21T02:00+02:00"]
    assert run(["replay", str(log), "--out", str(out), *given]) == 0
    told = capsys.readouterr().out
    for piece in (
        *("p01", "2026-05-20 16:30", "L2", "person", "dr_a", "A search was flagged 'suicide'", "(late)", "HEART_RATE"),
        *("LIMIT_GAP 1", "QUEUED 1", "OUT_OF_RANGE 3", "device.activity 4", str(out), LABEL),
    ):
        assert piece in told
    assert (replayed[0]["start"], replayed[0]["end"]) == (1_779_235_200_000, 1_779_321_600_000)


def test_json_prints_the_report_and_nothing_else(
    replayed: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", str(tmp_path), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == REPORT


def test_demonstration_settings_are_one_warning_line(
    replayed: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", str(tmp_path), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert [line[:30] for line in capsys.readouterr().err.splitlines()] == ["kairos: demonstration settings"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "Missing argument"),
        (["replay", "{log}"], "Missing option"),
        (["replay", "{log}", "--out", "{new}", "--fast"], "No such option"),
        (["replay", "{log}/nowhere", "--out", "{new}"], "no such log folder"),
        (["replay", "{log}", "--out", "{full}"], "is not empty"),
        (["replay", "{log}", "--out", "{full}/file"], "is a file"),
        (["replay", "{log}", "--out", "{new}", "--from", "yesterday"], "is no instant"),
        (
            ["replay", "{log}", "--out", "{new}", "--from", "2026-05-21", "--to", "2026-05-20"],
            "--from is later than --to",
        ),
        (["replay", "{log}", "--out", "{new}", "--format", "csv"], "--format is jsonl or parquet"),
        (["replay", "{log}", "--out", "{new}", "--config", "{log}/nowhere.toml"], "no such configuration file"),
        (["simulate", "--out", "{new}", "--start", "soon"], "is no date"),
        (["simulate", "--out", "{full}"], "is not empty"),
        (["simulate", "--out", "{new}", "--scenario", "g99"], "no scenario 'g99'"),
        (["simulate", "--out", "{new}", "--people", "-1"], "nothing to simulate"),
        (["dance"], "No such command"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, full = tmp_path / "log", tmp_path / "full"
    log.mkdir()
    full.mkdir()
    (full / "file").write_text("x")
    places = {"log": log, "full": full, "new": tmp_path / "new"}
    assert run([a.format(**places) for a in arguments]) != 0
    assert said in one_line(capsys)


@pytest.mark.parametrize("name", ["NotALog", "StateError", "SettingsError", "ContentError"])
def test_an_error_for_the_operator_is_its_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines import graph

    def refuse(*_: Any, **__: Any) -> None:
        raise type(name, (Exception,), {})("the folder\nholds no records")

    monkeypatch.setattr(graph, "replay", refuse)
    assert run(["replay", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert one_line(capsys) == "kairos: the folder holds no records"


def test_an_error_of_ours_never_shows_what_was_in_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines import graph

    def crash(*_: Any, **__: Any) -> None:
        raise ValueError("canary words of a search")

    monkeypatch.setattr(graph, "replay", crash)
    assert run(["replay", str(tmp_path), "--out", str(tmp_path / "out")]) == command.INTERNAL
    line = one_line(capsys)
    assert line.startswith("kairos: internal error ValueError at kairos/test_command.py:")
    assert "canary" not in line


def test_a_made_up_log_is_written_with_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert run(["simulate", "--out", str(out), "--people", "1", "--days", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["people"] == 1
    assert told["records"]["device.heart_rate"] > 100
    assert Path(told["truth"]).exists()


def test_the_schemas_keep_their_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schemas", "check"]) == 0
    assert "every schema compatible" in capsys.readouterr().out


def test_a_broken_schema_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from schemas import compatibility

    monkeypatch.setattr(compatibility, "check", lambda: ["raw.search: field query is gone"])
    assert run(["schemas", "check"]) == 1
    out = capsys.readouterr()
    assert out.out == "raw.search: field query is gone\n"
    assert out.err.startswith("kairos: 1 of the schemas")


def test_parquet_and_jsonl_read_the_same(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [notification("USER"), notification("THERAPIST")]
    write(tmp_path / "a", "notifications", rows)
    (tmp_path / "b" / "notifications").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b" / "notifications" / "part-00000.parquet")
    assert list(records(tmp_path / "a", "notifications")) == list(records(tmp_path / "b", "notifications")) == rows


def test_an_empty_result_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORT | {"dlq": {}, "late": {}, "first": None, "last": None}, tmp_path)
    told = capsys.readouterr().out
    assert "No notification" in told
    assert "- to -" in told


def test_only_the_newest_are_shown_but_all_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "notifications", [notification("USER") for _ in range(60)])
    assert gather(tmp_path).tiers["L2", "USER"] == 60
    show(REPORT, tmp_path)
    assert "and 20 earlier ones" in capsys.readouterr().out


def test_names_with_brackets_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "notifications", [notification("USER") | {"user": "[bold]x"}])
    show(REPORT, tmp_path)
    assert "[bold]x" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "20.5.2026", "nan", "2026-13-01"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no instant"):
        times.parse(text)
