"""A program of the stack that stays up: bind-tested ports, a log file, readiness, a pid file, a clean stop by pid."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.local.jars import StackError

LOOPBACK = "127.0.0.1"
POLL_S = 0.05


def free_port() -> int:
    """A port that nobody listens on now.

    Below those that the system hands out for outgoing connections: one of these is easily taken before a server has come up.
    """
    for port in random.SystemRandom().sample(range(15_000, 32_000), 50):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((LOOPBACK, port))
            return port
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        return int(s.getsockname()[1])


def must_be_free(port: int) -> None:
    """A port in use would let the readiness check succeed on somebody else's program: StackError."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((LOOPBACK, port))
        except OSError:
            raise StackError(f"port {port} is in use by another program") from None


def is_open(port: int) -> bool:
    """Whether somebody accepts connections on a port of this machine."""
    try:
        socket.create_connection((LOOPBACK, port), 0.5).close()
    except OSError:
        return False
    return True


class Service:
    """One program, known by its pid file, so that another process can stop it.

    Parameters
    ----------
    name
        Word for messages and files: `<folder>/<name>.log`, `<folder>/<name>.pid`.
    ports
        Bind-tested before the start; the program is ready when all of them are open and `ready` says so.
    """

    def __init__(self, name: str, folder: Path, ports: Sequence[int], ready: Callable[[], bool] = lambda: True) -> None:
        self.name, self.folder, self.ports, self.ready = name, folder, list(ports), ready
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Process id, None if it does not run."""
        try:
            number, _, born = (self.folder / f"{self.name}.pid").read_text(encoding="ascii").partition(" ")
            pid = int(number)
        except (OSError, ValueError):
            return None
        if self._child is not None and self._child.pid == pid and self._child.poll() is not None:
            return None
        return pid if _born(pid) == born.strip() != "" else None  # another process may have the number now

    def start(self, command: Sequence[str], timeout: float = 90.0, env: dict[str, str] | None = None) -> None:
        """Start and wait until it is ready.

        Raises
        ------
        StackError
            A port is taken, the program ended, or it was not ready in time (then it is stopped).
        """
        if self.pid is not None:
            raise StackError(f"{self.name} runs already (pid {self.pid})")
        for port in self.ports:
            must_be_free(port)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=env
            )
        pid = self._child.pid
        (self.folder / f"{self.name}.pid").write_text(f"{pid} {_born(pid)}\n", encoding="ascii")
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if (status := self._child.poll()) is not None:
                raise StackError(f"{self.name} ended with status {status} while starting; see {self.log}")
            if all(map(is_open, self.ports)) and self.ready():
                return
            time.sleep(POLL_S)
        self.stop()
        raise StackError(f"{self.name} was not ready in {timeout:.0f} s; see {self.log}")

    def stop(self, timeout: float = 30.0, how: signal.Signals = signal.SIGTERM) -> bool:
        """Stop it and wait for its end; whether it ran. After `timeout` seconds it is killed."""
        pid = self.pid
        if pid is None:
            return False
        for sign in (how, signal.SIGKILL):
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                break
            if self._ended(pid, timeout):
                break
        (self.folder / f"{self.name}.pid").unlink(missing_ok=True)
        return True

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.stop(how=signal.SIGKILL)

    def _ended(self, pid: int, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._child is not None and self._child.pid == pid:
                if self._child.poll() is not None:
                    return True
            elif not _born(pid):
                return True
            time.sleep(POLL_S)
        return False


def _born(pid: int) -> str:
    """When a process began, as text without spaces; empty if there is none (or only its corpse)."""
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return "" if not words or words[0].startswith("Z") else "_".join(words[1:])
