"""What g12-g15 expect of a program's commands, attributions and flags, held against the outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from simulator.scenarios import raw
from simulator.scenarios.sessions import items


def commands(told: Any, session: str | None = None) -> list[dict[str, Any]]:
    return [c for c in told.values("therapy.command") if session in (None, c["session_id"])]


def _attribution(told: Any, item: dict[str, Any]) -> list[str]:
    wanted = dict(item["attribution"])
    effect = wanted.pop("effect", None)
    found = [a for a in told.values("therapy.attribution") if all(a.get(k) == v for k, v in wanted.items())]
    if effect is not None:
        middle, _, width = str(effect).partition(" +- ")
        found = [a for a in found if abs(a["effect"] - float(middle)) <= float(width)]
    return [] if found else [f"no attribution {item['attribution']}"]


def _first_entry(told: Any, item: dict[str, Any]) -> list[str]:
    first = next((c for c in commands(told) if c["reason"] == "LEAST_FEAR"), None)
    if first is None:
        return ["no entry stimulus"]
    unwanted = {k.removesuffix("_not"): v for k, v in item["first_entry_stimulus"].items()}
    return [f"the entry stimulus is {first['params']}" for k, v in unwanted.items() if first["params"][k] == v]


def _commands(told: Any, item: dict[str, Any]) -> list[str]:
    """Balanced: of each factor's levels none was commanded more than once more often than another."""
    found = [c for c in commands(told) if c["params"].get("stage") == "ASSESS"]
    out = [] if found and all(c.get("prob", 0) > 0 for c in found) else ["a command of ASSESS has no probability"]
    for factor in ("colour", "type", "size"):
        counts = Counter(c["params"][factor] for c in found)
        if max(counts.values()) - min(counts.values()) > 1:
            out.append(f"{factor} is not balanced: {dict(counts)}")
    return out


def _slots(told: Any) -> list[dict[str, Any]]:
    return [c for c in commands(told) if c["action"] in ("PLAY", "SILENCE")]


def _silence(told: Any, item: dict[str, Any]) -> list[str]:
    middle, _, width = str(item["silence_share"]).partition(" +- ")
    share = sum(c["action"] == "SILENCE" for c in _slots(told)) / len(_slots(told))
    return [] if abs(share - float(middle)) <= float(width) else [f"silence has {share}"]


def _share(told: Any, item: dict[str, Any]) -> list[str]:
    counts = Counter(c["params"]["track_token"] for c in _slots(told) if c["action"] == "PLAY")
    most = max(counts.values()) / len(_slots(told))
    return [] if most <= item["max_track_share"] + 1e-9 else [f"one track has {most}"]


def _first(told: Any, item: dict[str, Any]) -> list[str]:
    first = commands(told, "ap11")[0]
    return [] if first["reason"] == item["commands_first"]["reason"] else [f"the first command is {first}"]


def _error(told: Any, item: dict[str, Any]) -> list[str]:
    """After a mistake the item and its kind are shown; it comes again as ACTIVE."""
    said = commands(told, "ap11") + commands(told, "ap12")
    wrong = [r["value"] for r in told.rows("therapy.event") if r["value"].get("correct") is False]
    wrong = [v for v in wrong if v["session_id"] in ("ap11", "ap12")]
    shown = [(c["params"]["item_id"], c["params"]["error_type"]) for c in said if c["action"] == "SHOW_ERROR"]
    out = [] if shown == [(v["item_id"], v["error_type"]) for v in wrong] else ["not every mistake was shown with its kind"]
    due = {c["params"]["item_id"] for c in said if c["reason"] == "DUE"}
    again = {c["params"]["item_id"] for c in said if c["reason"] == "ACTIVE"}
    lapsed = due & {i for i, _ in shown}
    return out + ([] if lapsed & again else ["no lapsed item came back as ACTIVE"])


def _flag(told: Any, item: dict[str, Any]) -> list[str]:
    found = [f for f in told.values("therapy.flag") if f["code"] == item["flag"]]
    if [f["session_id"] for f in found] != [item["after"]]:
        return [f"flag {item['flag']}: {found}"]
    numbers = found[0]["evidence"]
    return [] if max(numbers.values()) < 0.5 else [f"accuracies are {numbers}"]


def _last(told: Any, item: dict[str, Any]) -> list[str]:
    last, wanted = commands(told)[-1], dict(item["last_command"])
    same = last["action"] == wanted.pop("action") and all(last["params"].get(k) == v for k, v in wanted.items())
    return [] if same else [f"the last command is {last}"]


def _linked(told: Any, *factors: str) -> list[Any]:
    return [a for a in told.values("therapy.attribution") if a["claim"] == "LINKED" and a["factor"] in factors]


def _new_too_hard(told: Any) -> list[Any]:
    """NEW commanded after the pause, when the true abilities make every mix of open items a failure more often than not."""
    known = {i: g for i, g, _ in items(raw("g15"))}
    return [c for s in ("ap11", "ap12") for c in commands(told, s) if c["reason"] == "NEW" and c["params"]["item_id"] in known]


CHECKS: dict[str, Callable[[Any, dict[str, Any]], list[str]]] = {
    "attribution": _attribution, "first_entry_stimulus": _first_entry, "commands": _commands, "silence_share": _silence,
    "max_track_share": _share, "commands_first": _first, "item_error": _error, "flag": _flag, "last_command": _last,
}  # fmt: skip
NEVER: dict[str, Callable[[Any], Any]] = {
    "claim LINKED for type or size": lambda t: _linked(t, "type", "size"),
    "STEP_UP in ASSESS": lambda t: [c for c in commands(t) if c["action"] == "STEP_UP" and c["params"]["stage"] == "ASSESS"],
    "claim LINKED for count or age": lambda t: _linked(t, "count", "age"),
    "NEW items while predicted success < 0.60": _new_too_hard,
}
