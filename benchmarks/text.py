"""Text models by cross-validation on public sets: `python -m benchmarks.text [--data DIR] [--only NAME]`; fails below thresholds.

The sets are not part of the repository (texts of real people): nothing of them is printed but counts and scores. Sums of folds
are added and taken away (`TextRidge.add`), so every example is read once. Without --data, only speed is measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.learning.centroids import Centroids
from pipelines.learning.text_counts import TextMix
from pipelines.learning.text_encoder import Encoder, default_encoder
from pipelines.learning.text_features import FEELINGS, TextFeatures
from pipelines.learning.text_ridge import TextRidge

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "text"
FOLDS, R = 5, 4096
AT_MOST = {"clinc by domain, lost against all at once": 0.01}
THRESHOLDS = {
    "clinc accuracy": 0.945, "clinc oos auroc": 0.96, "banking accuracy": 0.90, "counsel top-1": 0.40, "counsel top-3": 0.65,
    "dreaddit f1": 0.76, "goemotions macro-f1": 0.45, "clinc by domain, final": 0.92, "clinc by domain, first domain kept": 0.98,
    "clinc by domain, words only, final": 0.88,
}  # fmt: skip
Floats = npt.NDArray[np.float32]


def rows(name: str, folder: Path) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def cross_validated(
    texts: list[str],
    labels: Sequence[str | Sequence[str]],
    features: TextFeatures,
    l2: float,
    kind: type[TextRidge] | type[TextMix] = TextRidge,
) -> tuple[Floats, list[str], npt.NDArray[np.int64], list[Any]]:
    """Held-out scores, classes, fold of each text, and the model of each left-out fold."""
    rng = np.random.default_rng(0)
    fold: npt.NDArray[np.int64] = np.asarray(rng.permutation(len(texts)) % FOLDS)
    parts: list[Any] = []
    for k in range(FOLDS):
        part = kind(features, l2)
        mine = np.flatnonzero(fold == k)
        part.learn_many([texts[i] for i in mine], [labels[int(i)] for i in mine])
        parts.append(part)
    whole: Any = kind(features, l2)
    for part in parts:
        whole.add(part)
    scores = np.zeros((len(texts), len(whole.classes)), np.float32)
    for k, part in enumerate(parts):
        whole.add(part, -1)
        mine = np.flatnonzero(fold == k)
        scores[mine] = whole.scores([texts[i] for i in mine])
        whole.add(part)
    return scores, whole.classes, fold, parts


def top(scores: Floats, classes: list[str], labels: Sequence[str], k: int = 1) -> float:
    order = np.argsort(-scores, axis=1)[:, :k]
    return float(np.mean([y in [classes[j] for j in row] for y, row in zip(labels, order, strict=True)]))


def interval(what: str, share: float, n: int) -> dict[str, float]:
    """A share of n with its 95 % interval by Wilson (1927)."""
    z = 1.96
    middle, half = share + z * z / (2 * n), z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return {
        what: share,
        f"{what}, from": (middle - half) / (1 + z * z / n),
        f"{what}, to": (middle + half) / (1 + z * z / n),
    }


def auroc(high: Floats, low: Floats) -> float:
    ranks = np.concatenate([high, low]).argsort().argsort() + 1.0
    return float((ranks[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def clinc(folder: Path, encoder: Encoder | None) -> dict[str, float]:
    every = rows("clinc150.csv", folder)
    inside = [r for r in every if r["intent"] != "oos"]
    texts, labels = [r["text"] for r in inside], [r["intent"] for r in inside]
    features = TextFeatures(encoder, R)
    scores, classes, fold, parts = cross_validated(texts, labels, features, 0.05, TextMix)
    whole = TextRidge(features, 0.05)
    for part in parts[1:]:
        whole.add(part.ridge)
    held = whole.scores([texts[i] for i in np.flatnonzero(fold == 0)])  # what is out of scope, the ridge says
    oos = whole.scores([r["text"] for r in every if r["intent"] == "oos"])
    return {
        **interval("clinc accuracy", top(scores, classes, labels), len(labels)),
        "clinc oos auroc": auroc(held.max(1), oos.max(1)),
    }


def by_domain(folder: Path, encoder: Encoder | None, folds: int = 1) -> dict[str, float]:
    """Ten domains of 15 intents, one after the other, once through; the first is asked again after each."""
    kind = "" if encoder is not None else "words only, "
    domains: dict[str, list[str]] = json.loads((folder / "clinc150_domains.json").read_text())
    every = [r for r in rows("clinc150.csv", folder) if r["intent"] != "oos"]
    fold = np.random.default_rng(0).permutation(len(every)) % FOLDS
    features = TextFeatures(encoder, R)
    runs = [_in_turn(every, fold == k, domains, features) for k in range(folds)]
    out = {f"clinc by domain, {kind}{what}": float(np.mean([r[what] for r in runs])) for what in runs[0]}
    if encoder is not None:
        out |= centroids_in_turn(every, fold == 0, domains, encoder)
    return out


def _in_turn(
    every: list[dict[str, str]], test: npt.NDArray[np.bool_], domains: dict[str, list[str]], features: TextFeatures
) -> dict[str, float]:
    where = {i: d for d, intents in domains.items() for i in intents}
    first, kept, model = next(iter(domains)), [], TextMix(features, 0.05)
    held = [r for r, t in zip(every, test, strict=True) if t]
    mine = [r for r in held if where[r["intent"]] == first]
    asked, answers = [r["text"] for r in mine], [r["intent"] for r in mine]
    for domain in domains:
        new = [r for r, t in zip(every, test, strict=True) if not t and where[r["intent"]] == domain]
        model.learn_many([r["text"] for r in new], [r["intent"] for r in new])
        kept.append(top(model.scores(asked), model.classes, answers))
    texts, labels = [r["text"] for r in held], [r["intent"] for r in held]
    final = top(model.scores(texts), model.classes, labels)
    at_once = TextMix(features, 0.05)
    shuffled = np.random.default_rng(1).permutation(np.flatnonzero(~test))
    at_once.learn_many([every[i]["text"] for i in shuffled], [every[i]["intent"] for i in shuffled])
    own = [model.classes.index(i) for i in domains[first]]
    among = top(model.scores(asked)[:, own], [model.classes[i] for i in own], answers)
    return {
        "final": final, "lost against all at once": top(at_once.scores(texts), at_once.classes, labels) - final,
        "first domain kept": 1 - (max(kept) - kept[-1]), "first domain at its peak": max(kept),
        "first domain kept among its own intents": 1 - (max(kept) - among),
    }  # fmt: skip


def centroids_in_turn(
    every: list[dict[str, str]], test: npt.NDArray[np.bool_], domains: dict[str, list[str]], encoder: Encoder
) -> dict[str, float]:
    """The domain of a text by one centroid a domain, which forgets nothing and knows little."""
    where, centroids = {i: d for d, intents in domains.items() for i in intents}, Centroids(encoder.size)
    vectors = encoder.encode([r["text"] for r in every])
    for domain in domains:
        for i, r in enumerate(every):
            if not test[i] and where[r["intent"]] == domain:
                centroids.learn_one(vectors[i], domain)
    right = [centroids.predict_one(vectors[i]) == where[every[i]["intent"]] for i in np.flatnonzero(test)]
    return {"clinc, domain of ten by centroids in turns": float(np.mean(right))}


def banking(folder: Path, encoder: Encoder | None) -> dict[str, float]:
    every = rows("banking77_train.csv", folder)
    labels = [r["category"] for r in every]
    scores, classes, _, _ = cross_validated([r["text"] for r in every], labels, TextFeatures(encoder, R), 0.05, TextMix)
    return interval("banking accuracy", top(scores, classes, labels), len(labels))


def counsel(folder: Path, encoder: Encoder | None) -> dict[str, float]:
    """One text a question (title and text); a question has several answers, which are not read."""
    once = {r["questionID"]: r for r in rows("counsel_chat.csv", folder)}
    every = [r for r in once.values() if r["topic"]]
    labels = [r["topic"] for r in every]
    texts = [f"{r['questionTitle']} {r['questionTitle']} {r['questionText']}" for r in every]
    scores, classes, _, _ = cross_validated(texts, labels, TextFeatures(encoder, 0), 0.3)
    found = [top(scores, classes, labels, k) for k in (1, 3)]
    return interval("counsel top-1", found[0], len(labels)) | interval("counsel top-3", found[1], len(labels))


def dreaddit(folder: Path, encoder: Encoder | None) -> dict[str, float]:
    """Stress or not; the cut is chosen on the other folds."""
    every = rows("dreaddit_train.csv", folder)
    truth = np.array([r["label"] == "1" for r in every])
    labels = ["stress" if t else "other" for t in truth]
    scores, classes, fold, _ = cross_validated([r["text"] for r in every], labels, TextFeatures(encoder, 0), 1.0)
    return {"dreaddit f1": f1(truth, said(scores[:, classes.index("stress")], truth, fold))}


def goemotions(folder: Path, encoder: Encoder | None) -> dict[str, float]:
    """28 labels, several a text; the cut of each label is chosen on the other folds."""
    names = (folder / "goemotions_labels.txt").read_text().split()
    with (folder / "goemotions_train.tsv").open(encoding="utf-8") as f:
        every = [line.rstrip("\n").split("\t") for line in f]
    labels = [[names[int(i)] for i in r[1].split(",")] for r in every]
    features = TextFeatures(encoder, R, gamma=0.3, weights=FEELINGS, hashed=8192)
    scores, classes, fold, _ = cross_validated([r[0] for r in every], labels, features, 3.0)
    found = []
    for j, name in enumerate(classes):
        truth = np.array([name in several for several in labels])
        found.append(f1(truth, said(scores[:, j], truth, fold)))
    return {"goemotions macro-f1": float(np.mean(found))}


def said(scores: Floats, truth: npt.NDArray[np.bool_], fold: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether a label is said of each text: the cut of a fold is the score with the best F1 on the other folds."""
    out = np.zeros(len(truth), bool)
    for k in range(FOLDS):
        other = fold != k
        out[~other] = scores[~other] > best_cut(scores[other], truth[other])
    return out


