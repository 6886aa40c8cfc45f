"""What is shown next: the stages of exposure, used by spiders and by audiences alike (programs.md 2.3, 2.4, 4).

ASSESS: balanced random. ENTRY: Thompson sampling of the least arousal. GRADED: predicted distress nearest the band 40-60, one
level up after two good trials, one down after a bad one. CONSOLIDATE: random within what is mastered. Before each choice the
guard is asked; what it forbids is a HOLD with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.gate.desk import Desk
from pipelines.learning import factor_effects as fe
from pipelines.programs import evidence, guard
from pipelines.programs.catalogue import FACTORS, Catalogue, Entry
from pipelines.programs.evidence import Row
from pipelines.programs.session import ASSESS, CONSOLIDATE, ENTRY, GRADED, Session, Trial, pick
from pipelines.trial import draw

Floats = npt.NDArray[np.float64]
DRAWS = 200  # trial.md 3
GOOD_SUDS, BAD_SUDS = 40.0, 80.0  # programs.md 2.4
BAND = (40.0, 60.0)
QUANTILE = 1.6449
FEWEST = 6  # trials of an outcome before it has a say in predictions


@dataclass(frozen=True)
class Ladder:
    """One program's way of climbing.

    Parameters
    ----------
    action
        SET_STIMULUS or SET_SCENE.
    assess_trials
        Trials after which ASSESS is over by itself (at least 12).
    """

    program: str
    action: str
    policy: str
    assess_trials: int

    def decide(
        self, session: Session, memory: dict[str, Any], desk: Desk, catalogue: Catalogue, case_open: bool
    ) -> None:
        """Say what comes next, or HOLD with the reason why nothing may."""
        cause = guard.obstacle(session, desk, case_open)
        if cause is not None:
            reason = "RESIGNATION" if cause == "RESIGNATION" else "THERAPIST"
            self.hold(session, desk, reason, cause)
            return
        rows = self.rows(session, memory)
        if session.stage == ASSESS and self._assessed(session, rows):
            evidence.attribute(session, rows, desk)
            session.stage = memory["stage"] = ENTRY
        entries = [e for e in catalogue.entries("STIMULUS", self.program, desk) if self._allowed(e, session, desk)]
        if not entries:
            self.hold(session, desk, "THERAPIST", "NOTHING_APPROVED")
        elif session.stage == ASSESS:
            self._balanced(session, memory, desk, entries)
        elif session.stage == ENTRY:
            self._least_fear(session, rows, desk, entries)
        elif session.stage == GRADED:
            self._graded(session, memory, rows, desk, entries)
        else:
            self._consolidate(session, memory, desk, entries)

    def rows(self, session: Session, memory: Mapping[str, Any]) -> list[Row]:
        return [*memory["rows"], *evidence.rows_of(session)]

    def _assessed(self, session: Session, rows: Sequence[Row]) -> bool:
        return sum(1 for r in rows if r["stage"] == ASSESS) >= self.assess_trials

    def _allowed(self, e: Entry, session: Session, desk: Desk) -> bool:
        bound = guard.highest(session, desk)
        return (bound is None or e.level <= bound) and guard.inside(session.lock, e.factors(self.program))

    # -- stages -------------------------------------------------------------------------------------------------------

    def _balanced(self, session: Session, memory: dict[str, Any], desk: Desk, entries: Sequence[Entry]) -> None:
        """Of the stimuli whose levels were chosen least often (then: whose pairs of levels), one at random."""
        counts: dict[str, int] = memory["counts"]
        singles = {f: sorted({e.factors(self.program)[f] for e in entries}) for f in FACTORS[self.program]}
        least = {f: min(counts.get(f"{f}={v}", 0) for v in values) for f, values in singles.items()}

        def cost(e: Entry) -> tuple[int, int]:
            shown = e.factors(self.program)
            alone = sum(counts.get(f"{f}={v}", 0) - least[f] for f, v in shown.items())
            return alone, sum(counts.get(k, 0) for k in _keys(shown) if "&" in k)

        best = min(map(cost, entries))
        found = [e for e in entries if cost(e) == best]
        entry = found[pick(session.draw(desk, self.policy), [1 / len(found)] * len(found))]
        for key in _keys(entry.factors(self.program)):
            counts[key] = counts.get(key, 0) + 1
        self.show(session, desk, entry, self.action, "BALANCED_ORDER", 1 / len(found))

    def _least_fear(self, session: Session, rows: Sequence[Row], desk: Desk, entries: Sequence[Entry]) -> None:
        """Thompson sampling: each stimulus by the share of posterior draws in which it arouses least."""
        top, _ = guard.ceiling(session, desk)
        found = [e for e in entries if e.level <= top]
        if not found:
            self.hold(session, desk, "THERAPIST", "NOTHING_APPROVED")
            return
        arousal = Arousal(self, session, rows, found)
        p = fe.shares(arousal.draws(desk), lowest=True)
        i = pick(session.draw(desk, self.policy), [float(v) for v in p])
        self.show(session, desk, found[i], self.action, "LEAST_FEAR", float(p[i]), arousal.expected(found[i]))

    def _graded(
        self, session: Session, memory: dict[str, Any], rows: Sequence[Row], desk: Desk, entries: Sequence[Entry]
    ) -> None:
        level, action, reason = session.level, self.action, "TARGET_BAND"
        last = [t for t in session.done() if t.stage == GRADED][-2:]
        lower = [e.level for e in entries if e.level < level]
        higher = [e.level for e in entries if e.level > level]
        if last and last[-1].suds is not None and last[-1].suds >= BAD_SUDS and lower:
            level, action, reason = max(lower), "STEP_DOWN", "SUDS_HIGH"
        elif len(last) == 2 and all(t.level == level and good(t) for t in last):
            memory["mastered"] = max(level, memory["mastered"] if memory["mastered"] is not None else level)
            reason = "MASTERED"
            top, why = guard.ceiling(session, desk)
            if why is not None and top <= level:
                self._same_again(session, desk, why)
                return
            if higher and min(higher) <= top:
                level, action = min(higher), "STEP_UP"
        found = [e for e in entries if e.level == level]
        if not found:
            self.hold(session, desk, "THERAPIST", "NOTHING_APPROVED")
            return
        arousal = Arousal(self, session, rows, found)
        self.show(session, desk, arousal.nearest_band(), action, reason, None, arousal.expected(arousal.nearest_band()))

    def _consolidate(self, session: Session, memory: dict[str, Any], desk: Desk, entries: Sequence[Entry]) -> None:
        """Within the mastered band, what was met least often: new contexts (programs.md 2: variability)."""
        top, _ = guard.ceiling(session, desk)
        band = min(top, memory["mastered"] if memory["mastered"] is not None else session.level)
        found = [e for e in entries if e.level <= band]
        if not found:
            self.hold(session, desk, "THERAPIST", "NOTHING_APPROVED")
            return
        met: dict[str, int] = memory["met"]
        fewest = min(met.get(e.item_id, 0) for e in found)
        found = [e for e in found if met.get(e.item_id, 0) == fewest]
        entry = found[pick(session.draw(desk, self.policy), [1 / len(found)] * len(found))]
        met[entry.item_id] = met.get(entry.item_id, 0) + 1
        self.show(session, desk, entry, self.action, "MASTERED", 1 / len(found))

    # -- saying -------------------------------------------------------------------------------------------------------

    def show(
        self, session: Session, desk: Desk, entry: Entry, action: str, reason: str, prob: float | None = None,
        expected: Mapping[str, float | None] | None = None,
    ) -> None:  # fmt: skip
        params = {
            **entry.factors(self.program),
            "item_id": entry.item_id,
            "level": str(entry.level),
            "stage": session.stage,
        }
        if "distance" in entry.tags:
            params["distance"] = entry.tags["distance"]
        session.level = entry.level
        session.pending = [action, params, reason, prob, dict(expected or {})]
        session.say(desk, action, params, reason, self.policy, prob, expected)

    def again(self, session: Session, desk: Desk) -> bool:
        """Say the last choice again, e.g. after a pause; False if there is none. A step is not taken twice."""
        if session.pending is None:
            return False
        _, params, reason, prob, expected = session.pending
        session.say(desk, self.action, params, reason, self.policy, prob, expected)
        return True

    def _same_again(self, session: Session, desk: Desk, why: str) -> None:
        """The level would rise and may not: what was shown stays."""
        params = dict(session.pending[1]) if session.pending else {"level": str(session.level)}
        session.say(desk, "HOLD", params, why, self.policy)
        if why == "SIGNAL_LOST":
            newest = session.heart.newest()
            lost = {} if newest is None else {"lost_s": (desk.now - newest) / 1000}
            session.flag(desk, "SENSOR_LOST", **lost)

    def hold(self, session: Session, desk: Desk, reason: str, cause: str) -> None:
        session.say(desk, "HOLD", {"cause": cause}, reason, self.policy)


def good(trial: Trial) -> bool:
    """A trial that counts towards the next level (programs.md 2.4). No distress said = not known = not good."""
    return trial.suds is not None and (trial.suds <= GOOD_SUDS or (trial.violated and trial.suds < BAD_SUDS))


def _keys(shown: Mapping[str, str]) -> list[str]:
    single = [f"{f}={v}" for f, v in sorted(shown.items())]
    whole = ["&".join(single)] if len(single) > 2 else []
    return single + whole + [f"{a}&{b}" for i, a in enumerate(single) for b in single[i + 1 :]]


class Arousal:
    """Predicted arousal of stimuli, from heart rate and distress together, each as far as it is known."""

    def __init__(self, ladder: Ladder, session: Session, rows: Sequence[Row], entries: Sequence[Entry]) -> None:
        self.ladder, self.session, self.entries = ladder, session, list(entries)
        shown = [e.factors(ladder.program) for e in entries]
        known = evidence.levels(ladder.program, rows, shown)
        flat = [{**r, "hr": _mean_phase(r)} for r in rows] if ladder.program == "SPEECH" else rows
        self.fits = {
            o: evidence.fit(known, flat, o)
            for o, name in (("HR", "hr"), ("SUDS", "suds"))
            if sum(r.get(name) is not None for r in flat) >= FEWEST
        }
        now = {"trial": len(session.done()), "session": session.number, "previous": session.level}
        layout = fe.Layout(known, evidence.COVARIATES)
        place = [{**now, "distance": float(e.tags.get("distance", 0.0))} for e in entries]
        self.x = np.array([layout.row(s, c) for s, c in zip(shown, place, strict=True)])

    def draws(self, desk: Desk) -> Floats:
        """Posterior draws (200, n) in bpm; distress counts as heart rate divided by its scale, each by its precision."""
        study_key, parts = desk.settings.study_key, self.session.parts(desk, self.ladder.policy)
        out, weight = np.zeros((DRAWS, len(self.entries))), 0.0
        for outcome, f in self.fits.items():
            normals = draw.normals(study_key, [*parts, outcome], DRAWS, len(f.mean))
            scale = f.layout.scale
            spread = np.einsum("ij,jk,ik->i", self.x - self.x.mean(0), f.cov, self.x - self.x.mean(0)).mean() / scale**2
            w = 1 / max(float(spread), 1e-6)
            out, weight = out + w * f.draws(self.x, normals) / scale, weight + w
        if not weight:
            normals = draw.normals(study_key, [*parts, "NONE"], DRAWS, len(self.entries))
            return normals
        return out / weight

    def nearest_band(self) -> Entry:
        """Predicted distress nearest the band 40-60; inside it, nearest 50. Without distress, the least heart rate."""
        if "SUDS" in self.fits:
            mean = self.fits["SUDS"].predict(self.x)[0]
            off = np.maximum(np.maximum(BAND[0] - mean, mean - BAND[1]), 0.0)
            return self.entries[int(np.lexsort((np.abs(mean - 50), off))[0])]
        if "HR" in self.fits:
            return self.entries[int(np.argmin(self.fits["HR"].predict(self.x)[0]))]
        return self.entries[0]

    def expected(self, entry: Entry) -> dict[str, float | None]:
        """90 % band of heart rate at the end of the trial and expected distress, for the session's view."""
        i = self.entries.index(entry)
        out: dict[str, float | None] = {}
        if "HR" in self.fits:
            newest = self.session.heart.newest()
            base = self.session.heart.average(newest - 30_000, newest + 1) if newest is not None else None
            base = self.session.resting() if self.ladder.program == "SPEECH" else base
            if base is not None:
                mean, sd = (float(v[i]) for v in self.fits["HR"].predict(self.x))
                out["expected_hr_low_bpm"] = base + mean - QUANTILE * sd
                out["expected_hr_high_bpm"] = base + mean + QUANTILE * sd
        if "SUDS" in self.fits:
            out["expected_suds"] = float(np.clip(self.fits["SUDS"].predict(self.x)[0][i], 0.0, 100.0))
        return out


def _mean_phase(row: Row) -> float | None:
    values = list(row.get("phases", {}).values())
    return sum(values) / len(values) if values else None


__all__ = ["ASSESS", "CONSOLIDATE", "ENTRY", "GRADED", "Ladder", "good"]
