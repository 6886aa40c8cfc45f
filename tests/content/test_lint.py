"""S15 and privacy.md 8 over our own content, and what the lint would catch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from content.lint import lint, main
from content.packs import FOLDER
from content.sign import main as sign


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("packs", "lexicons"):
        shutil.copytree(FOLDER / name, tmp_path / name)
    for file in FOLDER.glob("*.yaml"):
        shutil.copy(file, tmp_path / file.name)
    return tmp_path


def change(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_s15_our_content_is_clean() -> None:
    assert lint() == []


def test_s15_every_pack_says_that_it_is_a_sample() -> None:
    for path in (*sorted((FOLDER / "packs").glob("*.yaml")), *sorted((FOLDER / "lexicons").glob("*n.yaml"))):
        head = path.read_text(encoding="utf-8")[:800].lower()
        assert "samples for clinicians to replace" in head or "sample for clinicians to replace" in head
        assert "not a medical device" in head


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("A few minutes are enough.", "Subscribe now.", "commercial: 'subscribe'"),
        ("A few minutes are enough.", "Try BetterHelp.", "brands: 'betterhelp'"),
        ("A few minutes are enough.", "This is F32.1.", "diagnosis code 'F32.1'"),
        ("A few minutes are enough.", "It is genetic.", "aetiology: 'genetic'"),
        ("A few minutes are enough.", "word " * 200, "characters, at most"),
        ("You can call {crisis_line} at any time.", "Call.", "no {crisis_line}"),
        ("or {emergency} if your life", "or us if your life", "no {emergency}"),
        ("reviewer: demo_reviewer", "reviewer: demo_author", "author and reviewer are the same person"),
        ("evidence_ref: merry_2012", "evidence_ref: hearsay", "evidence_ref 'hearsay' is not in evidence.yaml"),
        ("valid_to: 2035-01-01", "valid_to: 1999-01-01", "valid_from is not before valid_to"),
        ("tags: {tier: PLAY_REMINDER", "tags: {campaign: spring, tier: PLAY_REMINDER", "commercial tag 'campaign'"),
        ("item_id: crisis_card_1_unattended", "item_id: other", "core: crisis_card_1_unattended: no en-GB"),
        ("arm: CLASSIC", "arm: OTHER", "no item for L1 to USER CLASSIC"),
    ],
)
def test_s15_the_lint_finds(copy: Path, old: str, new: str, problem: str) -> None:
    change(copy, "packs/core.en-GB.yaml", old, new)
    assert sign(["--folder", str(copy)]) == 0
    assert any(problem in found for found in lint(copy))


def test_changed_words_need_a_new_signature(copy: Path) -> None:
    change(copy, "packs/core.en-GB.yaml", "A few minutes are enough.", "Five minutes are enough.")
    assert any("play_reminder_1: signature missing or not of these words" in found for found in lint(copy))


def test_a_changed_lexicon_needs_a_new_signature(copy: Path) -> None:
    change(copy, "lexicons/en.yaml", "topic: true\n", "topic: false\n")
    assert any("en.yaml: signature" in found for found in lint(copy))


def test_a_missing_field_is_one_line(copy: Path) -> None:
    change(copy, "packs/core.de-DE.yaml", "evidence_ref: merry_2012", "evidence_ref: ''")
    assert lint(copy) == ["content: core.de-DE.yaml: item play_reminder_1 has no evidence_ref"]


def test_a_country_without_its_line_is_found(copy: Path) -> None:
    change(copy, "crisis_lines.yaml", "  DE: {", "  XX: {")
    assert lint(copy) == ["content: no crisis line for locale 'de-DE'; add its country to crisis_lines.yaml"]


def test_the_command_says_how_many(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(copy)]) == 0
    assert main(["--folder", str(copy), "--today", "2040-01-01"]) == 1
    out = capsys.readouterr()
    assert out.out.startswith("content: clean\n")
    assert "not in its period today" in out.err
