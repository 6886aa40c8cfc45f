"""Jars from Maven Central by pinned `pom.xml` files, kept in a cache folder and checked against recorded digests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

FETCH_S = 900


class StackError(RuntimeError):
    """A part of the local stack can't be had or does not run; the message is one line for the operator."""


def cache() -> Path:
    """Where fetched parts are kept: `KAIROS_CACHE`, else `kairos` in the user's cache folder."""
    given = os.environ.get("KAIROS_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kairos"


def java() -> str:
    """The Java command: of `JAVA_HOME`, else on the path.

    Raises
    ------
    StackError
        There is none.
    """
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").exists():
        return str(Path(home) / "bin" / "java")
    found = shutil.which("java")
    if found is None:
        raise StackError("Java 17 or newer is needed and was not found (JAVA_HOME or PATH)")
    return found


def maven() -> str:
    """The Maven command; StackError if there is none."""
    found = shutil.which("mvn")
    if found is None:
        raise StackError("Maven is needed to fetch the jars and was not found on the PATH (mvn)")
    return found


def fetch(pom: Path, folder: Path | None = None) -> Path:
    """Jars of a `pom.xml` with all they need, fetched once; checked against `jars.sha256` beside it.

    Parameters
    ----------
    folder
        Where to put them; None = in `cache()`, by the digest of the pom.

    Raises
    ------
    StackError
        No Maven, no network, or a jar that is not the recorded one.
    """
    name = f"{pom.parent.name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    place = folder or cache() / "jars" / name
    if not (place / ".complete").exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as part:
            _run(maven(), "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
                 f"-DoutputDirectory={part}/jars")  # fmt: skip
            jars = Path(part) / "jars"
            check(jars, pom.with_name("jars.sha256"))
            (jars / ".complete").touch()
            _put(jars, place)
    return place


def artifact(coordinates: str, digest: str) -> Path:
    """One file of Maven Central, `group:artifact:version:packaging:classifier`, of the given SHA-256."""
    place = cache() / "files" / digest
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as part:
            _run(maven(), "dependency:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={part}/file")
            (found,) = (Path(part) / "file").iterdir()
            if _digest(found) != digest:
                raise StackError(f"{coordinates}: what was fetched is not what was recorded (SHA-256 differs)")
            os.replace(found, place)
    return place


def check(jars: Path, record: Path) -> None:
    """Each recorded jar is there with its digest, and no other.

    Raises
    ------
    StackError
        Names the first that is not.
    """
    lines = [line.split() for line in record.read_text(encoding="utf-8").splitlines() if line.strip()]
    wanted = {name: digest for digest, name in lines}
    found = {p.name for p in jars.glob("*.jar")}
    for name in sorted(found ^ set(wanted)):
        raise StackError(f"{name}: {'not recorded' if name in found else 'missing'} ({record})")
    for name, digest in sorted(wanted.items()):
        if _digest(jars / name) != digest:
            raise StackError(f"{name}: not the jar that was recorded ({record})")


def record(jars: Path, target: Path) -> None:
    """Write the digests of fetched jars, when a pom changes: `python -m deploy.local.jars POM`."""
    lines = [f"{_digest(p)}  {p.name}\n" for p in sorted(jars.glob("*.jar"))]
    target.write_text("".join(lines), encoding="utf-8")


def _put(made: Path, place: Path) -> None:
    try:
        os.replace(made, place)
    except OSError:  # another process was quicker, or left a broken one
        if not (place / ".complete").exists():
            shutil.rmtree(place, ignore_errors=True)
            os.replace(made, place)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(*command: str) -> None:
    done = subprocess.run(
        [command[0], "-q", "-B", *command[1:]], capture_output=True, text=True, timeout=FETCH_S, check=False
    )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise StackError(f"Maven could not fetch the jars: {lines[0][:300] if lines else 'see mvn'}")


if __name__ == "__main__":
    import sys

    pom = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as part:
        _run(maven(), "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
             f"-DoutputDirectory={part}")  # fmt: skip
        record(Path(part), pom.with_name("jars.sha256"))
