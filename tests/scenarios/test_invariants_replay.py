"""Replay is a function of the log: S6, S7, S8, S29 (spec/invariants.md), on random small histories."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow.parquet as pq
from hypothesis import given

from simulator import transforms
from simulator.folder import LogWriter, write_log
from simulator.people import one_person
from simulator.rows import Log, Record, in_arrival_order
from simulator.scenarios import build
from tests.scenarios.harness import differences, final_cases, play, read_outputs, replay_folder
from tests.scenarios.small import BEGIN, DAY, HOUR, MINUTE, Small
from tests.scenarios.test_invariants_crisis import few, of, people

Drawn = dict[str, Any]

LAST_HEARTBEAT_MIN = 6 * 1440 + 18 * 60  # a stop after the end of a log would move its clock further than the log does

told_things = st.fixed_dictionaries(
    {
        "at_min": st.integers(0, 4 * 1440),
        "what": st.sampled_from(["s0", "s1", "s2", "s2", "s3", "item9_1", "item9_3", "picture", "mood", "ack"]),
        "late_min": st.sampled_from([0, 0, 0, 7, 200, 1439, 1600]),
    }
)
histories = st.lists(st.lists(told_things, min_size=1, max_size=8), min_size=8, max_size=8)


def person(user: str, drawn: list[Drawn], most_late_min: int = 10**6) -> Log:
    """A few days of searches, questionnaires and pictures, some of them late; a phone's heartbeats between them."""
    small = Small(user)
    for d in drawn:
        at = BEGIN + DAY + d["at_min"] * MINUTE
        arrives = at + min(d["late_min"], most_late_min) * MINUTE + 1_000
        what = d["what"]
        if what[0] == "s" and what != "mood":
            small.search(at, int(what[1]), arrives=arrives)
        elif what.startswith("item9"):
            n = int(what[-1])
            value: Record = {"instrument": "PHQ9", "items": {"1": 1.0, "9": float(n)}, "item9": n, "total": 1.0 + n}
            small.add("selfreport", at, value, arrives=arrives)
        elif what == "picture":
            value = {"label": "SELF_HARM_IMAGE", "score": 0.93, "model_version": "img-1"}
            small.add("device.content_flag", at, value, arrives=arrives)
        elif what == "mood":
            small.add("selfreport", at, {"instrument": "MOOD", "total": 4.0}, arrives=arrives)
        else:
            small.add("clinical.ack", at, {"case_id": "nobody", "actor_ref": "dr_a", "action": "ACK"}, arrives=at)
    for hour in range(0, LAST_HEARTBEAT_MIN // 60 + 1, 6):
        status = {"device": "PHONE", "worn": "UNKNOWN", "connected": True}
        small.add("device.status", BEGIN + hour * HOUR, status, arrives=BEGIN + hour * HOUR)
    return small.finished()


def log_of(drawn: list[list[Drawn]], most_late_min: int = 10**6) -> Log:
    return people([person(f"p{i:02d}", d, most_late_min) for i, d in enumerate(drawn)])


@few
@given(drawn=histories, stops=st.lists(st.integers(0, LAST_HEARTBEAT_MIN - 1), min_size=1, max_size=3, unique=True))
def test_S06_restarted_at_any_moment_every_byte_is_the_same(  # noqa: N802
    drawn: list[list[Drawn]], stops: list[int], tmp_path: Path
) -> None:
    log = log_of(drawn)
    once = play(log, tmp_path / "once")
    again = play(log, tmp_path / "again", stops=[BEGIN + m * MINUTE for m in sorted(stops)])
    assert differences(again, once) == []


@few
@given(drawn=histories, rows=st.sampled_from([1, 7, 60]))
def test_S06_nothing_shows_of_the_slices(drawn: list[list[Drawn]], rows: int, tmp_path: Path) -> None:  # noqa: N802
    from pipelines.settings import Settings

    log = log_of(drawn[:3])
    once = play(log, tmp_path / "once")
    sliced = play(log, tmp_path / "sliced", settings=Settings(slice_rows=rows))
    assert differences(sliced, once) == []


def test_S06_slices_of_a_day_with_all_sensors_show_nothing(tmp_path: Path) -> None:  # noqa: N802
    from pipelines.settings import Settings

    log = build("g1", first_day="05-10", last_day="05-21")
    once = play(log, tmp_path / "once")
    sliced = play(log, tmp_path / "sliced", settings=Settings(slice_rows=900))
    assert differences(sliced, once) == []


@few
@given(drawn=histories, seed=st.integers(0, 99))
def test_S06_in_any_order_of_arrival_the_final_cases_are_the_same(  # noqa: N802
    drawn: list[list[Drawn]], seed: int, tmp_path: Path
) -> None:
    log = log_of(drawn, most_late_min=0)
    orderly = play(log, tmp_path / "orderly")
    shuffled = play(transforms.shuffle_arrival(log, seed, within_h=23.9), tmp_path / "shuffled")
    assert final_cases(shuffled) == final_cases(orderly)
    order = ["NONE", "L1", "L2", "L3", "L4"]
    for value in shuffled.values("case.file"):
        assert order.index(value["tier_said"]) >= order.index(value["tier"])


def test_S06_a_trigger_that_joins_two_cases_makes_them_one(tmp_path: Path) -> None:  # noqa: N802
    small = Small()
    first, bridge, last = (BEGIN + DAY + h * HOUR for h in (0, 20, 40))
    for at, arrives in ((first, first), (last, last), (bridge, last + 2 * HOUR)):
        small.search(at, 2, arrives=arrives)
    small.until(BEGIN + 6 * DAY)
    told = play(small.finished(), tmp_path / "log")
    (case,) = final_cases(told).values()
    assert len(case["triggers"]) == 3
    last_words = {v["case_id"]: v for v in told.values("case.file")}
    superseded = [v["supersedes"] for v in last_words.values() if v["supersedes"]]
    assert len(superseded) == 1
    assert "CASE_REKEYED" in {v["action"] for v in told.values("audit")}


@few
@given(drawn=histories, seed=st.integers(0, 99))
def test_S07_sent_one_to_three_times_every_byte_is_the_same(  # noqa: N802
    drawn: list[list[Drawn]], seed: int, tmp_path: Path
) -> None:
    log = log_of(drawn)
    end = max(int(r["ingest_time"]) for rs in log.values() for r in rs)
    once = play(log, tmp_path / "once")
    more = transforms.duplicate(log, seed)
    again = play(more, tmp_path / "again", end=end)
    assert differences(again, once) == []
    extra = sum(int(r["ingest_time"]) <= end for rs in more.values() for r in rs) - sum(map(len, log.values()))
    assert sum(again.report["duplicates"].values()) == extra


@few
@given(drawn=histories)
def test_S08_what_happens_to_others_changes_nothing_for_me(drawn: list[list[Drawn]], tmp_path: Path) -> None:  # noqa: N802
    log = log_of(drawn)
    end = max(int(r["ingest_time"]) for rs in log.values() for r in rs)
    mine = {t: [r for r in rs if r["user"] in ("p00", "p01") or r["user"].startswith("_")] for t, rs in log.items()}
    everyone = play(log, tmp_path / "all", end=end)
    alone = play(in_arrival_order({t: rs for t, rs in mine.items() if rs}), tmp_path / "alone", end=end)
    for topic in {*everyone.outputs, *alone.outputs} - {"dlq"}:
        for user in ("p00", "p01"):
            assert of(alone, user, topic) == of(everyone, user, topic), topic


# -- S29 ---------------------------------------------------------------------------------------------------------

FIRST = (dt.date(2026, 3, 2) - dt.date(1970, 1, 1)).days * DAY
LIMIT = 65_536


def write_year(folder: Path, days: int) -> None:
    """Person number 1 (panic, searches, late syncs) of the simulator."""
    blocks, log, _ = one_person(5, 1, FIRST, days)
    with LogWriter(folder, "parquet") as writer:
        for block in blocks:
            writer.block(block, "p0002")
        for topic in sorted(log):
            writer.records(topic, log[topic])


def test_S29_after_a_year_the_state_of_a_person_is_small(tmp_path: Path) -> None:  # noqa: N802
    write_year(tmp_path / "log", 365)
    replay_folder(tmp_path / "log", tmp_path / "out", state=tmp_path / "state")
    (row,) = pq.read_table(tmp_path / "state" / "state.parquet").to_pylist()
    assert len(row["person"]) <= LIMIT
    assert len(row["ingest"]) + len(row["person"]) <= LIMIT


CONTINUE = """
import sys
from pathlib import Path
from tests.scenarios.harness import replay_folder
replay_folder(Path(sys.argv[1]), Path(sys.argv[2]), state=Path(sys.argv[3]))
"""


def test_S29_a_fresh_process_goes_on_from_saved_state(tmp_path: Path) -> None:  # noqa: N802
    rng = random.Random(1)
    whats = ["s2", "s3", "item9_1", "mood", "picture"]
    drawn = [
        [{"at_min": rng.randrange(5760), "what": rng.choice(whats), "late_min": 0} for _ in range(5)] for _ in range(4)
    ]
    log = log_of(drawn)
    once = play(log, tmp_path / "once")
    write_log(log, tmp_path / "log")
    out, state = tmp_path / "out", tmp_path / "state"
    replay_folder(tmp_path / "log", out, end=BEGIN + 3 * DAY, state=state)
    command = [sys.executable, "-c", CONTINUE, str(tmp_path / "log"), str(out), str(state)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True, timeout=120)
    assert read_outputs(out) == once.outputs


def test_output_is_in_the_order_of_the_contract(tmp_path: Path) -> None:
    log = merge_days(tmp_path)
    for topic, records in log.items():
        keys = [(r["ingest_time"], r["event_id"]) for r in records if "event_id" in r]
        assert all(a <= b for a, b in pairwise(keys)), topic


def merge_days(tmp_path: Path) -> Log:
    told = play(build("g4", first_day="05-10"), tmp_path / "log")
    return {t: told.rows(t) for t in ("notifications", "risk.signal", "case.file", "features.day", "audit")}
