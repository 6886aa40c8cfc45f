"""What a person at a terminal wants to know after a replay: who was told what, when, why, and what was not known."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kairos.outputs import records
from kairos.times import date, local

LABEL = (
    "Research software. Not a medical device. Not for emergencies. "
    "No one monitors in real time unless your care team says so."
)
SHOWN = 40  # newest notifications on the terminal; all of them are in the folder
WIDTH_PIPED = 160


@dataclass
class Told:
    """Notifications and refusals of an output folder."""

    rows: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN))
    tiers: Counter[tuple[str, str]] = field(default_factory=Counter)
    suppressed: Counter[str] = field(default_factory=Counter)
    not_delivered: Counter[str] = field(default_factory=Counter)


def gather(folder: Path) -> Told:
    """Read notifications and audit of an output folder; memory does not grow with it."""
    told = Told()
    for record in records(folder, "notifications"):
        value = record["value"]
        told.tiers[value["tier"], value["audience"]] += 1
        told.rows.append(record)
    for record in records(folder, "audit"):
        value = record["value"]
        if value["action"] == "SUPPRESSED":
            told.suppressed[value.get("reason") or "?"] += 1
        elif value["action"] in ("QUEUED", "CANCELLED_CONSENT", "EXPIRED", "ITEM_BLOCKED"):
            told.not_delivered[value["action"]] += 1
    return told


def show(report: Mapping[str, Any], folder: Path, file: IO[str] | None = None) -> None:
    """Print the summary of a replay.

    Parameters
    ----------
    report
        Contents of report.json.
    folder
        Its output folder.
    file
        Default standard output.
    """
    console = Console(file=file, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=WIDTH_PIPED)
    told = gather(folder)
    _counts(console, report)
    _table(console, told)
    _refused(console, told)
    _bad_input(console, report)
    console.print(
        f"Everything is in {folder}: notifications, case.file, audit, risk.signal, report.json …", markup=False
    )
    console.print(Text(LABEL, style="bold"))


def _counts(console: Console, report: Mapping[str, Any]) -> None:
    rows = sum(report["records_in"].values())
    console.print(
        f"{report['people']} people, {rows:,} records, {date(report['first'])} to {date(report['last'])} (UTC); "
        f"{report['cpu_s']:.1f} s of processor time",
        markup=False,
    )


def _table(console: Console, told: Told) -> None:
    total = sum(told.tiers.values())
    if not total:
        console.print("No notification: no rule was met, or none was permitted.")
        return
    table = Table(show_edge=False, pad_edge=False)
    for name in ("person", "local time", "tier", "to"):
        table.add_column(name, no_wrap=True, max_width=16)
    table.add_column("why", ratio=1)
    table.add_column("not known")
    for record in told.rows:
        value = record["value"]
        to = "person" if value["audience"] == "USER" else value["recipient_ref"]
        marks = [m for m, on in (("late", value.get("late")), ("clock suspect", value.get("clock_suspect"))) if on]
        why = value["explanation"] + (f" ({', '.join(marks)})" if marks else "")
        time = local(record["ingest_time"], record.get("tz_offset_min") or 0)
        missing = ", ".join(value["missing"]) or "-"
        table.add_row(*(Text(t) for t in (record["user"], time, value["tier"], to, why, missing)))
    console.print(table)
    if total > len(told.rows):
        console.print(f"… and {total - len(told.rows):,} earlier ones")
    counted = ", ".join(
        f"{tier} to {'person' if a == 'USER' else 'therapist'} {n}" for (tier, a), n in sorted(told.tiers.items())
    )
    console.print(f"Said: {counted}", markup=False)


def _refused(console: Console, told: Told) -> None:
    if told.suppressed:
        listed = ", ".join(f"{reason} {n}" for reason, n in told.suppressed.most_common())
        console.print(f"Not said (each with its reason in audit): {listed}", markup=False)
    if told.not_delivered:
        console.print(f"Held back: {', '.join(f'{a} {n}' for a, n in told.not_delivered.most_common())}", markup=False)


def _bad_input(console: Console, report: Mapping[str, Any]) -> None:
    if report["dlq"]:
        listed = ", ".join(f"{reason} {n:,}" for reason, n in sorted(report["dlq"].items()))
        console.print(f"Records that could not be used (dlq): {listed}", markup=False)
    if report["late"]:
        listed = ", ".join(f"{topic} {n:,}" for topic, n in sorted(report["late"].items()))
        console.print(f"More than 24 h late (kept for summaries, no decision): {listed}", markup=False)
    if report.get("forgotten"):
        listed = ", ".join(f"{topic} {n:,}" for topic, n in sorted(report["forgotten"].items()))
        console.print(f"More records than memory for them, copies of these would count again: {listed}", markup=False)
