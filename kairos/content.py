"""`kairos content lint|sign|diff|preview`: what clinicians do with packs. The work is in the `content` package."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from content.packs import FOLDER, ContentError, Item, instant, pack_files, read_pack

app = typer.Typer(
    no_args_is_help=True, help="Packs: lint, sign, compare, preview. Research software. Not a medical device."
)
Folder = Annotated[Path, typer.Option("--folder", help="Content folder; default: the samples of this installation.")]


@app.command()
def lint(
    folder: Folder = FOLDER,
    today: Annotated[
        str | None, typer.Option("--today", metavar="YYYY-MM-DD", help="Also report what is not in its period.")
    ] = None,
) -> None:
    """Methods, blame, commercial words, codes, causes, missing crisis lines, reading level, locales, signatures."""
    from content.lint import lint as check

    at = None
    if today is not None:
        try:
            at = instant(dt.date.fromisoformat(today))
        except ValueError:
            raise ContentError(f"--today is YYYY-MM-DD, not {today!r}") from None
    problems = check(folder, at)
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(f"content: {len(problems)} problems" if problems else "content: clean")
    if problems:
        raise typer.Exit(1)


@app.command()
def sign(
    folder: Folder = FOLDER,
    key: Annotated[
        Path | None, typer.Option("--key", help="YAML file with `private`; default: the open DEMO key.")
    ] = None,
) -> None:
    """Sign every item, lexicon, phrase list and score table of a folder (Ed25519), after another person has reviewed them."""
    from content.sign import main

    if main(["--folder", str(folder), *(["--key", str(key)] if key is not None else [])]):
        raise typer.Exit(1)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="Content folder as it was.")],
    new: Annotated[Path, typer.Argument(help="Content folder as it will be.")],
    log: Annotated[
        Path | None, typer.Option("--log", help="Log or output folder: who was sent or has pinned a changed item.")
    ] = None,
) -> None:
    """What changes between two folders, and whom it affects: how many people got the item or have it pinned, and when last."""
    before, after = _items(old), _items(new)
    changed = sorted(k for k in before.keys() | after.keys() if _compared(before.get(k)) != _compared(after.get(k)))
    reached, pinned, last = _reach(log) if log is not None else (Counter(), Counter(), {})
    for key in changed:
        what = "new" if key not in before else "gone" if key not in after else "changed"
        line = f"{what}  {key[0]} {key[1]} {key[2]}"
        if log is not None:
            when = (
                dt.datetime.fromtimestamp(last[key[1]] / 1000, dt.UTC).date().isoformat() if key[1] in last else "never"
            )
            line += f"  sent to {reached[key[1]]} people (last {when}), pinned for {pinned[key[1]]}"
        typer.echo(line)
    typer.echo(f"{len(changed)} items differ")


@app.command()
def preview(
    item_id: Annotated[str | None, typer.Argument(help="One item; default: every reply.")] = None,
    locale: Annotated[str, typer.Option("--locale")] = "en-GB",
    folder: Folder = FOLDER,
) -> None:
    """Items as a person sees them, the crisis line filled in, with grade of reading ease."""
    from content.library import Library
    from content.reading import ease

    library = Library.build([locale], folder=folder)
    shown = [i for i in library.items if (i.item_id == item_id if item_id else i.kind == "REPLY")]
    if not shown:
        raise ContentError(f"content: no item {item_id!r} in {locale}")
    for item in shown:
        text = library.render(item, locale)
        typer.echo(
            f"{item.item_id}  [{item.pack_id} {item.version}, reading ease {ease(item.text, locale):.0f}]\n  {text}"
        )
        if "options" in item.tags:
            typer.echo(f"  tap: {item.tags['options']}")


def _items(folder: Path) -> dict[tuple[str, str, str], Item]:
    if not (folder / "packs").is_dir():
        raise ContentError(f"content: {folder} has no packs")
    return {(i.pack_id, i.item_id, i.locale): i for path in pack_files(folder) for i in read_pack(path)}


def _compared(item: Item | None) -> Any:
    return None if item is None else {k: v for k, v in vars(item).items() if k != "signature"}


def _reach(log: Path) -> tuple[Counter[str], Counter[str], dict[str, int]]:
    """People by item that was said to them, people by pinned item, and when an item was last said. Ids only."""
    said: set[tuple[str, str]] = set()
    pinned: set[tuple[str, str]] = set()
    last: dict[str, int] = {}
    for topic in ("chat.outbound", "notifications", "clinical.profile"):
        for path in sorted((log / topic).rglob("*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                    value, user = record["value"], str(record["user"])
                    if topic == "clinical.profile":
                        pinned |= {(str(i), user) for i in (value.get("content") or {}).get("pinned", [])}
                        continue
                    item = str(value["reply_id" if topic == "chat.outbound" else "template_id"])
                    said.add((item, user))
                    last[item] = max(last.get(item, 0), int(record["event_time"]))
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # not a record: `kairos replay` says so as a dead letter
    return Counter(i for i, _ in said), Counter(i for i, _ in pinned), last
