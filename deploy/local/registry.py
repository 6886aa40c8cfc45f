"""A real schema registry on loopback: Apicurio, which speaks Confluent's API under `/apis/ccompat/v7`. In memory: for trying out."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import urllib.request
from pathlib import Path

from deploy.local import jars
from deploy.local.jars import StackError
from deploy.local.service import LOOPBACK, Service, free_port

ARTIFACT = "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all"
DIGEST = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
JAVA = 21


def java() -> str:
    """A Java of version 21 or newer: `KAIROS_JAVA21`, the usual one, or one installed beside it.

    Raises
    ------
    StackError
        None is new enough.
    """
    beside = sorted(Path("/usr/lib/jvm").glob("*/bin/java")) if Path("/usr/lib/jvm").is_dir() else []
    try:
        usual = [jars.java()]
    except StackError:
        usual = []
    for command in [os.environ.get("KAIROS_JAVA21", ""), *usual, *map(str, beside)]:
        if command and Path(command).exists() and _version(command) >= JAVA:
            return command
    raise StackError(f"Java {JAVA} or newer is needed for the schema registry and was not found (KAIROS_JAVA21)")


class SchemaRegistry:
    """One registry in one folder (`registry.log`, `registry.pid`); what it holds ends with it."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder, self.port = folder.absolute(), port or free_port()
        self.service = Service("registry", self.folder, [self.port], self._answers)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/apis/ccompat/v7"

    def start(self, timeout: float = 120.0) -> SchemaRegistry:
        """Fetch (158 MB, once), unpack, start; StackError in one line."""
        command = java()
        place = jars.cache() / "registry" / DIGEST[:12]
        if not (place / ".complete").exists():
            place.mkdir(parents=True, exist_ok=True)
            with tarfile.open(jars.artifact(ARTIFACT, DIGEST)) as packed:
                packed.extractall(place, filter="data")
            (place / ".complete").touch()
        (found,) = sorted(place.rglob("quarkus-run.jar"))[:1]
        env = {**os.environ, "QUARKUS_HTTP_HOST": LOOPBACK, "QUARKUS_HTTP_PORT": str(self.port)}
        self.service.start([command, "-Xmx384m", "-jar", str(found)], timeout, env)
        return self

    def stop(self) -> None:
        self.service.stop()

    def __enter__(self) -> SchemaRegistry:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _version(command: str) -> int:
    done = subprocess.run([command, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0
