"""What a site may set: `kairos.toml`. Every value has a working default; a wrong file is one clear line."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RULE_VERSION = "a1-1"
DEMO_STUDY_KEY = "kairos-demo"
ELSEWHERE = frozenset({"kafka", "live"})  # sections that say how, not what: they don't change what comes out


class SettingsError(ValueError):
    """The configuration cannot be used; the message is one line for the operator."""


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Parameters
    ----------
    study_data
        `[consent] study_data`: public data sets without consent records (privacy.md 2); replay only.
    pseudonym_key
        `[privacy] pseudonym_key`; empty = ids pass unchanged.
    trusted_keys
        `[privacy] trusted_keys`: base64 Ed25519 public keys; empty = any non-empty signature passes.
    study_key
        `[trial] study_key`: seed of the randomisation (trial.md 3).
    default_locale, locales
        `[content]`: language of messages; each locale needs a pack and a crisis line.
    slice_rows, slice_people
        `[replay]`: about how many rows, and of how many people, one bounded Beam run takes. Of more people a longer span of
        the log is taken group by group, because a step of a person costs more than its rows if they are few.
    """

    study_data: bool = False
    pseudonym_key: str = ""
    trusted_keys: tuple[str, ...] = ()
    study_key: str = DEMO_STUDY_KEY
    default_locale: str = "en-GB"
    locales: tuple[str, ...] = ("en-GB", "de-DE")
    locale_of: dict[str, str] = field(default_factory=dict)
    slice_rows: int = 200_000
    slice_people: int = 50

    def __post_init__(self) -> None:
        if self.default_locale not in self.locales:
            raise SettingsError(
                f"kairos.toml: content.default_locale {self.default_locale!r} is not among content.locales"
            )
        for name in ("slice_rows", "slice_people"):
            if getattr(self, name) < 1:
                raise SettingsError(f"kairos.toml: replay.{name} must be at least 1")

    @staticmethod
    def load(path: Path | None) -> Settings:
        """Read `kairos.toml` (None = all defaults).

        Raises
        ------
        SettingsError
            Missing file, bad TOML, an unknown key or a value of the wrong type: named in one line.
        """
        if path is None:
            return Settings()
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"{path}: no such configuration file") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path}: not a readable TOML file ({type(error).__name__})") from None
        return Settings(**_known(data, str(path)))


_KEYS: dict[tuple[str, str], tuple[str, type]] = {
    ("consent", "study_data"): ("study_data", bool),
    ("privacy", "pseudonym_key"): ("pseudonym_key", str),
    ("privacy", "trusted_keys"): ("trusted_keys", list),
    ("trial", "study_key"): ("study_key", str),
    ("content", "default_locale"): ("default_locale", str),
    ("content", "locales"): ("locales", list),
    ("content", "locale_of"): ("locale_of", dict),
    ("replay", "slice_rows"): ("slice_rows", int),
    ("replay", "slice_people"): ("slice_people", int),
}


def _known(data: dict[str, Any], where: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for section, values in data.items():
        if section in ELSEWHERE:
            continue
        if not isinstance(values, dict):
            raise SettingsError(f"{where}: {section} must be a [section]")
        for key, value in values.items():
            if (section, key) not in _KEYS:
                raise SettingsError(f"{where}: unknown setting {section}.{key}")
            name, kind = _KEYS[section, key]
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise SettingsError(f"{where}: {section}.{key} must be a {kind.__name__}")
            out[name] = tuple(value) if isinstance(value, list) else value
    return out
