"""The Beam graph and the bounded carrier: slices of the log through `FnApiRunner`, states carried from slice to slice.

One run takes what arrived in (from, to], groups it by person, hands each machine its old state and its rows in order, and
gives outputs and new states (design 5). The runner is always named: `DirectRunner` picks one silently. Everything runs in
process: what a run works on is handed to the steps by reference, not pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

from connectors.base import Whose
from pipelines.grouping import by_person
from pipelines.ingest import Pseudonyms
from pipelines.step import Shared, Stepped, step

_numbers = count(1)
_at_work: dict[int, Any] = {}  # number of a graph → what its present run works on


class Bounded:
    """A graph that is translated once and then run for every slice: translating costs 45 ms, a run 12 (benchmarks/RESULTS.md).

    Parameters
    ----------
    build
        Puts steps behind the one impulse of a run; gets the number under which the steps find what the run works on.
    """

    def __init__(self, build: Callable[[beam.PCollection, int], object]) -> None:
        self.number = next(_numbers)
        self._options = PipelineOptions(["--direct_num_workers=1", "--direct_running_mode=in_memory"])
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=self._options)
        build(pipeline | "Slice" >> beam.Impulse(), self.number)
        self._translated = pipeline.to_runner_api(default_environment=EmbeddedPythonEnvironment.default())

    def run(self, work: object) -> None:
        """One bounded run; whatever a step raises."""
        _at_work[self.number] = work
        try:
            FnApiRunner().run_via_runner_api(self._translated, self._options)
        finally:
            del _at_work[self.number]


# -- all people of a slice --------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What one bounded run works on and what it gave.

    Parameters
    ----------
    states
        (ingest, person) by pseudonym; each step puts the new ones in place of the old.
    whose
        Whether a pseudonym belongs to the group of this run.
    """

    tables: dict[str, pa.Table]
    states: dict[str, tuple[bytes, bytes]]
    until: int
    shared: Shared
    pseudonyms: Pseudonyms
    whose: Whose
    done: list[Stepped] = field(default_factory=list)


class RowsByPerson(beam.DoFn):  # type: ignore[misc]
    """A slice → (person, micro-batch of that person's rows): every person of the group, also without rows."""

    def __init__(self, number: int) -> None:
        self.number = number

    def process(self, _: bytes) -> Iterator[tuple[str, dict[str, pa.Table]]]:
        run: Run = _at_work[self.number]
        people = by_person(run.tables, run.pseudonyms)
        run.tables = {}
        for user in sorted({*people, *(u for u in run.states if run.whose(u))}):
            yield user, people.pop(user, {})


class PersonStep(beam.DoFn):  # type: ignore[misc]
    """(person, micro-batch) → one step of that person's machine."""

    def __init__(self, number: int) -> None:
        self.number = number

    def process(self, element: tuple[str, dict[str, pa.Table]]) -> None:
        user, tables = element
        run: Run = _at_work[self.number]
        done, run.states[user] = step(user, tables, run.states.get(user), run.until, run.shared)
        run.done.append(done)


class Carrier:
    """Carries the machines of all persons through bounded Beam runs."""

    def __init__(self, shared: Shared, states: dict[str, tuple[bytes, bytes]]) -> None:
        self.shared = shared
        self.states = states
        self.pseudonyms = Pseudonyms(shared.settings.pseudonym_key)
        self._graph = Bounded(
            lambda slices, number: slices
            | "RowsByPerson" >> beam.ParDo(RowsByPerson(number))
            | "PersonStep" >> beam.ParDo(PersonStep(number))
        )

    def take(self, tables: dict[str, pa.Table], until: int, whose: Whose) -> list[Stepped]:
        """One bounded run over what arrived of a group of people up to `until`; what it gave, by user."""
        run = Run(tables, self.states, until, self.shared, self.pseudonyms, whose)
        self._graph.run(run)
        return sorted(run.done, key=lambda s: s.user)


# -- machines of a live slice -----------------------------------------------------------------------------------------


@dataclass
class Work:
    """A machine to be run, and what is to be known of it afterwards.

    Parameters
    ----------
    until
        Up to when (ms of the log's clock).
    must
        Run it whatever the slice has already taken.
    due, seen
        Set by the step: when it must be run next; partition → last offset read of this person.
    """

    user: str
    until: int
    must: bool = False
    due: int | None = None
    seen: dict[tuple[str, int], int] = field(default_factory=dict)


Given = tuple[list[Stepped], tuple[bytes, bytes]]
LiveStep = Callable[[Work], Given | None]  # None: not run this time


@dataclass
class LiveSlice:
    """The machines of a live slice, and what each gave, in the order of `work`."""

    work: list[Work]
    act: LiveStep
    given: list[Given | None]


class LiveWork(beam.DoFn):  # type: ignore[misc]
    """A live slice → the machines that are run in it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def process(self, _: bytes) -> Iterator[int]:
        yield from range(len(_at_work[self.number].work))


class LiveMachine(beam.DoFn):  # type: ignore[misc]
    """One machine of a live slice."""

    def __init__(self, number: int) -> None:
        self.number = number

    def process(self, i: int) -> None:
        now: LiveSlice = _at_work[self.number]
        now.given[i] = now.act(now.work[i])


class LiveCarrier:
    """Runs the machines of live slices through bounded Beam runs."""

    def __init__(self) -> None:
        self._graph = Bounded(
            lambda slices, number: slices
            | "LiveWork" >> beam.ParDo(LiveWork(number))
            | "LiveMachine" >> beam.ParDo(LiveMachine(number))
        )

    def take(self, work: list[Work], act: LiveStep) -> list[Given | None]:
        """One bounded run over the machines of a slice; what each gave, in the order of `work`."""
        if not work:
            return []
        now = LiveSlice(work, act, [None] * len(work))
        self._graph.run(now)
        return now.given
