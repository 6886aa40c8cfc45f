"""The jars of Flink and of Beam's job server, with three classes of Beam replaced from source (`patch/`)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from deploy.local import jars
from deploy.local.jars import StackError

HERE = Path(__file__).parent
POM, PATCH = HERE / "pom.xml", HERE / "patch"
OPENS = ("java.util", "java.lang", "java.nio", "java.time", "java.net", "java.util.concurrent")


def patch(libs: Path, skip: tuple[str, ...] = ()) -> Path:
    """The jar of the classes in `patch/`, compiled against `libs`; it stands before them on the class path.

    Parameters
    ----------
    skip
        Names of classes to leave as Beam has them, to measure what a patch does.

    Raises
    ------
    StackError
        There is no Java compiler, or it fails.
    """
    sources = sorted(p for p in PATCH.rglob("*.java") if p.stem not in skip)
    mark = hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()[:12]
    jar = jars.cache() / "files" / f"flink-patch-{libs.name}-{mark}.jar"
    if jar.exists():
        return jar
    jar.parent.mkdir(parents=True, exist_ok=True)
    tools = Path(os.path.realpath(jars.java())).parent
    with tempfile.TemporaryDirectory(dir=jar.parent) as scratch:
        classes, part = Path(scratch) / "classes", Path(scratch) / "patch.jar"
        compile_ = ["javac", "-nowarn", "-Xlint:none", "-cp", f"{libs}/*", "-d", str(classes), *map(str, sources)]
        for command in (compile_, ["jar", "cf", str(part), "-C", str(classes), "."]):
            if not (tools / command[0]).exists():
                raise StackError(f"{command[0]} was not found beside java: a JDK is needed, not only a JRE")
            done = subprocess.run(
                [str(tools / command[0]), *command[1:]], capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                raise StackError(f"{command[0]} failed: {(done.stderr or done.stdout).splitlines()[0][:300]}")
        os.replace(part, jar)
    return jar


def command(heap_mb: int, main: str, *args: str, direct_mb: int = 256, skip: tuple[str, ...] = ()) -> list[str]:
    """Command line of a JVM with the jars, and the patch before them, on its class path."""
    libs = jars.fetch(POM)
    opens = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENS]
    memory = [
        f"-Xmx{heap_mb}m",
        f"-XX:MaxDirectMemorySize={direct_mb}m",
        "-XX:+UseSerialGC",
        "-Djava.awt.headless=true",
    ]
    form = "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS"
    log = ["-Dorg.slf4j.simpleLogger.showDateTime=true", form]
    return [jars.java(), *memory, *opens, *log, "-cp", f"{patch(libs, skip)}:{libs}/*", main, *args]
