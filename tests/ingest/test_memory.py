"""What is remembered of records: exact, bounded, the same bytes whatever the slices; what is forgotten is told (S7, S29)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pipelines.ingest import IngestState
from pipelines.ingest import seen as room
from pipelines.ingest.identity import Told
from pipelines.ingest.runs import Runs
from pipelines.ingest.seen import Seen
from pipelines.learning import packing
from pipelines.settings import Settings
from schemas import ids
from tests.ingest.raws import DAY, HOUR, MINUTE, T0, Record, came, consent, record

HEART = "device.heart_rate"
Ints = npt.NDArray[np.int64]


# -- runs -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.lists(st.integers(0, 60), max_size=9), st.integers(0, 60)), max_size=12))
@limits(max_examples=300, deadline=None)
def test_runs_are_the_set_of_what_was_put_in(steps: list[list[int] | int]) -> None:
    runs, known = Runs(), set[int]()
    for step in steps:
        if isinstance(step, int):
            runs.forget_below(step)
            known = {n for n in known if n >= step}
        elif step:
            numbers = np.array(step, np.int64)
            assert runs.has(numbers).tolist() == [n in known for n in step]
            assert runs.take(numbers).tolist() == [n in known or n in step[:i] for i, n in enumerate(step)]
            known |= set(step)
        assert runs.numbers().tolist() == sorted(known)
        assert runs.count() == len(known)
        assert (runs.starts[1:] > runs.ends[:-1] + 1).all()


# -- copies -----------------------------------------------------------------------------------------------------------


def named(naming: str, n: int, source: str = "watch") -> dict[str, Any]:
    """An envelope's name in each of the ways of the contract."""
    if naming == "own id":
        return {"event_id": f"{source}-{n}"}
    derived = {"event_id": ids.input_id(HEART, "p1", source, n)} if naming == "derived id" else {}
    return {"seq": n, "source_id": source, **derived}


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 999)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 24 * 60 - 1)), max_size=12),
    st.lists(st.integers(0, 26 * 60), max_size=5),
    st.sampled_from(["counter", "derived id", "own id"]),
    st.booleans(),
)
@limits(max_examples=60, deadline=None)
def test_copies_drop_out_whenever_they_come_within_a_day_and_cuts_do_not_matter(
    steps: list[tuple[int, int]], late: list[tuple[int, int]], cuts: list[int], naming: str, two: bool
) -> None:
    """Several records a second, two devices at the same millisecond, each slice from state bytes."""
    t, once = T0, [consent()]
    for n, (seconds, ms) in enumerate(steps):
        t += seconds * 1000 + ms
        once += [record(HEART, t, **named(naming, n, source)) for source in ("watch", "strap")[: 1 + two]]
    copies = [
        (topic, r | {"ingest_time": r["event_time"] + m * MINUTE})
        for i, m in late
        if i < len(steps)
        for topic, r in [once[1 + i]]
    ]
    found = came(
        [*once, *(c for c in copies if c[1]["ingest_time"] > c[1]["event_time"] + 2_000)],
        cuts=[T0 + c * MINUTE for c in cuts],
    )
    whole = came(once)
    assert sorted(map(str, found.tables[HEART])) == sorted(map(str, whole.tables[HEART]))
    assert not sum((r.forgotten for r in found.everything), Counter())


def test_a_copy_with_the_derived_id_and_one_with_the_counter_are_one_record() -> None:
    for first, second in (("counter", "derived id"), ("derived id", "counter")):
        a, b = record(HEART, T0, **named(first, 5)), record(HEART, T0, **named(second, 5))
        found = came([consent(), a, (b[0], b[1] | {"ingest_time": T0 + HOUR})], cuts=[T0 + MINUTE])
        assert found.duplicates[HEART] == 1


def test_an_own_id_beside_a_counter_is_what_counts() -> None:
    rows = [record(HEART, T0, seq=1, source_id="watch", event_id=f"own-{i}") for i in range(3)]
    assert came([consent(), *rows]).processed[HEART] == 3


