"""Crisis lines by country. A configured locale without one is an error at start-up, never a gap at night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from content.packs import FOLDER, ContentError, read_yaml


@dataclass(frozen=True)
class CrisisLine:
    """A number to call, as checked on `checked` (YYYY-MM-DD) at `source`.

    Parameters
    ----------
    country
        ISO 3166-1 alpha-2.
    emergency
        Number of the emergency services.
    """

    country: str
    name: str
    number: str
    hours: str
    emergency: str
    source: str
    checked: str

    def spoken(self) -> str:
        """As it stands in a message: name and number."""
        return f"{self.name} {self.number}"


def lines(folder: Path = FOLDER) -> dict[str, CrisisLine]:
    """Country → line."""
    data = read_yaml(folder / "crisis_lines.yaml")
    return {c: CrisisLine(country=c, **{k: str(v) for k, v in entry.items()}) for c, entry in data["lines"].items()}


def line_for(locale: str, folder: Path = FOLDER) -> CrisisLine:
    """The line of a locale's country (`de-AT` → AT).

    Raises
    ------
    ContentError
        None is known: such a locale must not be configured.
    """
    country = locale.rsplit("-", 1)[-1].upper() if "-" in locale else ""
    found = lines(folder).get(country)
    if found is None:
        raise ContentError(f"content: no crisis line for locale {locale!r}; add its country to crisis_lines.yaml")
    return found
