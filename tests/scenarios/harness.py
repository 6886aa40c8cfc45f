"""Play a log through the whole graph, and hold what was said against what the story expects.

`Outputs` are records in contract form by topic; nothing here knows how they were made, so hand-made ones do too.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.rows import to_dicts
from simulator.folder import write_log
from simulator.rows import CONTROL, Log, Record
from simulator.scenarios import instant, raw, resolve
from tests.scenarios import program_checks

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
TOLERANCE = MINUTE  # scenarios.md: time +- 60 s
STORY_BEGINS = "05-20 00:00"  # from here on what is not expected must not be said
FINAL = ("case_id", "kind", "tier", "triggers", "conditions", "therapist_due", "versions")  # invariants.md S6b
MANY = {  # topics of thousands of rows a day
    *("device.activity", "device.heart_rate", "device.location", "device.phone_usage", "device.status"),
    "features.minute",
}
Outputs = dict[str, list[Record]]


@dataclass(frozen=True)
class Clock:
    """From the story's local times to ms UTC.

    Parameters
    ----------
    offset_min
        Minutes east of UTC while the story is told.
    days
        How far the whole story was moved in the calendar.
    """

    offset_min: int = 120
    days: int = 0

    def at(self, when: str) -> int:
        return instant(when) + self.days * DAY - self.offset_min * MINUTE

    def date(self, ms: int) -> str:
        """Local date of the story, MM-DD."""
        local = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=ms + self.offset_min * MINUTE - self.days * DAY)
        return local.strftime("%m-%d")

    def text(self, ms: int) -> str:
        local = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=ms + self.offset_min * MINUTE - self.days * DAY)
        return local.strftime("%m-%d %H:%M:%S")


@dataclass
class Told:
    """What a replay said.

    Parameters
    ----------
    folder
        Where the records lie, byte for byte.
    """

    outputs: Outputs
    report: dict[str, Any]
    log: Log
    folder: Path
    clock: Clock = field(default_factory=Clock)

    def rows(self, topic: str) -> list[Record]:
        """Records of any topic, also of those with many rows."""
        return self.outputs[topic] if topic in self.outputs else read_topic(self.folder, topic)

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [r["value"] for r in self.outputs.get(topic, [])]

    def notifications(self, since: int | None = None) -> list[Record]:
        since = self.clock.at(STORY_BEGINS) if since is None else since
        return [r for r in self.outputs.get("notifications", []) if r["ingest_time"] >= since]

    def summary(self) -> list[str]:
        return [
            f"{self.clock.text(r['ingest_time'])} {r['value']['tier']} {r['value']['audience']}"
            for r in self.notifications()
        ]


def replay_folder(
    log: Path,
    out: Path,
    *,
    end: int | None = None,
    state: Path | None = None,
    settings: Any = None,
    fmt: str = "parquet",
) -> dict[str, Any]:
    """One run of the whole graph."""
    from pipelines.graph import replay
    from pipelines.settings import Settings

    report: dict[str, Any] = replay(
        [log], out, start=None, end=end, fmt=fmt, state_dir=state, settings=settings or Settings(), progress=None
    )
    return report


def read_topic(folder: Path, topic: str) -> list[Record]:
    """Records of one topic of a log folder, in order."""
    out: list[Record] = []
    for path in sorted((folder / topic).glob("*")):
        if path.suffix == ".jsonl":
            out += [json.loads(line) for line in path.read_bytes().splitlines()]
        else:
            out += to_dicts(topic, pq.read_table(path))
    return out


def read_outputs(folder: Path) -> Outputs:
    """Records by topic of a log folder, but those of many rows, which `read_topic` reads when they are asked for."""
    return {path.name: read_topic(folder, path.name) for path in sorted(folder.iterdir()) if _few(path)}


def _few(path: Path) -> bool:
    return path.is_dir() and path.name not in MANY


def play(
    log: Log,
    folder: Path,
    *,
    clock: Clock | None = None,
    stops: Iterable[int] = (),
    end: int | None = None,
    settings: Any = None,
) -> Told:
    """Write a log below `folder`, replay it, read what was said.

    Parameters
    ----------
    stops
        ms of the log's clock at which the replay is stopped and taken up again from its state folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    write_log(log, folder / "log")
    out, state, stops = folder / "out", None, list(stops)
    if stops:
        state = folder / "state"
    for stop in stops:
        replay_folder(folder / "log", out, end=stop, state=state, settings=settings)
    report = replay_folder(folder / "log", out, end=end, state=state, settings=settings)
    return Told(read_outputs(out), report, log, out, clock or Clock())


