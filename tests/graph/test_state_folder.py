"""Where a replay stopped: written whole or not at all, and read only by what wrote it (design 5, 6)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.learning.packing import StateError
from pipelines.settings import Settings
from pipelines.state_folder import Kept, StateFolder
from tests.graph.logs import HOUR, T0, counted, life, outputs, played, write

KEPT = Kept(
    17, {"p2": (b"b" * 40, b"c"), "p1": (b"", b"\0\xff")}, [{"event_id": "x", "value": {"a": [1]}}], {"people": 2}
)


def folder(path: Path, **settings: Any) -> StateFolder:
    return StateFolder(path, Settings(**settings))


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    folder(tmp_path).save(KEPT)
    assert folder(tmp_path).load() == KEPT
    assert [p.name for p in tmp_path.iterdir()] == ["state.parquet"]


def test_a_new_folder_has_no_state_and_none_is_asked_for_without_a_folder(tmp_path: Path) -> None:
    assert folder(tmp_path / "new").load() is None
    nowhere = StateFolder(None, Settings())
    nowhere.save(KEPT)
    assert nowhere.load() is None


def test_saving_again_replaces_the_state_and_a_kill_while_writing_leaves_the_old(tmp_path: Path) -> None:
    folder(tmp_path).save(KEPT)
    (tmp_path / "state.parquet.part").write_bytes(b"half of a new")
    assert folder(tmp_path).load() == KEPT
    newer = Kept(18, {}, [], {})
    folder(tmp_path).save(newer)
    assert folder(tmp_path).load() == newer


def test_the_size_of_slices_may_change_between_runs_and_nothing_else(tmp_path: Path) -> None:
    folder(tmp_path).save(KEPT)
    assert folder(tmp_path, slice_rows=7).load() == KEPT
    with pytest.raises(StateError, match="another configuration"):
        folder(tmp_path, study_key="other").load()
    with pytest.raises(StateError, match="another configuration"):
        folder(tmp_path, pseudonym_key="other").load()


def rewritten(path: Path, **meta: Any) -> None:
    table = pq.read_table(path)
    kept = json.loads(table.schema.metadata[b"kairos"])
    kept = {k: v for k, v in (kept | meta).items() if v is not None}
    assert table.schema.metadata[b"digest"]
    pq.write_table(table.replace_schema_metadata({b"kairos": json.dumps(kept).encode()}), path)


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    folder(tmp_path).save(KEPT)
    rewritten(tmp_path / "state.parquet", version=99)
    with pytest.raises(StateError, match="version 99"):
        folder(tmp_path).load()


@pytest.mark.parametrize("missing", ["version", "settings", "clock", "packs", "report"])
def test_a_state_without_its_parts_is_refused(missing: str, tmp_path: Path) -> None:
    folder(tmp_path).save(KEPT)
    rewritten(tmp_path / "state.parquet", **{missing: None})
    with pytest.raises(StateError):
        folder(tmp_path).load()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PAR1rubbishPAR1"])
def test_a_file_that_is_no_state_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.parquet").write_bytes(content)
    with pytest.raises(StateError, match="not a state folder") as caught:
        folder(tmp_path).load()
    assert "\n" not in str(caught.value)


def test_some_other_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "state.parquet")
    with pytest.raises(StateError):
        folder(tmp_path).load()
    other = pa.table({"a": [1]}).replace_schema_metadata({b"kairos": b"[]"})
    pq.write_table(other, tmp_path / "state.parquet")
    with pytest.raises(StateError):
        folder(tmp_path).load()


def test_whatever_byte_is_damaged_the_state_is_refused_or_whole(tmp_path: Path) -> None:
    """A wrong clock or a wrong person's state must never be taken up silently."""
    folder(tmp_path).save(KEPT)
    good = (tmp_path / "state.parquet").read_bytes()
    rng = random.Random(1)
    for place in rng.sample(range(len(good)), min(len(good), 400)):
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        (tmp_path / "state.parquet").write_bytes(bytes(bad))
        try:
            loaded = folder(tmp_path).load()
        except StateError:
            continue
        assert loaded == KEPT
    for size in range(0, len(good), 97):
        (tmp_path / "state.parquet").write_bytes(good[:size])
        with pytest.raises(StateError):
            folder(tmp_path).load()


# -- in a replay ------------------------------------------------------------------------------------------------------


def test_a_replay_that_has_nothing_new_adds_nothing(tmp_path: Path) -> None:
    log = write(life("p1", 1, 4), tmp_path / "log")
    first = played(log, tmp_path / "out", state_dir=tmp_path / "state")
    before = outputs(tmp_path / "out")
    again = played(log, tmp_path / "out", state_dir=tmp_path / "state")
    assert outputs(tmp_path / "out") == before
    assert counted(again) == counted(first)


def test_more_of_the_log_goes_on_where_the_last_run_stopped(tmp_path: Path) -> None:
    whole = life("p1", 6, 6)
    cut = T0 + 3 * HOUR
    first = {t: [r for r in rs if r["ingest_time"] <= cut] for t, rs in whole.items()}
    rest = {t: [r for r in rs if r["ingest_time"] > cut] for t, rs in whole.items()}
    played(write(whole, tmp_path / "whole"), tmp_path / "out")
    played(write({t: r for t, r in first.items() if r}, tmp_path / "a"), tmp_path / "parts", state_dir=tmp_path / "s")
    played(write({t: r for t, r in rest.items() if r}, tmp_path / "b"), tmp_path / "parts", state_dir=tmp_path / "s")
    a, b = outputs(tmp_path / "out"), outputs(tmp_path / "parts")
    assert {k: v for k, v in a.items() if "dlq" not in k} == {k: v for k, v in b.items() if "dlq" not in k}
