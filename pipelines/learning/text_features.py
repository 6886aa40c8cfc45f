"""Text → features on which a linear model is a kernel machine: random Fourier features of embedding and hashed n-grams.

A text becomes x = [embedding, words, word pairs, character 3-5-grams], each block of unit length times the root of its weight,
weights summing to 1; on request also its marks (punctuation, pictographs, capitals), which carry feelings. n-grams are hashed
with a sign into `HASHED` places a block (Weinberger et al. 2009), so no vocabulary is learned and none can be read from a model.
z(x) = sqrt(2/R) cos(P x + b) with rows of P from N(0, 2 gamma) approximates the Gaussian kernel exp(-gamma |x - x'|²) (Rahimi &
Recht 2007). P and b come from a fixed seed: features never learn.

The weights were chosen on CLINC150 by cross-validation (benchmarks/RESULTS.md, "Conversation"). Nothing here keeps a word.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipelines.learning.text_encoder import MAX_CHARACTERS, Encoder, Vectors

HASHED = 2048
SEED = 20_260
GAMMA = 0.75
WEIGHTS = {"embedding": 3.0, "word": 1.0, "pair": 0.5, "piece": 0.5}
FEELINGS = {"embedding": 3.0, "word": 1.5, "pair": 0.5, "piece": 1.0, "mark": 0.25}  # GoEmotions, benchmarks/RESULTS.md
MAX_WORDS = 400
CONSTANT = 0.55  # of the linear kernel, so that scores have an intercept
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_MARKS = re.compile(r"([^\w\s])\1*")
_EMPTY = np.zeros(0, np.int64)


class TextFeatures:
    """Frozen features of texts.

    Parameters
    ----------
    encoder
        None = words only; then the n-gram blocks share the whole weight.
    n_features
        R: more is nearer to the kernel, and dearer: time and weights grow with R. 0 = x itself and a constant, i.e. a linear
        kernel: better than few random features where examples are few.
    gamma
        Of the Gaussian kernel; in units of 1 / (distance of unit vectors)².
    weights
        Of the blocks; `FEELINGS` reads marks too.
    hashed
        Places of a block: more for many examples of many words.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        n_features: int = 1024,
        gamma: float = GAMMA,
        weights: Mapping[str, float] = WEIGHTS,
        hashed: int = HASHED,
    ) -> None:
        self.encoder = encoder
        self.gamma = gamma
        self.linear = n_features == 0
        blocks = {k: w for k, w in weights.items() if encoder is not None or k != "embedding"}
        total = sum(blocks.values())
        self._scale = {k: float(np.sqrt(w / total)) for k, w in blocks.items()}
        self._kinds = [k for k in ("word", "pair", "piece", "mark") if k in blocks]
        self._hashed_to = hashed
        self._dense = encoder.size if encoder is not None else 0
        width = self._dense + len(self._kinds) * hashed
        self.n_features = n_features or width + 1
        kind = "linear" if self.linear else f"rff-{n_features}-{gamma:g}-{SEED}"
        if (dict(weights), hashed) != (WEIGHTS, HASHED):
            kind += "-" + "-".join([*(f"{k}{w:g}" for k, w in weights.items()), str(hashed)])
        self.name = f"{encoder.name if encoder is not None else 'words'}/{kind}"
        if not self.linear:
            self._projection, self._phase = _draws(self._dense, width, n_features, gamma)

    def transform(self, texts: Sequence[str]) -> Vectors:
        """Features, shape (len(texts), n_features); rows of length about 1."""
        cut = [t[:MAX_CHARACTERS] for t in texts]
        if self.linear:
            return self._plain(cut)
        out = np.tile(self._phase, (len(cut), 1))
        if self.encoder is not None and cut:
            out += (self.encoder.encode(cut) * np.float32(self._scale["embedding"])) @ self._projection[: self._dense]
        for i, text in enumerate(cut):
            places, values = self._hashed(text)
            if len(places):
                out[i] += values @ self._projection[places]
        return np.asarray(np.cos(out, out=out) * np.float32(np.sqrt(2 / self.n_features)), np.float32)

    def _plain(self, texts: list[str]) -> Vectors:
        out = np.zeros((len(texts), self.n_features), np.float32)
        out[:, -1] = CONSTANT
        if self.encoder is not None and texts:
            out[:, : self._dense] = self.encoder.encode(texts) * np.float32(self._scale["embedding"])
        for i, text in enumerate(texts):
            places, values = self._hashed(text)
            np.add.at(out[i], places, values)
        return out

    def _hashed(self, text: str) -> tuple[npt.NDArray[np.int64], Vectors]:
        places, values = [], []
        at = self._dense
        for kind, codes in zip(self._kinds, grams_of(text, self._kinds), strict=True):
            if len(codes):
                places.append(at + codes % self._hashed_to)
                sign = np.where(codes >> 31 & 1, 1.0, -1.0)
                values.append(sign * (self._scale[kind] / np.sqrt(len(codes))))
            at += self._hashed_to
        if not places:
            return _EMPTY, np.zeros(0, np.float32)
        order = np.concatenate(places)
        return order, np.concatenate(values).astype(np.float32)


def grams_of(text: str, kinds: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """Codes (CRC-32) of a text's n-grams, one array a kind, in no order, each once."""
    words = words_of(text)[:MAX_WORDS]
    return [np.fromiter(map(_code, set(_grams(kind, words, text))), np.int64) for kind in kinds]


def _grams(kind: str, words: list[str], text: str) -> Iterable[str]:
    if kind == "word":
        return words
    if kind == "pair":
        return _pairs(words)
    return _pieces(words) if kind == "piece" else marks_of(text)


def words_of(text: str) -> list[str]:
    """Words as the models read them: NFKC, lower case, apostrophes kept.

    >>> words_of("I can't SLEEP!")
    ['i', "can't", 'sleep']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'"))


def marks_of(text: str) -> list[str]:
    """Marks of a text: each sign, the sign twice where it is repeated, and CAPS where a longer word is in capitals.

    >>> marks_of("NO way!! :)")
    ['!', '!!', ':', ')']
    >>> marks_of("STOP it?")
    ['?', 'CAPS']
    """
    plain = unicodedata.normalize("NFKC", text)
    out = []
    for found in _MARKS.finditer(plain):
        out.append(found[1])
        if len(found[0]) > 1:
            out.append(found[1] * 2)
    if any(len(word) > 2 and word.isupper() for word in plain.split()):
        out.append("CAPS")
    return out


def _pairs(words: list[str]) -> Iterator[str]:
    return (f"{a} {b}" for a, b in zip(["^", *words], [*words, "$"], strict=True))


def _pieces(words: list[str]) -> Iterator[str]:
    for word in words:
        framed = f"<{word[:40]}>"
        for n in (3, 4, 5):
            for i in range(len(framed) - n + 1):
                yield framed[i : i + n]


@functools.lru_cache(maxsize=65_536)
def _code(gram: str) -> int:
    return zlib.crc32(gram.encode("utf-8", "replace"))


@functools.lru_cache(maxsize=4)
def _draws(dense: int, width: int, n_features: int, gamma: float) -> tuple[Vectors, Vectors]:
    """P and b from the fixed seed; PCG64 gives the same numbers everywhere."""
    rng = np.random.Generator(np.random.PCG64([SEED, dense, n_features]))
    projection = rng.standard_normal((width, n_features), dtype=np.float32) * np.float32(np.sqrt(2 * gamma))
    phase = rng.uniform(0, 2 * np.pi, n_features).astype(np.float32)
    return projection, phase
