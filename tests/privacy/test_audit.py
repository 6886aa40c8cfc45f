"""The audit chain shows what was changed or left out."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.privacy.audit import GENESIS, Break, Chain, verify


def rows(user: str = "p01", n: int = 5) -> list[dict[str, Any]]:
    chain, out = Chain(), []
    for i in range(n):
        chain = Chain.from_state(json.loads(json.dumps(chain.state())))
        envelope = {"user": user, "event_time": i, "ingest_time": i + 1, "tz_offset_min": 60, "event_id": f"e{i}"}
        value = chain.append(envelope, actor="gate", action="NOTIFIED", object_id="ö", versions={"rule": "a1-1"})
        out.append({**envelope, "value": value})
    return out


def test_the_hash_is_what_the_contract_says() -> None:
    record = rows(n=1)[0]
    bare = {**record, "value": {k: v for k, v in record["value"].items() if k != "hash"}}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert record["value"]["prev_hash"] == GENESIS == "0" * 64
    assert record["value"]["hash"] == hashlib.sha256((GENESIS + text).encode()).hexdigest()


def test_a_whole_chain_has_no_breaks_in_any_order_and_with_repeats() -> None:
    both = rows("a") + rows("b", 3)
    assert verify(both[::-1] + both) == []
    assert verify([]) == []
    assert verify([{**r, "source_id": None, "value": {**r["value"], "reason": None}} for r in both]) == []


def test_a_record_left_out_is_seen() -> None:
    whole = rows()
    assert verify(whole[:2] + whole[3:]) == [Break("p01", 2, "MISSING")]
    assert verify(whole[1:]) == [Break("p01", 0, "MISSING")]


def test_two_different_records_of_one_number_are_seen() -> None:
    whole = rows()
    other = copy.deepcopy(whole[3])
    other["value"]["action"] = "SUPPRESSED"
    assert Break("p01", 3, "CONFLICT") in verify([*whole, other])


def test_a_chain_rewritten_from_the_middle_does_not_continue_the_old_one() -> None:
    whole = rows()
    chain = Chain(3, "f" * 64)
    envelope = {k: v for k, v in whole[3].items() if k != "value"}
    forged = {**envelope, "value": chain.append(envelope, actor="gate", action="EXPIRED")}
    assert verify([*whole[:3], forged]) == [Break("p01", 3, "PREV_HASH")]


@given(st.integers(0, 4), st.sampled_from(["actor", "action", "object_id", "event_time", "user_note", "versions"]))
def test_any_change_of_any_field_is_seen(at: int, name: str) -> None:
    changed = rows()
    target = changed[at] if name in ("event_time", "user_note") else changed[at]["value"]
    target[name] = {"rule": "x"} if name == "versions" else 77 if name == "event_time" else "changed"
    assert Break("p01", at, "HASH") in verify(changed)
