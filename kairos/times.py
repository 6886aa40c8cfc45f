"""Instants as people type and read them."""

from __future__ import annotations

import datetime as dt


def parse(text: str) -> int:
    """ISO 8601 (without offset: UTC) or ms since 1970 → ms since 1970.

    Raises
    ------
    ValueError
        Neither.

    Examples
    --------
    >>> parse("2026-05-20T00:00Z") == parse("1779235200000") == parse("2026-05-20")
    True
    """
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no instant: give ISO 8601 (2026-05-20T14:00+02:00) or ms since 1970") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)
    return round(at.timestamp() * 1000)


def local(ms: int, offset_min: int) -> str:
    """Local wall time of a person, `2026-05-20 16:30`.

    >>> local(1779287400000, 120)
    '2026-05-20 16:30'
    """
    zone = dt.timezone(dt.timedelta(minutes=offset_min))
    return dt.datetime.fromtimestamp(ms / 1000, zone).strftime("%Y-%m-%d %H:%M")


def date(ms: int | None) -> str:
    """UTC date of an instant, or "-"."""
    return "-" if ms is None else dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%d")
