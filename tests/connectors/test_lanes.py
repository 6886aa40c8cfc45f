"""The clock of a lane: what is complete, what waits, what an error or a silence may do. Without a broker and without a wall clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.lanes import NEVER, Lane, lanes_of, parts_of
from connectors.kafka.reader import Part

HEART, SEARCH, CONSENT = ("device.heart_rate", 0), ("device.search_flag", 0), ("clinical.consent", 0)
T0 = 1_779_235_200_000


class Rec(NamedTuple):
    offset: int
    timestamp: int
    key: bytes = b"p1"
    value: bytes = b"{}"


class Away(Exception):  # noqa: N818
    """The broker does not answer."""


class Log:
    """A broker as the test tells it to be: what is there, what a fetch gives, who is silent."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.records: dict[Part, list[Rec]] = {p: [] for p in parts}
        self.at: dict[Part, int] = defaultdict(int)
        self.mute: set[Part] = set()  # fetches of these give nothing
        self.away = False
        self.most = 10_000
        self.paused: set[Part] = set()
        self.committed: dict[Part, int] = {}

    def put(self, part: Part, *times: int) -> None:
        for t in times:
            self.records[part].append(Rec(len(self.records[part]), t))

    def assign(self, parts: list[Part]) -> None: ...

    def seek(self, part: Part, offset: int) -> None:
        self.at[part] = offset

    def poll(self, wait_ms: int) -> Mapping[Part, list[Any]]:
        out = {}
        for part in () if self.away else sorted(self.records.keys() - self.mute - self.paused):
            got = self.records[part][self.at[part] : self.at[part] + self.most]
            if got:
                self.at[part] = got[-1].offset + 1
                out[part] = got
        return out

    def position(self, part: Part) -> int:
        return self.at[part]

    def ends(self, parts: list[Part]) -> dict[Part, int]:
        if self.away:
            raise Away
        return {p: len(self.records[p]) for p in parts}

    def begins(self, parts: list[Part]) -> dict[Part, int]:
        return dict.fromkeys(parts, 0)

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        if self.away:
            raise Away
        found: dict[str, list[int]] = defaultdict(list)
        for topic, number in self.records:
            found[topic].append(number)
        return found

    def pause(self, parts: list[Part]) -> None:
        self.paused |= set(parts)

    def resume(self, parts: list[Part]) -> None:
        self.paused -= set(parts)

    def commit(self, offsets: dict[Part, int]) -> None:
        self.committed = offsets

    def close(self) -> None: ...


class Wall:
    """Seconds as the test lets them pass."""

    def __init__(self, ms: int = T0) -> None:
        self.s = ms / 1000

    def __call__(self) -> float:
        return self.s

    def go(self, lane: Lane, s: float, step: float = 0.25) -> list[int]:
        """Pull every `step` seconds; timestamps of what was released."""
        out = []
        end = self.s + s
        while self.s < end:
            self.s += step
            out += [r.timestamp for records in lane.pull(0).records.values() for r in records]
        return out


def a_lane(log: Log, wall: Wall, **more: Any) -> Lane:
    return Lane(log, 0, 1, {t for t, _ in log.records}, more.pop("offsets", {}), wall=wall, **more)


def test_a_record_waits_until_no_topic_can_still_give_an_earlier_one() -> None:
    log, wall = Log([HEART, SEARCH]), Wall()
    lane = a_lane(log, wall)
    log.put(SEARCH, T0)
    assert wall.go(lane, 1.5) == []  # heart rate is idle, but only up to now less the hold
    assert wall.go(lane, 1.5) == [T0]


def test_records_of_two_topics_come_out_in_the_order_of_the_log() -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 100_000)
    log.put(HEART, T0, T0 + 10, T0 + 50)
    log.put(SEARCH, T0 + 5, T0 + 60)
    log.most = 1
    lane, seen = a_lane(log, wall), []
    for _ in range(10):
        wall.s += 0.1
        ready = lane.pull(0)
        got = [r.timestamp for records in ready.records.values() for r in records]
        assert all(t <= ready.clock for t in got)
        assert not seen or not got or min(got) >= max(seen)
        seen += got
    assert sorted(seen) == [T0, T0 + 5, T0 + 10, T0 + 50, T0 + 60]


