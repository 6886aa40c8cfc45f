"""Lines of `.jsonl` and `.jsonl.gz` files in chunks. A line that can't be read is told by its number, never by its text."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

CHUNK_ROWS = 20_000
BLOCK_BYTES = 1 << 20
LONGEST_LINE = 8 << 20


class Chunk(NamedTuple):
    """Parsed records with their line numbers (from 1), and the numbers of lines that are no record."""

    records: list[Any]
    lines: list[int]
    unparsable: list[int]


def read(path: Path) -> Iterator[Chunk]:
    """Chunks of a file in order.

    A truncated or damaged gzip stream ends the file: what came before is kept, and one more line counts as unparsable.
    """
    records: list[Any] = []
    lines: list[int] = []
    bad: list[int] = []
    loads = orjson.loads
    for number, line in _lines(path):
        if line is None:
            bad.append(number)
            continue
        if not line or line.isspace():
            continue
        try:
            record = loads(line)
        except orjson.JSONDecodeError:
            bad.append(number)
            continue
        if type(record) is not dict:
            bad.append(number)
            continue
        records.append(record)
        lines.append(number)
        if len(records) >= CHUNK_ROWS:
            yield Chunk(records, lines, bad)
            records, lines, bad = [], [], []
    if records or bad:
        yield Chunk(records, lines, bad)


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """(number, line without its end); None for one that is too long or lies where the stream broke."""
    number, rest, skipping = 0, b"", False
    with _open(path) as file:
        while True:
            try:
                block = file.read(BLOCK_BYTES)
            except (EOFError, gzip.BadGzipFile, zlib.error, OSError):
                yield number + 1, None
                return
            if not block:
                break
            parts = block.split(b"\n")
            parts[0] = rest + parts[0] if rest else parts[0]
            rest = parts.pop()
            for line in parts:
                number += 1
                yield number, None if skipping or len(line) > LONGEST_LINE else line
                skipping = False
            if len(rest) > LONGEST_LINE:
                rest, skipping = b"", True
    if rest or skipping:
        yield number + 1, None if skipping or len(rest) > LONGEST_LINE else rest


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
