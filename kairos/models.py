"""`kairos models`: what was learned about a person, day by day, and the way back to an earlier day.

Research software. Not a medical device.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kairos import times

app = typer.Typer(no_args_is_help=True, help="Models of a person: snapshots, what they know, and rollback.")

Log = Annotated[Path, typer.Option("--log", metavar="DIR", help="Output of a replay, or an archive: holds model.snapshot/.")]
User = Annotated[str, typer.Argument(metavar="USER", help="The pseudonym that stands in the log.")]
Date = Annotated[str | None, typer.Option("--date", metavar="DATE", help="Local date; default the newest.")]


class ModelsError(Exception):
    """What was asked for is not there; the message is one line."""


def snapshots(log: Path, user: str) -> list[dict[str, Any]]:
    """`model.snapshot` records of a person in a log folder, by local date; the last one of a date counts.

    Raises
    ------
    ModelsError
        No such folder, none of this person, a file that cannot be read.
    """
    folder = log / "model.snapshot"
    if not folder.is_dir():
        raise ModelsError(f"{log}: holds no model.snapshot")
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        try:
            for record in _records(path):
                if record["user"] == user:
                    date = str(record["value"]["local_date"])
                    old = found.get(date)
                    if old is None or record["ingest_time"] >= old["ingest_time"]:
                        found[date] = record
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelsError(f"{path}: cannot be read as model.snapshot") from None
    if not found:
        raise ModelsError(f"{log}: no snapshot of that person")
    return [found[d] for d in sorted(found)]


def _records(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(path).to_pylist()
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)


def _one(log: Path, user: str, date: str | None) -> dict[str, Any]:
    found = snapshots(log, user)
    if date is None:
        return found[-1]
    for record in found:
        if record["value"]["local_date"] == date:
            return record
    raise ModelsError(f"{log}: no snapshot of that person on {date}")


def _state(record: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(record["value"]["state"], validate=True)
    except (binascii.Error, ValueError):
        raise ModelsError("the snapshot's state is damaged") from None


@app.command("list")
def list_(user: User, log: Log) -> None:
    """The days of which there is a snapshot, and how much each model had learned.

    Example: kairos models list p01 --log out/run
    """
    for record in snapshots(log, user):
        value = record["value"]
        held = "  ".join(f"{m['model']} {m['n_learned']} ({m['size_bytes']} B)" for m in value["models"])
        print(f"{value['local_date']}  {times.local(record['event_time'], record.get('tz_offset_min') or 0)}  {held}")


@app.command()
def show(user: User, log: Log, date: Date = None) -> None:
    """What the models of one day know, as JSON.

    Example: kairos models show p01 --log out/run --date 2026-05-20
    """
    from pipelines.support.snapshot import unpack

    record = _one(log, user, date)
    models = unpack(_state(record))
    heart, r = models.heart.head, models.recogniser
    per_answer = r.lead / r.weight if r.weight else 0.0
    print(json.dumps({
        "local_date": record["value"]["local_date"],
        "hr_expected": {
            "minutes": heart.n_learned, "valid_days": heart.valid_days, "warm": heart.warm, "sigma_bpm": round(heart.sigma, 2),
        },
        "receptivity": {"prompts": models.receptivity.n_prompts},
        "recogniser": {
            "on": r.on, "answers": r.model.n_learned, "nats_ahead_of_base_rate": round(per_answer, 4), "too_late": r.n_late,
            "contexts": r.model.contexts(),
        },
    }, indent=1))  # fmt: skip


@app.command()
def rollback(
    user: User,
    log: Log,
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="State folder of the replay to change.")],
    date: Annotated[str, typer.Option("--date", metavar="DATE", help="Local date of the snapshot to go back to.")],
    config: Annotated[Path | None, typer.Option("--config", metavar="kairos.toml")] = None,
) -> None:
    """Go on with the models of an earlier day. Consent, cases and evidence stay; the audit chain says what was done.

    Example: kairos models rollback p01 --log out/run --state out/state --date 2026-05-18
    """
    from content.lexicon import Lexicon
    from content.library import Library
    from pipelines import person_state
    from pipelines.settings import Settings
    from pipelines.state_folder import StateFolder
    from pipelines.support.snapshot import unpack

    settings = Settings.load(config)
    folder = StateFolder(state, settings)
    kept = folder.load()
    if kept is None or user not in kept.people:
        raise ModelsError(f"{state}: holds no state of that person")
    record = _one(log, user, date)
    then = unpack(_state(record))
    ingest, data = kept.people[user]
    person = person_state.load(data, user, settings, Library.build(settings.locales), Lexicon.load())
    if person.minutes is None:
        raise ModelsError(f"{state}: nothing has been learned about that person")
    said = person.roll_back(then, record["event_id"], kept.clock)
    kept.people[user] = (ingest, person_state.dump(person, kept.clock))
    path = log / "audit" / f"rollback-{said[0]['value']['chain_seq']}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(r, sort_keys=True, separators=(",", ":")) + "\n" for r in said), encoding="utf-8")
    folder.save(kept)  # the state first: an audit row must not tell of what did not happen
    os.replace(part, path)
    print(f"{user}: models of {date} from now on; audit record {said[0]['value']['chain_seq']} in {path}")