def test_a_raw_record_by_counter_and_the_device_record_made_from_it_are_one() -> None:
    raw = record("raw.location", T0, seq=4, source_id="phone")
    made = came([consent(), raw]).tables["device.location"][0]
    both = came([consent(), raw, ("device.location", made | {"ingest_time": T0 + HOUR})], cuts=[T0 + MINUTE])
    assert (len(both.tables["device.location"]), both.duplicates["device.location"]) == (1, 1)
    own = record("device.location", T0, seq=4, source_id="phone")  # the counter of another topic
    assert len(came([consent(), raw, own]).tables["device.location"]) == 2


def test_two_devices_with_the_same_counters_are_two_and_a_counter_may_begin_again() -> None:
    two = [record(HEART, T0 + i * 1000, seq=i, source_id=s) for i in range(50) for s in ("watch", "strap")]
    again = [record(HEART, T0 + 10 * MINUTE + i * 1000, seq=i, source_id="watch") for i in range(50)]
    found = came([consent(), *two, *again])
    assert (found.processed[HEART], found.duplicates[HEART]) == (150, 0)


# -- bounds -----------------------------------------------------------------------------------------------------------


def stream(hours: int, rate_hz: float, jitter_ms: int, loss: float = 0.0, seed: int = 1) -> tuple[Ints, Ints]:
    """(event ms, counter) of a device."""
    draw = np.random.default_rng(seed)
    n = int(hours * 3600 * rate_hz)
    event = T0 + (np.arange(n) * 1000 / rate_hz).astype(np.int64) + draw.integers(-jitter_ms, jitter_ms + 1, n)
    kept = draw.random(n) >= loss
    return np.sort(event)[kept], np.arange(n)[kept]


