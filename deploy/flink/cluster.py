"""A standalone Flink (JobManager, TaskManager) and a Beam job server on this machine, from registry jars, without scripts.

Everything listens on loopback only: Flink by its settings, Beam's gRPC servers by a class of `patch/`. Each process has its
pid and its log in the folder. This is what `kairos up` starts and what the tests stand on.
"""

from __future__ import annotations

import json
import stat
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.flink import jars
from deploy.local.jars import StackError
from deploy.local.service import LOOPBACK, Service, free_port

MAIN = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
    "jobserver": "org.apache.beam.runners.flink.FlinkJobServerDriver",
}
ROLES = tuple(MAIN)
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ports:
    """Ports on loopback: Flink's REST and RPC, the job server's jobs and artifacts."""

    rest: int = 8081
    rpc: int = 6123
    job: int = 8099
    artifact: int = 8098

    @staticmethod
    def free() -> Ports:
        """Ports nobody listens on, for tests."""
        return Ports(*(free_port() for _ in range(4)))


@dataclass
class Flink:
    """One cluster of one folder: settings, logs, pids, checkpoints, savepoints. A second start uses the ports of the first.

    Parameters
    ----------
    slots
        Task slots = how far a job can be spread.
    heap_mb
        Heap of the TaskManager for jobs; the state of all persons lives there with the `hashmap` backend.
    backend
        `hashmap` or `rocksdb`.
    skip
        Classes of `patch/` to leave out, to measure what they do.
    """

    folder: Path
    ports: Ports = field(default_factory=Ports)
    slots: int = 4
    heap_mb: int = 640
    backend: str = "hashmap"
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        kept = self.folder / "ports.json"
        if kept.exists():
            self.ports = Ports(**json.loads(kept.read_text(encoding="ascii")))
        p = self.ports
        ready = {"jobmanager": self._rest_answers, "taskmanager": self._slots_there}
        ports = {"jobmanager": [p.rest, p.rpc], "taskmanager": [], "jobserver": [p.job, p.artifact]}
        self.services = {r: Service(r, self.folder, ports[r], ready.get(r, lambda: True)) for r in ROLES}

    @property
    def rest(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.rest}"

    @property
    def job_endpoint(self) -> str:
        return f"{LOOPBACK}:{self.ports.job}"

    @property
    def artifact_endpoint(self) -> str:
        return f"{LOOPBACK}:{self.ports.artifact}"

    @property
    def worker(self) -> Path:
        """Script that becomes a Python worker of this installation."""
        return self.folder / "worker.sh"

    # -- start and stop -----------------------------------------------------------------------------------------------

    def start(self, roles: tuple[str, ...] = ROLES, timeout: float = 120.0) -> Flink:
        """Start what is not running of `roles` and wait until it answers.

        Raises
        ------
        StackError
            Java, Maven or a jar is missing, a port is taken, or a process ends or stays silent; names the log.
        """
        self._configure()
        for role in roles:
            if self.services[role].pid is None:
                self.services[role].start(self._command(role), timeout)
        return self

    def stop(self, roles: tuple[str, ...] = ROLES[::-1]) -> list[str]:
        """End the processes by their pid; the names of those that ran. Checkpoints stay."""
        return [role for role in roles if self.services[role].stop()]

    def kill(self, role: str) -> None:
        """End a process at once, as a machine that dies would."""
        self.services[role].kill()

    def __enter__(self) -> Flink:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # -- asking -------------------------------------------------------------------------------------------------------

    def get(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Flink's REST: GET, or POST of `body`; the parsed answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.rest + path, data=data, headers={"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def job(self, name: str | None = None) -> str | None:
        """Id of the newest job that has not ended, of this name if one is given."""
        going = [
            (j["start-time"], j["jid"])
            for j in self.get("/jobs/overview")["jobs"]
            if j["state"] in ("RUNNING", "RESTARTING", "CREATED", "INITIALIZING") and name in (None, j["name"])
        ]
        return max(going)[1] if going else None

    def last_checkpoint(self, job: str) -> str | None:
        """Path of the newest complete checkpoint on disk, to restore from: a folder with `_metadata`."""
        found = sorted((self.folder / "checkpoints" / job).glob("chk-*/_metadata"), key=lambda p: p.stat().st_mtime)
        return found[-1].parent.as_uri() if found else None

    def savepoint(self, job: str, *, stop: bool, timeout: float = 120.0) -> str:
        """Write a savepoint, and end the job with it where asked for; its path."""
        body = {"cancel-job": stop, "target-directory": (self.folder / "savepoints").as_uri()}
        trigger = self.get(f"/jobs/{job}/savepoints", body)["request-id"]
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            seen = self.get(f"/jobs/{job}/savepoints/{trigger}")
            if seen["status"]["id"] == "COMPLETED":
                if "location" in seen["operation"]:
                    return str(seen["operation"]["location"])
                raise StackError("Flink could not write the savepoint; see jobmanager.log")
            time.sleep(0.3)
        raise StackError(f"Flink did not finish the savepoint within {timeout:.0f} s")

    def cancel(self, job: str) -> None:
        """End a job; its retained checkpoints stay."""
        self.get(f"/jobs/{job}?mode=cancel", method="PATCH")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _rest_answers(self) -> bool:
        try:
            return "slots-total" in self.get("/overview")
        except (OSError, ValueError):
            return False

    def _slots_there(self) -> bool:
        try:
            return int(self.get("/overview")["slots-total"]) >= self.slots
        except (OSError, ValueError, KeyError):
            return False

    def _configure(self) -> None:
        for name in ("conf", "tmp", "checkpoints", "savepoints", "artifacts"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "ports.json").write_text(json.dumps(vars(self.ports)), encoding="ascii")
        text = "".join(f"{key}: {value}\n" for key, value in self._settings().items())
        (self.folder / "conf" / "flink-conf.yaml").write_text(text, encoding="utf-8")
        run = f'exec "{sys.executable}" -m deploy.flink.worker_boot "$@" >>"{self.folder}/worker.log" 2>&1'
        script = f'#!/bin/sh\nexport PYTHONPATH="{ROOT}" OPENBLAS_NUM_THREADS=1\n{run}\n'
        self.worker.write_text(script, encoding="utf-8")
        self.worker.chmod(self.worker.stat().st_mode | stat.S_IXUSR)

    def _settings(self) -> dict[str, Any]:
        sizes = {
            "framework.heap.size": 128, "task.heap.size": self.heap_mb, "framework.off-heap.size": 64,
            "task.off-heap.size": 64, "network.min": 64, "network.max": 64,
            "managed.size": 256 if self.backend == "rocksdb" else 16,
            "jvm-metaspace.size": 256, "jvm-overhead.min": 128, "jvm-overhead.max": 128,
        }  # fmt: skip
        return {
            "rest.address": LOOPBACK, "rest.bind-address": LOOPBACK, "rest.port": self.ports.rest,
            "jobmanager.rpc.address": LOOPBACK, "jobmanager.rpc.port": self.ports.rpc, "jobmanager.bind-host": LOOPBACK,
            "taskmanager.host": LOOPBACK, "taskmanager.bind-host": LOOPBACK,
            "taskmanager.numberOfTaskSlots": self.slots, "taskmanager.cpu.cores": 2,
            **{f"taskmanager.memory.{name}": f"{mb}m" for name, mb in sizes.items()},
            "state.backend.type": self.backend,
            "state.checkpoints.dir": (self.folder / "checkpoints").as_uri(),
            "state.savepoints.dir": (self.folder / "savepoints").as_uri(),
            "state.checkpoints.num-retained": 3,
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "500 ms",
            "restart-strategy.exponential-delay.max-backoff": "10 s",
            "classloader.resolve-order": "parent-first",
            "io.tmp.dirs": self.folder / "tmp",
            "heartbeat.timeout": 20000, "heartbeat.interval": 5000,
        }  # fmt: skip

    def _command(self, role: str) -> list[str]:
        conf = str(self.folder / "conf")
        if role == "jobmanager":
            return jars.command(512, MAIN[role], "--configDir", conf, "--executionMode", "cluster", skip=self.skip)
        if role == "taskmanager":
            return jars.command(self.heap_mb + 128, MAIN[role], "--configDir", conf, skip=self.skip)
        args = (
            "--job-host", LOOPBACK, "--job-port", str(self.ports.job), "--artifact-port", str(self.ports.artifact),
            "--expansion-port", "-1", "--artifacts-dir", str(self.folder / "artifacts"),
            "--flink-master", f"{LOOPBACK}:{self.ports.rest}", "--flink-conf-dir", conf,
        )  # fmt: skip
        return jars.command(512, MAIN[role], *args, skip=self.skip)
