"""Risk before intent, approved replies only, and never silence (conversation.md; S2, S5, S13-S15)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversation.models import Models, default_models
from pipelines.conversation.room import Conversation
from pipelines.conversation.talk import CONFIDENT
from pipelines.learning.text_encoder import Vectors
from schemas import TOPICS
from tests.conversation.bot import DAY, HOUR, Bot, changed, library

CANARY = "zqxcanary"


class Spy(Models):
    """Real models that count how often the intent model is asked."""

    def __init__(self, fails: bool = False) -> None:
        real = default_models()
        super().__init__(real.features, real.safety, real.intents)
        self.asked, self.fails = 0, fails

    def read(self, text: str) -> Vectors:
        if self.fails:
            raise RuntimeError(text)
        return super().read(text)

    def intent_of(self, z: Vectors) -> dict[str, float]:
        self.asked += 1
        return super().intent_of(z)


@pytest.mark.parametrize(
    "text", ["i want to die", "zz-method", "they'd all be better off without me", "ich will mich umbringen"]
)
def test_S14_on_a_risk_hit_the_intent_model_is_not_called(text: str) -> None:  # noqa: N802
    spy = Spy()
    bot = Bot(room=Conversation(spy))
    flags = bot.says(text)
    assert spy.asked == 0
    assert bot.flows() == ["RISK", "RISK"]
    assert bot.replies() == ["risk_opening", "cssrs_q1"]
    assert [f.kind for f in flags] == ["CHAT_RISK"]
    assert all("intent" not in v for v in bot.fresh("chat.outbound"))


def test_S14_nor_is_it_called_for_a_safeguarding_class_but_it_is_for_anything_else() -> None:  # noqa: N802
    spy = Spy()
    bot = Bot(room=Conversation(spy))
    bot.says("my uncle hits me when mum is away")
    assert (spy.asked, bot.replies()) == (0, ["safeguard_abuse"])
    bot.says("i can't sleep before exams")
    assert spy.asked == 1


def test_a_method_means_or_plan_is_high_at_once() -> None:
    bot = Bot()
    (flag,) = bot.says("zz-method")
    assert flag.severity == 3
    assert {v["risk_level"] for v in bot.fresh("chat.outbound")} == {"HIGH"}


def test_abuse_tells_the_person_now_and_the_therapist_in_contact_hours() -> None:
    hours = [{"weekday": d, "from_min": 480, "to_min": 600} for d in range(1, 8)]
    bot = Bot(
        {
            "contact": {
                "therapist_ref": "dr_a",
                "backup_ref": "dr_b",
                "hours": hours,
                "quiet_from_min": 1320,
                "quiet_to_min": 420,
            }
        }
    )
    assert bot.says("my uncle hits me when mum is away") == []
    (signal,) = bot.fresh("risk.signal")
    assert (signal["kind"], signal["category"], signal["state"]) == ("SAFEGUARD", "ABUSE", "ON")
    assert [(n["tier"], n["audience"]) for n in bot.fresh("notifications")] == [("SAFEGUARD", "USER")]
    assert [a["action"] for a in bot.fresh("audit")] == ["NOTIFIED", "QUEUED"]


@pytest.mark.parametrize("text", ["i just took a whole bottle of pills", "grandpa collapsed and isn't breathing"])
def test_overdose_and_medical_emergency_also_ask_for_the_crisis_card(text: str) -> None:
    bot = Bot()
    (flag,) = bot.says(text)
    assert (flag.kind, flag.severity) == ("CHAT_RISK", 3)
    assert bot.flows()[0] in ("SAFEGUARD", "RISK")


def test_late_safeguarding_is_a_note_for_the_therapist_only() -> None:
    bot = Bot()
    bot.says("my uncle hits me when mum is away", late_ms=25 * HOUR)
    assert [(n["tier"], n["audience"]) for n in bot.fresh("notifications")] == [("CASE_NOTE", "THERAPIST")]


# -- the screener -----------------------------------------------------------------------------------------------------


def test_the_screener_asks_on_hands_high_over_and_clears_nobody() -> None:
    bot = Bot()
    bot.says("i want to die")
    assert bot.taps("CSSRS_Q1:YES") == []
    assert bot.replies() == ["cssrs_q2"]
    bot.taps("CSSRS_Q2:YES")
    assert [f.severity for f in bot.taps("CSSRS_Q3:YES")] == [2]
    assert [f.severity for f in bot.taps("CSSRS_Q4:YES")] == [3]
    assert bot.replies() == ["risk_high", "cssrs_q5"]
    assert bot.taps("CSSRS_Q5:NO") == []
    assert bot.taps("CSSRS_Q6:NO") == []
    assert bot.replies() == ["risk_done"]
    bot.says("thank you")
    assert {v["risk_level"] for v in bot.fresh("chat.outbound")} == {"HIGH"}


def test_answers_that_are_all_no_lower_nothing() -> None:
    bot = Bot()
    bot.says("i want to die")
    for q in ("Q1", "Q2", "Q6"):
        assert bot.taps(f"CSSRS_{q}:NO") == []
    assert bot.fresh("chat.outbound")[0]["risk_level"] == "UNSCREENED"


def test_a_screener_left_unfinished_is_repeated_once_gently() -> None:
    bot = Bot()
    bot.says("i want to die")
    bot.says("i can't sleep")
    assert bot.replies() == ["cssrs_repeat", "cssrs_q1"]
    bot.says("i can't sleep")
    assert bot.flows() == ["NORMAL"]
    assert bot.fresh("chat.outbound")[0]["risk_level"] == "UNSCREENED"


# -- what it does not know --------------------------------------------------------------------------------------------


def test_what_it_does_not_know_is_asked_once_then_the_menu_and_a_gap_without_text() -> None:
    bot = Bot()
    bot.says(f"{CANARY} purple fjord seventeen")
    assert bot.flows() == ["CLARIFY"]
    bot.says(f"{CANARY} umbrella grammar")
    assert bot.flows() == ["MENU"]
    (gap,) = bot.fresh("chat.content_gap")
    assert gap["cluster_id"].startswith("g_")
    assert set(gap) == {"session_id", "cluster_id", "locale", "count"}


def test_another_language_gets_the_fixed_reply_with_the_way_to_a_person() -> None:
    bot = Bot()
    for text, lang in (
        ("je ne dors pas et je suis très fatigué", "fr"),
        ("мне грустно", "ru"),
        ("no puedo dormir y estoy muy triste", "es"),
    ):
        bot.says(text, lang)
        assert bot.replies() == ["unsupported_language"]
    item = library().get("unsupported_language", "en-GB")
    assert item is not None
    assert "{crisis_line}" in item.text


def test_words_of_risk_in_another_language_still_count() -> None:
    assert [f.kind for f in Bot().says("je pense au suicide et je ne dors plus", "fr")] == ["CHAT_RISK"]


def test_german_is_answered_in_german() -> None:
    bot = Bot()
    bot.says("ich kann nicht schlafen", "de")
    assert bot.fresh("chat.outbound")[0]["locale"] == "de-DE"


@pytest.mark.parametrize(
    "text", ["i can't sleep", "hello there my friend", "i want to die", "my uncle hits me when mum is away"]
)
def test_whatever_fails_somebody_who_writes_gets_an_answer_with_the_crisis_line(text: str) -> None:
    bot = Bot(room=Conversation(Spy(fails=True)))
    flags = bot.says(text)
    replies = bot.replies()
    assert replies
    if text == "i want to die":
        assert flags, "the lexicon alone judges where the model fails"
    if replies == ["help_fixed"]:
        item = library().get("help_fixed", "en-GB")
        assert item is not None
        assert "{crisis_line}" in item.text


def test_without_permission_the_fixed_reply_comes() -> None:
    bot = Bot()
    bot.give("chat.refused", {"session_id": "s9"})
    assert (bot.flows(), bot.replies()) == (["NOT_PERMITTED"], ["not_permitted"])


# -- the pool ---------------------------------------------------------------------------------------------------------


def test_S13_unsigned_expired_banned_and_contraindicated_items_are_never_sent() -> None:  # noqa: N802
    def sent(bot: Bot) -> set[str]:
        out: set[str] = set()
        for i in range(12):
            bot.says("i can't sleep", session=f"s{i}")
            out |= set(bot.replies())
        return out

    assert sent(Bot()) == {"sleep_1", "sleep_2"}
    assert sent(Bot(lib=changed("sleep_1", signature=""))) == {"sleep_2"}
    assert sent(Bot(lib=changed("sleep_1", valid_to=1))) == {"sleep_2"}
    assert sent(Bot({"content": {"disabled": ["sleep_1"], "pinned": []}})) == {"sleep_2"}
    banned = {"flow": "NORMAL", "audience": "USER", "intent": "sleep", "contraindicated": "PANIC_DISORDER"}
    panic = {"hr": {"floor_bpm": 12, "z": 2.5, "medication": [], "panic_disorder": True, "exercise": []}}
    assert sent(Bot(panic, lib=changed("sleep_1", tags=banned))) == {"sleep_2"}


def test_S13_an_empty_pool_is_the_menu_a_gap_and_an_audit_row() -> None:  # noqa: N802
    bot = Bot({"content": {"disabled": ["sleep_1", "sleep_2"], "pinned": []}})
    bot.says("i can't sleep")
    assert bot.replies() == ["menu"]
    assert [g["cluster_id"] for g in bot.fresh("chat.content_gap")] == ["g_sleep"]
    assert [a["action"] for a in bot.fresh("audit")] == ["ITEM_BLOCKED"]


def test_a_pinned_item_goes_first_and_is_certain() -> None:
    bot = Bot({"content": {"disabled": [], "pinned": ["sleep_2"]}})
    for i in range(5):
        bot.says("i can't sleep", session=f"s{i}")
        assert [(v["reply_id"], v["prob"]) for v in bot.fresh("chat.outbound")] == [("sleep_2", 1.0)]


def test_the_probability_is_logged_and_learns_from_taps() -> None:
    bot = Bot()
    bot.says("i can't sleep")
    assert bot.fresh("chat.outbound")[0]["prob"] == 0.5
    assert bot.fresh("chat.outbound")[0]["confidence"] >= CONFIDENT
    counts = {"sleep_1": 0, "sleep_2": 0}
    for i in range(60):
        bot.says("i can't sleep", session=f"t{i}")
        (said,) = bot.fresh("chat.outbound")
        if i >= 30:
            counts[said["reply_id"]] += 1
        bot.taps("FEEDBACK:HELPFUL" if said["reply_id"] == "sleep_2" else "FEEDBACK:NOT_HELPFUL", session=f"t{i}")
    assert counts["sleep_2"] > 2 * counts["sleep_1"]


# -- promises ---------------------------------------------------------------------------------------------------------


def test_S13_S15_no_output_of_the_bot_can_hold_text_a_code_or_a_cause() -> None:  # noqa: N802
    for topic in ("chat.outbound", "chat.content_gap", "chat.language_metrics", "referral.suggested"):
        names = {f.name for f in TOPICS[topic].fields}
        assert not names & {"text", "message", "icd", "code", "diagnosis", "cause", "aetiology", "query"}


texts = st.sampled_from([
    f"{CANARY} i want to die", f"{CANARY} my uncle hits me", f"i can't sleep {CANARY}", f"{CANARY}", f"je suis {CANARY} et pas bien",
    f"{CANARY} " * 50, f"I like {CANARY}. " * 12, "", "zz-method " + CANARY, "\u0000\u200b" + CANARY, "🙂" * 5000,
])  # fmt: skip
options = st.sampled_from(
    [
        "CSSRS_Q1:YES",
        "CSSRS_Q9:YES",
        "REFERRAL:START",
        "COMPLAINT:MOOD",
        f"INTENT:{CANARY}",
        f"{CANARY}",
        "FEEDBACK:HELPFUL",
    ]
)


@settings(max_examples=40, deadline=None)
@given(
    said=st.lists(
        st.one_of(texts.map(lambda t: ("text", t)), options.map(lambda o: ("option", o))), min_size=1, max_size=8
    )
)
def test_S5_nothing_that_was_written_is_found_anywhere_and_nobody_meets_silence(  # noqa: N802
    said: list[tuple[str, str]],
) -> None:
    bot = Bot(view=True)
    for kind, what in said:
        if kind == "text" and what:
            bot.says(what)
        else:
            bot.taps(what or "x")
        assert bot.replies(), (kind, len(what))
    bot.later(2 * DAY)
    assert CANARY not in json.dumps(bot.desk.out)
    assert CANARY not in json.dumps(bot.room.state())


class Telltale(Spy):
    """Fails in one step, with what was said in the error."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step, self.said, self.failed = step, "", 0

    def read(self, text: str) -> Vectors:
        self.said = text
        self._tell("read")
        return super().read(text)

    def safety_of(self, z: Vectors, text: str) -> dict[str, float]:
        self._tell("safety_of")
        return super().safety_of(z, text)

    def intent_of(self, z: Vectors) -> dict[str, float]:
        self._tell("intent_of")
        return super().intent_of(z)

    def _tell(self, step: str) -> None:
        if step == self.step:
            self.failed += 1
            raise ValueError(f"cannot read {self.said!r}")


