"""The whole graph over small random logs: nothing shows of slices, restarts, file order or other people (S6a, S8, S28)."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest import Pseudonyms, seen
from tests.graph.logs import (
    DAY,
    HOUR,
    MINUTE,
    T0,
    Log,
    both,
    control,
    counted,
    lexicon,
    life,
    outputs,
    played,
    records,
    row,
    write,
)  # fmt: skip

SEEDS = range(2)
LAST = T0 + 90 * HOUR  # after every late row, so that all runs end at the same clock


def end_of(log: Log) -> int:
    return max(int(r["ingest_time"]) for rs in log.values() for r in rs)


# -- slices -----------------------------------------------------------------------------------------------------------


def slices_alike(log: Path, folder: Path, slice_rows: int) -> dict[str, Any]:
    """The same bytes in slices of so many rows as in one; the report."""
    whole = played(log, folder / "whole")
    parts = played(log, folder / "parts", slice_rows=slice_rows)
    assert outputs(folder / "parts") == outputs(folder / "whole")
    assert counted(parts) == counted(whole)
    return whole


@pytest.mark.parametrize("seed", SEEDS)
def test_small_slices_give_the_same_bytes(seed: int, tmp_path: Path) -> None:
    log = both(life("p1", seed, 7), life("p2", seed + 50, 4))
    report = slices_alike(write(log, tmp_path / "log", random.Random(seed)), tmp_path, 120)
    assert {"features.minute", "risk.signal", "audit"} <= set(report["records_out"])


@pytest.mark.parametrize("slice_rows", [60, 10**6])
def test_people_taken_in_groups_give_the_same_bytes(slice_rows: int, tmp_path: Path) -> None:
    """Five people, the rows of some at the very same instants, two at a time; a pack comes in the middle."""
    log = both(*(life(f"p{i}", i // 2, 3) for i in range(5)), {"content.pack": [lexicon(T0 + HOUR)]})
    folder = write(log, tmp_path / "log")
    whole = played(folder, tmp_path / "whole")
    groups = played(folder, tmp_path / "groups", slice_rows=slice_rows, settings={"slice_people": 2})
    assert outputs(tmp_path / "groups") == outputs(tmp_path / "whole")
    assert counted(groups) == counted(whole)
    assert whole["people"] == 5


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6))
def test_small_slices_give_the_same_bytes_where_the_pulse_is_known(seed: int, tmp_path: Path) -> None:
    """Twelve days: a warm model, pulse episodes, check-ins and their outcomes, all with some late rows."""
    report = slices_alike(write(life("p1", seed, 290, steady=True), tmp_path / "log"), tmp_path, 400)
    assert {"jitai.decision", "notifications"} <= set(report["records_out"])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20, 32))
def test_slices_of_fifty_rows_give_the_same_bytes(seed: int, tmp_path: Path) -> None:
    log = both(life("p1", seed, 30), life("p2", seed + 50, 20))
    slices_alike(write(log, tmp_path / "log", random.Random(seed)), tmp_path, 50)


@pytest.mark.parametrize("seed", SEEDS)
def test_stopping_at_any_instant_and_going_on_gives_the_same_bytes(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    log = write(life("p1", seed + 10, 9), tmp_path / "log")
    whole = played(log, tmp_path / "whole")
    for end in [*sorted(T0 + rng.randrange(0, 30 * HOUR) for _ in range(3)), None]:
        last = played(log, tmp_path / "parts", end=end, state_dir=tmp_path / "state")
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    assert counted(last) == counted(whole)


def test_the_order_of_lines_and_files_does_not_matter(tmp_path: Path) -> None:
    """Of records that arrived at different instants: at one instant the order of the file counts (contracts.md 2)."""
    log = life("p1", 7, 5)
    for records_of_topic in log.values():
        arrived = {r["ingest_time"]: r for r in records_of_topic}
        records_of_topic[:] = arrived.values()
    for name, shuffle in (("a", None), ("b", random.Random(1)), ("c", random.Random(2))):
        played(write(log, tmp_path / name, shuffle), tmp_path / f"out-{name}")
    a, b, c = (outputs(tmp_path / f"out-{n}") for n in "abc")
    for said in (a, b, c):  # a dead letter says where its record stood
        said.pop("dlq/part-00000.jsonl", None)
    assert a == b == c


def test_parquet_holds_the_same_records(tmp_path: Path) -> None:
    log = write(life("p1", 3, 4), tmp_path / "log")
    a = played(log, tmp_path / "a")
    b = played(log, tmp_path / "b", fmt="parquet")
    assert counted(a) == counted(b)
    assert sorted(p.name for p in (tmp_path / "b").iterdir() if p.is_dir()) == sorted(
        p.name for p in (tmp_path / "a").iterdir() if p.is_dir()
    )


# -- people -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_what_is_said_of_a_person_does_not_depend_on_another(seed: int, tmp_path: Path) -> None:
    """S8: byte for byte, with the same clock at the end."""
    one, two = life("p1", seed, 5), life("p2", seed + 50, 7)
    end = max(end_of(one), end_of(two))
    for name, log in (("one", one), ("two", two), ("both", both(one, two))):
        played(write(log, tmp_path / f"log-{name}"), tmp_path / name, end=end)
    for topic in (
        "features.minute",
        "risk.signal",
        "notifications",
        "audit",
        "case.file",
        "monitoring.status",
        "device.location",
    ):
        together = records(tmp_path / "both", topic)
        for name, user in (("one", "p1"), ("two", "p2")):
            assert [r for r in together if r["user"] == user] == records(tmp_path / name, topic)


def test_two_ids_that_lead_to_one_pseudonym_are_one_person(tmp_path: Path) -> None:
    key = "secret"
    pseudonym = Pseudonyms(key).of("p1")
    log = life("p1", 5, 4)
    mixed = {
        t: [r if t == "content.pack" or i % 2 else r | {"user": pseudonym} for i, r in enumerate(rs)]
        for t, rs in log.items()
    }
    whole = played(write(log, tmp_path / "log"), tmp_path / "whole", settings={"pseudonym_key": key})
    parts = played(write(mixed, tmp_path / "mixed"), tmp_path / "out", slice_rows=100, settings={"pseudonym_key": key})
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    assert (whole["people"], parts["people"]) == (1, 1)
    assert b'"p1"' not in b"".join(outputs(tmp_path / "out").values())


# -- counts -----------------------------------------------------------------------------------------------------------

BAD = [
    "{", "[]", "7", "null", '{"user": 3}', '{"user": "p1"}', '{"user": "p1", "event_time": "now", "value": {}}',
    '{"user": "", "event_time": 1, "value": {}}', "\x00\xff", '{"user": "p1", "event_time": 1779235200000, "value": {"query": 1}}',
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes_in_the_counts_add_up_and_no_letter_holds_a_payload(seed: int, tmp_path: Path) -> None:
    """S28."""
    rng = random.Random(seed)
    log = life("p1", seed, 4)
    for topic in list(log):
        for r in rng.sample(log[topic], min(len(log[topic]), 3)):
            if topic.startswith(("device.", "raw.")):
                log[topic].append(r | {"event_time": T0 + 40 * DAY, "seq": rng.randrange(10**6)})
                log[topic].append(r | {"event_time": T0 - 40 * DAY, "seq": rng.randrange(10**6)})
                log[topic].append(r | {"value": r["value"] | {"canary_field": "canary"}, "seq": rng.randrange(10**6)})
    log["device.heart_rate"].append(row("p1", "x", 1, T0, {"bpm": 900.0, "quality": "LOCKED"}, T0))
    log["device.heart_rate"].append(row("nobody", "x", 1, T0, {"bpm": 60.0, "quality": "LOCKED"}, T0))
    folder = write(log, tmp_path / "log")
    lines = Counter({t: len(rs) for t, rs in log.items()})
    for topic in ("device.heart_rate", "raw.search", "no.such.topic", "clinical.consent", "chat.inbound"):
        bad = rng.sample(BAD, 4)
        (folder / topic).mkdir(exist_ok=True)
        (folder / topic / "zz-bad.jsonl").write_text("\n".join(bad) + "\n", encoding="utf-8")
        lines[topic] += len(bad)
    for slice_rows in (200, 10**6):
        out = tmp_path / f"out-{slice_rows}"
        report = played(folder, out, slice_rows=slice_rows)
        letters = records(out, "dlq")
        dead = Counter(v["value"]["topic"] for v in letters)
        assert report["records_in"] == {t: n for t, n in sorted(lines.items()) if n}
        for topic, n in lines.items():
            assert n == report["processed"].get(topic, 0) + report["duplicates"].get(topic, 0) + dead[topic], topic
        assert sum(report["dlq"].values()) == len(letters)
        assert Counter(v["value"]["reason"] for v in letters) == report["dlq"]
        assert len({v["event_id"] for v in letters}) == len(letters)
        assert b"canary" not in (out / "dlq" / "part-00000.jsonl").read_bytes()
        for topic, n in report["records_out"].items():
            assert len(records(out, topic)) == n
    assert outputs(tmp_path / "out-200") == outputs(tmp_path / "out-1000000")


def test_the_report_has_the_shape_of_the_contract(tmp_path: Path) -> None:
    report = played(write(life("p1", 1, 3, messy=False), tmp_path / "log"), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
    assert {"records_in", "records_out", "dlq", "late", "people", "first", "last", "wall_s", "cpu_s"} <= set(report)
    assert (report["people"], report["first"]) == (1, T0 - 2 * HOUR)
    assert report["late"] == report["forgotten"] == {}


def test_late_rows_are_counted_by_topic(tmp_path: Path) -> None:
    log = control("p1")
    log["device.heart_rate"] = [
        row("p1", "w", i, T0, {"bpm": 60.0, "quality": "LOCKED"}, T0 + late) for i, late in enumerate([0, DAY, DAY + 1])
    ]
    assert played(write(log, tmp_path / "log"), tmp_path / "out")["late"] == {"device.heart_rate": 1}


def test_what_is_forgotten_for_want_of_room_is_in_the_report_whatever_the_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(seen.MOST, "device.heart_rate", 100)
    log = control("p1")
    log["device.heart_rate"] = [
        row("p1", "w", 3 * i, T0 + i * MINUTE, {"bpm": 60.0, "quality": "LOCKED"}, T0 + i * MINUTE) for i in range(300)
    ]
    write(log, tmp_path / "log")
    told = [played(tmp_path / "log", tmp_path / f"out-{n}", n)["forgotten"] for n in (7, 1_000_000)]
    assert told[0] == told[1]
    assert 200 <= told[0]["device.heart_rate"] <= 225


# -- from, to ---------------------------------------------------------------------------------------------------------


def beats(n: int) -> Log:
    log = control("p1")
    log["device.heart_rate"] = [
        row("p1", "w", i, T0 + i * MINUTE, {"bpm": 60.0, "quality": "LOCKED"}, T0 + i * MINUTE) for i in range(n)
    ]
    return log


def test_both_ends_count(tmp_path: Path) -> None:
    log = write(beats(30), tmp_path / "log")
    report = played(log, tmp_path / "out", start=T0 - HOUR, end=T0 + 10 * MINUTE)
    assert report["records_in"]["device.heart_rate"] == 11
    later = played(log, tmp_path / "later", start=T0 + 10 * MINUTE, settings={"study_data": True})
    assert later["records_in"] == {"device.heart_rate": 20}


def test_timers_run_up_to_the_end_that_was_asked_for(tmp_path: Path) -> None:
    """A day after the last record its features are told, though nothing more arrived."""
    log = write(beats(30), tmp_path / "log")
    short = played(log, tmp_path / "short")
    long = played(log, tmp_path / "long", end=T0 + 40 * HOUR)
    assert "features.day" not in short["records_out"]
    assert long["records_out"]["features.day"] == 2
    assert all(r["ingest_time"] <= T0 + 40 * HOUR for r in records(tmp_path / "long", "features.day"))


# -- content packs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slice_rows", [1, 10**6])
def test_a_pack_in_the_middle_acts_on_what_arrives_after_it(slice_rows: int, tmp_path: Path) -> None:
    log = control("p1")
    log["raw.search"] = [
        row("p1", "ph", i, T0 + i * HOUR, {"query": "zznew"}, T0 + i * HOUR) for i in range(4)
    ]  # fmt: skip
    log["content.pack"] = [lexicon(T0 + 90 * MINUTE, "zznew"), lexicon(T0 + 150 * MINUTE, "zznew") | {"seq": 2}]
    log["content.pack"][1]["value"]["signature"] = ""
    report = played(write(log, tmp_path / "log"), tmp_path / "out", slice_rows=slice_rows)
    flags = records(tmp_path / "out", "device.search_flag")
    assert [r["event_time"] for r in flags] == [T0 + 2 * HOUR, T0 + 3 * HOUR]
    assert report["dlq"] == {"UNSIGNED": 1}
    (letter,) = records(tmp_path / "out", "dlq")
    assert (letter["user"], letter["value"]["topic"]) == ("_ops", "content.pack")


def test_packs_are_remembered_over_a_stop(tmp_path: Path) -> None:
    log = life("p1", 6, 5)
    log["raw.search"].append(row("p1", "ph", 99, T0 + HOUR, {"query": "zzself"}, T0 + HOUR))
    folder = write(log, tmp_path / "log")
    played(folder, tmp_path / "whole")
    played(folder, tmp_path / "parts", end=T0, state_dir=tmp_path / "state")
    played(folder, tmp_path / "parts", state_dir=tmp_path / "state")
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    assert records(tmp_path / "parts", "device.search_flag")


# -- erasure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slice_rows", [1, 10**6])
def test_what_arrived_in_the_minute_of_an_erasure_is_erased_too(slice_rows: int, tmp_path: Path) -> None:
    """Rows that no tick has taken up yet belong to what was known (privacy.md 4)."""
    log = control("p1", at=T0 - 2 * DAY)
    new = control("p1", at=T0 + 30_000)
    log["clinical.consent"] += [r | {"seq": r["seq"] + 100} for r in new["clinical.consent"]]
    erased = {"scope": "ALL", "requested_by": "SELF", "request_id": "er1", "signature": "demo"}
    log["erasure.request"] = [row("p1", "clinic", 0, T0 + 20_000, erased, T0 + 20_000)]
    beat = {"bpm": 60.0, "quality": "LOCKED"}
    use = {"package": "", "event": "BACKGROUND", "duration_s": 30.0}
    for i, at in enumerate([T0 + 10_000, T0 + 40_000]):
        log["device.heart_rate"].append(row("p1", "w", i, at, beat, at))
        log["raw.app_usage"].append(row("p1", "ph", i, at, use, at))
        log["device.status"].append(
            row("p1", "ph", i, at, {"device": "PHONE", "worn": "UNKNOWN", "connected": True}, at)
        )
    played(write(log, tmp_path / "log"), tmp_path / "out", slice_rows=slice_rows, end=T0 + 30 * HOUR)
    (minute,) = [r["value"] for r in records(tmp_path / "out", "features.minute")]
    assert minute["hr_n"] == 1
    days = {v["value"]["start_time"]: v["value"] for v in records(tmp_path / "out", "features.day")}
    assert [d["features"]["phone_min"]["amount"] for d in days.values() if "amount" in d["features"]["phone_min"]] == [
        0.5
    ]


# -- an output is a log -----------------------------------------------------------------------------------------------


def test_the_output_with_the_control_topics_is_itself_a_log(tmp_path: Path) -> None:
    """contracts.md 2: replaying what a replay minimised says the same."""
    log = life("p1", 11, 7, messy=False)
    folder = write(log, tmp_path / "log")
    played(folder, tmp_path / "out", end=LAST)
    again = tmp_path / "again"
    for folder_ in (tmp_path / "out").iterdir():
        if folder_.is_dir():
            (again / folder_.name).mkdir(parents=True)
            for part in folder_.iterdir():
                (again / folder_.name / part.name).write_bytes(part.read_bytes())
    write({t: rs for t, rs in log.items() if t.startswith("clinical.")}, again)
    played(again, tmp_path / "out2", end=LAST)
    for topic in ("notifications", "risk.signal", "features.minute", "features.day", "case.file", "audit"):
        assert records(tmp_path / "out2", topic) == records(tmp_path / "out", topic), topic
