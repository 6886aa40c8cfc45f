"""Finding and building Prism, without a network."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from deploy.local import prism
from deploy.local.jars import StackError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No binary given, an empty cache, and an empty folder as the only one on the path."""
    monkeypatch.delenv("KAIROS_PRISM", raising=False)
    monkeypatch.setenv("KAIROS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def go(folder: Path, script: str) -> None:
    command = folder / "bin" / "go"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def test_a_given_binary_is_taken_as_it_is(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIROS_PRISM", str(bare / "mine"))
    assert prism.binary() == bare / "mine"


def test_without_binary_and_go_it_says_what_is_needed() -> None:
    with pytest.raises(StackError, match="built with Go"):
        prism.binary()


def test_it_is_built_once_in_the_version_of_beam(bare: Path) -> None:
    go(bare, 'echo "$2" >> "$GOBIN/prism"')
    assert prism.binary() == prism.binary()
    assert prism.binary().read_text() == f"{prism.COMMAND}@v{version('apache-beam')}\n"


def test_what_go_says_last_is_told_in_one_line(bare: Path) -> None:
    go(bare, "echo first >&2; echo no such version >&2; exit 1")
    with pytest.raises(StackError, match=r"could not build .*: no such version$"):
        prism.binary()
