"""What a watch and a phone make of a life: columns of rows. Local minutes in, UTC rows out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.life import DAY_MIN, MINUTE, Life
from simulator.rows import SYNC_MS, Block, Ints

WATCH, PHONE, COMPUTER, CLINIC = "watch-1", "phone-1", "computer-1", "clinic-1"
WATCH_COVERS = ["HEART_RATE", "ACTIVITY"]
PHONE_COVERS = ["LOCATION", "PHONE_USAGE", "SEARCH"]
FIX_MIN = 5
ACCURACY_M = 20.0
JITTER_M = 12.0
M_PER_DEGREE = 111_320.0

APPS = (  # package, the store's own category, sessions a day, mean minutes a session
    ("org.example.talk", "COMMUNICATION", 6, 4.0),
    ("org.example.circle", "SOCIAL", 4, 9.0),
    ("org.example.pages", "BROWSER", 3, 6.0),
    ("org.example.tunes", "MUSIC_AND_AUDIO", 1, 20.0),
)
GAME = ("org.example.chess", "GAME_BOARD", 3, 15.0)


def block(topic: str, source: str, life: Life, minute: Ints, offset: int, seq: Ints, value: dict[str, Any]) -> Block:
    """Rows at whole minutes of a life, arriving `SYNC_MS` later."""
    event = life.first + minute * MINUTE - offset * MINUTE
    tz = np.full(len(minute), offset, np.int32)
    return Block(topic, source, event, event + SYNC_MS, tz, seq, value)


def heart_rows(life: Life, noise: npt.NDArray[np.float64], offset: int) -> Block:
    """device.heart_rate: one LOCKED sample a minute while worn and while there is a pulse to read."""
    at = np.flatnonzero(life.worn & np.isfinite(life.pulse))
    bpm = np.clip(np.round(life.pulse[at] + noise[at], 1), 30.0, 220.0)
    value = {"bpm": bpm, "quality": ["LOCKED"] * len(at), "sample_period_s": np.full(len(at), 60.0)}
    return block("device.heart_rate", WATCH, life, at, offset, at, value)


def activity_rows(life: Life, offset: int) -> Block:
    """device.activity: one row a minute while worn, zeros said explicitly."""
    at = np.flatnonzero(life.worn)
    steps = life.steps[at]
    names = np.array(["STILL", "WALK", "RUN"])[(steps > 0).astype(int) + (steps >= 130)]
    value = {
        "steps": steps,
        "period_s": np.full(len(at), 60.0),
        "intensity": life.intensity[at],
        "activity": names,
    }
    return block("device.activity", WATCH, life, at, offset, at, value)


def fixes(life: Life, places: npt.NDArray[np.float64], rngs: list[np.random.Generator], offset: int) -> Block:
    """raw.location: a fix every 5 min while the phone is on, 20 m accurate, within 12 m of the place.

    Parameters
    ----------
    places
        (n, 2) latitude and longitude in degrees of HOME, OTHER, WORK.
    rngs
        One generator a day.
    """
    at = np.arange(0, life.minutes, FIX_MIN)
    draws = np.concatenate([rng.random((DAY_MIN // FIX_MIN, 2)) for rng in rngs])
    radius, angle = JITTER_M * np.sqrt(draws[:, 0]), 2 * np.pi * draws[:, 1]
    on = life.phone[at]
    spot = places[life.place[at]]
    lat = spot[:, 0] + radius * np.sin(angle) / M_PER_DEGREE
    lon = spot[:, 1] + radius * np.cos(angle) / (M_PER_DEGREE * np.cos(np.radians(spot[:, 0])))
    n = int(on.sum())
    value = {
        "latitude": np.round(lat[on], 6),
        "longitude": np.round(lon[on], 6),
        "accuracy_m": np.full(n, ACCURACY_M),
        "provider": ["FUSED"] * n,
    }
    return block("raw.location", PHONE, life, at[on], offset, at[on], value)


def status_rows(life: Life, says_worn: npt.NDArray[np.bool_], offset: int) -> list[Block]:
    """device.status: hourly heartbeats, the watch's also at the minute it is put on or taken off.

    Parameters
    ----------
    says_worn
        What the watch reports about being worn, per minute.
    """
    hours = np.arange(0, life.minutes, 60)
    turns = np.flatnonzero(np.diff(says_worn.astype(np.int8))) + 1
    at = np.union1d(hours, turns)
    at = at[life.watch[at]]
    worn = np.where(says_worn[at], "YES", "NO")
    charge = np.round(100.0 - 60.0 * (at % DAY_MIN) / DAY_MIN, 0)
    rows = [_status(WATCH, "WATCH", life, at, offset, worn, charge, WATCH_COVERS)]
    at = hours[life.phone[hours]]
    charge = np.round(95.0 - 55.0 * (at % DAY_MIN) / DAY_MIN, 0)
    unknown = np.full(len(at), "UNKNOWN")
    rows.append(_status(PHONE, "PHONE", life, at, offset, unknown, charge, PHONE_COVERS))
    return rows


def _status(
    source: str,
    device: str,
    life: Life,
    at: Ints,
    offset: int,
    worn: npt.NDArray[np.str_],
    charge: npt.NDArray[np.float64],
    covers: list[str],
) -> Block:
    n = len(at)
    value = {
        "device": [device] * n,
        "worn": worn,
        "connected": [True] * n,
        "battery_pct": charge,
        "permissions": [covers] * n,
        "covers": [covers] * n,
        "backlog": np.zeros(n, np.int64),
    }
    return block("device.status", source, life, at, offset, at, value)


def app_rows(life: Life, rngs: list[np.random.Generator], offset: int) -> Block:
    """raw.app_usage: sessions of a few apps between 07:30 and 22:45; each UNLOCK, FOREGROUND, BACKGROUND."""
    times: list[int] = []
    rows: list[tuple[str, str | None, str, float | None]] = []
    for day, rng in enumerate(rngs):
        for start, length, package, category in _sessions(rng, float(life.games[day])):
            minute = day * DAY_MIN + start
            end = minute + int(np.ceil(length))
            if not life.phone[minute] or life.quiet[minute : end + 1].any():
                continue
            begin = minute * MINUTE
            times += [begin, begin + 3_000, begin + 3_000 + round(length * MINUTE)]
            rows.append(("", None, "UNLOCK", None))
            rows.append((package, category, "FOREGROUND", None))
            rows.append((package, category, "BACKGROUND", round(length * 60.0, 3)))
    order = np.argsort(np.array(times, np.int64), kind="stable")
    event = life.first + np.array(times, np.int64)[order] - offset * MINUTE
    rows = [rows[i] for i in order.tolist()]
    value: dict[str, Any] = {
        "package": [r[0] for r in rows],
        "category": [r[1] for r in rows],
        "event": [r[2] for r in rows],
        "duration_s": [r[3] for r in rows],
    }
    tz = np.full(len(rows), offset, np.int32)
    return Block("raw.app_usage", PHONE, event, event + SYNC_MS, tz, np.arange(len(rows)), value)


def _sessions(rng: np.random.Generator, game_factor: float) -> list[tuple[int, float, str, str]]:
    """(start minute, minutes, package, category) of a day; the draws of a day do not depend on the game factor."""
    out = []
    for package, category, count, mean in (*APPS, GAME):
        starts = rng.integers(450, 1290, count).tolist()
        lengths = (mean * rng.uniform(0.8, 1.2, count)).tolist()
        factor = game_factor if package == GAME[0] else 1.0
        out += [(s, length * factor, package, category) for s, length in zip(starts, lengths, strict=True)]
    return sorted(out)
