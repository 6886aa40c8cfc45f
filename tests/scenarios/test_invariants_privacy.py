"""What may never be in an output: S5 (canaries), S15, S19, S28 on bad input (spec/invariants.md)."""

from __future__ import annotations

import json
import logging
import random
import re
import zlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import schemas
from simulator.folder import write_log
from simulator.scenarios import build
from tests.scenarios.conftest import Play
from tests.scenarios.harness import Told, canaries, read_outputs, replay_folder
from tests.scenarios.small import BEGIN, DAY, HOUR, Small, ms

WORD = "zqxcanary"
LATITUDE, LONGITUDE = 47.31907531, 8.55198642  # digits that occur nowhere else
CANARIES = [WORD, "zqxpackage", "zqxchat", "47.3190", "8.5519", "52.5163", "13.3777"]


def write_canaries(folder: Path) -> None:
    """A log with canaries in every place a person's words can be, good and broken."""
    small = Small()
    small.home()
    for hour in range(48):
        at = BEGIN + DAY + hour * HOUR
        place = {"latitude": LATITUDE, "longitude": LONGITUDE, "accuracy_m": 20.0}
        small.add("raw.location", at, place)
        small.add("raw.search", at + 60_000, {"query": f"{WORD} zz-self {hour}", "lang": "en"})
        app = {"package": "org.zqxpackage.app", "event": "FOREGROUND", "category": "SOCIAL"}
        small.add("raw.app_usage", at + 120_000, app)
        chat = {"session_id": "c1", "text": f"zqxchat i want to die {WORD}", "lang": "en"}
        small.add("chat.inbound", at + 180_000, chat)
    # good records that are refused: far future, ancient, out of range, and of a modality nobody permitted
    small.add("raw.location", ms("05-29 00:00"), place, arrives=ms("05-20 00:00"))
    small.add("raw.location", ms("05-01 00:00"), place, arrives=ms("05-20 00:00"))
    small.add("raw.location", ms("05-20 00:01"), place | {"latitude": 147.3190753})
    small.add("raw.search", ms("05-20 00:02"), {"query": WORD, "lang": 7})
    small.add("raw.app_usage", ms("05-20 00:03"), {"package": "org.zqxpackage.app", "event": WORD})
    small.add("raw.search", ms("05-20 00:04"), {"query": [WORD]})
    stranger = Small("p2", consents=False)
    stranger.add("raw.search", ms("05-20 10:00"), {"query": f"{WORD} zz-method", "lang": "en"})
    stranger.add("chat.inbound", ms("05-20 10:01"), {"session_id": "c2", "text": f"zqxchat {WORD}"})
    log = small.finished()
    for topic, records in stranger.finished().items():
        if topic != "content.pack":
            log.setdefault(topic, []).extend(records)
    write_log(log, folder)
    broken = [
        f'{{"user":"p1","event_time":{ms("05-20 12:00")},"value":{{"query":"{WORD}"',
        f'"{WORD}"',
        json.dumps({"user": "p1", "event_time": "yesterday", "value": {"query": WORD}}),
        json.dumps({"user": "p1", "event_time": ms("05-20 12:00"), "value": {"query": WORD, "extra": WORD}}),
        json.dumps({"user": "p1", "event_time": ms("05-20 12:00"), "value": WORD}),
    ]
    with (folder / "raw.search" / "part-00001.jsonl").open("w") as out:
        out.write("\n".join(broken) + "\n")
    (folder / "raw.location" / "part-00001.jsonl").write_text(
        json.dumps({"user": "p1", "event_time": ms("05-20 12:00"), "value": {"latitude": LATITUDE, "longitude": WORD}})
        + "\n"
    )
    (folder / "raw.nonsense").mkdir()
    (folder / "raw.nonsense" / "a.jsonl").write_text(
        json.dumps({"user": "p1", "event_time": ms("05-20 12:00"), "value": {"text": WORD}}) + "\n"
    )


