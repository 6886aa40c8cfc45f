"""Figures of the programs (docs/programs.md): `python -m benchmarks.programs [PART …] [--n N] [--brokers HOST:PORT]`.

Simulated patients of known truth; parts: spider music speaking messages naming pnt (benchmarks/program_models.py), and with the whole
machine: stress safety cpu latency. Each line ends with its threshold and whether it is met; exit 1 if one is not. Made-up people.
Research software. Not a medical device.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.program_models import DATA, NOON, ROOT, Line, messages, music_lines, naming, pnt, speaking_lines, spider


def _player(user: str) -> Any:
    from simulator.patients import Player
    from simulator.scenarios import control, raw, resolve

    whole = control.records(resolve("base"), raw("base"), user, 0)
    given = {t: [{**r, "event_time": NOON - 3_600_000, "ingest_time": NOON - 3_600_000} for r in whole[t]]
             for t in ("clinical.consent", "clinical.profile")}  # fmt: skip
    return Player(user, given)


def stress(n: int) -> Iterator[Line]:
    """Real wrist pulses (Stress-Predict) as the heart of a speaking session whose audience they never saw."""
    path = DATA / "stress_predict" / "hr_resp_label.parquet"
    if not path.exists():
        print("stress: left out, the data set is not there")
        return
    import pyarrow.parquet as pq

    from simulator import patients

    table = pq.read_table(path).to_pydict()
    people = sorted(set(table["Participant"]))[: min(n, 8)]
    linked = widths = told = 0.0
    for who in people:
        hr = [h for p, h in zip(table["Participant"], table["HR"], strict=True) if p == who]
        player = _player(f"person-{int(who)}")
        start = NOON

        def heart(
            i: int, phase: str, a: int, b: int, player: Any = player, hr: list[Any] = hr, start: int = start
        ) -> None:
            for t in range(a, b, 1_000):
                value = hr[(t - start) // 1_000 % len(hr)]
                if value is not None and value == value:
                    player.heart(t, float(value))

        patients.speech(player, {}, session="real", at=start, trials=12, seed=1, heart=heart)
        for a in player.out["therapy.attribution"]:
            if a["value"]["outcome"] == "HR":
                told += 1
                linked += a["value"]["claim"] == "LINKED"
                widths += a["value"]["ci90_high"] - a["value"]["ci90_low"]
    width = widths / told
    yield f"stress: mean width of the 90 % intervals, bpm ({len(people)} real people, 12 trials each)", width, ">=", 1.0
    yield "stress: share of effects claimed as linked (no audience was there)", linked / told, "<=", 0.05


def cpu(n: int) -> Iterator[Line]:
    from simulator import patients
    from simulator.scenarios import raw

    player = _player("cpu")
    begin = time.process_time()
    patients.exposure(player, raw("g12")["truth"], session="s", at=NOON, trials=24, seed=1)
    spent = time.process_time() - begin
    yield "cpu: seconds a trial, ingest and all rooms, patient included (24 trials)", spent / 24, "<=", 1.0
    sizes = player.machine.dump(NOON + 3 * 3_600_000)
    yield "cpu: bytes of the person's state after the session", float(sum(map(len, sizes))), "<=", 65_536.0


def safety(n: int, first: int = 0) -> Iterator[Line]:
    """Sessions of the seeds first … first + n - 1, so that parts of the whole can be run apart."""
    sys.path.insert(0, str(ROOT))
    from tests.programs.random_sessions import broken, play_random

    bad = ups = 0
    for seed in range(first, first + n):
        seen = play_random(seed)
        bad += bool(broken(seen))
        ups += sum(t.command["action"] == "STEP_UP" for t in seen.told)
    yield f"safety: random sessions that break S16 (seeds {first}-{first + n - 1})", float(bad), "<=", 0.0
    yield "safety: steps up in them (the test can fail)", float(ups), ">=", 1.0


def latency(brokers: str, n: int) -> Iterator[Line]:
    """Event on Kafka → command on Kafka, against a running `kairos run`; the person must permit THERAPY there."""
    from examples.program_client import KafkaWire

    wire = KafkaWire(brokers, "latency-1", grant=True)
    took = []
    wire.send("SESSION_START")
    time.sleep(3)
    wire.send("BASELINE_START")
    wire.send("BASELINE_END")
    wire.wait(20)
    for i in range(n):
        wire.send("TRIAL_START", trial_id=f"t{i}")
        time.sleep(0.2)
        begin = time.monotonic()
        wire.send("TRIAL_END", trial_id=f"t{i}", suds=30.0)
        if wire.wait(20) is not None:
            took.append(time.monotonic() - begin)
    wire.send("SESSION_END")
    yield (
        f"latency: event on Kafka to command on Kafka, p50, s ({len(took)} of {n} answered)",
        float(np.quantile(took, 0.5)),
        "<=",
        1.0,
    )
    yield "latency: p99, s", float(np.quantile(took, 0.99)), "<=", 1.0


PARTS: dict[str, tuple[Callable[[int], Iterator[Line]], int]] = {
    "spider": (spider, 200), "music": (music_lines, 200), "speaking": (speaking_lines, 200), "messages": (messages, 20),
    "naming": (naming, 100), "pnt": (pnt, 0), "stress": (stress, 8), "cpu": (cpu, 1), "safety": (safety, 10_000),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.programs", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join([*PARTS, "latency"]))
    parser.add_argument("--n", type=int, help="people or sessions, in place of each part's own number")
    parser.add_argument("--first", type=int, default=0, help="safety: the first seed")
    parser.add_argument("--brokers", help="latency: a running Kafka with `kairos run` on it")
    given = parser.parse_args()
    if unknown := [p for p in given.parts if p not in {*PARTS, "latency"}]:
        parser.error(f"no such part: {', '.join(unknown)}")
    met = True
    for name in given.parts or list(PARTS):
        n = given.n or PARTS.get(name, (None, 200))[1]
        if name == "latency":
            lines = latency(given.brokers, n)
        else:
            lines = safety(n, given.first) if name == "safety" else PARTS[name][0](n)
        for what, figure, sign, threshold in lines:
            good = figure <= threshold if sign == "<=" else figure >= threshold
            met = met and good
            print(f"{what} | {figure:.4g} | {sign} {threshold:g} | {'met' if good else 'NOT MET'}", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