def test_an_error_moves_nothing() -> None:
    log, wall = Log([HEART, SEARCH]), Wall()
    lane = a_lane(log, wall)
    wall.go(lane, 3)
    before = lane.clock
    log.away = True
    wall.go(lane, 120)
    assert lane.clock == before


def test_a_partition_with_unread_records_is_never_idle_however_old_its_last_fetch_is() -> None:
    log, wall = Log([HEART, SEARCH]), Wall()
    lane = a_lane(log, wall)
    wall.go(lane, 3)
    log.mute.add(HEART)  # the fetch is slow, the record is there
    log.put(HEART, T0 + 3_100)
    wall.go(lane, 6)
    assert lane.clock < T0 + 3_100
    log.mute.clear()
    assert wall.go(lane, 3) == [T0 + 3_100]
    assert not lane.breaks


def test_a_stalled_partition_holds_nobody_longer_than_the_patience_and_its_records_are_counted() -> None:
    log, wall = Log([HEART, SEARCH]), Wall()
    lane = a_lane(log, wall)
    wall.go(lane, 3)
    log.mute.add(HEART)
    log.put(HEART, T0 + 3_100)
    log.put(SEARCH, T0 + 4_000)
    assert wall.go(lane, 7.5) == []
    assert wall.go(lane, 2) == [T0 + 4_000]
    log.mute.clear()
    assert wall.go(lane, 1) == [T0 + 3_100]
    assert lane.breaks == {"device.heart_rate": 1}


def _shown(lane: Lane, wall: Wall, s: float) -> list[tuple[Part, int]]:
    """Pull for so long; which waiting records were shown, and that none of them was released."""
    shown, end = [], wall.s + s
    while wall.s < end:
        wall.s += 0.25
        ready = lane.pull(0)
        shown += [(part, r.timestamp) for part, records in ready.needs.items() for r in records]
        assert not {r.offset for r in ready.records.get(SEARCH, [])}
    return shown


def test_somebody_in_need_is_shown_while_a_backlog_of_another_topic_is_read_and_goes_on_waiting() -> None:
    log, wall = Log([HEART, SEARCH, CONSENT]), Wall(T0 + 3_600_000)
    log.put(HEART, *range(T0, T0 + 3_000_000, 1_000))
    log.put(CONSENT, T0 + 3_599_000)
    log.most = 1  # the backlog will not be through for a long time
    lane = a_lane(log, wall, few={SEARCH[0], CONSENT[0]})
    wall.go(lane, 3)
    log.put(SEARCH, T0 + 3_603_000)
    assert _shown(lane, wall, 1.5) == [], "a consent may still come that came before it"
    assert _shown(lane, wall, 2) == [(CONSENT, T0 + 3_599_000), (SEARCH, T0 + 3_603_000)], "what is known of consent comes along"
    assert _shown(lane, wall, 20) == [], "each such record asks once"
    log.put(SEARCH, T0 + 3_626_000)
    assert _shown(lane, wall, 4)[-1] == (SEARCH, T0 + 3_626_000)
    assert lane.clock < T0 + 500_000
    log.most = 10_000
    out = wall.go(lane, 60)
    assert [t for t in out if t > T0 + 3_000_000] == [T0 + 3_599_000, T0 + 3_603_000, T0 + 3_626_000]
    assert not lane.breaks


def test_who_is_in_need_in_a_backlog_is_shown_also_when_the_clock_comes_to_it_at_once() -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 300_000)
    log.put(HEART, *range(T0, T0 + 200_000, 1_000))
    log.put(SEARCH, T0 + 3_000)
    lane = a_lane(log, wall, few={SEARCH[0]}, most=5)
    ready = lane.pull(0)
    assert [r.timestamp for r in ready.records[SEARCH]] == [T0 + 3_000]
    assert not ready.live, "released it may wait for its person's turn"
    assert [r.timestamp for r in ready.needs[SEARCH]] == [T0 + 3_000]
    assert not lane.pull(0).needs


def test_with_a_silent_partition_of_the_few_somebody_in_need_is_shown_after_the_patience() -> None:
    log, wall = Log([HEART, SEARCH, CONSENT]), Wall(T0 + 3_600_000)
    log.put(HEART, *range(T0, T0 + 3_000_000, 1_000))
    log.most = 1
    lane = a_lane(log, wall, few={SEARCH[0], CONSENT[0]})
    log.mute.add(CONSENT)
    log.put(CONSENT, T0 + 3_599_000)
    log.put(SEARCH, T0 + 3_600_000)
    assert _shown(lane, wall, 7.5) == []
    assert _shown(lane, wall, 2) == [(SEARCH, T0 + 3_600_000)]


