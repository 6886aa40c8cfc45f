"""The bot's frozen models: features of a text once, then safety and intent by their own heads. Trained from `content/` only.

Both heads are shipped as bytes (`content/models/`), made by `python -m pipelines.conversation.models` from the phrases in
`content/safety/` and `content/intents/`; where WordLlama's wheel is missing they are trained anew on words alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from content.packs import FOLDER, read_yaml
from pipelines.conversation.safety_head import SafetyHead, safety_trained
from pipelines.conversation.wording import sentences
from pipelines.learning.packing import StateError
from pipelines.learning.text_encoder import Encoder, Vectors, default_encoder
from pipelines.learning.text_features import TextFeatures
from pipelines.learning.text_ridge import TextHead, trained

LINEAR = 0  # `TextFeatures`: few phrases
L2 = {"safety": 0.3, "intents": 0.1}
A_TEMPLATE = 8  # sentences of a template that are learned from
GAP = "g_"  # prefix of topics that have no reply
SAFE = "SAFE"


class Models:
    """Heads on shared features.

    Parameters
    ----------
    safety
        Classes RISK, the safeguarding classes, SAFE. Never learns in use.
    intents
        Topics with replies, and gap clusters (`g_…`).
    """

    def __init__(self, features: TextFeatures, safety: SafetyHead, intents: TextHead) -> None:
        self.features = features
        self.safety = safety
        self.intents = intents

    def read(self, text: str) -> Vectors:
        """Features of a text, shape (1, n), for both heads."""
        return self.features.transform([text])

    def safety_of(self, z: Vectors, text: str) -> dict[str, float]:
        """Class → score of a text and its features."""
        return self.safety.score_features(z, text)

    def intent_of(self, z: Vectors) -> dict[str, float]:
        """Topic or gap cluster → probability."""
        return self.intents.proba_features(z)

    @staticmethod
    def load(folder: Path = FOLDER, encoder: Encoder | None = None) -> Models:
        """The shipped heads, or heads trained on the spot where they are missing or made for another encoder."""
        features = TextFeatures(encoder, LINEAR)
        try:
            safety = SafetyHead.load((folder / "models" / "safety.bin").read_bytes(), features)
        except (OSError, StateError):
            safety = train_safety(features, folder)
        try:
            intents = TextHead.load((folder / "models" / "intents.bin").read_bytes(), features)
        except (OSError, StateError):
            intents = train_intents(features, folder)
        return Models(features, safety, intents)


def phrases(name: str, folder: Path = FOLDER) -> tuple[dict[str, list[str]], str]:
    """Class → example phrases of all languages, and the version; `name` is `safety` or `intents`."""
    out: dict[str, list[str]] = {}
    versions = []
    for path in sorted((folder / name).glob("*.yaml")):
        data = read_yaml(path)
        versions.append(str(data["version"]))
        groups: list[Mapping[str, list[str]]] = [data[k] for k in ("classes", "intents", "gaps") if k in data]
        for group in groups:
            for label, said in group.items():
                out.setdefault(label, []).extend(map(str, said))
        for label, templates in data.get("templates", {}).items():
            for template in templates:
                out[label].extend(sentences(str(template), A_TEMPLATE))
    if name == "safety":  # whatever is an ordinary topic is safe
        out[SAFE] = [*out[SAFE], *(s for said in phrases("intents", folder)[0].values() for s in said)]
    return out, f"{name}:{'+'.join(versions)}"


def train_safety(features: TextFeatures, folder: Path = FOLDER) -> SafetyHead:
    """The safety classifier from the phrases of a content folder."""
    examples, version = phrases("safety", folder)
    return safety_trained(examples, features, L2["safety"], version)


def train_intents(features: TextFeatures, folder: Path = FOLDER) -> TextHead:
    """The topics from the phrases of a content folder."""
    examples, version = phrases("intents", folder)
    return trained(examples, features, L2["intents"], version)


@functools.cache
def default_models() -> Models:
    """The models of this process."""
    return Models.load(encoder=default_encoder())


def write(folder: Path = FOLDER) -> list[Path]:
    """Train both heads and write them below `models/`."""
    features = TextFeatures(default_encoder(), LINEAR)
    out = []
    for name, data in (
        ("safety", train_safety(features, folder).dump()),
        ("intents", train_intents(features, folder).dump()),
    ):
        path = folder / "models" / f"{name}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        out.append(path)
    return out


if __name__ == "__main__":
    for written in write():
        print(written.name, written.stat().st_size, "bytes")
