"""`kairos content` and `kairos chat` as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from content.packs import FOLDER
from kairos.main import app

RUN = CliRunner()


def test_the_samples_are_clean() -> None:
    done = RUN.invoke(app, ["content", "lint"])
    assert (done.exit_code, done.stdout.strip()) == (0, "content: clean")


def test_a_changed_item_is_reported_with_whom_it_affects(tmp_path: Path) -> None:
    new = tmp_path / "content"
    shutil.copytree(FOLDER, new, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    pack = new / "packs" / "bot.en-GB.yaml"
    pack.write_text(
        pack.read_text(encoding="utf-8").replace("Poor sleep wears people down.", "Pull yourself together."),
        encoding="utf-8",
    )
    said = {"user": "p1", "event_time": 1_779_278_400_000, "value": {"reply_id": "sleep_1"}}
    pinned = {"user": "p2", "event_time": 0, "value": {"content": {"pinned": ["sleep_1"]}}}
    for topic, record in (("chat.outbound", said), ("clinical.profile", pinned)):
        (tmp_path / "log" / topic).mkdir(parents=True)
        (tmp_path / "log" / topic / "a.jsonl").write_text(json.dumps(record) + "\nnot json\n")
    done = RUN.invoke(app, ["content", "diff", str(FOLDER), str(new), "--log", str(tmp_path / "log")])
    assert "changed  bot sleep_1 en-GB  sent to 1 people (last 2026-05-20), pinned for 1" in done.stdout
    lint = RUN.invoke(app, ["content", "lint", "--folder", str(new)])
    assert lint.exit_code == 1
    assert "sleep_1: blame: 'pull yourself together'" in lint.output
    assert "sign again" in lint.output


def test_preview_shows_what_a_person_sees() -> None:
    done = RUN.invoke(app, ["content", "preview", "human_1"])
    assert done.exit_code == 0
    assert "{crisis_line}" not in done.stdout
    assert "116 123" in done.stdout


def test_a_script_is_talked_through(tmp_path: Path) -> None:
    script = tmp_path / "said.txt"
    script.write_text("hello\n/REFERRAL:START\n1\n", encoding="utf-8")
    done = RUN.invoke(app, ["chat", "--script", str(script)])
    assert done.exit_code == 0
    assert "greeting_1" in done.stdout
    assert "referral_red_flag" in done.stdout
