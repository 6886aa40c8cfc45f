"""What a slice reads: dead letters are told once, however the reading is cut and wherever it begins anew."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.codec import Decoder
from connectors.kafka.fetch import Reach
from connectors.kafka.reader import Part
from pipelines.ingest import Pseudonyms
from pipelines.intake import Intake
from pipelines.live_options import LiveOptions
from pipelines.settings import Settings

TOPICS = ("device.heart_rate", "device.activity", "selfreport")
EACH = 3


class Poison(NamedTuple):
    offset: int
    timestamp: int = 1_780_000_000_000
    key: bytes = b"p01"
    value: bytes = b"\xff"
    headers: tuple[()] = ()


class Polled:
    """A fetcher of `EACH` poison records a topic that gives those of one topic at a time."""

    def __init__(self, starts: dict[str, int], order: list[str]) -> None:
        self.reach = {(t, 0): Reach(starts.get(f"{t}/0", 0)) for t in TOPICS}
        self.order = list(order)

    def refresh(self) -> None:
        pass

    def pause(self, parts: set[Part]) -> None:
        pass

    def poll(self, wait_s: float) -> dict[Part, list[Any]]:
        if not self.order:
            return {}
        part = self.order.pop(0), 0
        first, self.reach[part].position = self.reach[part].position, EACH
        return {part: [Poison(i) for i in range(first, EACH)]}


At = dict[str, int]  # partition → offset


def run(starts: At, told: At, order: list[str], oldest: int) -> tuple[list[str], At, At]:
    """Slices of one topic each; the letters, and where the reading stands at the end."""
    fetcher, said = Polled(starts, order), []
    intake = Intake(fetcher, Decoder(), LiveOptions(slice_rows=1), Pseudonyms(Settings().pseudonym_key), told)  # type: ignore[arg-type]
    offsets = starts
    for _ in order:
        _, letters = intake.read(1.0, 0, None, wait=False)
        said += [f"{x['value']['topic']}/{x['value']['position']}" for x in letters]
        told, offsets = intake.stand(oldest)
    return said, told, offsets


@given(st.permutations(TOPICS), st.permutations(TOPICS), st.integers(0, EACH))
def test_a_run_that_reads_again_what_waits_does_not_tell_of_what_was_told(first: list[str], second: list[str], cut: int) -> None:
    said, told, offsets = run({}, {}, first[:cut], oldest=1)  # a row of the first read still waits: all is read again
    assert offsets == dict.fromkeys((f"{t}/0" for t in TOPICS), 0) or not cut
    again, _, _ = run(offsets, told, second, oldest=1)
    assert sorted(said + again) == sorted(f"{t}/0:{i}" for t in TOPICS for i in range(EACH))


def reading(told: At, order: list[str]) -> Intake:
    """One after some slices."""
    intake = Intake(Polled({}, order), Decoder(), LiveOptions(slice_rows=1), Pseudonyms(Settings().pseudonym_key), told)  # type: ignore[arg-type]
    for _ in order:
        intake.read(1.0, 0, None, wait=False)
    return intake


def test_a_topic_that_is_another_one_now_is_told_of_again() -> None:
    part = TOPICS[0], 0
    intake = reading({f"{TOPICS[0]}/0": 500}, [TOPICS[0]])
    assert not intake.goes_on(set(), set())
    assert intake.goes_on({part}, set()), "it has nothing more, although more had been read"
    assert intake.stand(0)[0][f"{TOPICS[0]}/0"] == EACH


def test_a_partition_that_stalls_after_a_restart_is_not_waited_for_and_not_told_of_twice() -> None:
    part = TOPICS[0], 0
    intake = reading({f"{TOPICS[0]}/0": 500}, [TOPICS[0]])
    assert intake.goes_on(set(), {part})
    assert intake.goes_on(set(), set()), "once said it stays so"
    assert intake.stand(0)[0][f"{TOPICS[0]}/0"] == 500
