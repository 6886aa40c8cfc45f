"""State as explicit bytes: nothing executable, bounded, checked, the same bytes for the same state.

Layout (little-endian)::

    "KRS1" | version u16 | kind length u8 | kind | raw length u32 | crc32 u32 | zlib(payload)
    payload = header length u32 | header JSON {"a": [[name, dtype, shape, flags], ...], "m": meta} | bytes of each array

The checksum covers version, kind, raw length and the compressed payload, so chance damage is found before anything is
decompressed; everything after it is checked again, because a forged state has a right checksum. Array bytes are stored
transposed (all lowest bytes first ...), which halves what zlib leaves of slowly changing numbers; integer arrays may be
stored as differences. Pickle is never used: it runs code on load and promises nothing between versions (models.md 2).
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

MAGIC = b"KRS1"
MAX_RAW_BYTES = 4 << 20  # models.md 4: bounded decompression
MAX_DIMENSIONS = 4
MAX_ARRAYS = 1024
DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})
_NAN, _DELTA = 1, 2
_LEVEL = 6
_KIND = re.compile(r"[a-z0-9_.]{1,64}")

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
Migration: TypeAlias = Callable[[Any, Arrays], tuple[Any, Arrays]]


class StateError(ValueError):
    """Bytes that are no usable state, or a state that cannot be written. The text never holds a value of the state."""


def pack(
    kind: str,
    version: int,
    meta: Any,
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    nan: Collection[str] = (),
    delta: Collection[str] = (),
) -> bytes:
    """Write a state.

    Parameters
    ----------
    kind
        What it is, `[a-z0-9_.]`, at most 64 characters; `unpack` must name the same.
    version
        Of the layout of `meta` and `arrays`, 1-65535.
    meta
        Any JSON value. Keys of objects are strings, and come back sorted; numbers are finite.
    arrays
        bool, integer or float arrays of at most 4 dimensions; C order and little-endian after a round trip.
    nan
        Names of float arrays that may hold NaN or infinity.
    delta
        Names of integer arrays to store as differences of neighbours (sorted times, slowly changing values).

    Returns
    -------
    bytes
        The same for equal input, whatever the order of keys, PYTHONHASHSEED and byte order of the machine.

    Raises
    ------
    StateError
        Another dtype, a value that is not finite where it must be, meta that is not JSON, more than 4 MiB.
    """
    if not _KIND.fullmatch(kind) or not 1 <= version <= 0xFFFF:
        raise StateError("kind or version of a state out of range")
    header, blocks = [], []
    for name in sorted(arrays):
        entry, block = _array_out(name, arrays[name], name in nan, name in delta)
        header.append(entry)
        blocks.append(block)
    head = _json_out({"a": header, "m": meta})
    raw = b"".join([struct.pack("<I", len(head)), head, *blocks])
    if len(raw) > MAX_RAW_BYTES or len(header) > MAX_ARRAYS:
        raise StateError("state larger than 4 MiB or of too many arrays")
    payload = zlib.compress(raw, _LEVEL)
    name_bytes = kind.encode("ascii")
    front = struct.pack("<HB", version, len(name_bytes)) + name_bytes + struct.pack("<I", len(raw))
    return b"".join([MAGIC, front, struct.pack("<I", zlib.crc32(payload, zlib.crc32(front))), payload])


def unpack(kind: str, data: bytes, *, versions: Mapping[int, Migration | None] | None = None) -> tuple[Any, Arrays]:
    """Read a state that `pack` wrote.

    Parameters
    ----------
    versions
        Versions that can be read. The value of the present one is None; that of an older one is a function which takes
        (meta, arrays) of that version and returns them as the next version has them. Default `{1: None}`.

    Returns
    -------
    meta, arrays
        Arrays are writable copies. Their names, dtypes and shapes are the caller's to check (`take`, `done`).

    Raises
    ------
    StateError
        Damaged, cut, forged, of another kind, of an unknown version, larger than 4 MiB, not finite.
    """
    known = {1: None} if versions is None else versions
    version, raw = _open(kind, data)
    if version not in known:
        raise StateError(f"state of {kind} has unknown version {version}")
    try:
        meta, arrays = _contents(raw)
        while (migrate := known.get(version)) is not None:
            meta, arrays = migrate(meta, arrays)
            version += 1
    except StateError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, struct.error):
        raise StateError(f"state of {kind} cannot be read") from None
    return meta, arrays


def take(arrays: Arrays, name: str, dtype: str, *shape: int | None) -> npt.NDArray[Any]:
    """Take an array out of `arrays`; it must have this dtype and shape (None = any length).

    Raises
    ------
    StateError
        Missing, or of another dtype or shape.
    """
    a = arrays.pop(name, None)
    if a is None or a.dtype.str != dtype or a.ndim != len(shape):
        raise StateError(f"array {name} of a state is missing or of another type")
    if any(want is not None and want != got for want, got in zip(shape, a.shape, strict=True)):
        raise StateError(f"array {name} of a state has another shape")
    return a


def done(arrays: Arrays) -> None:
    """Every array has been taken; a state with more is refused."""
    if arrays:
        raise StateError("state has arrays that nobody reads")


def number(meta: Any, name: str, low: float, high: float) -> float:
    """`meta[name]` as a number within [low, high].

    Raises
    ------
    StateError
        Missing, not a number, outside.
    """
    value = meta.get(name) if isinstance(meta, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise StateError(f"number {name} of a state is missing or out of range")
    return value


def whole(meta: Any, name: str, low: int, high: int) -> int:
    """`meta[name]` as an integer within [low, high]; raises StateError like `number`."""
    value = number(meta, name, low, high)
    if not isinstance(value, int):
        raise StateError(f"number {name} of a state is not whole")
    return value


def _array_out(name: str, array: npt.NDArray[Any], nan: bool, delta: bool) -> tuple[list[Any], bytes]:
    a = np.asarray(array)
    dtype = a.dtype.newbyteorder("<") if a.dtype.kind in "iufb" else a.dtype
    if dtype.str not in DTYPES or a.ndim > MAX_DIMENSIONS:
        raise StateError("array of a type that a state cannot hold")
    shape = list(a.shape)
    flat = np.ascontiguousarray(a, dtype=dtype).reshape(-1)
    if dtype.kind == "f" and not nan and not np.isfinite(flat).all():
        raise StateError("array of a state is not finite")
    delta = delta and dtype.kind in "iu"
    if delta:
        unsigned = flat.view(_unsigned(dtype))
        flat = unsigned.copy()
        flat[1:] -= unsigned[:-1]
    size = dtype.itemsize
    block = flat.tobytes() if size == 1 else flat.view(np.uint8).reshape(-1, size).T.tobytes()
    return [name, dtype.str, shape, _NAN * (nan and dtype.kind == "f") + _DELTA * delta], block


def _array_in(block: memoryview, dtype: np.dtype[Any], shape: list[int], flags: int) -> npt.NDArray[Any]:
    size = dtype.itemsize
    octets = np.frombuffer(block, np.uint8)
    if size > 1:
        octets = octets.reshape(size, -1).T.copy().reshape(-1)
    else:
        octets = octets.copy()
    if dtype.kind == "b" and octets.size and int(octets.max()) > 1:
        raise StateError("state holds a truth value that is neither")
    flat = octets.view(dtype)
    if flags & _DELTA:
        unsigned = _unsigned(dtype)
        flat = np.cumsum(flat.view(unsigned), dtype=unsigned).view(dtype)
    if dtype.kind == "f" and not flags & _NAN and not np.isfinite(flat).all():
        raise StateError("array of a state is not finite")
    return flat.reshape(shape)


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"<u{dtype.itemsize}")


def _open(kind: str, data: bytes) -> tuple[int, bytes]:
    """Version and decompressed payload."""
    try:
        version, kind_length = struct.unpack_from("<HB", data, len(MAGIC))
        front_end = len(MAGIC) + 3 + kind_length + 4
        name = bytes(data[len(MAGIC) + 3 : front_end - 4])
        (raw_length,) = struct.unpack_from("<I", data, front_end - 4)
        (crc,) = struct.unpack_from("<I", data, front_end)
        if data[: len(MAGIC)] != MAGIC or name != kind.encode("ascii"):
            raise StateError(f"not a state of {kind}")
        payload = data[front_end + 4 :]
        if zlib.crc32(payload, zlib.crc32(data[len(MAGIC) : front_end])) != crc or raw_length > MAX_RAW_BYTES:
            raise StateError(f"state of {kind} is damaged")
        inflate = zlib.decompressobj()
        raw = inflate.decompress(payload, raw_length + 1)
    except (struct.error, zlib.error, TypeError, UnicodeError, MemoryError):
        raise StateError(f"state of {kind} is damaged") from None
    if len(raw) != raw_length or not inflate.eof or inflate.unused_data:
        raise StateError(f"state of {kind} is damaged")
    return int(version), raw


def _contents(raw: bytes) -> tuple[Any, Arrays]:
    (length,) = struct.unpack_from("<I", raw)
    if length > len(raw) - 4:
        raise StateError("header of a state is longer than the state")
    header = json.loads(raw[4 : 4 + length], parse_constant=_refuse, parse_float=_finite)
    if not isinstance(header, dict) or set(header) != {"a", "m"} or not isinstance(header["a"], list):
        raise StateError("header of a state has another form")
    if len(header["a"]) > MAX_ARRAYS:
        raise StateError("state of too many arrays")
    view, at = memoryview(raw), 4 + length
    arrays: Arrays = {}
    for name, dtype_name, shape, flags in header["a"]:
        if not isinstance(name, str) or name in arrays or dtype_name not in DTYPES or flags not in (0, 1, 2, 3):
            raise StateError("array of a state has another form")
        if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
            raise StateError("array of a state has another form")
        if any(type(n) is not int or n < 0 for n in shape):
            raise StateError("array of a state has another form")
        dtype = np.dtype(dtype_name)
        end = at + math.prod(shape) * dtype.itemsize
        if end > len(raw) or (flags & _DELTA and dtype.kind not in "iu"):
            raise StateError("array of a state has another form")
        arrays[name] = _array_in(view[at:end], dtype, shape, flags)
        at = end
    if at != len(raw):
        raise StateError("state has bytes that nobody reads")
    return header["m"], arrays


def _json_out(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise StateError("meta of a state is not plain finite JSON") from None


def _refuse(_: str) -> NoReturn:
    raise StateError("state holds a number that is not finite")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StateError("state holds a number that is not finite")
    return value