def test_in_the_present_nobody_is_shown() -> None:
    log, wall = Log([HEART, SEARCH]), Wall()
    lane = a_lane(log, wall, few={SEARCH[0]})
    wall.go(lane, 3)
    log.put(SEARCH, T0 + 3_000)
    end = wall.s + 6
    while wall.s < end:
        wall.s += 0.25
        assert not lane.pull(0).needs


def test_an_old_crisis_record_keeps_its_place_in_a_backlog_and_nobody_is_shown_for_it() -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 864_000_000)
    log.put(HEART, *range(T0, T0 + 3_000_000, 1_000))
    log.most = 1
    log.put(SEARCH, T0 + 2_999_000)
    lane = a_lane(log, wall, few={SEARCH[0]})
    assert _shown(lane, wall, 30) == []
    assert not lane.breaks


def test_no_more_of_a_partition_than_may_be_is_released_at_once_whatever_the_order_of_its_times() -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 864_000_000)
    times = [T0 + 1_000 * i for i in range(500)]
    log.put(HEART, *times[:100], T0 + 5, *times[100:])  # one that came with an old time
    lane = a_lane(log, wall, most=50)
    sizes = []
    while sum(sizes) < 501:
        wall.s += 0.25
        sizes.append(sum(map(len, lane.pull(0).records.values())))
        assert len(sizes) < 600
    assert max(sizes) <= 52


def test_time_in_which_nobody_read_is_not_a_silence_of_a_partition() -> None:
    log, wall = Log([HEART, SEARCH]), Wall()
    lane = a_lane(log, wall)
    wall.go(lane, 3)
    log.put(HEART, T0 + 3_100)
    log.put(SEARCH, T0 + 4_000)
    wall.s += 60  # a long bundle
    log.mute.add(HEART)
    assert wall.go(lane, 2) == []
    log.mute.clear()
    wall.go(lane, 3)
    assert not lane.breaks


def test_a_partition_that_appears_while_running_is_read_from_its_beginning() -> None:
    log, wall = Log([HEART, SEARCH]), Wall()
    lane = a_lane(log, wall)
    wall.go(lane, 3)
    more = ("device.heart_rate", 1)
    log.records[more] = []
    log.put(more, T0 + 60_000)
    assert T0 + 60_000 in wall.go(lane, 90)


def test_a_restart_from_the_released_offsets_loses_nothing_and_repeats_nothing() -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 100_000)
    log.put(HEART, *range(T0, T0 + 50_000, 1_000))
    log.put(SEARCH, *range(T0 + 500, T0 + 50_000, 5_000))
    log.most = 3
    lane = a_lane(log, wall)
    first = wall.go(lane, 1)
    again = a_lane(log, wall, offsets=lane.offsets, clock=lane.clock)
    rest = wall.go(again, 30)
    assert sorted(first + rest) == sorted([*range(T0, T0 + 50_000, 1_000), *range(T0 + 500, T0 + 50_000, 5_000)])


def test_a_topic_far_ahead_is_paused_and_resumed() -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 900_000_000)
    log.put(HEART, *range(T0, T0 + 100_000))
    log.put(SEARCH, T0 - 1_000, T0 + 100_000)
    log.mute.add(SEARCH)
    lane = a_lane(log, wall)
    assert wall.go(lane, 5) == []
    assert log.paused == {HEART}
    assert len(lane._parts[HEART].waiting) < 60_000
    log.mute.clear()
    assert len(wall.go(lane, 60)) == 100_002


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_fetched_when_the_clock_keeps_its_word(data: st.DataObject) -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 10_000_000)
    for part in log.records:
        steps = data.draw(st.lists(st.integers(0, 400), max_size=30))
        t = T0
        for s in steps:
            t += s
            log.put(part, t)
    lane, seen, clock = a_lane(log, wall), [], NEVER
    for _ in range(80):
        log.most = data.draw(st.integers(1, 4))
        wall.s += 0.1
        ready = lane.pull(0)
        got = [r.timestamp for records in ready.records.values() for r in records]
        assert all(clock < t <= ready.clock for t in got)
        assert ready.clock >= clock
        clock, seen = ready.clock, seen + got
    assert sorted(seen) == sorted(r.timestamp for records in log.records.values() for r in records)
    assert not lane.breaks


