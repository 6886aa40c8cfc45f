"""`python -m benchmarks.real_states`: people's own answers, prequentially, each person alone, beside the running base rate.

Predict the next answer from that day's wearable, then learn it. Binary targets: LifeSnaps tense or anxious, and sad; PMData
mood and stress of 1-5 (mood <= 2, stress <= 2: lower is worse); Welltory mood (< 0); Stress-Predict: task or not, a minute.
People with at least 20 answers and 5 of each class. Gain = log-loss of the running base rate minus the model's, nats an
answer; the interval is a bootstrap over people. Reads `../shared/data` (not in the repository). Research software.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.learning.recall import RecallClassifier

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
Rows = list[tuple[dict[str, float], bool]]
LEAST, FIRST, EACH = 0.02, 20, 5


def numbers(row: dict[str, str], names: tuple[str, ...]) -> dict[str, float]:
    out = {}
    for name in names:
        try:
            value = float(row[name])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value):
            out[name] = value
    return out


def lifesnaps(target: str) -> dict[str, Rows]:
    names = ("rmssd", "stress_score", "bpm", "resting_hr", "steps", "minutesAsleep", "sleep_efficiency", "very_active_minutes",
             "sedentary_minutes", "nightly_temperature", "HOME", "WORK/SCHOOL")  # fmt: skip
    people: dict[str, Rows] = defaultdict(list)
    with (DATA / "lifesnaps" / "daily_fitbit_sema.csv").open() as lines:
        for row in sorted(csv.DictReader(lines), key=lambda r: (r["id"], r["date"])):
            if row[target] in ("", None):
                continue
            x = numbers(row, names)
            if x:
                people[row["id"]].append((x, float(row[target]) >= 0.5))
    return people


def pmdata(target: str) -> dict[str, Rows]:
    people: dict[str, Rows] = {}
    for folder in sorted((DATA / "pmdata").glob("p*")):
        nights, rows = {}, []
        with (folder / "sleep_score.csv").open() as lines:
            for night in csv.DictReader(lines):
                nights[night["timestamp"][:10]] = night
        names = ("overall_score", "deep_sleep_in_minutes", "resting_heart_rate", "restlessness", "duration_score")
        with (folder / "wellness.csv").open() as lines:
            for row in sorted(csv.DictReader(lines), key=lambda r: r["effective_time_frame"]):
                x = numbers(nights.get(row["effective_time_frame"][:10], {}), names)
                if x and row[target]:
                    rows.append((x, float(row[target]) <= 2))
        people[folder.name] = rows
    return people


def welltory() -> dict[str, Rows]:
    people: dict[str, Rows] = defaultdict(list)
    names = ("bpm", "mxdmn", "sdnn", "rmssd", "pnn50", "amo", "lf", "hf", "lfhf")
    with (DATA / "welltory" / "hrv_measurements.csv").open() as lines:
        for row in sorted(csv.DictReader(lines), key=lambda r: (r["user_code"], r["measurement_datetime"])):
            if row["how_mood"] not in ("", None):
                people[row["user_code"]].append((numbers(row, names), float(row["how_mood"]) < 0))
    return people


def stress_predict() -> dict[str, Rows]:
    table = pq.read_table(DATA / "stress_predict" / "hr_resp_label.parquet")
    who, hr, breath, label = (table[n].to_numpy() for n in ("Participant", "HR", "respr", "Label"))
    people: dict[str, Rows] = {}
    for person in np.unique(who):
        mine = np.flatnonzero(who == person)
        rows = []
        for at in range(60, len(mine), 60):
            part = mine[at - 60 : at]
            if np.isnan(hr[part]).all():
                continue
            x = {"hr": float(np.nanmean(hr[part])), "sd": float(np.nanstd(hr[part])), "breath": float(np.nanmean(breath[part]))}
            rows.append((x, bool(np.mean(label[part]) >= 0.5)))
        people[str(person)] = rows
    return people


def auc(scores: list[float], truth: list[bool]) -> float:
    s, t = np.array(scores), np.array(truth)
    pairs = s[t][:, None] - s[~t][None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def prequential(rows: Rows) -> dict[str, Any]:
    """One person: accuracy and log loss of model and running base rate, AUC of the model."""
    model, yes, n = RecallClassifier(memory=160, recent=48, max_contexts=4), 1.0, 2.0
    gain, hit, base_hit, scores = [], [], [], []
    for x, y in rows:
        base = yes / n
        p = model.predict_proba_one(x).get(True, 0.0) if model.n_learned else base
        said = max(p if y else 1 - p, LEAST)
        gain.append(math.log(said) - math.log(max(base if y else 1 - base, LEAST)))
        hit.append((p >= 0.5) == y)
        base_hit.append((base >= 0.5) == y)
        scores.append(p)
        model.learn_one(x, y)
        yes, n = yes + y, n + 1
    half = len(rows) // 2
    return {
        "gain": np.mean(gain), "late": np.mean(gain[half:]), "hit": np.mean(hit), "base": np.mean(base_hit),
        "auc": auc(scores, [y for _, y in rows]), "n": len(rows),
    }  # fmt: skip


def interval(values: list[float]) -> str:
    a = np.array(values)
    draws = np.random.default_rng(0).choice(a, (2000, len(a))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{a.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    sets = {
        "Stress-Predict, task": stress_predict(),
        "LifeSnaps, tense or anxious": lifesnaps("TENSE/ANXIOUS"),
        "LifeSnaps, sad": lifesnaps("SAD"),
        "PMData, low mood": pmdata("mood"),
        "PMData, high stress": pmdata("stress"),
        "Welltory, low mood": welltory(),
    }
    print("data | people (answers) | accuracy: model / base rate | AUC, median (quartiles) | gain | second half | better")
    print("-|-|-|-|-|-|-")
    for name, people in sets.items():
        kept = [r for r in people.values() if len(r) >= FIRST and min(sum(y for _, y in r), sum(not y for _, y in r)) >= EACH]
        if not kept:
            print(f"{name} | 0 | - | - | - | - | -")
            continue
        found = [prequential(r) for r in kept]
        q = np.quantile([f["auc"] for f in found], [0.25, 0.5, 0.75])
        better = sum(f["gain"] > 0 for f in found)
        print(
            f"{name} | {len(kept)} ({sum(f['n'] for f in found)}) | {np.mean([f['hit'] for f in found]):.3f} / "
            f"{np.mean([f['base'] for f in found]):.3f} | {q[1]:.2f} ({q[0]:.2f}-{q[2]:.2f}) | "
            f"{interval([f['gain'] for f in found])} | {interval([f['late'] for f in found])} | {better} of {len(found)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
