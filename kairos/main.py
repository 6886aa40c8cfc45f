"""The command: `kairos replay`, `kairos simulate`, `kairos schemas check` (contracts.md 3).

Heavy parts are imported inside the commands, so that `--help` is quick. What a person can do about an error is one
line on stderr; an error of ours is one line too, and never shows what was in the log.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kairos import flink_run, kafka, models, stack, times
from kairos.chat import chat
from kairos.content import app as content_app

if TYPE_CHECKING:
    from pipelines.settings import Settings

OPERATOR_ERRORS = frozenset(
    {
        "NotALog",
        "SettingsError",
        "StateError",
        "ContentError",
        "CannotWrite",
        "ScenarioError",
        "OutputError",
        "ArgumentError",
        "StackError",
        "NotSafe",
        "ModelsError",
    }
)
INTERNAL, INTERRUPTED, USAGE = 70, 130, 2  # as in sysexits.h and the shell

app = typer.Typer(
    name="kairos",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Just-in-time support from logs of device events.\n\n"
    "Try it: [bold]kairos simulate --out demo --scenario g1[/bold] makes up a person, "
    "[bold]kairos replay demo --out out[/bold] shows who would have been told what, when and why.\n\n"
    "Research software. Not a medical device. Not for emergencies. "
    "No one monitors in real time unless your care team says so.",
    rich_markup_mode="rich",
)
schemas_app = typer.Typer(no_args_is_help=True, help="Topics and their schemas.")
app.add_typer(schemas_app, name="schemas")
app.add_typer(content_app, name="content")
app.command(name="chat")(chat)
kafka.register(app)
app.add_typer(flink_run.app, name="flink")
stack.register(app)
app.add_typer(models.app, name="models")


class ArgumentError(Exception):
    """An argument cannot be used; the message is one line."""


@app.command()
def replay(
    log: Annotated[
        list[Path],
        typer.Argument(metavar="LOG...", help="Log folders: LOG/<topic>/*.jsonl[.gz] or *.parquet; or one kafka://HOST:PORT?from=T&to=T."),
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder for the output records and report.json.")],
    from_: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Only records that arrived from T on.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="T", help="Only records that arrived up to T.")] = None,
    fmt: Annotated[str, typer.Option("--format", metavar="jsonl|parquet", help="Form of the output.")] = "jsonl",
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Keep the people's state there; a later replay continues from it."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="kairos.toml", help="Settings; all have defaults.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json instead of the summary.")] = False,
) -> None:
    """Run recorded events through the whole graph, in process, and say who was told what, when and why.

    T is ISO 8601 (2026-05-20T14:00+02:00; without an offset UTC) or ms since 1970. The same inputs and settings give
    the same bytes. Nothing is sent to anybody: notifications are records in the output folder.

    Example: kairos replay examples/log --out out/run
    """
    url = _kafka_url(log)
    if url is not None:
        from connectors.kafka.options import KafkaOptions
        from connectors.kafka.source import parse_url

        kafka_options, url_from, url_to = parse_url(url, KafkaOptions.load(config))
        from_, to = from_ or url_from, to or url_to
    start, end = _instant("--from", from_), _instant("--to", to)
    if start is not None and end is not None and start > end:
        raise ArgumentError("--from is later than --to")
    if fmt not in ("jsonl", "parquet"):
        raise ArgumentError(f"--format is jsonl or parquet, not {fmt!r}")
    for folder in log if url is None else ():
        if not folder.is_dir():
            raise ArgumentError(f"{folder}: no such log folder")
    if state is None:
        _must_be_free(out)

    from pipelines.settings import Settings

    settings = Settings.load(config)
    _say_demo(settings)

    logging.getLogger().setLevel(logging.ERROR)  # Beam's remarks on extras that are not installed
    from pipelines import graph

    with _Progress("replay") as bar:
        report = graph.replay(
            log if url is None else kafka_options, out, start=start, end=end, fmt=fmt, state_dir=state, settings=settings,
            progress=bar.share,
        )  # fmt: skip
    if as_json:
        print((out / "report.json").read_text(encoding="utf-8").rstrip("\n"))
        return
    from kairos.summary import show

    show(report, out)


@app.command()
def simulate(
    out: Annotated[
        Path, typer.Option("--out", help="New log folder; <out>.truth.json beside it says what really happened.")
    ],
    people: Annotated[
        int | None, typer.Option("--people", metavar="N", help="Made-up people (default 10, with --scenario 0).")
    ] = None,
    days: Annotated[int, typer.Option("--days", metavar="D", help="Days of each.")] = 30,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Another seed, other people.")] = 1,
    start: Annotated[str, typer.Option("--start", metavar="DATE", help="First local day.")] = "2026-03-02",
    scenario: Annotated[
        list[str] | None,
        typer.Option("--scenario", metavar="NAME", help="Golden scenario (g1, g2, …), lives (eight weeks), or all; repeatable."),
    ] = None,
    fmt: Annotated[str, typer.Option("--format", metavar="jsonl|parquet", help="Form of the log.")] = "jsonl",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Make up people: routines, watches that come off, late syncs, wrong clocks, panic, illness, withdrawal, searches.

    Use it to see latency and alert load before any patient is enrolled. The same seed gives the same bytes.

    Example: kairos simulate --out demo --people 20 --days 60
    """
    import datetime as dt
    import json

    from simulator.people import simulate as make
    from simulator.scenarios import names, needs

    try:
        first = dt.date.fromisoformat(start)
    except ValueError:
        raise ArgumentError(f"--start {start!r} is no date: give 2026-03-02") from None
    _must_be_free(out)
    wanted = scenario or []
    if "all" in wanted:
        wanted = [n for n in names() if needs(n) is None]
    count = people if people is not None else (0 if wanted else 10)
    with _Progress("simulate") as bar:
        made = make(out, count, days, seed, first, wanted, fmt, bar.count)
    if as_json:
        rows = dict(sorted(made.rows.items()))
        print(json.dumps({"people": made.people, "records": rows, "truth": str(made.truth)}))
        return
    print(f"{made.people} made-up people, {sum(made.rows.values()):,} records in {out}; the truth: {made.truth}")
    print(f"Next: kairos replay {out} --out {out.with_name(out.name + '-out')}")
    print("Made-up people. Research software. Not a medical device.")


