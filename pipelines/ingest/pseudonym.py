"""Pseudonyms: the only name of a person after ingest (topics.md 1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

_FORM = re.compile(r"u[a-z2-7]{26}")


class Pseudonyms:
    """`u` + first 26 characters of lower-case base32(HMAC-SHA256(key, user)).

    Parameters
    ----------
    key
        Empty: ids pass unchanged (tests, simulator).

    Examples
    --------
    >>> Pseudonyms("").of("p01")
    'p01'
    >>> p = Pseudonyms("secret").of("p01")
    >>> len(p), Pseudonyms("secret").of(p) == p
    (27, True)
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._known: dict[str, str] = {}

    def of(self, user: str) -> str:
        """The pseudonym of `user`; an id already of that form is kept."""
        if not self._key or _FORM.fullmatch(user):
            return user
        if user not in self._known:
            digest = hmac.new(self._key, user.encode(), hashlib.sha256).digest()
            self._known[user] = "u" + base64.b32encode(digest).decode().lower()[:26]
        return self._known[user]

    def token(self, user: str, place: str) -> str:
        """Token of a place, salted per person: says that two places are the same one, not where."""
        digest = hmac.new(self._key or b"kairos", f"{user}|{place}".encode(), hashlib.sha256).hexdigest()
        return f"p_{digest[:16]}"
