"""Homes of one person, fixes as HOME / BORDER / OTHER, and the night place that ingest proposes. Coordinates end here."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

RADIUS_M, BORDER_M = 100.0, 50.0
EARTH_M = 6_371_008.8
STILL_M_S, FOOT_M_S = 0.5, 6.0  # [choice] slower = STILL, FOOT; faster = VEHICLE
NIGHTS_NEEDED = 7
NIGHT_MIN = 6 * 60  # 00-06 local
SLOT_MIN = 10
CELL_DEG = 0.0005  # about 55 m
KEPT_NIGHTS, CELLS_A_NIGHT = 21, 8
NIGHT_ACCURACY_M = 100.0
MINUTE_MS, DAY_MS = 60_000, 86_400_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Homes:
    """Registered homes by the time they hold from, and night dwell while there is none."""

    def __init__(self) -> None:
        self.homes: list[dict[str, Any]] = []  # {from, latitude, longitude, radius, reference} or {from, removed}
        self.nights: dict[int, dict[str, int]] = {}  # local date → cell → bits of ten-minute slots
        self.proposed = False

    def register(self, value: dict[str, Any]) -> bool:
        """Take a `clinical.home` value; False if it confirms a proposal that does not exist."""
        start = int(value["effective_from"])
        if value.get("removed"):
            home: dict[str, Any] | None = {"from": start, "removed": True}
        elif value.get("confirm_proposal"):
            place = self.proposal()
            home = (
                None
                if place is None
                else {"from": start, "latitude": place[0], "longitude": place[1], "radius": RADIUS_M, "reference": 0}
            )
        else:
            home = {
                "from": start, "latitude": float(value["latitude"]), "longitude": float(value["longitude"]),
                "radius": float(value.get("radius_m") or RADIUS_M), "reference": int(value.get("offset_reference") or 0),
            }  # fmt: skip
        if home is None:
            return False
        self.homes = sorted([h for h in self.homes if h["from"] != start] + [home], key=lambda h: h["from"])[-8:]
        self.nights, self.proposed = {}, False
        return True

    def at_home(self, t: int) -> dict[str, Any] | None:
        held = [h for h in self.homes if h["from"] <= t]
        return held[-1] if held and not held[-1].get("removed") else None

    def place(self, event: Ints, value: pa.StructArray, token: str) -> dict[str, pa.Array]:
        """Columns of `device.location` from those of `raw.location`; shape (n,) each."""
        lat, lon = _floats(value, "latitude"), _floats(value, "longitude")
        reference = value.field("offset_reference").fill_null(0).to_numpy(zero_copy_only=False)
        names = np.full(len(event), "UNKNOWN", object)
        edges = [h["from"] for h in self.homes]
        which = np.searchsorted(np.array(edges, np.int64), event, side="right") - 1
        for i in np.unique(which):
            home = self.homes[i] if i >= 0 else None
            if home is None or home.get("removed"):
                continue
            part = which == i
            away = distance_m(lat[part], lon[part], home["latitude"], home["longitude"])
            radius = home["radius"]
            label = np.array(["HOME", "BORDER", "OTHER"], object)[
                (away > radius).astype(int) + (away > radius + BORDER_M)
            ]
            label[reference[part] != home["reference"]] = "UNKNOWN"
            names[part] = label
        near = (names == "HOME") | (names == "BORDER")
        speed = _floats(value, "speed_m_s")
        pace = (speed >= STILL_M_S).astype(int) + (speed >= FOOT_M_S)
        classes = np.array(["STILL", "FOOT", "VEHICLE"], object)[pace]
        classes[np.isnan(speed)] = None
        return {
            "place": pa.array(names, pa.string()),
            "place_token": pa.array(np.full(len(event), token, object), pa.string(), mask=~near),
            "accuracy_m": value.field("accuracy_m"),
            "dwell_s": pa.nulls(len(event), pa.float64()),
            "speed_class": pa.array(classes, pa.string()),
        }

    # -- the place of the nights --------------------------------------------------------------------------------------

    def sleep_over(self, event: Ints, offset_min: Ints, value: pa.StructArray) -> None:
        """Note where nights are spent, while no home is registered. A function of the set of fixes."""
        local = event + offset_min * MINUTE_MS
        minute = local // MINUTE_MS % 1440
        reference = value.field("offset_reference").fill_null(0).to_numpy(zero_copy_only=False)
        good = (minute < NIGHT_MIN) & (_floats(value, "accuracy_m") <= NIGHT_ACCURACY_M) & (reference == 0)
        if not good.any():
            return
        lat, lon = _floats(value, "latitude")[good], _floats(value, "longitude")[good]
        rows = np.floor(lat / CELL_DEG).astype(np.int64)
        cols = np.floor(lon / CELL_DEG).astype(np.int64)
        night, slot = (local // DAY_MS)[good], (minute // SLOT_MIN)[good]
        for d, r, c, s in sorted(set(zip(night.tolist(), rows.tolist(), cols.tolist(), slot.tolist(), strict=True))):
            cells = self.nights.setdefault(d, {})
            cells[f"{r},{c}"] = cells.get(f"{r},{c}", 0) | 1 << s
        for d in sorted(self.nights)[:-KEPT_NIGHTS]:
            del self.nights[d]
        for cells in self.nights.values():
            for key in sorted(cells, key=lambda k: (-cells[k].bit_count(), k))[CELLS_A_NIGHT:]:
                del cells[key]

    def proposal(self) -> tuple[float, float] | None:
        """Centre of the place of most dwell 00-06 h, if that was on at least 7 nights (support.md 2)."""
        dwell: dict[tuple[int, int], int] = defaultdict(int)
        seen: dict[tuple[int, int], set[int]] = defaultdict(set)
        for night, cells in self.nights.items():
            for key, bits in cells.items():
                r, c = (int(x) for x in key.split(","))
                for cell in [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                    dwell[cell] += bits.bit_count() * (4 if cell == (r, c) else 1)
                    seen[cell].add(night)
        often = [cell for cell, nights in seen.items() if len(nights) >= NIGHTS_NEEDED]
        if not often:
            return None
        r, c = max(often, key=lambda cell: (dwell[cell], cell))
        return (r + 0.5) * CELL_DEG, (c + 0.5) * CELL_DEG

    # -- state (encrypted at rest with the person's key, like every state) ---------------------------------------------

    def state(self) -> dict[str, Any]:
        nights = {str(d): dict(sorted(c.items())) for d, c in sorted(self.nights.items())}
        return {"homes": self.homes, "nights": nights, "proposed": self.proposed}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Homes:
        out = Homes()
        out.homes = list(state["homes"])
        out.nights = {int(d): {str(k): int(v) for k, v in c.items()} for d, c in state["nights"].items()}
        out.proposed = bool(state["proposed"])
        return out


def distance_m(lat: Floats, lon: Floats, lat0: float, lon0: float) -> Floats:
    """Great-circle distance in metres (haversine, mean earth radius 6,371,008.8 m, IUGG)."""
    a, b = np.radians(lat), np.radians(lat0)
    h = np.sin((a - b) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(lon - lon0) / 2) ** 2
    out: Floats = 2 * EARTH_M * np.arcsin(np.minimum(1.0, np.sqrt(h)))
    return out


def _floats(value: pa.StructArray, name: str) -> Floats:
    field = value.field(name)
    out: Floats = field.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return out