def archive_of(told: Told, folder: Path) -> Path:
    """A log folder of a replay's own output and the control topics of its input (contracts.md 2)."""
    write_log({t: rs for t, rs in told.log.items() if t in CONTROL}, folder)
    for topic in sorted(p for p in told.folder.iterdir() if p.is_dir()):
        shutil.copytree(topic, folder / topic.name)
    return folder


def differences(one: Told, other: Told, *, but: Iterable[str] = ()) -> list[str]:
    """Topics whose records differ in anything; [] = the same records in the same order."""
    topics = sorted({p.parent.name for told in (one, other) for p in told.folder.glob("*/*")} - set(but))
    return [t for t in topics if not _table(one.folder / t).equals(_table(other.folder / t))]


def _table(folder: Path) -> pa.Table:
    parts = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return pa.concat_tables(parts).combine_chunks() if parts else pa.table({})


# -- what the story expects ----------------------------------------------------------------------------------------


def problems(
    told: Told, name: str, expect: list[dict[str, Any]] | None = None, not_now: Iterable[str] = ()
) -> list[str]:
    """Everything in which the outputs differ from what the scenario `name` promises; [] = exactly as told.

    Parameters
    ----------
    expect
        In place of what the scenario expects.
    not_now
        Sentences of `never` that do not hold for a variant.
    """
    story = resolve(name)
    wanted = story.expect if expect is None else expect
    return (
        _notifications(told, [e for e in wanted if "tier" in e]) + _others(told, wanted) + broken(told, name, not_now)
    )


def _others(told: Told, wanted: list[dict[str, Any]]) -> list[str]:
    out: list[str] = []
    for item in wanted:
        if "tier" in item:
            continue
        kind = next((k for k in CHECKS if k in item), None)
        out += [f"the harness does not understand {item}"] if kind is None else CHECKS[kind](told, item)
    return out


def broken(told: Told, name: str, not_now: Iterable[str] = ()) -> list[str]:
    """Sentences of the scenario's `never` that happened."""
    out = []
    for sentence in resolve(name).never:
        if sentence in not_now:
            continue
        if sentence not in NEVER:
            out.append(f"the harness does not understand never: {sentence!r}")
        elif NEVER[sentence](told):
            out.append(f"never: {sentence}")
    return out


def _notifications(told: Told, wanted: list[dict[str, Any]]) -> list[str]:
    """One-to-one: each expected one is there, and nothing else is said."""
    out, left = [], told.notifications()
    for item in wanted:
        found = [r for r in left if not _differs(told, item, r)]
        times = int(item.get("times", 1))
        if len(found) < times:
            near = [d for r in left if (d := _differs(told, item, r)) and r["value"]["tier"] == item["tier"]]
            out.append(f"expected {times} of {item}, got {len(found)}; said: {told.summary()} {near}")
        left = [r for r in left if r not in found[:times]]
    out += [
        f"not expected: {told.clock.text(r['ingest_time'])} {r['value']['tier']} to {r['value']['audience']}"
        for r in left
    ]
    return out


def _differs(told: Told, item: dict[str, Any], record: Record) -> str:
    """In what a notification is not the expected one; '' = it is."""
    value, clock = record["value"], told.clock
    if value["tier"] != item["tier"] or value["audience"] != item["audience"]:
        return "another tier or audience"
    if " " in item["at"]:
        if abs(record["ingest_time"] - clock.at(item["at"])) > item.get("within_min", 1) * MINUTE:
            return f"time is {clock.text(record['ingest_time'])}"
    elif clock.date(record["ingest_time"]) != item["at"]:
        return f"day is {clock.date(record['ingest_time'])}"
    if "recipient_ref" in item and value["recipient_ref"] != item["recipient_ref"]:
        return f"recipient is {value['recipient_ref']}"
    met = {c["name"] for c in value["conditions"] if c["met"]}
    if not set(item.get("conditions", [])) <= met:
        return f"conditions met are {sorted(met)}"
    if not set(item.get("missing", [])) <= set(value["missing"]):
        return f"missing are {value['missing']}"
    if item.get("late", False) and not value["late"]:
        return "not marked as late"
    if "questionnaire" in item and value["params"].get("questionnaire") != item["questionnaire"]:
        return f"questionnaire is {value['params'].get('questionnaire')}"
    return ""


def newest(records: Iterable[Record], key: str) -> dict[str, Record]:
    """Last revision of each signal or case."""
    out: dict[str, Record] = {}
    for r in records:
        old = out.get(r["value"][key])
        if old is None or r["value"]["revision"] >= old["value"]["revision"]:
            out[r["value"][key]] = r
    return out


def signals(told: Told, kind: str, state: str | None = None) -> list[Record]:
    """risk.signal records about what began in the story's time."""
    since = told.clock.at(STORY_BEGINS)
    return [
        r
        for r in told.outputs.get("risk.signal", [])
        if r["value"]["kind"] == kind and r["ingest_time"] >= since and state in (None, r["value"]["state"])
    ]


