"""Steps 6-8: which approved item answers, with what probability. The record that leaves has an id and no text (S13)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import weakref
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from content.library import Item, Library
from content.packs import digest
from pipelines.context.profile import Profile
from pipelines.learning.lin_ts import LinTS
from pipelines.learning.packing import StateError
from schemas.signing import canonical_json

POLICY_VERSION = "reply-1"
DRAWS = 64
HELP = "help_fixed"  # what is said when nothing else can be
MAX_POLICIES = 16


def pool(
    library: Library, locale: str, t: int, profile: Profile | None, conditions: Collection[str],
    only: Collection[str] | None = None, **tags: str,
) -> tuple[list[Item], list[str]]:  # fmt: skip
    """Items that may be said at `t` (ms), one version of each, and ids that a rule holds back.

    Parameters
    ----------
    conditions
        What holds for the person; an item whose tag `contraindicated` names one of them is held back.
    only
        Ids that are asked for; None = all.
    tags
        That an item must have, e.g. `flow="NORMAL", intent="sleep"`.
    """
    disabled = profile.disabled if profile is not None else frozenset()
    best: dict[str, Item] = {}
    for item in _replies(library, locale, tuple(tags.items())):
        if only is not None and item.item_id not in only:
            continue
        if not item.signature or not item.valid_from <= t < item.valid_to:
            continue
        old = best.get(item.item_id)
        if old is None or (_version(item), item.valid_from) > (_version(old), old.valid_from):
            best[item.item_id] = item
    allowed, held = [], []
    for item_id in sorted(best):
        against = set(best[item_id].tags.get("contraindicated", "").replace(" ", "").split(",")) & set(conditions)
        if item_id in disabled or against:
            held.append(item_id)
        else:
            allowed.append(best[item_id])
    return allowed, held


_seen: weakref.WeakValueDictionary[int, Library] = weakref.WeakValueDictionary()
Tags = tuple[tuple[str, str], ...]
_by_tags: dict[tuple[int, str, Tags], list[Item]] = {}


def _replies(library: Library, locale: str, tags: Tags) -> list[Item]:
    """Replies of a locale that have these tags; looked up once for a library, which never changes."""
    if _seen.get(id(library)) is not library:
        for key in [k for k in _by_tags if k[0] not in _seen or k[0] == id(library)]:
            del _by_tags[key]
        _seen[id(library)] = library
    key = (id(library), locale, tags)
    if key in _by_tags:
        return _by_tags[key]
    found = [i for i in library.items if i.kind == "REPLY" and i.locale == locale]
    found = [i for i in found if all(i.tags.get(k) == v for k, v in tags)]
    if found:  # a tap may name any topic: what has no reply is not kept
        _by_tags[key] = found
    return found


def fixed(library: Library, locale: str, t: int, profile: Profile | None, *ids: str) -> Item | None:
    """The first of these replies that may be said; the last of them even if it is disabled or out of its period.

    Who writes must not meet silence, so the last is the fixed help reply (conversation.md 1).
    """
    wanted = (*ids, HELP)
    allowed = {i.item_id: i for i in pool(library, locale, t, profile, (), only=wanted)[0]}
    for item_id in wanted:
        if item_id in allowed:
            return allowed[item_id]
    return library.get(HELP, locale) or library.get("menu", locale)


class Chooser:
    """A person's taste in replies: linear Thompson sampling over the items of a topic, learning from HELPFUL taps only."""

    def __init__(self) -> None:
        self._policies: dict[str, LinTS] = {}

    def choose(
        self, intent: str, items: Sequence[Item], pinned: Sequence[str], draw: tuple[str, str, str]
    ) -> tuple[Item, float]:
        """An item and the probability with which it was chosen; a pinned one is certain.

        Parameters
        ----------
        draw
            Study key, user, event id: the choice is repeatable, and open to who holds the key (trial.md 3).
        """
        for item_id in pinned:
            for item in items:
                if item.item_id == item_id:
                    return item, 1.0
        if len(items) == 1:
            return items[0], 1.0
        arms = [i.item_id for i in items]
        policy = self._policies.get(intent)
        if policy is None or not set(arms) <= set(policy.arms):
            policy = LinTS(arms, 1)
        seed, u = _draw(*draw)
        normals = np.random.Generator(np.random.PCG64(seed)).standard_normal((DRAWS, len(policy.arms)))
        if policy.n_learned == 0:
            p = dict.fromkeys(arms, 1 / len(arms))
        else:
            p = policy.probabilities([1.0], normals, among=arms)
        cumulated = 0.0
        for item in items:
            cumulated += p[item.item_id]
            if cumulated > u:
                return item, round(p[item.item_id], 6)
        return items[-1], round(p[items[-1].item_id], 6)

    def learn(self, intent: str, item_id: str, arms: Sequence[str], helpful: bool) -> None:
        """The person tapped that a reply helped, or not."""
        policy = self._policies.get(intent)
        if policy is None or item_id not in policy.arms:
            if item_id not in arms or (len(self._policies) >= MAX_POLICIES and intent not in self._policies):
                return
            policy = self._policies[intent] = LinTS(list(arms), 1)
        policy.learn_one(item_id, [1.0], 1.0 if helpful else 0.0)

    def state(self) -> dict[str, str]:
        return {k: base64.b64encode(p.dump()).decode() for k, p in sorted(self._policies.items())}

    @staticmethod
    def from_state(state: dict[str, str]) -> Chooser:
        out = Chooser()
        try:
            out._policies = {k: LinTS.load(base64.b64decode(v)) for k, v in state.items()}
        except StateError as error:
            raise ValueError(str(error)) from None
        return out


def outbound(
    item: Item, session: str, turn: int, flow: str, level: str, *, intent: str | None = None, confidence: float | None = None,
    prob: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Value of a `chat.outbound`: everything but text."""
    value: dict[str, Any] = {
        "session_id": session, "reply_id": item.item_id, "turn_index": turn, "pack_id": item.pack_id, "pack_version": item.version,
        "pack_hash": digest(item.text)[:16], "locale": item.locale, "flow": flow, "risk_level": level,
    }  # fmt: skip
    for name, given in (("intent", intent), ("confidence", confidence), ("prob", prob)):
        if given is not None:
            value[name] = given
    return value


def _draw(study_key: str, user: str, event_id: str) -> tuple[int, float]:
    """Seed and u in [0, 1) of one choice: HMAC-SHA256 as in trial.md 3."""
    digested = hmac.new(study_key.encode(), canonical_json([user, event_id, POLICY_VERSION]), hashlib.sha256).digest()
    return int.from_bytes(digested[8:16], "big"), int.from_bytes(digested[:6], "big") / 2**48


def _version(item: Item) -> tuple[int, ...]:
    return tuple(int(p) if p.isdigit() else 0 for p in item.version.split("."))
