"""State bytes: what goes in comes out, the same bytes each time, and damage is an ordinary error."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from pipelines.learning.packing import MAX_RAW_BYTES, StateError, done, number, pack, take, unpack, whole

META = {"n": 3, "words": ["a", "ä", None, True], "deep": {"x": 1.5}}


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "times": np.cumsum(rng.integers(0, 9, 500)).astype(np.int64),
        "bpm": rng.normal(70, 9, 700).astype(np.float32),
        "flags": rng.random(99) < 0.2,
        "grid": rng.integers(-5, 5, (4, 3, 2)).astype(np.int16),
        "half": rng.normal(size=7).astype(np.float16),
        "none": np.zeros((0, 3)),
        "hole": np.array([1.0, np.nan, np.inf]),
        "bytes": np.arange(9, dtype=np.uint8),
    }


def packed() -> bytes:
    return pack("test.state", 1, META, some_arrays(), nan=["hole"], delta=["times", "grid"])


def sealed(raw: bytes, kind: str = "test.state", version: int = 1) -> bytes:
    """A forged state: any payload under a right checksum."""
    front = struct.pack("<HB", version, len(kind)) + kind.encode() + struct.pack("<I", len(raw))
    body = zlib.compress(raw)
    return b"KRS1" + front + struct.pack("<I", zlib.crc32(body, zlib.crc32(front))) + body


def raw_of(header: object, blocks: bytes = b"") -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(head)) + head + blocks


def test_what_was_packed_comes_back_with_type_and_shape():
    meta, arrays = unpack("test.state", packed())
    assert meta == META
    for name, a in some_arrays().items():
        assert arrays[name].dtype == a.dtype
        assert arrays[name].shape == a.shape
        np.testing.assert_array_equal(arrays[name], a)
        arrays[name][...] = 0  # a state that was read can be changed


def test_extreme_integers_survive_as_differences():
    a = np.array([2**63 - 1, -(2**63), 0, -1], np.int64)
    _, back = unpack("k", pack("k", 1, None, {"a": a}, delta=["a"]))
    np.testing.assert_array_equal(back["a"], a)


def test_big_endian_and_strided_arrays_give_the_bytes_of_plain_ones():
    a = np.arange(20, dtype=np.float64)
    assert pack("k", 1, None, {"a": a.astype(">f8")}) == pack("k", 1, None, {"a": np.repeat(a, 2)[::2]})


def test_bytes_do_not_depend_on_the_order_of_keys_or_the_hash_seed():
    code = (
        "from pipelines.learning.packing import pack; import numpy as np, hashlib;"
        "s = {'b', 'a', 'c', 'zz', 'y'};"
        "print(hashlib.sha256(pack('k', 1, {k: 1 for k in s}, {k: np.arange(5) for k in s})).hexdigest())"
    )
    run = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "77")
    ]
    assert run[0] == run[1]


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_state_is_refused_with_an_ordinary_error(seed):
    rng, good = random.Random(seed), packed()
    for _ in range(150):
        bad = bytearray(good)
        how = rng.randrange(4)
        at = rng.randrange(len(bad))
        if how == 0:
            bad[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del bad[at:]
        elif how == 2:
            bad[at:at] = rng.randbytes(rng.randint(1, 9))
        else:
            del bad[at : at + rng.randint(1, 40)]
        if bytes(bad) != good:
            with pytest.raises(StateError):
                unpack("test.state", bytes(bad))


def test_a_forged_state_with_a_right_checksum_still_raises_only_state_errors():
    rng, good = random.Random(5), packed()
    raw = zlib.decompress(good[4 + 3 + len("test.state") + 8 :])
    for _ in range(300):
        bad = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(400 if rng.random() < 0.7 else len(bad))] = rng.randrange(256)
        with contextlib.suppress(StateError):
            unpack("test.state", sealed(bytes(bad)))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xff\xff\xff",
        raw_of(b"[" * 100_000),
        raw_of(b'{"a":[],"m":1e999}'),
        raw_of(b'{"a":[],"m":NaN}'),
        raw_of(b'{"a":[],"m":' + b"9" * 5000 + b"}"),
        raw_of({"a": [["x", "<f8", [1], 0]], "m": None}),
        raw_of({"a": [["x", "|O", [1], 0]], "m": None}, b"\0" * 8),
        raw_of({"a": [["x", "<f8", [-1], 0]], "m": None}, b"\0" * 8),
        raw_of({"a": [["x", "<f8", [1 << 40, 1 << 40], 0]], "m": None}),
        raw_of({"a": [["x", "<f8", [0, 1 << 62, 1 << 62], 0]], "m": None}),
        raw_of({"a": [["x", "<f8", [1], 0], ["x", "<f8", [1], 0]], "m": None}, b"\0" * 16),
        raw_of({"a": [["x", "<f8", [1], 2]], "m": None}, b"\0" * 8),
        raw_of({"a": [["x", "|b1", [1], 0]], "m": None}, b"\2"),
        raw_of({"a": [["x", "<f8", [1], 0]], "m": None}, b"\xff" * 8),
        raw_of({"a": [["x", "<f8", [True], 0]], "m": None}, b"\0" * 8),
        raw_of({"a": [[["x"], "<f8", [1], 0]], "m": None}, b"\0" * 8),
        raw_of({"a": [["x", ["<f8"], [1], 0]], "m": None}, b"\0" * 8),
        raw_of({"a": [], "m": None, "more": 1}),
        raw_of({"a": [], "m": None}, b"left over"),
        raw_of([]),
    ],
)
def test_each_forgery_is_refused(raw):
    with pytest.raises(StateError):
        unpack("test.state", sealed(raw))


def test_a_bomb_is_not_decompressed_beyond_its_bound():
    with pytest.raises(StateError):
        unpack("test.state", sealed(b"\0" * (MAX_RAW_BYTES + 1)))
    small = bytearray(sealed(b"\0" * MAX_RAW_BYTES))
    at = 4 + 3 + len("test.state")
    small[at : at + 4] = struct.pack("<I", 100)  # says 100 bytes, holds 4 MiB
    small[at + 4 : at + 8] = struct.pack("<I", zlib.crc32(small[at + 8 :], zlib.crc32(small[4 : at + 4])))
    with pytest.raises(StateError):
        unpack("test.state", bytes(small))


def test_another_kind_is_refused():
    with pytest.raises(StateError):
        unpack("test.other", packed())


def test_an_old_version_is_migrated_step_by_step_and_an_unknown_one_refused():
    def to_2(meta, arrays):
        return {"b": meta["a"]}, arrays

    def to_3(meta, arrays):
        return {"c": meta["b"]}, arrays

    old = pack("k", 1, {"a": 7}, {})
    assert unpack("k", old, versions={1: to_2, 2: to_3, 3: None})[0] == {"c": 7}
    assert unpack("k", pack("k", 3, {"c": 8}, {}), versions={1: to_2, 2: to_3, 3: None})[0] == {"c": 8}
    with pytest.raises(StateError, match="version 9"):
        unpack("k", pack("k", 9, {}, {}), versions={1: to_2, 2: None})
    with pytest.raises(StateError):
        unpack("k", pack("k", 1, {"other": 7}, {}), versions={1: to_2, 2: None})


@pytest.mark.parametrize(
    ("meta", "arrays"),
    [
        ({"x": float("nan")}, {}),
        ({"x": {1, 2}}, {}),
        (object(), {}),
        (None, {"a": np.array(["text"])}),
        (None, {"a": np.array([None])}),
        (None, {"a": np.array([1.0, np.nan])}),
        (None, {"a": np.zeros((1, 1, 1, 1, 1))}),
        (None, {"a": np.zeros(MAX_RAW_BYTES // 8 + 1)}),
    ],
)
def test_what_a_state_cannot_hold_is_refused_on_writing(meta, arrays):
    with pytest.raises(StateError):
        pack("k", 1, meta, arrays)


def test_readers_take_what_they_expect_and_nothing_else():
    _, arrays = unpack("k", pack("k", 1, None, {"a": np.zeros((3, 2), np.float32), "b": np.zeros(1)}))
    with pytest.raises(StateError):
        take(dict(arrays), "a", "<f8", 3, 2)
    with pytest.raises(StateError):
        take(dict(arrays), "a", "<f4", 2, 2)
    with pytest.raises(StateError):
        take(dict(arrays), "missing", "<f4", 1)
    assert take(arrays, "a", "<f4", None, 2).shape == (3, 2)
    with pytest.raises(StateError):
        done(arrays)
    for bad in ({}, [], {"n": True}, {"n": "1"}, {"n": 9}):
        with pytest.raises(StateError):
            number(bad, "n", 0, 5)
    with pytest.raises(StateError):
        whole({"n": 1.5}, "n", 0, 5)
    assert whole({"n": 5}, "n", 0, 5) == 5