@pytest.mark.parametrize("step", ["read", "safety_of", "intent_of"])
def test_S5_the_error_of_a_failing_model_tells_nobody_what_was_said(  # noqa: N802
    step: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    models = Telltale(step)
    bot = Bot(view=True, room=Conversation(models))
    for said in (f"i can't sleep {CANARY}", f"my week was odd, {CANARY} said so", f"i want to die {CANARY}"):
        bot.says(said)
        assert bot.replies(), "nobody who writes meets silence"
    bot.later(2 * DAY)
    assert models.failed
    printed = capfd.readouterr()
    seen = [caplog.text, printed.out, printed.err, json.dumps(bot.desk.out), json.dumps(bot.room.state())]
    assert not any(CANARY in where for where in seen)


@settings(max_examples=25, deadline=None)
@given(cut=st.lists(st.booleans(), min_size=7, max_size=7))
def test_a_restart_anywhere_changes_nothing(cut: list[bool]) -> None:
    steps: list[tuple[str, str]] = [
        ("says", "i can't sleep"), ("taps", "FEEDBACK:HELPFUL"), ("says", "i want to die"), ("taps", "CSSRS_Q1:YES"),
        ("says", "i feel lonely"), ("taps", "REFERRAL:START"), ("taps", "COMPLAINT:MOOD"),
    ]  # fmt: skip

    def told(restarts: list[bool]) -> dict[str, Any]:
        bot = Bot()
        for (verb, what), restart in zip(steps, restarts, strict=True):
            getattr(bot, verb)(what)
            if restart:
                bot.restart()
        return dict(bot.desk.out)

    assert told(cut) == told([False] * len(steps))


def test_the_state_stays_small_after_a_year_of_talk() -> None:
    bot = Bot()
    for day in range(120):
        bot.says("i can't sleep", session=f"d{day}")
        bot.taps("FEEDBACK:HELPFUL", session=f"d{day}")
        bot.later(3 * HOUR)
    assert len(json.dumps(bot.room.state())) < 12_000
