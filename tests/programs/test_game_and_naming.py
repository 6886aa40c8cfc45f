"""Game messages with their bandit, reminders and reviews; naming practice with its schedule, mistakes, fatigue and gate."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from pipelines.programs.aphasia import _worse
from pipelines.programs.naming import ACTIVE, DAY_MS, LEARNED, MINUTE_MS, Group, Item, effort, promise, success
from tests.programs.stage import DAY, HOUR, NOON, Stage, consent


def play(stage: Stage, name: str, at: int, module: int = 1, mood: tuple[float, float] | None = (4.0, 6.0)) -> Stage:
    stage.session = name
    stage.event("SESSION_START", at)
    if mood:
        stage.report("MOOD", mood[0], at + 1, name)
    stage.event("MODULE_START", at + 5, module=module)
    stage.event("MODULE_END", at + 600, module=module)
    if mood:
        stage.report("MOOD", mood[1], at + 601, name)
    return stage.event("SESSION_END", at + 605)


def test_a_module_shows_one_message_of_its_skill_with_its_probability() -> None:
    stage = play(Stage("SPARX"), "g1", 0, module=2)
    found = stage.commands()
    assert [c["action"] for c in found] == ["SHOW_MESSAGE"]
    assert found[0]["params"]["skill"] == "ACTIVITY"
    assert 0.1 <= found[0]["prob"] <= 0.8
    value = stage.said("therapy.session_summary")[0]
    assert (value["mood_before"], value["mood_after"]) == (4.0, 6.0)


@pytest.mark.parametrize(("hours", "reward"), [(20, 2.0), (60, 1.0)])
def test_the_reward_is_the_return_within_two_days_and_the_change_of_mood(hours: int, reward: float) -> None:
    stage = play(Stage("SPARX"), "g1", 0)
    style = stage.last()["params"]["style"]
    play(stage, "g2", hours * 3_600)
    from pipelines.programs.sparx import _model

    mem = stage.room.memory.sparx
    assert _model(mem).n_learned == 1
    mean = _model(mem).predict_one([1.0, -1.0, -0.2, 0.0, 0.0])[style][0]
    assert mean == pytest.approx(reward * 0.67, abs=0.25)


def test_two_modules_missed_or_a_high_score_or_no_fall_after_four_modules_flag_a_review() -> None:
    stage = Stage("SPARX")
    for i in range(3):
        play(stage, f"g{i}", i * 20 * 3_600, module=i + 1)
        stage.report("PHQA", 15 - i, i * 20 * 3_600 + 700)
    assert stage.said("therapy.flag") == []
    play(stage, "g4", 60 * 3_600, module=4)
    assert [f["code"] for f in stage.said("therapy.flag")] == ["REVIEW_THERAPY_FORM"]
    assert stage.said("therapy.flag")[0]["evidence"]["phqa_change"] == -2
    stage = play(Stage("SPARX"), "g1", 0).report("PHQA", 21, 700)
    assert play(stage, "g2", 3_600).said("therapy.flag")[0]["evidence"]["phqa_total"] == 21


def test_the_session_view_goes_to_the_therapist_only_by_consent() -> None:
    assert play(Stage("SPARX"), "g1", 0).said("notifications") == []
    stage = Stage("SPARX")
    stage.desk.consents.add(consent("THERAPIST_SESSION_VIEW", "dr_a"))
    told = play(stage, "g1", 0).said("notifications")
    assert [(n["tier"], n["audience"], n["recipient_ref"]) for n in told] == [("SESSION_SUMMARY", "THERAPIST", "dr_a")]
    assert told[0]["missing"] == ["HEART_RATE"]


def test_minors_need_assent_and_guardian() -> None:
    stage = Stage("SPARX", permitted=False)
    stage.desk.consents.add(consent(subject_is_minor=True))
    assert {c["action"] for c in play(stage, "g1", 0).commands()} == {"HOLD"}
    stage.desk.consents.add(consent(subject_is_minor=True, grantor="GUARDIAN"))
    assert play(stage, "g2", 3_600).last()["action"] == "SHOW_MESSAGE"
    gone = consent(subject_is_minor=True, grantor="GUARDIAN", version=2, status="REVOKED", valid_from=NOON + 2 * HOUR)
    stage.desk.consents.add(gone | {"event_time": NOON + 2 * HOUR})
    assert play(stage, "g3", 3 * 3_600).last()["action"] == "HOLD"


def test_reminders_come_at_most_once_a_day_from_two_days_without_play_and_are_decision_points() -> None:
    stage, asked = play(Stage("SPARX"), "g1", 0), []
    plain = stage.scene

    def scene() -> Any:
        out = plain()
        out.invite = lambda kind, trigger, message: bool(asked.append((kind, stage.desk.now, message.conditions)))
        return out

    stage.scene = scene  # type: ignore[method-assign]
    stage.at(10 * 86_400)
    times = [t for _, t, _ in asked]
    assert {k for k, _, _ in asked} == {"PLAY_REMINDER"}
    assert times[0] >= NOON + 2 * DAY
    assert len(times) == 7
    assert all(b - a == DAY for a, b in itertools.pairwise(times))


# -- naming -----------------------------------------------------------------------------------------------------------------


def test_three_right_answers_in_a_row_then_intervals_of_days_and_an_error_brings_it_back() -> None:
    item, now, dues = Item("kitchen", 0.0), 0, []
    for _ in range(6):
        item.answered(True, now)
        dues.append(item.due - now)
        now = item.due
    assert dues == [MINUTE_MS, 5 * MINUTE_MS, DAY_MS, 2 * DAY_MS, 4 * DAY_MS, 8 * DAY_MS]
    assert item.state == LEARNED
    item.answered(False, now)
    assert (item.state, item.streak, item.due) == (ACTIVE, 0, now)


def test_a_right_answer_before_its_time_shows_nothing_of_the_interval() -> None:
    item = Item("kitchen", 0.0)
    item.answered(True, 1)
    item.answered(True, 2)
    assert (item.state, item.streak, item.due, item.last) == (ACTIVE, 1, 1 + MINUTE_MS, 2)
    item.answered(True, item.due)
    item.answered(True, item.due)
    due = item.due
    item.answered(True, due - 1)
    assert (item.state, item.streak, item.due) == (LEARNED, 0, due)
    item.answered(False, due - 1)
    assert (item.state, item.due) == (ACTIVE, due - 1)


def test_effort_follows_expected_gain_and_weights_with_a_floor_of_a_tenth() -> None:
    groups = {"a": Group(0.0), "b": Group(0.0), "c": Group(5.0)}
    items = [Item("a", 0.0)] * 8 + [Item("b", 0.0)] * 4 + [Item("c", 0.0)]
    shares = effort(groups, items, {"b": 1.0})
    assert shares["a"] > shares["b"] > shares["c"] == pytest.approx(0.1)
    assert sum(shares.values()) == pytest.approx(1)
    assert effort(groups, items, {"a": 0.0})["a"] == pytest.approx(0.1)


def answer(stage: Stage, s: float, right: bool, **fields: Any) -> Stage:
    asked = next(c for c in reversed(stage.commands()) if c["action"] == "NEXT_ITEM")["params"]
    factors = {"group": asked["group"], "item_id": asked["item_id"]}
    return stage.event("ITEM_RESPONSE", s, trial_id=f"r{s}", item_id=asked["item_id"], factors=factors, correct=right,
                       error_type="NONE" if right else "SEMANTIC", cue_level=int(asked["cue_level"]), **fields)  # fmt: skip


def naming(stage: Stage, name: str, at: float, rights: list[bool], **fields: Any) -> Stage:
    stage.session = name
    stage.event("SESSION_START", at)
    for i, right in enumerate(rights):
        if stage.last()["action"] == "STOP":
            break
        answer(stage, at + 5 + i * 8, right, **fields)
    return stage.event("SESSION_END", at + 20 + len(rights) * 8)


def test_a_mistake_is_shown_with_its_kind_then_cued_step_by_step() -> None:
    stage = Stage("APHASIA").event("SESSION_START", 0)
    item = stage.last()["params"]["item_id"]
    for i in range(3):
        answer(stage, 5 + i, False)
    found = [(c["action"], c["params"].get("cue_level"), c["params"].get("error_type")) for c in stage.commands()[1:]]
    assert found == [("SHOW_ERROR", "0", "SEMANTIC"), ("NEXT_ITEM", "1", None), ("SHOW_ERROR", "1", "SEMANTIC"),
                     ("NEXT_ITEM", "2", None), ("SHOW_ERROR", "2", "SEMANTIC"), ("NEXT_ITEM", "3", None)]  # fmt: skip
    assert {c["params"]["item_id"] for c in stage.commands()} == {item}


def test_what_was_missed_is_not_drilled_on_but_comes_again_in_its_turn() -> None:
    stage = Stage("APHASIA").event("SESSION_START", 0)
    answer(stage, 5, True)
    missed = stage.last()["params"]["item_id"]
    for i in range(4):  # with all its cues
        answer(stage, 13 + i, False)
    asked = []
    for i in range(40):
        asked.append(stage.last()["params"]["item_id"])
        answer(stage, 20 + i * 8, True)
    assert asked[0] != missed
    assert missed in asked


def test_with_nothing_due_the_item_asked_longest_ago_comes_not_one_just_asked() -> None:
    stage = Stage("APHASIA")
    stage.event("SESSION_START", 0)
    asked = []
    for i in range(60):
        asked.append(stage.last()["params"]["item_id"])
        answer(stage, 5 + i * 8, True)
    assert not any(a == b for a, b in itertools.pairwise(asked))


def test_a_session_asks_every_active_item_once_and_new_ones_before_it_repeats_any() -> None:
    stage = Stage("APHASIA")
    naming(stage, "n0", 0, [True, False] * 10)
    active = {k for k, v in stage.room.memory.practice.items.items() if v.state == ACTIVE}
    assert len(active) > 5
    stage.session = "n1"
    stage.event("SESSION_START", 3 * 86_400)
    asked: list[tuple[str, str]] = []
    for i in range(len(active) + 12):
        last = stage.last()
        asked.append((last["params"]["item_id"], last["reason"]))
        answer(stage, 3 * 86_400 + 5 + i * 90, True)  # slow enough for repeats to be due
    seen: set[str] = set()
    repeated = False
    for item, reason in asked:
        again = item in seen
        assert not (repeated and not again and item in active)
        assert not (repeated and reason == "NEW" and stage.room.memory.practice.items[item].n == 0)
        repeated = repeated or again
        seen.add(item)
    assert active <= seen


def test_practice_promises_more_the_longer_ago_and_the_likelier_a_miss() -> None:
    groups = {"g": Group(0.0)}
    easy, hard, fresh = Item("g", -3.0, last=1), Item("g", 1.0, last=1), Item("g", 1.0, last=DAY_MS)
    later = 2 * DAY_MS
    assert promise(groups, hard, later) > promise(groups, easy, later) > 0
    assert promise(groups, hard, later) > promise(groups, fresh, later)


def test_new_items_come_only_while_the_mix_is_neither_too_hard_nor_too_easy() -> None:
    stage = Stage("APHASIA").event("SESSION_START", 0)
    for i in range(40):
        mem = stage.room.memory.practice
        mix = [v for v in mem.items.values() if v.state == ACTIVE]
        p = success(mem.groups, mix)
        n = len(stage.commands())
        answer(stage, 5 + i * 8, i % 3 != 0)
        for c in stage.commands()[n:]:
            if c["reason"] == "NEW" and p is not None:
                assert p >= 0.55  # as it was before the last answer moved it


def test_the_gate_opens_after_three_helped_good_sessions_and_not_without_knowing_of_the_helper() -> None:
    good = [True] * 8 + [False] + [True] * 8
    for helper, opened in ((True, True), (None, False), (False, False)):
        stage = Stage("APHASIA")
        given = {} if helper is None else {"helper_present": helper}
        for i in range(3):
            naming(stage, f"n{i}", i * 86_400, good, unaided=True, **given)
        assert (stage.last()["action"], stage.last()["params"]["allowed"]) == ("SET_SOLO", str(opened).lower())
    blocked = Stage("APHASIA", profile={"programs": {"APHASIA": {"solo_blocked": True}}})
    for i in range(3):
        naming(blocked, f"n{i}", i * 86_400, good, unaided=True, helper_present=True)
    assert blocked.last()["params"] == {"allowed": "false"}


def test_two_sessions_below_half_lock_again_and_flag_it_once() -> None:
    stage = Stage("APHASIA")
    for i in range(3):
        naming(stage, f"n{i}", i * 86_400, [True] * 15, unaided=True, helper_present=True)
    for i in (3, 4):
        naming(stage, f"n{i}", i * 86_400, [False] * 24, unaided=True, helper_present=False)
    assert stage.last()["params"] == {"allowed": "false"}
    assert [f["code"] for f in stage.said("therapy.flag") if f["code"] == "SOLO_RELOCKED"] == ["SOLO_RELOCKED"]


def test_who_tires_gets_an_easier_block_and_then_the_end() -> None:
    stage = Stage("APHASIA").event("SESSION_START", 0)
    s = 5
    while stage.last()["action"] != "STOP" and s < 900:
        right = len(stage.room.sessions["s1"].own.get("answers", [])) < 10
        answer(stage, s, right, latency_ms=2_000 if right else 6_000)
        s += 8
    assert (stage.last()["action"], stage.last()["reason"]) == ("STOP", "FATIGUE")
    easier = [c["params"]["item_id"] for c in stage.commands() if c["reason"] == "FATIGUE" and c["action"] == "NEXT_ITEM"]
    assert easier
    assert len(set(easier[:10])) == len(easier[:10])  # no item twice in the easier block
    assert stage.event("SESSION_END", s + 10).last()["action"] == "SET_SOLO"
    assert "FATIGUE" in [f["code"] for f in stage.said("therapy.flag")]


def rows_of(right: int, likely: float) -> list[list[object]]:
    """Ten answers, so many right, each with this predicted success."""
    return [["g", float(i < right), None, None, None, None, likely] for i in range(10)]


@pytest.mark.parametrize(
    ("right", "likely", "tired"),
    [(7, 0.7, True), (8, 0.7, False), (7, 0.8, True), (7, 0.4, False), (3, 0.4, True)],
)
def test_twenty_points_less_is_tired_unless_the_items_were_that_much_harder(right: int, likely: float, tired: bool) -> None:
    assert _worse(rows_of(9, 0.7), rows_of(right, likely)) is tired


def test_answers_of_a_session_begun_before_predictions_were_kept_are_compared_as_they_are() -> None:
    old = [row[:6] for row in rows_of(9, 0.7)]
    assert _worse(old, [row[:6] for row in rows_of(7, 0.4)])


def test_new_items_come_among_those_that_wait_not_only_after_all_of_them() -> None:
    stage = Stage("APHASIA")
    naming(stage, "n0", 0, [True, True, False, True] * 3)
    stage.session = "n1"
    stage.event("SESSION_START", 86_400)
    reasons = []
    for i in range(6):
        reasons.append(stage.last()["reason"])
        answer(stage, 86_400 + 5 + i * 8, True)
    assert "NEW" in reasons
    assert all(reasons[:n].count("NEW") <= 1 + n // 3 for n in range(1, 7))
