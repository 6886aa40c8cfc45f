"""Recurring-regime streams for the forgetting protocol (the project's own; moved here from its first prototype).

A Stream is a list of segments [(regime, [(x, y), ...]), ...] plus one fixed holdout per regime that is never
trained on.  Every x is a flat dict of floats; y is a small int.  Everything is generated or ships inside the
river / scikit-learn / seglearn wheels: nothing is downloaded.

kind: "hidden"   p(y|x) changes and x does not tell (only labels reveal the regime)
      "domain"   p(x) changes with the regime
      "class"    classes arrive in turns (class-incremental)
      "user"     synthetic digital phenotyping: a bit of each, with a rare class that vanishes for months
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import pathlib
import random
from itertools import islice

import numpy as np

N_HOLD = 200


@dataclasses.dataclass
class Stream:
    name: str
    kind: str
    segments: list
    holdouts: dict

    @property
    def classes(self):
        return sorted({y for _, seg in self.segments for _, y in seg})


def _floats(x, onehot=()):
    out = {}
    for k, v in x.items():
        if k in onehot:
            out[f"{k}={v}"] = 1.0
        else:
            out[str(k)] = float(v)
    return out


def _from_generators(name, kind, gens, order, n, onehot=None):
    """gens: {regime: callable(seed) -> river dataset}. Each visit draws fresh samples (its own seed)."""
    values = onehot or {}

    def conv(x):
        out = _floats({k: v for k, v in x.items() if k not in values})
        for k, vs in values.items():
            for v in vs:
                out[f"{k}={v}"] = float(x[k] == v)
        return out

    def draw(regime, seed, m):
        return [(conv(x), int(y)) for x, y in islice(gens[regime](seed), m)]

    segs = [(r, draw(r, 1000 * i + 17, n)) for i, r in enumerate(order)]
    return Stream(name, kind, segs, {r: draw(r, 999_983, N_HOLD) for r in gens})


def stagger(seed):
    from river.datasets import synth

    g = {r: (lambda s, f=f: synth.STAGGER(classification_function=f, seed=s + seed)) for r, f in zip("ABC", range(3), strict=False)}
    hot = {"size": (0, 1, 2), "color": (0, 1, 2), "shape": (0, 1, 2)}
    return _from_generators("stagger", "hidden", g, "ABCABC", 400, hot)


def sea(seed):
    from river.datasets import synth

    g = {r: (lambda s, v=v: synth.SEA(variant=v, noise=0.1, seed=s + seed)) for r, v in zip("ABC", (2, 3, 1), strict=False)}
    return _from_generators("sea", "hidden", g, "ABCABC", 500)


def sine(seed):
    from river.datasets import synth

    g = {r: (lambda s, f=f: synth.Sine(classification_function=f, seed=s + seed)) for r, f in zip("ABC", (0, 1, 2), strict=False)}
    return _from_generators("sine", "hidden", g, "ABABCA", 500)


def agrawal(seed):
    from river.datasets import synth

    g = {
        r: (lambda s, f=f: synth.Agrawal(classification_function=f, perturbation=0.05, seed=s + seed))
        for r, f in zip("ABC", (0, 3, 6), strict=False)
    }
    return _from_generators("agrawal", "hidden", g, "ABCABC", 700)


def led(seed):
    """LED with its 7 relevant attributes moved to other positions per regime (10 classes, 24 features)."""
    from river.datasets import synth

    class Moved:
        def __init__(self, s, shift):
            self.g, self.shift = synth.LED(seed=s, noise_percentage=0.05, irrelevant_features=True), shift

        def __iter__(self):
            for x, y in self.g:
                keys = sorted(x)
                yield {k: x[keys[(i + self.shift) % len(keys)]] for i, k in enumerate(keys)}, y

    g = {r: (lambda s, sh=sh: Moved(s + seed, sh)) for r, sh in zip("AB", (0, 9), strict=False)}
    return _from_generators("led", "hidden", g, "ABAB", 700)


def rbf(seed):
    from river.datasets import synth

    g = {
        r: (
            lambda s, m=m: synth.RandomRBF(
                seed_model=m + seed, seed_sample=s, n_classes=4, n_features=8, n_centroids=12
            )
        )
        for r, m in zip("ABC", (42, 142, 242), strict=False)
    }
    return _from_generators("rbf", "domain", g, "ABCABC", 600)


def _split(name, kind, rows, regime_of, order, rng, per_visit=None, hold=0.3):
    """Real rows -> regimes.  A regime's rows are shared out over its visits; 30 % are held out."""
    by = {}
    for x, y in rows:
        by.setdefault(regime_of(x, y), []).append((x, y))
    holdouts, pools = {}, {}
    for r, part in by.items():
        rng.shuffle(part)
        k = min(N_HOLD, int(hold * len(part)))
        holdouts[r], pools[r] = part[:k], part[k:]
    segs = []
    for i, r in enumerate(order):
        visits = [j for j, q in enumerate(order) if q == r]
        lo, hi = visits.index(i) / len(visits), (visits.index(i) + 1) / len(visits)
        part = pools[r][int(lo * len(pools[r])) : int(hi * len(pools[r]))]
        segs.append((r, part[:per_visit] if per_visit else part))
    return Stream(name, kind, segs, holdouts)


