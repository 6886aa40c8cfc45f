"""`kairos chat`: talk to the bot in the terminal. The whole machine of one made-up person runs in process; nothing is sent.

The transcript shows the reply's id and why it was chosen; options are tapped by their number. What is typed is kept nowhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from content.library import Library
    from kairos.chat_live import LiveTalker

START = 1_779_271_200_000  # 2026-05-20 10:00 UTC, a Wednesday: transcripts do not depend on the day
STEP_MS = 5_000
DAY_MS = 86_400_000
NOTICE = "Research software. Not a medical device. Not for emergencies."


class Talker:
    """One made-up person who permits the chat, and the machine that answers.

    Parameters
    ----------
    lang
        BCP 47 tag that the app would give.
    """

    def __init__(self, lang: str = "en", user: str = "you") -> None:
        from content.lexicon import Lexicon
        from content.library import Library
        from pipelines.settings import Settings
        from pipelines.step import Machine, Shared

        settings = Settings(default_locale="de-DE" if lang.startswith("de") else "en-GB")
        self.library: Library = Library.build(settings.locales)
        self.shared = Shared(settings, self.library, Lexicon.load())
        self.lang, self.user, self.now, self.n = lang, user, START, 0
        self.machine = Machine(user, self.shared)
        self._step(
            {
                "clinical.consent": [
                    self._consent("c0", "CARE_USER_MSG", "SELF"),
                    self._consent("c1", "THERAPIST_SESSION_VIEW", "dr_a"),
                ]
            }
        )

    def say(self, text: str) -> list[tuple[str, dict[str, Any]]]:
        """(topic, record) of all that one message brought."""
        return self._inbound({"text": text, "lang": self.lang})

    def tap(self, option: str) -> list[tuple[str, dict[str, Any]]]:
        """The same for a tapped option."""
        return self._inbound({"option_id": option, "lang": self.lang})

    def report(self, instrument: str, total: float) -> list[tuple[str, dict[str, Any]]]:
        """The same for a questionnaire's total."""
        return self._step({"selfreport": [self._record({"instrument": instrument, "total": total})]})

    def _inbound(self, value: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        return self._step({"chat.inbound": [self._record({"session_id": "c1", **value})]})

    def _record(self, value: dict[str, Any]) -> dict[str, Any]:
        self.now += STEP_MS
        self.n += 1
        return {
            "user": self.user, "event_time": self.now, "ingest_time": self.now, "tz_offset_min": 0, "source_id": "terminal",
            "seq": self.n, "event_id": f"chat-{self.n}", "value": value,
        }  # fmt: skip

    def _consent(self, consent_id: str, purpose: str, to: str) -> dict[str, Any]:
        return self._record({
            "consent_id": consent_id, "version": 1, "status": "ACTIVE", "grantor": "SELF", "recipient_ref": to, "purpose": purpose,
            "modalities": ["CHAT", "SELFREPORT"], "effect": "PERMIT", "valid_from": START - DAY_MS, "valid_to": START + 300 * DAY_MS,
            "signature": "demo",
        })  # fmt: skip

    def _step(self, records: dict[str, list[dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        from schemas.rows import from_dicts

        tables = {topic: from_dicts(topic, rows)[0] for topic, rows in records.items()}
        done = self.machine.step(tables, self.now, self.shared)
        wanted = ("chat.outbound", "chat.content_gap", "referral.suggested", "risk.signal", "notifications")
        return [(topic, r) for topic in wanted for r in done.records.get(topic, [])]


def lines(said: Iterable[tuple[str, dict[str, Any]]], library: Library) -> Iterator[str]:
    """A transcript's lines: the words as the app would show them, and the ids, scores and reasons behind them."""
    for topic, record in said:
        v = record["value"]
        if topic == "chat.outbound":
            item = library.get(v["reply_id"], v["locale"])
            assert item is not None
            yield f"bot> {library.render(item, v['locale'])}"
            why = [
                v["flow"],
                v["reply_id"],
                *(f"{k} {v[k]}" for k in ("intent", "confidence", "prob") if v.get(k) is not None),
            ]
            yield f"     [{' · '.join([*why, 'risk ' + v['risk_level']])}]"
            if "options" in item.tags:
                yield "     tap: " + "  ".join(f"({i}) {o}" for i, o in enumerate(item.tags["options"].split(","), 1))
        elif topic == "chat.content_gap":
            yield f"     [content gap {v['cluster_id']}]"
        elif topic == "referral.suggested":
            best = sorted(v["family_probs"].items(), key=lambda e: -e[1])[:2]
            families = ", ".join(f"{f} {p:.2f}" for f, p in best)
            basis = ", ".join(v["basis"])
            yield f"     [referral {v['clinician_type']} · {families} · basis {basis} · {v['disclaimer_id']}]"
        elif topic == "risk.signal":
            more = [v["kind"], v.get("category"), f"severity {v['severity']}" if v.get("severity") else None]
            yield f"     [signal {' '.join(m for m in more if m)}]"
        else:
            yield f"     [notification {v['tier']} to {v['audience']}: {v['template_id']}]"


def options_of(said: Iterable[tuple[str, dict[str, Any]]], library: Library) -> list[str]:
    """Options that the last reply offers."""
    out: list[str] = []
    for topic, record in said:
        if topic == "chat.outbound":
            item = library.get(record["value"]["reply_id"], record["value"]["locale"])
            out = item.tags["options"].split(",") if item is not None and "options" in item.tags else out
    return out


def chat(
    lang: Annotated[str, typer.Option("--lang", help="Language tag that the app would give: en, de …")] = "en",
    script: Annotated[
        Path | None, typer.Option("--script", help="Read what is said from a file, a line each; '/OPTION' taps.")
    ] = None,
    brokers: Annotated[
        str | None,
        typer.Option("--brokers", metavar="HOST:PORT", help="Through Kafka, with a kairos run at work there, in place of in process."),
    ] = None,
    user: Annotated[str, typer.Option("--user", help="With --brokers: who talks.")] = "chat-demo",
    config: Annotated[Path | None, typer.Option("--config", metavar="kairos.toml", help="With --brokers: how to reach Kafka.")] = None,
    grant: Annotated[bool, typer.Option("--grant", help="With --brokers: also send the consents of a made-up person.")] = False,
) -> None:
    """Talk to the bot in the terminal. A number taps an option, /OPTION_ID taps any, an empty line ends it.

    Research software. Not a medical device. Not for emergencies. Without --brokers nobody reads what you type, and nothing is sent.
    """
    if brokers is None:
        talker: Talker | LiveTalker = Talker(lang)
        typer.echo(NOTICE + " Nobody reads this. A number taps an option; an empty line ends it.")
    else:
        from connectors.kafka.options import KafkaOptions
        from kairos.chat_live import LiveTalker as Live

        talker = Live(KafkaOptions.load(config, brokers or None), user, lang, grant)
        typer.echo(NOTICE + " What you type goes to chat.inbound. A number taps an option; an empty line ends it.")
    given: Iterable[str] = script.read_text(encoding="utf-8").splitlines() if script is not None else iter(_typed, "")
    options: list[str] = []
    for line in given:
        said = line.strip()
        if not said:
            break
        if script is not None or not sys.stdin.isatty():
            typer.echo(f"you> {said}")
        if said.isdigit() and 1 <= int(said) <= len(options):
            answer = talker.tap(options[int(said) - 1])
        elif said.startswith("/"):
            answer = talker.tap(said[1:])
        else:
            answer = talker.say(said)
        options = options_of(answer, talker.library)
        for shown in lines(answer, talker.library):
            typer.echo(shown)


def _typed() -> str:
    try:
        return input("you> ")
    except EOFError:
        return ""