def test_S05_no_word_place_or_app_leaves_ingest(  # noqa: N802
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    write_canaries(tmp_path / "log")
    for fmt in ("jsonl", "parquet"):
        out = tmp_path / fmt
        report = replay_folder(tmp_path / "log", out, state=tmp_path / f"state_{fmt}", fmt=fmt)
        told = Told(read_outputs(out), report, {}, out)
        assert told.outputs["notifications"], "the canaries must not have stopped the help"
        assert canaries(told, CANARIES) == []
        assert sum(report["dlq"].values()) >= 10
    printed = capfd.readouterr()
    said = caplog.text + printed.out + printed.err
    assert [c for c in CANARIES if c in said] == []


def test_S05_the_saved_state_holds_no_words(tmp_path: Path) -> None:  # noqa: N802
    write_canaries(tmp_path / "log")
    replay_folder(tmp_path / "log", tmp_path / "out", state=tmp_path / "state")
    table = pq.read_table(tmp_path / "state" / "state.parquet")
    seen = str(table.schema.metadata)
    for name in table.column_names:
        for cell in table[name].to_pylist():
            seen += _opened(cell) if isinstance(cell, bytes) else str(cell)
    assert len(seen) > 2_000
    assert [c for c in (WORD, "zqxpackage", "zqxchat") if c in seen] == []


def _opened(data: bytes) -> str:
    """Everything readable in packed state: as it lies, and what each zlib stream in it holds."""
    out = [data.decode("latin-1")]
    for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        try:
            inner = zlib.decompressobj().decompress(data[match.start() :])
        except zlib.error:
            continue
        out.append(_opened(inner) if inner.startswith(b"KRS1") else inner.decode("latin-1"))
    return "\n".join(out)


def test_S05_no_later_topic_has_a_field_for_words_places_or_apps() -> None:  # noqa: N802
    forbidden = {"query", "url", "latitude", "longitude", "package", "text", "lat", "lon", "title"}
    for name, topic in schemas.TOPICS.items():
        if topic.klass == "PRIVATE" or name in ("clinical.home", "chat.inbound"):
            continue
        assert not {f.name for f in topic.fields} & forbidden, name
        assert not set(re.findall(r'"name": "(\w+)"', json.dumps(topic.avro))) & forbidden, name


CODES = re.compile(r"\b[FGX]\d{2}(\.\d)?\b")  # ICD-10 chapters that could be meant
CAUSES = re.compile(r"because of your|caused by|due to (your|a|the) |disorder|syndrome|sponsored|premium|\bbuy\b", re.I)


@pytest.mark.parametrize("name", ["g1", "g5", "g8", "g10"])
def test_S15_no_cause_code_or_advertisement_in_any_output(name: str, shorter: Play) -> None:  # noqa: N802
    told = shorter(name)
    for topic in ("notifications", "case.file", "risk.signal", "monitoring.status", "jitai.decision"):
        for r in told.outputs.get(topic, []):
            words = json.dumps({k: v for k, v in r["value"].items() if not k.endswith("_id")})
            assert not CODES.search(words), words
            assert not CAUSES.search(words), words


def test_S19_marketing_cannot_be_said() -> None:  # noqa: N802
    field = next(f for f in schemas.topic("clinical.consent").fields if f.name == "purpose")
    assert set(field.symbols or ()) == {
        *("CARE_USER_MSG", "THERAPIST_ALERT_ACUTE", "THERAPIST_ALERT_TREND"),
        *("MONITORING_STATUS", "THERAPIST_SESSION_VIEW", "RESEARCH"),
    }


def test_S19_a_consent_to_something_else_is_no_consent(tmp_path: Path) -> None:  # noqa: N802
    small = Small(consents=False)
    small.consent("c0", purpose="MARKETING", recipient_ref="partner")
    small.search(BEGIN + DAY, 2)
    small.until(BEGIN + 2 * DAY)
    write_log(small.finished(), tmp_path / "log")
    report = replay_folder(tmp_path / "log", tmp_path / "out")
    assert report["dlq"]["SCHEMA"] == 1
    assert read_outputs(tmp_path / "out").get("notifications", []) == []


# -- S28: counts -------------------------------------------------------------------------------------------------


def spoiled(log: dict[str, list[dict[str, Any]]], folder: Path, seed: int) -> dict[str, int]:
    """The log with every kind of broken line among the good ones; lines written by topic."""
    rng = random.Random(seed)
    written: dict[str, int] = {}
    for topic, records in log.items():
        lines = []
        for r in records:
            line = json.dumps(r)
            lines.append(line)
            kind = rng.randrange(60)
            copies = {
                0: line,
                1: line[: rng.randrange(len(line))] + "{",
                2: json.dumps({**r, "value": None}),
                3: json.dumps({**r, "event_time": "now"}),
                4: json.dumps({**r, "user": 7}),
                5: json.dumps({**r, "value": {**r["value"], "bogus": 1}, "seq": 10**6 + rng.randrange(10**6)}),
                6: re.sub(r":\d+\.\d+", ":NaN", line),
                7: json.dumps({**r, "event_time": r["event_time"] - 9 * DAY, "event_id": f"old{rng.random()}"}),
                8: json.dumps({**r, "event_time": r["event_time"] + 9 * DAY, "event_id": f"new{rng.random()}"}),
                9: "[]",
                10: "",
            }
            if kind in copies:
                lines.append(copies[kind])
        (folder / topic).mkdir(parents=True)
        (folder / topic / "a.jsonl").write_text("\n".join(lines) + "\n")
        written[topic] = sum(1 for line in lines if line)
    (folder / "some.topic").mkdir()
    (folder / "some.topic" / "a.jsonl").write_text('{"user":"g1","event_time":1,"value":{}}\n' * 3)
    return written


@pytest.mark.parametrize("seed", [1, 2])
def test_S28_what_came_in_was_processed_or_is_dead_or_came_twice(seed: int, tmp_path: Path) -> None:  # noqa: N802
    written = spoiled(build("g1", first_day="05-19", last_day="05-20"), tmp_path / "log", seed)
    report = replay_folder(tmp_path / "log", tmp_path / "out")
    dead: dict[str, int] = {}
    for r in read_outputs(tmp_path / "out")["dlq"]:
        dead[r["value"]["topic"]] = dead.get(r["value"]["topic"], 0) + 1
    for topic, n in report["records_in"].items():
        parts = [report[k].get(topic, 0) for k in ("processed", "duplicates")]
        assert n == sum(parts) + dead.get(topic, 0), (topic, n, parts, dead.get(topic, 0))
    assert sum(report["dlq"].values()) == sum(dead.values())
    for topic, n in written.items():
        assert report["records_in"][topic] == n, topic
    assert report["dlq"]["UNKNOWN_TOPIC"] == 3
    assert {"UNPARSABLE", "SCHEMA", "FUTURE", "TOO_OLD"} <= set(report["dlq"])
