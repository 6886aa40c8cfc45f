"""The draw of the micro-randomised trial: exact in replay, and open to anyone who holds the study key (trial.md 3)."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from schemas.signing import canonical_json

ARMS = ("NOTHING", "CLASSIC", "ADAPTIVE")  # the order in which probabilities are cumulated
FIRST_PERIOD = {"NOTHING": 0.4, "CLASSIC": 0.3, "ADAPTIVE": 0.3}
POLICY_VERSION = "mrt-1"
LOWEST, HIGHEST = 0.1, 0.8
LAST_BELOW_ONE = math.nextafter(1.0, 0.0)


def u(study_key: str, user: str, decision_id: str, policy_version: str) -> float:
    """The draw in [0, 1): HMAC-SHA256(study_key, canonical JSON [user, decision_id, policy_version]), 8 bytes / 2^64.

    The bytes are read big-endian. The quotient is rounded to a double; where that would give 1, the next double below.

    Examples
    --------
    >>> u("kairos-demo", "p01", "77aa", "mrt-1") == u("kairos-demo", "p01", "77aa", "mrt-1")
    True
    """
    message = canonical_json([user, decision_id, policy_version])
    digest = hmac.new(study_key.encode(), message, hashlib.sha256).digest()
    return min(int.from_bytes(digest[:8], "big") / 2**64, LAST_BELOW_ONE)


def choose(arms: Mapping[str, float], u: float) -> str:
    """First arm in the order NOTHING, CLASSIC, ADAPTIVE whose cumulated probability exceeds `u`.

    Raises
    ------
    ValueError
        Not exactly these arms, a probability outside [0.1, 0.8], or a sum that is not 1.

    Examples
    --------
    >>> choose(FIRST_PERIOD, 0.4471)
    'CLASSIC'
    """
    if set(arms) != set(ARMS):
        raise ValueError("arms must be NOTHING, CLASSIC and ADAPTIVE")
    if not all(LOWEST - 1e-12 <= p <= HIGHEST + 1e-12 for p in arms.values()) or abs(sum(arms.values()) - 1) > 1e-9:
        raise ValueError("probabilities must lie in [0.1, 0.8] and sum to 1")
    cumulated = 0.0
    for arm in ARMS:
        cumulated += arms[arm]
        if cumulated > u:
            return arm
    return ARMS[-1]  # a sum a rounding below 1


def digest(arms: Mapping[str, float]) -> str:
    """Short digest of a fixed policy, for `model_digest`."""
    return hashlib.sha256(canonical_json(dict(arms))).hexdigest()[:16]


def uniforms(study_key: str, parts: Sequence[object], n: int) -> npt.NDArray[np.float64]:
    """n numbers in (0, 1) from the HMAC stream of the draw: exact in replay, open to whoever holds the study key.

    Block j = HMAC-SHA256(study_key, canonical JSON [*parts, j]), j = 0, 1, …; each gives four big-endian 8-byte numbers,
    whose first 53 bits k are taken as (k + 1/2) / 2^53 (trial.md 3: the normals of posterior draws come from the same stream as `u`).
    """
    key = study_key.encode()
    blocks = [hmac.new(key, canonical_json([*parts, j]), hashlib.sha256).digest() for j in range(-(-n // 4))]
    whole = np.frombuffer(b"".join(blocks), ">u8")[:n] >> np.uint64(11)  # 53 bits: exact as a double
    return (whole.astype(np.float64) + 0.5) / 2.0**53


def normals(study_key: str, parts: Sequence[object], *shape: int) -> npt.NDArray[np.float64]:
    """Standard normals of this shape from the same stream, by the inverse of the distribution function."""
    out: npt.NDArray[np.float64] = ndtri(uniforms(study_key, parts, math.prod(shape))).reshape(shape)
    return out
