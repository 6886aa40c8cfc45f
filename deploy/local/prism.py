"""Beam's Prism, the Go runner for tests, of the version of the Beam that is installed: built once, kept in the cache.

python -m deploy.local.prism      # builds it if it is not there, and prints where it is
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from deploy.local.jars import StackError, cache

BEAM = "apache-beam"
COMMAND = "github.com/apache/beam/sdks/v2/go/cmd/prism"
BUILD_S = 900  # about 90 s on two cores


def binary() -> Path:
    """Where the binary is: `KAIROS_PRISM`, on the path, in the cache; else it is built with the Go toolchain.

    Raises
    ------
    StackError
        There is neither the binary nor Go, or Go can't build it.
    """
    given = os.environ.get("KAIROS_PRISM") or shutil.which("prism")
    if given:
        return Path(given)
    folder = cache() / f"prism-{version(BEAM)}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:  # several workers of a test run ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "prism").exists():
            _build(folder)
    return folder / "prism"


def _build(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise StackError("Prism is built with Go, which was not found on the PATH (or set KAIROS_PRISM to the binary)")
    settings = os.environ | {"GOBIN": str(folder), "GOFLAGS": "-p=1"}
    what = f"{COMMAND}@v{version(BEAM)}"
    try:
        done = subprocess.run(
            [go, "install", what], env=settings, capture_output=True, text=True, timeout=BUILD_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise StackError(f"Go did not build {what} within {BUILD_S} s") from None
    if done.returncode:
        raise StackError(
            f"Go could not build {what}: {(done.stderr.strip() or 'see go install').splitlines()[-1][:300]}"
        )


if __name__ == "__main__":
    import sys

    try:
        print(binary())
    except StackError as error:
        sys.exit(f"kairos: {error}")
