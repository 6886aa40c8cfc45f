"""What a person's devices say about themselves: `device.status` as wear timeline and as reasons for silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

WORN_UNKNOWN, WORN_NO, WORN_YES = 0, 1, 2
WORN_CODES = {"UNKNOWN": WORN_UNKNOWN, "NO": WORN_NO, "YES": WORN_YES}
WORN_DEVICES = ("WATCH", "STRAP")
# who measures what, where no device says what it `covers`
USUAL = {
    "HEART_RATE": ("WATCH", "STRAP"),
    "ACTIVITY": ("WATCH", "STRAP"),
    "LOCATION": ("PHONE",),
    "PHONE_USAGE": ("PHONE",),
}
LOW_BATTERY_PCT = 10.0  # [choice] below this a device is about to fall silent, or just did
SLOT_MS = 600_000  # of repeated reports of one state, the first and last in ten minutes are kept
KEPT_MS = 50 * 3_600_000
MOST_DEVICES = 8

Ints = npt.NDArray[np.int64]
# at one instant, the more careful report counts: NO over UNKNOWN over YES
_CARE = {WORN_YES: 0, WORN_UNKNOWN: 1, WORN_NO: 2}


class WornTimeline:
    """Wear state by event time. A function of the set of reports: neither their order nor repetition matters."""

    def __init__(self) -> None:
        # device → (slot, code) → [first, last] event time, ms
        self._reports: dict[str, dict[tuple[int, int], list[int]]] = {}
        self._steps: dict[str, tuple[Ints, npt.NDArray[np.int8]]] = {}

    def add(self, device: str, event_time: int, code: int) -> None:
        seen = self._reports.setdefault(device, {}).setdefault((event_time // SLOT_MS, code), [event_time, event_time])
        seen[0], seen[1] = min(seen[0], event_time), max(seen[1], event_time)
        self._steps.pop(device, None)

    def at(self, times: Ints) -> npt.NDArray[np.int8]:
        """Wear code at instants (ms), shape (n,): each device's last report holds until its next.

        YES if any device is worn; NO if all that have reported say so; else UNKNOWN.
        """
        worn = np.zeros(len(times), np.bool_)
        unsure = np.zeros(len(times), np.bool_)
        off = np.zeros(len(times), np.bool_)
        for device in self._reports:
            starts, codes = self._stepped(device)
            which = np.searchsorted(starts, times, side="right") - 1
            code = np.where(which >= 0, codes[np.maximum(which, 0)], -1)
            worn |= code == WORN_YES
            unsure |= code == WORN_UNKNOWN
            off |= code == WORN_NO
        out = np.full(len(times), WORN_UNKNOWN, np.int8)
        out[off & ~unsure] = WORN_NO
        out[worn] = WORN_YES
        return out

    def _stepped(self, device: str) -> tuple[Ints, npt.NDArray[np.int8]]:
        if device not in self._steps:
            points = sorted({(t, _CARE[c], c) for (_, c), ends in self._reports[device].items() for t in ends})
            starts = np.array([t for t, _, _ in points], np.int64)
            self._steps[device] = starts, np.array([c for _, _, c in points], np.int8)
        return self._steps[device]

    def forget(self, before: int) -> None:
        """Drop what says nothing about `before` (ms) or later; of too many devices, those longest unheard."""
        for device, reports in self._reports.items():
            holding = max((ends[1] for ends in reports.values() if ends[1] < before), default=before)
            old = [key for key, ends in reports.items() if ends[1] < holding]
            for key in old:
                del reports[key]
            if old:
                self._steps.pop(device, None)
        newest = sorted(self._reports, key=lambda d: (-max(e[1] for e in self._reports[d].values()), d))
        for device in newest[MOST_DEVICES:]:
            del self._reports[device]
            self._steps.pop(device, None)

    def state(self) -> dict[str, list[list[int]]]:
        return {d: [[s, c, *ends] for (s, c), ends in sorted(r.items())] for d, r in sorted(self._reports.items())}

    @staticmethod
    def from_state(state: Mapping[str, list[list[int]]]) -> WornTimeline:
        timeline = WornTimeline()
        for device, rows in state.items():
            timeline._reports[device] = {(s, c): [first, last] for s, c, first, last in rows}
        return timeline


class Devices:
    """The last report of each device, by event time."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, Any]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a `device.status` record in contract form."""
        value, key = row["value"], device_key(row)
        held = self._last.get(key)
        if held is not None and held["time"] > row["event_time"]:
            return
        self._last[key] = {
            "time": int(row["event_time"]),
            "device": value["device"],
            "connected": bool(value["connected"]),
            "battery": value.get("battery_pct"),
            "permissions": value.get("permissions"),
            "covers": value.get("covers"),
            "backlog": value.get("backlog") or 0,
        }
        if len(self._last) > MOST_DEVICES:
            del self._last[min(self._last, key=lambda k: (self._last[k]["time"], k))]

    def silence(self, modality: str, worn: int) -> str | None:
        """Why nothing is heard of a modality, by what its devices last said: the first that all of them share.

        Parameters
        ----------
        worn
            Wear code now; concerns what is measured on the body.

        Returns
        -------
        str or None
            NO_PERMISSION, BATTERY, NOT_WORN, DISCONNECTED or BACKLOG (support.md 9), None if they explain nothing.
        """
        about = self._about(modality)
        reporting = [d for d in about if d["permissions"] is not None]
        if reporting and all(modality not in d["permissions"] for d in reporting):
            return "NO_PERMISSION"
        if about and all(d["battery"] is not None and d["battery"] <= LOW_BATTERY_PCT for d in about):
            return "BATTERY"
        if worn == WORN_NO and "WATCH" in USUAL.get(modality, ()):
            return "NOT_WORN"
        if about and not any(d["connected"] for d in about):
            return "DISCONNECTED"
        if about and all(d["backlog"] > 0 for d in about):
            return "BACKLOG"
        return None

    def _about(self, modality: str) -> list[dict[str, Any]]:
        covering = [d for d in self._last.values() if d["covers"] is not None and modality in d["covers"]]
        return covering or [d for d in self._last.values() if d["device"] in USUAL.get(modality, ())]

    def state(self) -> dict[str, dict[str, Any]]:
        return {key: dict(sorted(d.items())) for key, d in sorted(self._last.items())}

    @staticmethod
    def from_state(state: Mapping[str, Mapping[str, Any]]) -> Devices:
        devices = Devices()
        devices._last = {key: dict(d) for key, d in state.items()}
        return devices


def device_key(row: Mapping[str, Any]) -> str:
    """One device = kind and source: two watches are two devices."""
    return f"{row['value']['device']}|{row.get('source_id') or ''}"


def vouches_for(value: Mapping[str, Any]) -> list[str]:
    """Modalities whose means of measuring a heartbeat proves to be alive (silence of use is then no silence of data)."""
    covers = value.get("covers")
    if covers is None:
        covers = ["PHONE_USAGE"] if value["device"] == "PHONE" else []
    granted = value.get("permissions")
    return [m for m in covers if granted is None or m in granted]
