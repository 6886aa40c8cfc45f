"""Lines of `.jsonl` and `.jsonl.gz` files, some megabytes at a time.

A line that can't be read is told by its number, never by its text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

BLOCK_BYTES = 2 << 20
PART_BYTES = 128 << 10
LONGEST_LINE = 8 << 20
GZIP = 31  # zlib's window bits for a gzip header and trailer


class Piece(NamedTuple):
    """Whole lines from line number `line` (from 1) on; `data` None for one line that can't be read."""

    line: int
    data: bytes | None


class Chunk(NamedTuple):
    """Parsed records with their line numbers (from 1), and the numbers of lines that are no record."""

    records: list[Any]
    lines: list[int]
    unparsable: list[int]


def read(path: Path) -> Iterator[Piece]:
    """Pieces of a file in order.

    Where a gzip stream is cut off or damaged the file ends: what came before is kept, and the line it broke in can't be
    read. A line longer than `LONGEST_LINE` can't be read either and is never held as a whole.
    """
    number, rest, skipping = 1, b"", False
    for block in _unzipped(path) if path.suffix == ".gz" else _blocks(path):
        if block is None:
            yield Piece(number, None)
            return
        if skipping:
            end = block.find(b"\n")
            if end < 0:
                continue
            yield Piece(number, None)
            number, block, skipping = number + 1, block[end + 1 :], False
        data = rest + block if rest else block
        cut = data.rfind(b"\n") + 1
        if cut:
            yield Piece(number, data[:cut])
            number += data.count(b"\n", 0, cut)
        rest = data[cut:]
        if len(rest) > LONGEST_LINE:
            rest, skipping = b"", True
    if rest or skipping:
        yield Piece(number, None if skipping else rest)


def smaller(piece: Piece) -> Iterator[Piece]:
    """The same lines in pieces of about `PART_BYTES`: one bad line then costs the fast way only to those around it."""
    line, data, start = piece.line, piece.data, 0
    while data is not None and start < len(data):
        cut = data.find(b"\n", start + PART_BYTES) + 1 or len(data)
        part = data[start:cut]
        yield Piece(line, part)
        line, start = line + part.count(b"\n"), cut


def parse(piece: Piece) -> Chunk:
    """The records of a piece; empty lines are no records."""
    if piece.data is None:
        return Chunk([], [], [piece.line])
    records: list[Any] = []
    lines: list[int] = []
    bad: list[int] = []
    loads = orjson.loads
    for number, line in enumerate(piece.data.split(b"\n"), piece.line):
        if not line or line.isspace():
            continue
        try:
            record = loads(line) if len(line) <= LONGEST_LINE else None
        except orjson.JSONDecodeError:
            record = None
        if type(record) is dict:
            records.append(record)
            lines.append(number)
        else:
            bad.append(number)
    return Chunk(records, lines, bad)


def _blocks(path: Path) -> Iterator[bytes | None]:
    """Blocks of a file; None at the end if it can't be read on."""
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError:
        yield None


def _unzipped(path: Path) -> Iterator[bytes | None]:
    """Blocks of a gzip file of one or several members; None at the end if it is cut off or damaged.

    `gzip.open` would throw away what it has unpacked of the block in which a stream breaks; the bound on a block keeps a
    file that unpacks to a thousand times its size from filling the memory.
    """
    unzip = zlib.decompressobj(GZIP)
    fresh = True  # at the start of a member
    for data in _blocks(path):
        if data is None:
            yield None
            return
        while data:
            if fresh and not data.strip(b"\0"):
                break  # zeros between or after members are padding
            try:
                block = unzip.decompress(data, BLOCK_BYTES)
            except zlib.error:
                yield None
                return
            fresh = False
            if block:
                yield block
            data = unzip.unconsumed_tail
            if unzip.eof:
                data, unzip, fresh = unzip.unused_data, zlib.decompressobj(GZIP), True
    if not fresh:
        yield None
