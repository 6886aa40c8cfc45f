"""Ingest: raw records become minimised device records; what may not leave is dropped here (design 2, privacy.md 1)."""

from pipelines.ingest.machine import Ingest, IngestResult
from pipelines.ingest.pseudonym import Pseudonyms
from pipelines.ingest.state import IngestState

__all__ = ["Ingest", "IngestResult", "IngestState", "Pseudonyms"]
