"""The transcripts of docs/conversation.md are what the machine says today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kairos.chat import Talker, lines

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conversation.md").read_text(encoding="utf-8")
DIALOGUES = re.findall(r"### (.+?)\n```chat (\w+)\n(.+?)```", PAGE, re.S)


@pytest.mark.parametrize(("title", "lang", "written"), DIALOGUES, ids=[d[0] for d in DIALOGUES])
def test_the_dialogue_is_told_as_written(title: str, lang: str, written: str) -> None:
    talker, told = Talker(lang), []
    for line in written.splitlines():
        if not line.startswith("you> "):
            continue
        said = line.removeprefix("you> ")
        answer = talker.tap(said[1:]) if said.startswith("/") else talker.say(said)
        told += [line, *lines(answer, talker.library)]
    assert told == written.splitlines()


def test_there_are_ten_and_the_words_are_approved() -> None:
    assert len(DIALOGUES) == 10
    assert not re.search(r"\bF\d\d\b|disorder|caused by", "".join(w for _, _, w in DIALOGUES))