def best_cut(scores: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """The cut with the best F1: every score is tried, so that a label of few examples has cuts enough."""
    order = np.argsort(-scores, kind="stable")
    both = np.cumsum(truth[order])
    best = int((2 * both / (np.arange(1, len(order) + 1) + truth.sum())).argmax())
    low = order[min(best + 1, len(order) - 1)]
    return float((scores[order[best]] + scores[low]) / 2)


def f1(truth: npt.NDArray[np.bool_], said: npt.NDArray[np.bool_]) -> float:
    both = float((truth & said).sum())
    return 2 * both / max(1.0, float(truth.sum() + said.sum()))


def speed() -> dict[str, float]:
    """Messages per CPU second through the whole room (safety, intent, choice, record), default encoder."""
    from benchmarks.chat_speed import messages_per_cpu_second

    return {"messages per CPU second": messages_per_cpu_second()}


PARTS: dict[str, Callable[[Path, Encoder | None], dict[str, float]]] = {
    "clinc": clinc, "by_domain": by_domain, "by_domain_words": lambda folder, _: by_domain(folder, None), "banking": banking,
    "counsel": counsel, "dreaddit": dreaddit, "goemotions": goemotions,
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the text sets")
    parser.add_argument("--folds", type=int, default=1, help="of CLINC150 by domain, mean of so many")
    parser.add_argument("--only", choices=[*PARTS, "speed"], action="append")
    given = parser.parse_args(argv)
    wanted = given.only or [*PARTS, "speed"]
    failed = False
    for name in wanted:
        if name != "speed" and not given.data.is_dir():
            print(f"{name}: skipped, no data below {given.data.name}")
            continue
        begun = time.process_time()
        if name == "by_domain":
            found = by_domain(given.data, default_encoder(), given.folds)
        else:
            found = speed() if name == "speed" else PARTS[name](given.data, default_encoder())
        for what, value in found.items():
            least = THRESHOLDS.get(what)
            most = AT_MOST.get(what)
            bad = (least is not None and value < least) or (most is not None and value > most)
            failed = failed or bad
            bound = f"at least {least}" if least is not None else f"at most {most}" if most is not None else ""
            note = f"  ({bound}{': NOT REACHED' if bad else ''})" if bound else ""
            print(f"{what}: {value:.4f}{note}" if value < 2 else f"{what}: {value:.0f}", flush=True)
        print(f"  {name}: {time.process_time() - begun:.0f} CPU s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
