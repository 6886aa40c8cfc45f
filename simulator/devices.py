"""What a watch and a phone make of a life: columns of rows. Local minutes in, UTC rows out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.life import DAY_MIN, MINUTE, Life
from simulator.rows import SYNC_MS, Block, Codes, Column, Ints

WATCH, PHONE, COMPUTER, CLINIC = "watch-1", "phone-1", "computer-1", "clinic-1"
WATCH_COVERS = ["HEART_RATE", "ACTIVITY"]
PHONE_COVERS = ["LOCATION", "PHONE_USAGE", "SEARCH"]
FIX_MIN = 5
ACCURACY_M = 20.0
JITTER_M = 12.0
M_PER_DEGREE = 111_320.0

Offset = int | npt.NDArray[np.int32]  # minutes east of UTC: of the whole life, or of each minute

APPS = (  # package, the store's own category, sessions a day, mean minutes a session
    ("org.example.talk", "COMMUNICATION", 6, 4.0),
    ("org.example.circle", "SOCIAL", 4, 9.0),
    ("org.example.pages", "BROWSER", 3, 6.0),
    ("org.example.tunes", "MUSIC_AND_AUDIO", 1, 20.0),
    ("org.example.chess", "GAME_BOARD", 3, 15.0),
)
GAME = 4
APP_EVENTS = ("UNLOCK", "FOREGROUND", "BACKGROUND")


def block(topic: str, source: str, life: Life, minute: Ints, offset: Offset, value: dict[str, Column]) -> Block:
    """Rows at whole minutes of a life, arriving `SYNC_MS` later; the counter is the minute."""
    tz = offset[minute] if isinstance(offset, np.ndarray) else np.full(len(minute), offset, np.int32)
    event = life.first + (minute - tz) * MINUTE
    return Block(topic, source, event, event + SYNC_MS, tz, minute, value)


def heart_rows(life: Life, noise: npt.NDArray[np.float64], offset: Offset) -> Block:
    """device.heart_rate: one LOCKED sample a minute while worn and while there is a pulse to read."""
    at = np.flatnonzero(life.worn & np.isfinite(life.pulse))
    bpm = np.clip(np.round(life.pulse[at] + noise[at], 1), 30.0, 220.0)
    value: dict[str, Column] = {
        "bpm": bpm,
        "quality": Codes.same("LOCKED", len(at)),
        "sample_period_s": np.full(len(at), 60.0),
    }
    return block("device.heart_rate", WATCH, life, at, offset, value)


def activity_rows(life: Life, offset: Offset) -> Block:
    """device.activity: one row a minute while worn, zeros said explicitly."""
    at = np.flatnonzero(life.worn)
    steps = life.steps[at]
    value: dict[str, Column] = {
        "steps": steps,
        "period_s": np.full(len(at), 60.0),
        "intensity": life.intensity[at],
        "activity": Codes(["STILL", "WALK", "RUN"], (steps > 0).astype(np.int8) + (steps >= 130)),
    }
    return block("device.activity", WATCH, life, at, offset, value)


def fixes(life: Life, places: npt.NDArray[np.float64], rngs: list[np.random.Generator], offset: Offset) -> Block:
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
    value: dict[str, Column] = {
        "latitude": np.round(lat[on], 6),
        "longitude": np.round(lon[on], 6),
        "accuracy_m": np.full(n, ACCURACY_M),
        "provider": Codes.same("FUSED", n),
    }
    return block("raw.location", PHONE, life, at[on], offset, value)


def status_rows(life: Life, says_worn: npt.NDArray[np.bool_], offset: Offset) -> list[Block]:
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
    charge = np.round(100.0 - 60.0 * (at % DAY_MIN) / DAY_MIN, 0)
    worn = Codes(["NO", "YES"], says_worn[at].astype(np.int8))
    rows = [block("device.status", WATCH, life, at, offset, _status("WATCH", worn, charge, WATCH_COVERS))]
    at = hours[life.phone[hours]]
    charge = np.round(95.0 - 55.0 * (at % DAY_MIN) / DAY_MIN, 0)
    unknown = Codes.same("UNKNOWN", len(at))
    rows.append(block("device.status", PHONE, life, at, offset, _status("PHONE", unknown, charge, PHONE_COVERS)))
    return rows


def _status(device: str, worn: Codes, charge: npt.NDArray[np.float64], covers: list[str]) -> dict[str, Column]:
    n = len(charge)
    return {
        "device": Codes.same(device, n),
        "worn": worn,
        "connected": np.ones(n, bool),
        "battery_pct": charge,
        "permissions": Codes.same(covers, n),
        "covers": Codes.same(covers, n),
        "backlog": np.zeros(n, np.int64),
    }


def app_rows(
    life: Life, start: npt.NDArray[np.float64], length: npt.NDArray[np.float64], app: Ints, offset: Offset
) -> Block:
    """raw.app_usage of sessions: each UNLOCK, FOREGROUND three seconds later, BACKGROUND at its end.

    Sessions that begin while the phone is off, or that touch minutes kept quiet, are left out.

    Parameters
    ----------
    start, length, app
        Minute of the life, minutes, and number of the app in APPS of each session.
    """
    first = start.astype(np.int64)
    ends = np.minimum(np.ceil(start + length).astype(np.int64) + 1, life.minutes)
    loud = np.concatenate(([0], np.cumsum(life.quiet)))
    keep = life.phone[first] & (loud[ends] == loud[first])
    start, length, app = start[keep], length[keep], app[keep]
    begin = np.round(start * MINUTE).astype(np.int64)
    lasting = np.round(length * MINUTE).astype(np.int64)
    local = np.concatenate([begin, begin + 3_000, begin + 3_000 + lasting])
    n = len(begin)
    seconds = np.concatenate([np.full(2 * n, np.nan), lasting / 1_000])
    event = np.repeat(np.arange(3), n)
    order = np.argsort(local, kind="stable")
    packages = np.where(event == 0, len(APPS), np.tile(app, 3))[order]
    categories = np.where(event == 0, -1, np.tile(app, 3))[order]
    local = local[order]
    inside = np.minimum(local // MINUTE, life.minutes - 1)
    rows = block(
        "raw.app_usage",
        PHONE,
        life,
        inside,
        offset,
        {
            "package": Codes([*(a[0] for a in APPS), ""], packages),
            "category": Codes([a[1] for a in APPS], categories),
            "event": Codes(APP_EVENTS, event[order]),
            "duration_s": seconds[order],
        },
    )
    times = rows.event_time + local - inside * MINUTE
    return replace(rows, event_time=times, ingest_time=times + SYNC_MS, seq=np.arange(len(times)))


def usual_sessions(rngs: list[np.random.Generator], games: npt.NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """(start, length, app) of the phone sessions of ordinary days between 07:30 and 21:30.

    Parameters
    ----------
    rngs, games
        A generator and a factor on gaming per day; the draws of a day do not depend on the factor.
    """
    apps = np.repeat(np.arange(len(APPS)), [a[2] for a in APPS])
    means = np.array([a[3] for a in APPS])[apps]
    starts, lengths = [], []
    for day, rng in enumerate(rngs):
        starts.append(day * DAY_MIN + rng.integers(450, 1290, len(apps)).astype(float))
        lengths.append(means * rng.uniform(0.8, 1.2, len(apps)) * np.where(apps == GAME, games[day], 1.0))
    return np.concatenate(starts), np.concatenate(lengths), np.tile(apps, len(rngs))