def bananas(seed):
    from river import datasets

    rows = [(_floats(x), int(y)) for x, y in datasets.Bananas()]
    rng = random.Random(seed)
    return _split(
        "bananas",
        "domain",
        rows,
        lambda x, y: "A" if x["1"] < -0.5 else "B" if x["1"] < 0.5 else "C",
        "ABCA",
        rng,
        per_visit=700,
    )


def phishing(seed):
    from river import datasets

    rows = [(_floats(x), int(y)) for x, y in datasets.Phishing()]
    return _split(
        "phishing", "domain", rows, lambda x, y: {1.0: "A", 0.5: "B", 0.0: "C"}[x["https"]], "ABCA", random.Random(seed)
    )


def segments(seed):
    from river import datasets

    names = sorted({y for _, y in datasets.ImageSegments()})
    rows = [(_floats(x), names.index(y)) for x, y in datasets.ImageSegments()]
    return _split("segments", "class", rows, lambda x, y: "AABBCCC"[y], "ABCA", random.Random(seed))


def digits(seed):
    root = pathlib.Path(importlib.util.find_spec("sklearn").origin).parent
    t = np.loadtxt(root / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    rows = [({f"p{i}": float(v) for i, v in enumerate(v)}, int(y)) for v, y in zip(t[:, :-1], t[:, -1].astype(int), strict=False)]
    return _split("digits", "class", rows, lambda x, y: "AABBCCDDEE"[y], "ABCDE", random.Random(seed))


def _watch_windows():
    """seglearn's smartwatch set: 20 people x 7 shoulder exercises, 6 axes at 50 Hz -> 2 s windows, 24 features."""
    root = pathlib.Path(importlib.util.find_spec("seglearn").origin).parent  # its import would pull in pandas
    d = np.load(root / "data" / "watch_dataset.npy", allow_pickle=True).item()
    out = []
    for sig, y, who in zip(d["X"], d["y"], d["subject"], strict=False):
        sig = np.asarray(sig)[:, -6:]
        w = 100
        for i in range(0, len(sig) - w, w):
            s = sig[i : i + w]
            f = np.concatenate([s.mean(0), s.std(0), np.abs(np.diff(s, axis=0)).mean(0), np.percentile(s, 90, axis=0)])
            # the last 30 % of each recording is held out, so windows of a holdout never overlap training
            out.append(({f"f{j}": float(v) for j, v in enumerate(f)}, int(y), int(who), i / len(sig) > 0.7))
    return out


def _watch(name, kind, regime_of, order, seed):
    rng = random.Random(seed)
    train, hold = {}, {}
    for x, y, who, test in _watch_windows():
        (hold if test else train).setdefault(regime_of(y, who), []).append((x, y))
    for part in (*train.values(), *hold.values()):
        rng.shuffle(part)
    segs = []
    for i, r in enumerate(order):
        visits = [j for j, q in enumerate(order) if q == r]
        n = len(train[r]) // len(visits)
        k = visits.index(i)
        segs.append((r, train[r][k * n : (k + 1) * n][:700]))
    return Stream(name, kind, segs, {r: h[:N_HOLD] for r, h in hold.items()})


def watch_class(seed):
    return _watch("watch-class", "class", lambda y, who: "AABBCCC"[y], "ABCA", seed)


def watch_people(seed):
    people = list(range(1, 21))
    random.Random(seed).shuffle(people)
    group = {p: "ABCD"[i // 5] for i, p in enumerate(people)}
    return _watch("watch-people", "domain", lambda y, who: group.get(who, "A"), "ABCDA", seed)


# ---- synthetic digital phenotyping: one patient, five questions a day ------------------------------------------
CALM, LOW, PANIC = 0, 1, 2


def phenotype(seed, order="ABCBA", days=None, noise=0.05):
    """One patient's year.  A: commuting, no medication (panic attacks happen).  B: home office + beta blocker
    (no panic at first; being at home no longer means low mood).  C: holiday.  When B and A return, panic is back
    in A: its last examples are ~4.5 months old.  Labels are EMA answers; 5 % are wrong; the watch is off 10 %."""
    days = days or {"A": 60, "B": 60, "C": 21}
    u = random.Random(seed)
    person = {
        "gain": u.uniform(0.8, 1.3),
        "out": u.uniform(0.5, 0.8),
        "gamer": u.random() < 0.5,
        "sleep": u.gauss(7.2, 0.5),
        "typing": u.uniform(0.7, 1.4),
    }

    def sample(regime, rng, day, slot):
        hour = 9 + 3 * slot + rng.uniform(0, 2)
        weekend = day % 7 >= 5
        p_panic = {"A": 0.14, "B": 0.0, "C": 0.0}[regime]
        p_low = {"A": 0.25, "B": 0.30, "C": 0.08}[regime]
        r = rng.random()
        y = PANIC if r < p_panic else LOW if r < p_panic + p_low else CALM
        beta = regime == "B"
        home = {"A": 1 - person["out"], "B": 0.92, "C": 0.25}[regime] + (0.25 if weekend and regime == "A" else 0)
        steps = {"A": 1.6, "B": 0.5, "C": 4.0}[regime] * rng.lognormvariate(0, 0.5)
        hr = (-0.9 if beta else 0.0) + 0.25 * steps + rng.gauss(0, 0.5)
        screen, unlock, music = rng.lognormvariate(2.5, 0.5), rng.lognormvariate(1.5, 0.4), rng.lognormvariate(1.5, 0.8)
        search, night, typing = 0.0, rng.lognormvariate(0.5, 0.6), person["typing"] * rng.lognormvariate(0, 0.2)
        if y == LOW and regime != "B":  # classic withdrawal
            home, steps, screen, music = min(1, home + 0.45), steps * 0.35, screen * 0.5, music * 0.3
            search = float(rng.random() < 0.2)
        if y == LOW and regime == "B":  # ambiguous: more phone and games, solitary walks, short nights
            steps *= 2.2
            night *= 3.0
            screen *= 1.6 if person["gamer"] else 1.2
            typing *= 0.7
        if y == PANIC:
            hr += 2.0 * person["gain"]
            steps *= 0.4
            unlock *= 2.0
            typing *= 1.4
        x = {
            "hour_sin": math.sin(hour / 24 * 2 * math.pi),
            "hour_cos": math.cos(hour / 24 * 2 * math.pi),
            "weekend": float(weekend),
            "home": min(1.0, max(0.0, rng.gauss(home, 0.15))),
            "steps": steps,
            "hr": hr,
            "screen": screen,
            "unlock": unlock,
            "music": music,
            "search": search,
            "night": night,
            "typing": typing,
            "sleep": rng.gauss(person["sleep"] + (0.8 if regime == "C" else 0) - (0.7 if y == LOW else 0), 0.7),
            "worn": 1.0,
        }
        if rng.random() < 0.10:  # watch not worn: no heart rate, steps, sleep
            x.update(worn=0.0, hr=0.0, steps=0.0, sleep=0.0)
        if rng.random() < noise:
            y = rng.choice((CALM, LOW))
        return x, y

    segs, day = [], 0
    for i, r in enumerate(order):
        rng = random.Random(seed * 1009 + i)
        segs.append((r, [sample(r, rng, day + d, s) for d in range(days[r]) for s in range(5)]))
        day += days[r]
    rng = random.Random(seed * 1009 + 991)
    hold = {r: [sample(r, rng, j // 5, j % 5) for j in range(N_HOLD)] for r in sorted(set(order))}
    return Stream("phenotype", "user", segs, hold)


ALL = {
    f.__name__: f
    for f in (
        stagger,
        sea,
        sine,
        agrawal,
        led,
        rbf,
        bananas,
        phishing,
        segments,
        digits,
        watch_class,
        watch_people,
        phenotype,
    )
}

if __name__ == "__main__":
    import collections

    for _name, make in ALL.items():
        s = make(1)
        print(
            f"{s.name:13} {s.kind:7} d={len(s.segments[0][1][0][0]):3} classes={len(s.classes):2} "
            f"segments={[(r, len(p)) for r, p in s.segments]} holdout={ {r: len(h) for r, h in s.holdouts.items()} }",
            dict(collections.Counter(y for _, p in s.segments for _, y in p)),
        )
