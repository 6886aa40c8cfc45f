"""Carrying the unbounded graph by Flink, Prism or Dataflow: the options, what is checked before, and the watch after.

The options are fixed here, because the absence of some of them stalls a job silently (docs/flink.md).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.stream import build
from pipelines.stream_options import Stream

LEAST_CHECKPOINT_MS = 1_000
MOST_CHECKPOINT_MS = 60_000


class NotSafe(ValueError):  # noqa: N818 (says what it is)
    """The job would run and silently do nothing, or could not be restored; the message is one line."""


@dataclass(frozen=True)
class Engine:
    """Where and how a job runs on Flink.

    Parameters
    ----------
    job_endpoint, artifact_endpoint
        Beam's job server, HOST:PORT.
    environment, environment_config
        LOOPBACK (development: workers are this process), PROCESS (each TaskManager starts its workers by a command),
        EXTERNAL (HOST:PORT of a worker pool), DOCKER (an image).
    workers
        Python processes a TaskManager; one process uses one core.
    parallelism, max_parallelism
        Subtasks now, and how far a later rescale may go.
    checkpoint_ms
        Time between checkpoints; a restart repeats at most that much.
    bundle_ms, bundle_elements
        A bundle ends after so long or so many parcels (decision 0076 has the figures).
    savepoint
        Path of a savepoint or retained checkpoint to go on from.
    more
        Further Beam or Flink options of a site, `--name=value` or bare flags.
    """

    job_endpoint: str
    artifact_endpoint: str
    environment: str = "PROCESS"
    environment_config: str = ""
    workers: int = 2
    parallelism: int = 2
    max_parallelism: int = 64
    checkpoint_ms: int = 5_000
    bundle_ms: int = 100
    bundle_elements: int = 256
    savepoint: str | None = None
    name: str = "kairos"
    more: Sequence[str] = field(default_factory=tuple)

    def options(self) -> list[str]:
        """Command-line options of the job."""
        out = [
            "--runner=PortableRunner", f"--job_endpoint={self.job_endpoint}", f"--artifact_endpoint={self.artifact_endpoint}",
            "--streaming", f"--job_name={self.name}", f"--environment_type={self.environment}",
            f"--checkpointing_interval={self.checkpoint_ms}", "--finish_bundle_before_checkpointing",
            "--externalized_checkpoints_enabled", "--retain_externalized_checkpoints_on_cancellation",
            f"--max_bundle_time_mills={self.bundle_ms}", f"--max_bundle_size={self.bundle_elements}",
            f"--parallelism={self.parallelism}", f"--max_parallelism={self.max_parallelism}",
            f"--sdk_worker_parallelism={self.workers}",
        ]  # fmt: skip
        if self.environment == "PROCESS":
            out.append("--environment_config=" + json.dumps({"command": self.environment_config}))
        elif self.environment_config:
            out.append(f"--environment_config={self.environment_config}")
        if self.savepoint:
            out.append(f"--savepoint_path={self.savepoint}")
        return [*out, *self.more]


def preflight(options: Sequence[str], *, connect: bool = True) -> None:
    """Refuse what would stall silently or could not be restored.

    Raises
    ------
    NotSafe
        Names the option that is missing or wrong, or the server that does not answer.
    """
    named = dict(o.removeprefix("--").partition("=")[::2] for o in options)
    interval = named.get("checkpointing_interval", "")
    if not interval.lstrip("-").isdigit() or not LEAST_CHECKPOINT_MS <= int(interval) <= MOST_CHECKPOINT_MS:
        raise NotSafe(
            f"checkpointing_interval must be {LEAST_CHECKPOINT_MS}-{MOST_CHECKPOINT_MS} ms: without checkpoints a job on "
            "Flink never moves its clock and never restores"
        )
    for flag, why in (
        ("finish_bundle_before_checkpointing", "without it a job can run, checkpoint and read nothing, for ever"),
        ("externalized_checkpoints_enabled", "without it nothing is left to restore from when Flink dies"),
        ("retain_externalized_checkpoints_on_cancellation", "without it a cancelled job takes its state with it"),
    ):
        if named.get(flag, "no").lower() not in ("", "true"):
            raise NotSafe(f"{flag} must be on: {why}")
    if "shutdown_sources_after_idle_ms" in named:
        raise NotSafe("shutdown_sources_after_idle_ms must not be set: the sources would end and the clock stand still")
    if "[local]" in named.get("flink_master", ""):
        raise NotSafe("a [local] Flink cannot restore: use a cluster (kairos up)")
    if int(named.get("parallelism", "1")) < 2:
        raise NotSafe("parallelism must be at least 2: Flink refuses to widen a job that began with 1")
    if int(named.get("parallelism", "1")) > int(named.get("max_parallelism", "1")):
        raise NotSafe("parallelism is above max_parallelism")
    if connect:
        for name in ("job_endpoint", "artifact_endpoint"):
            host, _, port = named.get(name, "").rpartition(":")
            try:
                socket.create_connection((host, int(port)), 3).close()
            except (OSError, ValueError):
                raise NotSafe(
                    f"{name} {named.get(name, '')!r} does not answer: is the job server up (kairos status)?"
                ) from None


def submit(stream: Stream, options: Sequence[str]) -> Any:
    """Check, and hand the job to the engine; Beam's result object."""
    preflight(options)
    pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    build(pipeline, stream)
    return pipeline.run()


def on_prism(stream: Stream, location: str, *more: str) -> Any:
    """Run on Prism, for tests: in memory, without any durability.

    Parameters
    ----------
    location
        Path of the `prism` binary.
    """
    options = [
        "--runner=PrismRunner",
        f"--prism_location={location}",
        "--streaming",
        "--environment_type=LOOPBACK",
        *more,
    ]
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    build(pipeline, stream)
    return pipeline.run()


class Heartbeat:
    """Notices a job that looks healthy and reads nothing.

    Parameters
    ----------
    still_s
        How long records may wait without any being read before it says so.
    """

    def __init__(self, still_s: float = 60.0) -> None:
        self.still_s = still_s
        self._best: dict[tuple[str, int], int] = {}
        self._since: float | None = None

    def see(self, now: float, ends: dict[tuple[str, int], int], done: dict[tuple[str, int], int]) -> str | None:
        """What is wrong, None if nothing is.

        Parameters
        ----------
        now
            Seconds of a monotonic clock.
        ends
            Ends of the partitions, asked now.
        done
            Offsets up to which they have been read, as committed.
        """
        moved = any(offset > self._best.get(part, -1) for part, offset in done.items())
        for part, offset in done.items():
            self._best[part] = max(offset, self._best.get(part, -1))
        waiting = sum(max(0, end - self._best.get(part, 0)) for part, end in ends.items())
        if moved or not waiting or self._since is None:
            self._since = now
            return None
        still = now - self._since
        if still < self.still_s:
            return None
        return f"the job runs but has read nothing for {still:.0f} s while {waiting} records wait"
