"""Golden scenarios g12-g15: sessions played by simulated patients, as told, and with what transport and operation do to them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from simulator import transforms
from simulator.patients import Player
from simulator.rows import Log, in_arrival_order
from simulator.scenarios import build, control, raw, resolve, sessions
from simulator.scenarios.story import Story
from tests.scenarios.harness import Told, differences, play, problems, said

OFFSET, MINUTE = 120, 60_000
STORIES = ("g12", "g13", "g14", "g15")
COMMANDS = ("therapy.command", "therapy.attribution", "therapy.session_summary", "therapy.flag")


def story_of(name: str) -> Story:
    return resolve(name)


@cache
def played(name: str, restart: bool = False) -> tuple[Log, Log]:
    """(recorded log of the sessions alone, outputs of the machine that was played against)."""
    story, user = story_of(name), name
    program = raw(name)
    first = sessions.instant(str(program["events"][0].get("at", program["events"][0].get("from")))[:5]) - OFFSET * MINUTE
    whole = control.records(story, raw("base"), user, OFFSET)
    given: Log = {
        t: [{**r, "event_time": first, "ingest_time": first} for r in whole[t]]
        for t in ("clinical.consent", "clinical.profile")
    }
    given["content.pack"] = sessions.catalogue(program)
    player = Player(user, given, tz_offset_min=OFFSET, restart=restart)
    sessions.play(player, program, 1, OFFSET)
    return in_arrival_order({**player.recorded(), **given}), {t: list(player.out[t]) for t in COMMANDS if player.out[t]}


def commands(told: Told) -> list[dict[str, Any]]:
    return [r["value"] for r in told.outputs.get("therapy.command", [])]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("programs")
    done: dict[str, Told] = {}

    def give(name: str) -> Told:
        if name not in done:
            done[name] = play(played(name)[0], folder / name)
        return done[name]

    return give


@pytest.mark.parametrize("name", STORIES)
def test_the_session_is_told_as_written(name: str, replayed: Any) -> None:
    assert problems(replayed(name), name) == []


def _place(record: dict[str, Any]) -> tuple[int, int, str]:
    """As every output stands in a log: commands of one instant as they were said (decision 0065)."""
    return int(record["ingest_time"]), int(record["value"].get("command_seq", 0)), str(record["event_id"])


@pytest.mark.parametrize("name", STORIES)
def test_a_recorded_session_gives_the_same_commands_byte_for_byte(name: str, replayed: Any) -> None:
    for topic, records in played(name)[1].items():
        in_order = sorted(records, key=_place)
        assert replayed(name).outputs[topic] == in_order, topic


@pytest.mark.soak
@pytest.mark.parametrize("name", STORIES)
def test_within_a_whole_life_it_is_the_same(name: str, tmp_path: Path) -> None:
    told = play(build(name), tmp_path / name)
    assert problems(told, name) == []


@pytest.mark.parametrize("name", ["g12", "g14", "g15"])
def test_every_record_sent_one_to_three_times_changes_nothing(name: str, replayed: Any, tmp_path: Path) -> None:
    told = play(transforms.duplicate(played(name)[0], seed=7), tmp_path / "twice")
    assert [t for t in COMMANDS if told.outputs.get(t) != replayed(name).outputs.get(t)] == []


@pytest.mark.parametrize("name", ["g12", "g14"])
def test_stopped_and_taken_up_again_nothing_shows(name: str, replayed: Any, tmp_path: Path) -> None:
    log = played(name)[0]
    times = [r["ingest_time"] for r in log["therapy.event"]]
    middle = times[len(times) // 2]
    told = play(log, tmp_path / "again", stops=[times[2], middle, middle + 7_300, times[-3] + 1])
    assert differences(told, replayed(name)) == []


def test_a_machine_built_anew_from_its_bytes_before_every_step_gives_the_same(replayed: Any) -> None:
    assert played("g12", restart=True)[1] == played("g12")[1]


def test_without_any_heart_rate_distress_alone_names_the_colour_and_nothing_steps_up(tmp_path: Path) -> None:
    log = {t: rs for t, rs in played("g12")[0].items() if t != "device.heart_rate"}
    told = play(log, tmp_path / "silent")
    found = told.values("therapy.attribution")
    assert {a["outcome"] for a in found} == {"SUDS"}
    assert [a["level"] for a in found if a["claim"] == "LINKED"] == ["BLACK"]
    assert [c for c in commands(told) if c["action"] == "STEP_UP"] == []
    assert told.values("therapy.session_summary")[0].get("stress_residual_bpm") is None


def test_heart_rate_that_comes_minutes_late_still_counts_in_the_attribution(tmp_path: Path) -> None:
    log = dict(played("g12")[0])
    end = log["therapy.event"][-1]["ingest_time"]
    log["device.heart_rate"] = [{**r, "ingest_time": min(r["ingest_time"] + 4 * MINUTE, end - 1)} for r in log["device.heart_rate"]]
    told = play(in_arrival_order(log), tmp_path / "late")
    assert any(a["outcome"] == "HR" and a["level"] == "BLACK" and a["claim"] == "LINKED" for a in told.values("therapy.attribution"))
    assert [c for c in commands(told) if c["action"] in ("STEP_UP", "STOP")] == []


def test_events_out_of_order_by_seconds_and_two_devices_give_one_answer_a_trial(tmp_path: Path) -> None:
    log = dict(played("g12")[0])
    twin = [{**r, "source_id": "tablet-1", "event_id": None, "ingest_time": r["ingest_time"] + 400} for r in log["therapy.event"]]
    twin = [{k: v for k, v in r.items() if v is not None} for r in twin]
    swapped = [{**r, "ingest_time": r["ingest_time"] + (i * 7919 % 3) * 900} for i, r in enumerate(log["therapy.event"])]
    log["therapy.event"] = sorted([*swapped, *twin], key=lambda r: int(r["ingest_time"]))
    told = play(log, tmp_path / "two")
    assert [c["command_seq"] for c in commands(told)] == list(range(25))
    assert any(a["level"] == "BLACK" and a["claim"] == "LINKED" and a["n_trials"] == 24 for a in told.values("therapy.attribution"))


def test_shuffled_within_a_day_nothing_steps_up_and_no_case_is_made_up(tmp_path: Path) -> None:
    log = transforms.shuffle_arrival(played("g12")[0], 3)
    told = play(log, tmp_path / "shuffled")
    assert [c for c in commands(told) if c["action"] == "STEP_UP"] == []
    assert told.values("case.file") == []


def test_no_program_says_anything_to_anybody_without_a_purpose_that_permits_it(replayed: Any) -> None:
    for name in STORIES:
        assert said(replayed(name)) == []