def _signal(told: Told, item: dict[str, Any]) -> list[str]:
    found = signals(told, item["signal"], item.get("state", "ON"))
    if "start_time" in item:
        found = [r for r in found if _starts(told, item["start_time"], r["value"]["start_time"])]
    if "category" in item:
        found = [r for r in found if r["value"].get("category") == item["category"]]
    if not found:
        said = [(told.clock.text(r["value"]["start_time"]), r["value"]["state"]) for r in signals(told, item["signal"])]
        return [f"no signal {item}; said: {said}"]
    if "count" in item:
        different = {r["value"]["signal_id"] for r in signals(told, item["signal"], "ON")}
        if len(different) != item["count"]:
            return [f"{len(different)} signals {item['signal']} ON, not {item['count']}"]
    if "still_on" in item:
        until = told.clock.at(f"{item['still_on']} 23:59")
        last = newest((r for r in signals(told, item["signal"]) if r["ingest_time"] <= until), "signal_id")
        if "ON" not in {r["value"]["state"] for r in last.values()}:
            return [f"{item['signal']} is not ON any more on {item['still_on']}"]
    return []


def _starts(told: Told, wanted: str, start: int) -> bool:
    when, _, tolerance = wanted.partition(" +- ")
    if " " not in when:
        return told.clock.date(start) == when
    within = int(tolerance.split()[0]) * MINUTE if tolerance else TOLERANCE
    return abs(start - told.clock.at(when)) <= within


def _case(told: Told, item: dict[str, Any]) -> list[str]:
    fields = {k: v for k, v in item["case"].items() if k in ("kind", "tier", "state")}
    found = told.values("case.file")
    out = [] if any(fields.items() <= v.items() for v in found) else [f"no case {fields}"]
    if item["case"].get("same_case_id") and len({v["case_id"] for v in found if v["kind"] == "ACUTE"}) != 1:
        out.append("the case did not keep its id")
    return out


def _audit(told: Told, item: dict[str, Any]) -> list[str]:
    wanted, within = item["audit"], item.get("within_min", 1) * MINUTE
    for r in told.outputs.get("audit", []):
        same = all(r["value"].get(k) == v for k, v in wanted.items() if k != "at")
        if same and ("at" not in wanted or abs(r["ingest_time"] - told.clock.at(wanted["at"])) <= within):
            return []
    actions = [
        (told.clock.text(r["ingest_time"]), r["value"]["action"], r["value"].get("reason"))
        for r in told.outputs.get("audit", [])
        if r["ingest_time"] >= told.clock.at(STORY_BEGINS)
    ]
    return [f"no audit row {wanted}; there are {actions}"]


def _monitoring(told: Told, item: dict[str, Any]) -> list[str]:
    """What is said in the story's time, or was said before and still holds when it begins."""
    since, said, holds = told.clock.at(STORY_BEGINS), set(), {}
    for r in told.outputs.get("monitoring.status", []):
        state = (r["value"]["modality"], r["value"]["state"])
        if r["ingest_time"] >= since:
            said.add(state)
        else:
            holds[state[0]] = state
    said |= set(holds.values())
    return [f"monitoring.status never says {m} {s}" for m, s in item["monitoring"].items() if (m, s) not in said]


def _dlq(told: Told, item: dict[str, Any]) -> list[str]:
    wanted = item["dlq"]
    dead = Counter(v["topic"] for v in told.values("dlq") if v["reason"] == wanted["reason"])
    if not wanted.get("all_device_and_raw"):
        return [] if dead else [f"no dead letter {wanted}"]
    given = {t: n for t, n in told.report["records_in"].items() if t.startswith(("device.", "raw."))}
    twice = Counter(told.report["duplicates"])
    out = [
        f"{dead[t]} of {n} records of {t} are dead" for t, n in given.items() if dead[t] + twice[t] != n or not dead[t]
    ]
    written = told.report["records_out"]
    out += [f"{n} records of {t} in spite of it" for t, n in written.items() if t.startswith(("device.", "features.m"))]
    known = [f for v in told.values("features.day") for f, d in v["features"].items() if "amount" in d]
    return out + [f"features.day knows {f} in spite of it" for f in sorted(set(known))]


def _outbound(told: Told, item: dict[str, Any]) -> list[str]:
    wanted = item["outbound"]
    if any(all(v.get(k) == x for k, x in wanted.items()) for v in told.values("chat.outbound")):
        return []
    return [f"no reply {wanted}; there are {[v['flow'] for v in told.values('chat.outbound')]}"]