def put(
    seen: Seen, event: Ints, seq: Ints, line: int = 7, by_id: bool = False, arrival: Ints | None = None
) -> npt.NDArray[np.bool_]:
    n = len(event)
    counted = np.full(n, not by_id)
    identity = (np.arange(1, n + 1, dtype=np.uint64) + event.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    told = Told(counted, np.full(n, line, np.uint64), seq, ~counted, identity >> np.uint64(13))
    return seen.repeats_of_many(HEART, told, event, event + 2_000 if arrival is None else arrival)


def size(seen: Seen, clock: int) -> int:
    held = IngestState(Settings())
    held.seen = seen
    return len(held.dump(clock))


WATCHES = {
    "1 Hz": ({"rate_hz": 1.0, "jitter_ms": 0}, 1_000),
    "1 Hz, ragged": ({"rate_hz": 1.0, "jitter_ms": 400}, 4_000),
    "0.2 Hz": ({"rate_hz": 0.2, "jitter_ms": 0}, 1_000),
    "4 Hz": ({"rate_hz": 4.0, "jitter_ms": 20}, 4_000),
    "1 Hz with a tenth lost": ({"rate_hz": 1.0, "jitter_ms": 100, "loss": 0.1}, 14_000),
}


@pytest.mark.parametrize("watch", WATCHES)
def test_the_memory_of_a_counting_watch_is_small_and_level_after_a_day(watch: str) -> None:
    how, most = WATCHES[watch]
    sizes = []
    for hours in (25, 30, 50):
        seen, (event, seq) = Seen(), stream(hours, **how)
        for at in range(0, len(event), 3_600):
            assert not put(seen, event[at : at + 3_600], seq[at : at + 3_600]).any()
            seen.forget(int(event[at]))
        sizes.append(size(seen, int(event[-1])))
    assert max(sizes) < most
    assert max(sizes) < 1.03 * min(sizes) + 32


@pytest.mark.parametrize("rate_hz", [0.2, 1.0, 4.0])
def test_the_memory_of_a_watch_with_ids_of_its_own_is_bounded_and_what_is_forgotten_is_counted(rate_hz: float) -> None:
    sizes = []
    for hours in (25, 30, 50):
        seen, (event, seq) = Seen(), stream(hours, rate_hz, 100)
        assert not put(seen, event, seq, by_id=True).any()
        sizes.append(size(seen, int(event[-1])))
        kept = sum(n for _, n, _ in seen.state()[0]["many"])
        gone = seen.forgotten()[HEART]
        assert kept + gone <= len(event)
        assert 0.7 * room.MOST[HEART] / room.ID_COST < kept <= room.MOST[HEART] / room.ID_COST
        assert gone > 0
        assert not seen.forgotten(), "told once"
    assert max(sizes) < 15_000


def test_two_watches_and_every_other_topic_leave_room_within_the_limit_of_a_person() -> None:
    seen, (event, seq) = Seen(), stream(30, 1.0, 200)
    for line in (7, 8):
        put(seen, event, seq, line)
    for topic in ("device.activity", "device.location", "device.status"):
        at, n = stream(30, 1 / 60, 20_000)
        told = Told(
            np.ones(len(at), np.bool_),
            np.full(len(at), 9, np.uint64),
            n,
            np.zeros(len(at), np.bool_),
            np.zeros(len(at), np.uint64),
        )
        seen.repeats_of_many(topic, told, at, at)
    assert size(seen, int(event[-1])) < 20_000


@given(st.integers(0, 10**6), st.sampled_from([MINUTE, HOUR, 6 * HOUR]), st.lists(st.integers(1, 59), max_size=4))
@limits(max_examples=60, deadline=None)
def test_what_is_forgotten_when_the_memory_is_full_does_not_depend_on_slices_or_restarts(
    seed: int, gap_ms: int, cuts: list[int]
) -> None:
    """Against the same rows one by one, each from the bytes of the state before."""
    draw, n = np.random.default_rng(seed), 60
    arrival = T0 + np.cumsum(draw.integers(0, gap_ms, n))
    event = arrival - draw.choice([0, MINUTE, 5 * HOUR, 26 * HOUR], n, p=[0.6, 0.2, 0.15, 0.05])
    seq = np.arange(n) // 2 + draw.integers(0, 3, n)
    again = draw.random(n) < 0.2  # copies of the row before
    again[0] = False
    for values in (event, seq):
        values[again] = values[np.flatnonzero(again) - 1]
    counted = seq % 3 > 0
    identity = seq.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    def run(bounds: Sequence[int]) -> tuple[list[bool], Counter[str], bytes]:
        out: list[bool] = []
        gone: Counter[str] = Counter()
        state = b""
        for a, b in itertools.pairwise(bounds):
            held = IngestState.load(state, Settings()) if state else IngestState(Settings())
            part = slice(a, b)
            told = Told(counted[part], np.full(b - a, 7, np.uint64), seq[part], ~counted[part], identity[part])
            out += held.seen.repeats_of_many(HEART, told, event[part], arrival[part]).tolist()
            gone += held.seen.forgotten()
            state = held.dump(int(arrival[b - 1]))
        return out, gone, state

    patch = pytest.MonkeyPatch()
    try:
        patch.setitem(room.MOST, HEART, 24)
        one_by_one = run(range(n + 1))
        assert run([0, n]) == one_by_one
        assert run(sorted({0, n, *cuts})) == one_by_one
    finally:
        patch.undo()


def test_topics_and_sources_keep_their_own_after_a_restart() -> None:
    names = [{"event_id": "a"}, {"event_id": "b"}, {"seq": 1, "source_id": "s"}, {"seq": 3, "source_id": "t"}]
    rows = [
        record(t, T0 + i * MINUTE, **n) for i, n in enumerate(names) for t in (HEART, "device.status", "device.music")
    ]
    copies = [(t, r | {"ingest_time": T0 + HOUR}) for t, r in rows]
    found = came([consent(), *rows, *copies], cuts=[T0 + 30 * MINUTE])
    assert found.processed == found.duplicates + Counter({"clinical.consent": 1})
    assert came([rows[0]], state=came([consent(), rows[1]]).state).processed[HEART] == 1


@pytest.mark.parametrize(
    ("naming", "late", "known"), [("counter", 0, 1), ("own id", 0, 1), ("counter", 1, 0), ("own id", 1, 0)]
)
def test_a_copy_is_known_for_25_hours_to_the_millisecond(naming: str, late: int, known: int) -> None:
    first = record(HEART, T0 + 30_500, **named(naming, 1))
    end = T0 + 30_500 + 25 * HOUR + late
    found = came([consent(), first, (HEART, first[1] | {"ingest_time": end})], cuts=[end - 1])
    assert found.duplicates[HEART] == known


def test_a_memory_that_is_full_forgets_the_oldest_and_knows_the_rest() -> None:
    seen, (event, seq) = Seen(), stream(20, 1.0, 100)
    put(seen, event, seq, by_id=True)
    kept = sum(n for _, n, _ in seen.state()[0]["many"])
    known = put(seen, event, seq, by_id=True, arrival=np.full(len(event), event[-1] + 2_000))
    assert known[-1]
    assert known.sum() <= kept
    assert not known[: -2 * kept].any()


def test_dead_letters_from_the_future_do_not_push_out_what_is_remembered() -> None:
    mine = [record(HEART, T0 + i * 1000, event_id=f"a{i}") for i in range(20)]
    ahead = [
        record(HEART, T0 + 40 * DAY + i * MINUTE, event_id=f"f{i}", ingest_time=T0 + MINUTE + i) for i in range(2_500)
    ]
    late = [(t, r | {"ingest_time": T0 + 20 * HOUR}) for t, r in mine]
    found = came([consent(), *mine, *ahead, *late], cuts=[T0 + HOUR])
    assert (found.processed[HEART], found.duplicates[HEART], found.reasons()) == (20, 20, ["FUTURE"] * 2_500)
    assert len(found.state) < 4_000


def test_a_copy_of_a_record_from_the_future_is_one_also_when_its_time_has_come() -> None:
    first = record(HEART, T0, event_id="a", ingest_time=T0 - 10 * MINUTE)
    found = came([consent(), first, (HEART, first[1] | {"ingest_time": T0 + MINUTE})], cuts=[T0])
    assert (found.reasons(), found.duplicates[HEART], found.processed[HEART]) == (["FUTURE"], 1, 0)


# -- state ------------------------------------------------------------------------------------------------------------


def of_version_1() -> list[Record]:
    """What stands in the fixture, which was written by the code of version 1."""
    out = [consent()]
    for i in range(120):
        out.append(record(HEART, T0 + i * 5_000, seq=i, source_id="watch"))
        if i % 3 == 0:
            out.append(record(HEART, T0 + i * 5_000 + 7, event_id=f"own-{i}"))
    for i in range(20):
        out.append(record("raw.location", T0 + i * MINUTE, seq=i, source_id="phone"))
        out.append(record("device.music", T0 + i * MINUTE, seq=i, source_id="phone"))
    return [*out, record("raw.search", T0 + 5 * MINUTE, event_id="s1"), record("selfreport", T0 + 5 * MINUTE, seq=3)]


def test_a_state_of_the_first_version_still_knows_what_it_has_seen_until_that_is_too_old() -> None:
    state = (Path(__file__).parent / "fixtures" / "ingest_1.bin").read_bytes()
    copies = [(t, r | {"ingest_time": T0 + 3 * HOUR}) for t, r in of_version_1() if t != "clinical.consent"]
    news = [record(HEART, T0 + 2 * HOUR + i * 5_000, seq=200 + i, source_id="watch") for i in range(10)]
    found = came([*copies, *news], state=state, cuts=[T0 + 2 * HOUR + MINUTE])
    assert dict(found.processed) == {HEART: 10}
    assert sum(found.duplicates.values()) == len(copies)
    later = came([record(HEART, T0 + 4 * DAY, seq=900, source_id="watch")], state=found.state)
    assert "older" in str(packing.unpack("ingest", found.state, versions={2: None})[0])
    meta, arrays = packing.unpack("ingest", later.state, versions={2: None})
    assert meta["seen"]["older"] == []
    assert not [name for name in arrays if name.startswith("older")]


@pytest.mark.parametrize(
    "harm",
    [{"run_count": 0}, {"run_gap": -5}, {"run_minute": 10**9}, {"many": [[HEART, 0, [["7", 2]]]]}, {"many": [[HEART]]}],
)
def test_a_memory_that_is_none_is_refused(harm: dict[str, Any]) -> None:
    state = came([consent(), *(record(HEART, T0 + i * 40_000, seq=i, source_id="w") for i in range(5))]).state
    meta, arrays = packing.unpack("ingest", state, versions={2: None})
    assert len(arrays["run_count"]) > 2
    for name, value in harm.items():
        if name == "many":
            meta["seen"]["many"] = value
        else:
            arrays[name][1] = value
    with pytest.raises(packing.StateError):
        IngestState.load(packing.pack("ingest", 2, meta, arrays), Settings())