@schemas_app.command("check")
def schemas_check() -> None:
    """Every schema is compatible with its earlier versions, or says which is not."""
    import schemas
    from schemas import compatibility

    problems = compatibility.check()
    for problem in problems:
        print(problem)
    if problems:
        raise ArgumentError(f"{len(problems)} of the schemas broke a promise to earlier records")
    print(f"{len(schemas.TOPICS)} topics, every schema compatible with its earlier versions")


def _instant(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else times.parse(text)
    except ValueError as error:
        raise ArgumentError(f"{option}: {error}") from None


def _kafka_url(log: list[Path]) -> str | None:
    """`kafka://…` as it was typed: a path has lost one of the slashes."""
    found = [str(p) for p in log if str(p).startswith("kafka:/")]
    if found and len(log) > 1:
        raise ArgumentError("kafka:// stands alone, not beside other logs")
    return "kafka://" + found[0].removeprefix("kafka:").lstrip("/") if found else None


def _must_be_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"{out} is a file: --out needs a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise ArgumentError(f"{out} is not empty: --out needs a new folder, nothing is overwritten")


def _say_demo(settings: Settings) -> None:
    """One warning line for everything that only a demonstration may do."""
    from pipelines.settings import DEMO_STUDY_KEY

    demo = [
        text
        for text, on in (
            ("ids pass unchanged (no pseudonym_key)", not settings.pseudonym_key),
            ("any signature passes (no trusted_keys)", not settings.trusted_keys),
            ("the study key is the public demo one", settings.study_key == DEMO_STUDY_KEY),
        )
        if on
    ]
    if demo:
        print(f"kairos: demonstration settings: {'; '.join(demo)}; nothing is encrypted", file=sys.stderr)


class _Progress:
    """A bar on stderr, only where somebody watches."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._bar: AbstractContextManager[Any] = nullcontext()
        self._task: Any = None

    def __enter__(self) -> _Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar = self._bar.__enter__()
        self._task = None if bar is None else bar.add_task(self.what, total=1.0)
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def share(self, done: float) -> None:
        """Share of the work done, 0-1."""
        if self._task is not None:
            self._bar.update(self._task, completed=done)  # type: ignore[attr-defined]

    def count(self, done: int, total: int) -> None:
        self.share(done / max(total, 1))


def run(argv: list[str] | None = None) -> int:
    """Run the command; the exit status. Whatever goes wrong is one line on stderr."""
    try:
        status = app(args=argv, standalone_mode=False, prog_name="kairos")
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except KeyboardInterrupt:
        return _fail("stopped", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output went away, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & OPERATOR_ERRORS:
        return _fail(str(error), 1)
    if hasattr(error, "format_message"):  # a usage error of the command line
        return _fail(f"{error.format_message() or type(error).__name__} (try --help)", USAGE)
    if "Abort" in names:
        return _fail("stopped", INTERRUPTED)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror}", 1)
    return _fail(f"internal error {type(error).__name__} at {_place(error)}; please report it", INTERNAL)


def _place(error: Exception) -> str:
    """Innermost line of ours; no message, which could hold what was in the log."""
    place, trace = "?", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "site-packages" not in file.parts:
            place = f"{file.parent.name}/{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _fail(line: str, status: int) -> int:
    print("kairos: " + " ".join(line.split()), file=sys.stderr)
    return status


def main() -> None:
    sys.exit(run())