CHECKS: dict[str, Callable[[Told, dict[str, Any]], list[str]]] = {
    "signal": _signal,
    "case": _case,
    "audit": _audit,
    "monitoring": _monitoring,
    "dlq": _dlq,
    "outbound": _outbound,
}


CHECKS |= program_checks.CHECKS


# -- what must never happen ----------------------------------------------------------------------------------------


def said(told: Told, *tiers: str, audience: str | None = None) -> list[Record]:
    """Notifications of these tiers (none given = any) in the story's time."""
    return [
        r
        for r in told.notifications()
        if (not tiers or r["value"]["tier"] in tiers) and audience in (None, r["value"]["audience"])
    ]


def leaks(told: Told) -> list[str]:
    """Queries of the log and its coordinates found in any output file."""
    words = {r["value"]["query"] for r in told.log.get("raw.search", [])} | {"latitude", "longitude"}
    words |= {str(r["value"][k]) for r in told.log.get("raw.location", [])[:50] for k in ("latitude", "longitude")}
    for place in ("home", "other"):
        words.add(str(raw("base")["person"][place]["latitude"]))
    return canaries(told, words)


def canaries(told: Told, words: Iterable[str]) -> list[str]:
    """Which of the words stand in which output, names of fields included."""
    look = sorted(words)
    texts = {p.name: _texts(p) for p in sorted(told.folder.iterdir()) if p.is_dir()}
    texts["report.json"] = json.dumps(told.report)
    return [f"{word!r} in {name}" for name, text in texts.items() for word in look if word in text]


def _texts(folder: Path) -> str:
    """All that stands in the files of a topic: JSON lines as they are, names and values of Parquet columns."""
    out: list[str] = []
    for path in sorted(folder.glob("*")):
        if path.suffix == ".jsonl":
            out.append(path.read_text())
            continue
        table = pq.read_table(path)
        out += [str(table.schema), *(t for name in table.column_names for t in _leaves(table[name]))]
    return "\n".join(out)


def _leaves(column: Any) -> list[str]:
    """Different values of a nested Arrow column, as text."""
    if isinstance(column, pa.ChunkedArray):
        return [t for chunk in column.chunks for t in _leaves(chunk)]
    if pa.types.is_struct(column.type):
        return [t for i in range(column.type.num_fields) for t in _leaves(column.field(i))]
    if pa.types.is_map(column.type):
        return _leaves(column.keys) + _leaves(column.items)
    if pa.types.is_list(column.type):
        return _leaves(column.flatten())
    return [str(x) for x in column.unique().to_pylist() if x is not None]


def before(told: Told, tier: str, when: str, since: str = STORY_BEGINS) -> list[Record]:
    return [r for r in said(told, tier) if told.clock.at(since) <= r["ingest_time"] < told.clock.at(when) - TOLERANCE]


def _second_w2(told: Told) -> bool:
    return len(before(told, "W2", "05-30 00:00")) > 1


NEVER: dict[str, Callable[[Told], Any]] = {
    "L1 without RESEARCH": lambda t: said(t, "L1"),
    "L2 for the same trigger": lambda t: said(t, "L2"),
    "the query or a coordinate anywhere": leaks,
    "audience THERAPIST": lambda t: said(t, audience="THERAPIST"),
    "signal HR_EPISODE ON": lambda t: signals(t, "HR_EPISODE", "ON"),
    "a second case": lambda t: len({v["case_id"] for v in t.values("case.file")}) > 1,
    "two therapist alerts": lambda t: len(said(t, audience="THERAPIST")) > 1,
    "W2 before 05-23": lambda t: before(t, "W2", "05-23 00:00"),
    "a second W2 before 05-30": _second_w2,
    "W1": lambda t: said(t, "W1"),
    "W2": lambda t: said(t, "W2"),
    "signal WITHDRAWAL ON": lambda t: signals(t, "WITHDRAWAL", "ON"),
    "NOT_MONITORED without MONITORING_STATUS": lambda t: said(t, "NOT_MONITORED"),
    "the intent model called": lambda t: [v for v in t.values("chat.outbound") if "intent" in v or "confidence" in v],
    "the text in any output": lambda t: canaries(t, {r["value"]["text"] for r in t.log["chat.inbound"]}),
    "case.file": lambda t: t.values("case.file"),
    **program_checks.NEVER,
}


def final_cases(told: Told) -> dict[str, dict[str, Any]]:
    """What S6b compares of the last revision of every case that no other one superseded, by case_id."""
    last = newest(told.outputs.get("case.file", []), "case_id")
    gone = {old for r in last.values() for old in r["value"]["supersedes"]}
    return {k: {f: r["value"][f] for f in FINAL} for k, r in last.items() if k not in gone}
