"""Frozen sentence embeddings: text → vector of unit length. They never learn, so what learns on them doesn't forget by them.

`WordLlamaEncoder` averages the 256-d token table that the `wordllama` wheel carries (distilled from the embedding matrices of
large language models; Miller 2024, MIT). Its own `load()` looks for the files in another folder and then asks the network, so
the table and the tokenizer are read from the installed wheel here. Another encoder is any class with `Encoder`'s shape; MiniLM is not
built in, since its package asks for torch (decision 0037).

Nothing here keeps, prints or raises a word of a text.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

BATCH_FROM = 16
MAX_CHARACTERS = 4_000  # of a message that are read; bounds the time of one
TABLE = ("weights", "l2_supercat_256.safetensors")
TOKENIZER = ("tokenizers", "l2_supercat_tokenizer_config.json")


class EncoderMissingError(Exception):
    """The package that carries an encoder's weights is not installed or has other files; one line for the operator."""


class Encoder(Protocol):
    """What turns texts into vectors.

    Attributes
    ----------
    name
        Goes into `versions` and into a model's bytes: a model is only used with the encoder it was trained on.
    size
        Length of a vector.
    """

    name: str
    size: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Rows of unit length (zero for an empty text), shape (len(texts), size)."""


class WordLlamaEncoder:
    """Mean of token vectors, 256 dimensions; about 60 µs a short text on one core.

    Raises
    ------
    EncoderMissingError
        `wordllama` is not installed, or this version of it carries other files.
    """

    def __init__(self) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = _folder("wordllama")
        table, tokenizer = folder.joinpath(*TABLE), folder.joinpath(*TOKENIZER)
        if not table.is_file() or not tokenizer.is_file():
            raise EncoderMissingError(
                "wordllama is installed without its 256-d table; install the version named in setup.py"
            )
        (weights,) = load_file(table).values()
        self._table: Vectors = weights.astype(np.float32)
        self._tokens: Any = Tokenizer.from_file(str(tokenizer))
        self._tokens.no_padding()
        self._tokens.no_truncation()
        self.name, self.size = "wordllama-l2-256", int(self._table.shape[1])

    def encode(self, texts: Sequence[str]) -> Vectors:
        out = np.zeros((len(texts), self.size), np.float32)
        cut = [t[:MAX_CHARACTERS] for t in texts]
        if len(cut) < BATCH_FROM:  # a batch wakes a pool of threads, which costs more than a few texts
            tokens = [self._tokens.encode(t, add_special_tokens=False) for t in cut]
        else:
            tokens = self._tokens.encode_batch_fast(cut, add_special_tokens=False)
        for i, found in enumerate(tokens):
            if found.ids:
                out[i] = self._table[found.ids].mean(0)
        return unit(out)


def unit(rows: Vectors) -> Vectors:
    """Rows divided by their length; a zero row stays."""
    length = np.sqrt((rows * rows).sum(1, keepdims=True, dtype=np.float32))
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def _folder(package: str) -> Path:
    """Folder of an installed package, without importing it."""
    found = importlib.util.find_spec(package)
    places = list(found.submodule_search_locations or ()) if found is not None else []
    if not places:
        raise EncoderMissingError(f"the package {package} is not installed")
    return Path(places[0])


@functools.cache
def default_encoder() -> Encoder | None:
    """WordLlama where its wheel is installed, else None: models then read words only (`text_features.py`)."""
    try:
        return WordLlamaEncoder()
    except (EncoderMissingError, ImportError):
        return None
