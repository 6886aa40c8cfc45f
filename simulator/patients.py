"""Simulated patients of known truth who play a program against the machine, in process (closed loop).

A patient does what the machine commands: it meets the stimulus, its heart beats faster by the truth, it says how bad it was. So
a recorded log cannot be written down beforehand: it is what happened between the two. Everything follows from the seed.
Made-up people. Research software. Not a medical device.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from simulator.rows import Log, Record, event_ids, in_arrival_order

SECOND, MINUTE = 1_000, 60_000
SYNC_MS = 300  # a program is on line: its events arrive at once
HR_SYNC_MS = 1_000
PERIOD_S = 5
REST_BPM = 66.0
LONGEST_SESSION_MS = 3 * 3_600_000


class Player:
    """The front end of one person: sends records to the machine and reads its commands.

    Parameters
    ----------
    control
        Consents, profile and content packs, as records by topic.
    restart
        Build the machine anew from its bytes before every step.
    """

    def __init__(
        self, user: str, control: Log, *, tz_offset_min: int = 0, settings: Any = None, restart: bool = False
    ) -> None:
        from content.lexicon import Lexicon
        from content.library import Library
        from pipelines.settings import Settings
        from pipelines.step import Machine, Shared

        self.user, self.tz, self.restart = user, tz_offset_min, restart
        settings = settings or Settings()
        library = Library.build(settings.locales).with_records(control.get("content.pack", []))
        self.shared = Shared(settings, library, Lexicon.load())
        self.machine = Machine(user, self.shared)
        self.log: Log = defaultdict(list)
        self.out: Log = defaultdict(list)
        self.seq: dict[str, int] = defaultdict(int)
        self._waiting: list[tuple[str, Record]] = []
        self._clock = 0
        for topic, records in control.items():
            if topic != "content.pack":
                self._waiting += [(topic, r) for r in records]

    # -- sending --------------------------------------------------------------------------------------------------------

    def send(self, topic: str, t: int, value: Record, *, source: str, arrives: int | None = None) -> None:
        """One record; it is taken by the machine with the next `run`."""
        seq = self.seq[f"{topic}|{source}"]
        self.seq[f"{topic}|{source}"] += 1
        record: Record = {
            "user": self.user, "event_time": int(t), "ingest_time": int(t + SYNC_MS if arrives is None else arrives),
            "tz_offset_min": self.tz, "source_id": source, "seq": seq, "event_id": event_ids(topic, self.user, source, [seq])[0],
            "value": value,
        }  # fmt: skip
        self.log[topic].append(record)
        self._waiting.append((topic, record))

    def event(self, program: str, session: str, kind: str, t: int, **fields: Any) -> None:
        value = {
            "program": program,
            "session_id": session,
            "kind": kind,
            **{k: v for k, v in fields.items() if v is not None},
        }
        self.send("therapy.event", t, value, source=f"program-{session}")

    def heart(self, t: int, bpm: float) -> None:
        value = {"bpm": round(float(np.clip(bpm, 40, 180)), 1), "quality": "STRAP", "sample_period_s": float(PERIOD_S)}
        self.send("device.heart_rate", t, value, source="strap-1", arrives=t + HR_SYNC_MS)

    # -- reading --------------------------------------------------------------------------------------------------------

    def run(self, until: int) -> list[dict[str, Any]]:
        """The machine takes what has arrived by `until`; the commands it gives."""
        from pipelines.step import Machine
        from schemas import rows

        ready = [(t, r) for t, r in self._waiting if r["ingest_time"] <= until]
        self._waiting = [(t, r) for t, r in self._waiting if r["ingest_time"] > until]
        by_topic: dict[str, list[Record]] = defaultdict(list)
        for topic, record in ready:
            by_topic[topic].append(record)
        tables = {}
        for topic, records in by_topic.items():
            table, defects = rows.from_dicts(topic, sorted(records, key=lambda r: int(r["ingest_time"])))
            assert not defects, (topic, defects[:3])
            place = pa.array(np.zeros(len(table), np.int32))  # no file: nothing is read from a log
            tables[topic] = table.append_column("_file", place).append_column("_line", place)
        if self.restart and self._clock:
            self.machine = Machine(self.user, self.shared, self.machine.dump(self._clock))
        stepped = self.machine.step(tables, until, self.shared)
        self._clock = until
        for topic, records in stepped.records.items():
            self.out[topic] += records
        return [r["value"] for r in stepped.records.get("therapy.command", [])]

    def recorded(self) -> Log:
        """What was sent, in order of arrival."""
        return in_arrival_order({t: list(rs) for t, rs in self.log.items()})


class Body:
    """A pulse that is `level` bpm above rest, sampled every five seconds."""

    def __init__(self, player: Player, rng: np.random.Generator, sample_noise: float = 1.0) -> None:
        self.player, self.rng, self.noise = player, rng, sample_noise

    def beat(
        self, a: int, b: int, first: float, last: float | None = None, *, lost: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Samples in [a, b), from `first` to `last` bpm above rest; none in `lost`."""
        last = first if last is None else last
        for t in range(-(-a // (PERIOD_S * SECOND)) * PERIOD_S * SECOND, b, PERIOD_S * SECOND):
            level = first + (last - first) * (t - a) / max(b - a, 1)
            if not any(x <= t < y for x, y in lost):
                self.player.heart(t, REST_BPM + level + float(self.rng.normal(0, self.noise)))


def _begin(player: Player, body: Body, program: str, session: str, t: int, rest_s: int, stage: str | None) -> int:
    """Session and resting period; the time at which it is over."""
    player.event(program, session, "SESSION_START", t, stage=stage)
    player.run(t + SYNC_MS)
    begin = t + 2 * SECOND
    player.event(program, session, "BASELINE_START", begin)
    end = begin + rest_s * SECOND
    body.beat(t, end, 0.0)
    player.event(program, session, "BASELINE_END", end)
    return end


def _effect(truth: Mapping[str, Any], factors: Mapping[str, str]) -> float:
    """What the true effects of the levels shown add up to, bpm."""
    return sum(float(truth[f].get(v, 0.0)) for f, v in factors.items() if isinstance(truth.get(f), Mapping))


def exposure(
    player: Player, truth: Mapping[str, Any], *, session: str, at: int, trials: int, seed: int, rest_s: int = 120,
    stage: str | None = None, loss: float = 0.0, moves: Mapping[int, str] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Spider exposure: the patient meets whatever is commanded; all commands.

    Parameters
    ----------
    truth
        factor → level → bpm; `trial` bpm a trial (habituation); `noise_bpm`; `suds_per_bpm`; `suds_noise`.
    loss
        Share of trials whose heart rate is lost.
    moves
        Trial → stage to which the therapist moves before it.
    """
    rng = np.random.default_rng(seed)
    body = Body(player, rng)
    t = _begin(player, body, "SPIDER", session, at, rest_s, stage)
    commands = player.run(t + 2 * SECOND)
    done = list(commands)
    t += 35 * SECOND
    body.beat(t - 35 * SECOND, t, 0.0)
    for i in range(trials):
        if moves and i in moves:
            player.event("SPIDER", session, "RESUME", t, stage=moves[i])
            commands = player.run(t + SYNC_MS)
            done += commands
        shown = next((c for c in reversed(done) if c["action"] in ("SET_STIMULUS", "STEP_UP", "STEP_DOWN")), None)
        if shown is None or done[-1]["action"] == "STOP":
            break
        factors = {k: v for k, v in shown["params"].items() if k in ("colour", "type", "size")}
        noise = float(rng.normal(0, truth.get("noise_bpm", 5.0)))
        felt = 6.0 + _effect(truth, factors) + float(truth.get("trial", 0.0)) * i
        name, end = f"{session}-{i + 1:02}", t + 70 * SECOND
        player.event("SPIDER", session, "TRIAL_START", t, trial_id=name, factors=factors)
        lost = [(end - 30 * SECOND, end)] if rng.random() < loss else []
        body.beat(t, end - 30 * SECOND, (felt + noise) / 2, felt + noise)
        body.beat(end - 30 * SECOND, end, felt + noise, lost=lost)
        suds = (
            12
            + float(truth.get("suds_per_bpm", 4.0)) * (felt - 4)
            + float(rng.normal(0, truth.get("suds_noise", 12.0)))
        )
        player.event(
            "SPIDER", session, "TRIAL_END", end, trial_id=name, factors=factors, suds=float(np.clip(round(suds), 0, 88))
        )
        body.beat(end, end + 5 * SECOND, felt + noise, 0.0)
        commands = player.run(end + 4 * SECOND)
        done += commands
        t = end + 40 * SECOND
        body.beat(end + 5 * SECOND, t, 0.0)
    player.event("SPIDER", session, "SESSION_END", t)
    return done + player.run(t + 5 * SECOND)


PHASES = (("ANTICIPATION", 40), ("APPROACH", 35), ("SPEECH_0_60", 60), ("SPEECH_REST", 45))


def speech(
    player: Player, truth: Mapping[str, Any], *, session: str, at: int, trials: int, seed: int, stage: str | None = None,
    delays: Mapping[int, float] | None = None, heart: Any = None, phase_noise: float = 1.5,
) -> list[dict[str, Any]]:  # fmt: skip
    """Speaking before audiences.

    Parameters
    ----------
    truth
        factor → level → bpm in the phase `phase` (absent = in all); `noise_bpm` of a trial.
    delays
        Trial → seconds from prompt to first step, in place of 40.
    heart
        Function (trial, phase, a, b) that sends heart rate itself, e.g. a real person's; None = simulated.
    """
    rng = np.random.default_rng(seed)
    body = Body(player, rng)
    t = _begin(player, body, "SPEECH", session, at, 120, stage) if heart is None else at
    if heart is not None:
        player.event("SPEECH", session, "SESSION_START", t, stage=stage)
        player.event("SPEECH", session, "BASELINE_START", t)
        heart(-1, "REST", t, t + 120 * SECOND)
        t += 120 * SECOND
        player.event("SPEECH", session, "BASELINE_END", t)
    done = player.run(t + 2 * SECOND)
    t += 10 * SECOND
    for i in range(trials):
        shown = next((c for c in reversed(done) if c["action"] in ("SET_SCENE", "STEP_UP", "STEP_DOWN")), None)
        if shown is None or done[-1]["action"] == "STOP":
            break
        factors = {k: v for k, v in shown["params"].items() if k in ("count", "gender", "age")}
        name = f"{session}-{i + 1:02}"
        player.event("SPEECH", session, "TRIAL_START", t, trial_id=name, factors=factors)
        noise, mean = float(rng.normal(0, truth.get("noise_bpm", 4.0))), 0.0
        for phase, seconds in PHASES:
            long = (
                delays.get(i, 40.0)
                if delays and phase == "ANTICIPATION"
                else float(seconds) + float(rng.uniform(-3, 3))
            )
            b = t + int(long * SECOND)
            here = truth.get("phase") in (None, phase)
            felt = 8.0 + (_effect(truth, factors) if here else 0.0)
            mean += felt / len(PHASES)
            player.event("SPEECH", session, "PHASE_START", t, trial_id=name, phase=phase)
            if heart is None:
                body.beat(t, b, felt + noise + float(rng.normal(0, phase_noise)))
            else:
                heart(i, phase, t, b)
            eyes = float(np.clip(rng.normal(0.1, 0.03), 0, 1))
            player.event("SPEECH", session, "PHASE_END", b, trial_id=name, phase=phase, eyes_closed_frac=round(eyes, 3))
            t = b
        suds = float(np.clip(round(12 + 3 * mean + rng.normal(0, 10)), 0, 88))
        player.event("SPEECH", session, "TRIAL_END", t, trial_id=name, factors=factors, suds=suds)
        done += player.run(t + 3 * SECOND)
        t += 20 * SECOND
    player.event("SPEECH", session, "SESSION_END", t)
    return done + player.run(t + 5 * SECOND)


def slots(
    player: Player, truth: Mapping[str, Any], *, session: str, at: int, count: int, seed: int, stage: str | None = None
) -> list[dict[str, Any]]:
    """Slots of music or silence: the pulse falls by itself, and more by a calming track.

    Parameters
    ----------
    truth
        `silence_drop_bpm` in 60 s; `<token>_extra_drop` of each track; `noise_bpm` of a slot.
    """
    rng = np.random.default_rng(seed)
    body = Body(player, rng, 0.5)
    t = _begin(player, body, "SPIDER", session, at, 120, stage) + 5 * SECOND
    done = [c for c in player.run(t) if c["action"] in ("PLAY", "SILENCE")]
    token: str | None = None
    for _ in range(count):
        high = 12.0 + float(rng.normal(0, 2))
        body.beat(t - 5 * SECOND, t, high)
        player.event("SPIDER", session, "SLOT_START", t, track_token=token)
        drop = (
            float(truth["silence_drop_bpm"])
            + float(truth.get(f"{token}_extra_drop", 0.0))
            + float(rng.normal(0, truth["noise_bpm"]))
        )
        end = t + 60 * SECOND
        body.beat(t, t + 10 * SECOND, high)
        body.beat(t + 10 * SECOND, end - 10 * SECOND, high, high - drop)
        body.beat(end - 10 * SECOND, end + 2 * SECOND, high - drop)
        player.event("SPIDER", session, "SLOT_END", end, track_token=token)
        said = [c for c in player.run(end + 2 * SECOND) if c["action"] in ("PLAY", "SILENCE", "STOP")]
        done += said
        if not said or said[-1]["action"] == "STOP":
            break
        token = said[-1]["params"].get("track_token")
        t = end + 10 * SECOND
    player.event("SPIDER", session, "SESSION_END", t)
    player.run(t + 5 * SECOND)
    return done


class Learner:
    """Somebody who practises naming: right by the Rasch model; forgets with time, remembers longer what was repeated late.

    Parameters
    ----------
    theta
        Group → ability without any practice.
    gain
        What a fresh memory of an item adds to the ability, logits; it halves every `stability` days, which grows by the
        factor `spacing` with every right answer after forgetting set in.
    """

    def __init__(self, theta: Mapping[str, float], rng: np.random.Generator, gain: float = 2.0) -> None:
        self.theta, self.rng, self.gain, self.loss = dict(theta), rng, gain, 0.0
        self.memory: dict[str, list[float]] = {}  # item → [time of the last practice, half-life in days]

    def p(self, item: str, group: str, b: float, now: int) -> float:
        last = self.memory.get(item)
        fresh = 0.0 if last is None else self.gain * 2 ** (-((now - last[0]) / 86_400_000) / last[1])
        return 1 / (1 + math.exp(-(self.theta.get(group, 0.0) - self.loss + fresh - b)))

    def practise(self, item: str, right: bool, now: int) -> None:
        """Whatever the answer, the item was heard in the end; a right answer late counts most (spacing)."""
        last = self.memory.get(item)
        if last is None:
            self.memory[item] = [float(now), 0.5]
            return
        days = (now - last[0]) / 86_400_000
        if right:
            last[1] *= 1 + min(1.5, days / last[1])
        last[0] = float(now)


def naming(
    player: Player, learner: Learner, difficulties: Mapping[str, tuple[str, float]], *, session: str, at: int, answers: int,
    helper: bool | None = True, unaided: float = 0.95, teach: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """One session of naming; a cue makes a right answer likelier by a logit a step.

    Parameters
    ----------
    difficulties
        item_id → (group, true difficulty).
    helper
        Whether somebody sits beside; None = not known.
    teach
        The learner remembers what was practised; False: every answer comes from the ability alone.
    """
    rng = learner.rng
    player.event("APHASIA", session, "SESSION_START", at, helper_present=helper)
    t = at + 2 * SECOND
    done = player.run(t)
    for i in range(answers):
        asked = next((c for c in reversed(done) if c["action"] in ("NEXT_ITEM", "STOP", "HOLD")), None)
        if asked is None or asked["action"] != "NEXT_ITEM":
            break
        item, cue = asked["params"]["item_id"], int(asked["params"]["cue_level"])
        group, b = difficulties[item]
        right = bool(rng.random() < learner.p(item, group, b - cue, t))
        latency = int(2_500 + rng.normal(0, 300))
        name = f"{session}-{i:03}"
        player.event(
            "APHASIA", session, "ITEM_SHOWN", t, trial_id=name, item_id=item, factors={"group": group, "item_id": item}
        )
        t += latency
        kind = "NONE" if right else ("SEMANTIC", "PHONOLOGICAL", "UNRELATED")[int(rng.integers(3))]
        player.event(
            "APHASIA", session, "ITEM_RESPONSE", t, trial_id=name if cue == 0 else f"{session}-{i - cue:03}", item_id=item,
            factors={"group": group, "item_id": item}, correct=right, error_type=kind, cue_level=cue, latency_ms=latency,
            helper_present=helper, unaided=bool(rng.random() < unaided), effort=float(rng.integers(2, 6)),
        )  # fmt: skip
        if teach:
            learner.practise(item, right and cue == 0, t)
        done += player.run(t + SYNC_MS)
        t += 6 * SECOND
    player.event("APHASIA", session, "SESSION_END", t)
    return done + player.run(t + 2 * SECOND)


def game(
    player: Player, *, session: str, at: int, module: int, mood_before: float | None, mood_after: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """One session of the game: mood, a module with its message, mood (a number, or a function of the style shown)."""
    player.event("SPARX", session, "SESSION_START", at)
    if mood_before is not None:
        value = {"instrument": "MOOD", "total": float(mood_before), "session_id": session}
        player.send("selfreport", at + SECOND, value, source="game-1")
    player.event("SPARX", session, "MODULE_START", at + 5 * SECOND, module=module)
    done = player.run(at + 6 * SECOND)
    shown = next((c for c in done if c["action"] == "SHOW_MESSAGE"), None)
    if shown is not None:
        player.event("SPARX", session, "MESSAGE_SHOWN", at + 8 * SECOND, item_id=shown["params"]["item_id"])
    player.event("SPARX", session, "MODULE_END", at + 20 * MINUTE, module=module)
    if callable(mood_after):
        mood_after = mood_after(None if shown is None else shown["params"].get("style"))
    if mood_after is not None:
        value = {"instrument": "MOOD", "total": float(mood_after), "session_id": session}
        player.send("selfreport", at + 20 * MINUTE + SECOND, value, source="game-1")
    player.event("SPARX", session, "SESSION_END", at + 21 * MINUTE)
    return done + player.run(at + 22 * MINUTE)
