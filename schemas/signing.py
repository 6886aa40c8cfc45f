"""Signatures of control records: Ed25519 over the canonical JSON of `value` without `signature` (topics.md 1)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8.

    >>> canonical_json({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def message(value: Mapping[str, Any]) -> bytes:
    """What is signed; nulls are absent."""
    return canonical_json({k: v for k, v in value.items() if k != "signature" and v is not None})


def sign(value: Mapping[str, Any], private_key: bytes) -> str:
    """Signature of `value`, base64.

    Parameters
    ----------
    private_key
        32 raw bytes.
    """
    return base64.b64encode(Ed25519PrivateKey.from_private_bytes(private_key).sign(message(value))).decode()


def public_key(private_key: bytes) -> str:
    """Base64 of the public key that belongs to 32 raw bytes."""
    return base64.b64encode(Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()).decode()


def verify(value: Mapping[str, Any], trusted_keys: Sequence[str] = ()) -> bool:
    """Whether a value counts as signed.

    Empty or missing never does. With trusted keys (base64 public keys) one of them must verify; without any, every
    non-empty signature passes (tests, simulator).
    """
    signature = value.get("signature")
    if not isinstance(signature, str) or not signature.strip():
        return False
    if not trusted_keys:
        return True
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return any(_verifies(raw, message(value), key) for key in trusted_keys)


def _verifies(raw: bytes, text: bytes, key: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(raw, text)
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