@pytest.mark.parametrize(("counts", "lanes"), [([12, 6, 12], 6), ([4, 4], 4), ([5, 3], 1)])
def test_lanes_divide_every_partition_count(counts: list[int], lanes: int) -> None:
    assert lanes_of(counts) == lanes


def test_every_partition_is_in_exactly_one_lane() -> None:
    partitions = {"a": list(range(12)), "b": list(range(6))}
    found = [p for lane in range(6) for p in parts_of(lane, 6, partitions)]
    assert sorted(found) == sorted((t, p) for t, ps in partitions.items() for p in ps)


class Ahead(Log):
    """A client whose position runs ahead of the records it has handed out, as kafka-python's does at times."""

    def position(self, part: Part) -> int:
        return len(self.records[part])


def test_a_position_ahead_of_what_was_handed_out_skips_nothing() -> None:
    log, wall = Ahead([HEART, SEARCH]), Wall(T0 + 100_000)
    log.put(HEART, *range(T0, T0 + 40))
    log.put(SEARCH, T0 + 20)
    log.most = 1
    lane, seen = a_lane(log, wall), []
    for _ in range(60):
        wall.s += 1.5
        ready = lane.pull(0)
        seen += [r.timestamp for records in ready.records.values() for r in records]
        assert ready.offsets[HEART] <= log.at[HEART]
    assert sorted(seen) == sorted([*range(T0, T0 + 40), T0 + 20])
    assert not lane.breaks


def test_what_decides_nothing_is_gathered_until_something_does_or_the_time_is_over() -> None:
    log, wall = Log([HEART, SEARCH]), Wall(T0 + 100_000)
    lane = Lane(log, 0, 1, ["device.heart_rate", "device.search_flag"], {}, wall=wall, gather={"device.heart_rate"}, gather_s=3)
    released = []
    for i in range(80):  # 20 s, a beat every 250 ms, one search
        wall.s += 0.25
        log.put(HEART, int(wall.s * 1000))
        if i == 50:
            log.put(SEARCH, int(wall.s * 1000))
            searched = wall.s
        before = lane.offsets
        ready = lane.pull(0)
        if ready.records:
            released.append(wall.s)
            late = [wall.s - r.timestamp / 1000 for records in ready.records.values() for r in records]
            assert max(late) < 2 + 0.5 + 3 + 0.25, "hold, ask, gather and a pull"
            if SEARCH in ready.records:
                assert wall.s - searched < 2.75, "it did not wait for the others"
        else:
            assert ready.offsets == before
    assert 5 <= len(released) <= 9
    assert not lane.breaks


def test_nothing_is_gathered_while_old_records_are_read() -> None:
    log, wall = Log([HEART]), Wall(T0 + 10_000_000)
    log.put(HEART, *range(T0, T0 + 40))
    log.most = 10
    lane = Lane(log, 0, 1, ["device.heart_rate"], {}, wall=wall, gather={"device.heart_rate"}, gather_s=30)
    assert sum(bool(lane.pull(0).records) for _ in range(3)) == 3


def test_a_lane_waits_for_the_broker_unless_it_could_release_more_at_once() -> None:
    log, wall, waits = Log([HEART]), Wall(T0 + 100_000), []
    poll = log.poll
    log.poll = lambda wait_ms: (waits.append(wait_ms), poll(wait_ms))[1]  # type: ignore[method-assign,func-returns-value]
    log.put(HEART, *range(T0, T0 + 12))
    lane = a_lane(log, wall, most=5)
    released = [len(lane.pull(50).records.get(HEART, [])) for _ in range(4)]
    assert released == [6, 6, 0, 0]
    assert waits == [50, 0, 0, 50]
    wall.s = T0 / 1000 + 200
    log.put(HEART, *range(T0 + 197_000, T0 + 197_020))
    gathering = a_lane(log, wall, most=5, gather={HEART[0]}, gather_s=3, offsets={HEART: 12})
    gathering.pull(50)
    waits.clear()
    log.put(HEART, *range(T0 + 197_020, T0 + 197_040))
    for _ in range(3):
        assert not gathering.pull(50).records
    assert waits[1:] == [50, 50], "what is gathered is more than goes on at once, and waits all the same"
