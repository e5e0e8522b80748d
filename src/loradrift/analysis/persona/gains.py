"""Trait gained at matched coherence: each arm at its best, and one arm less another."""

# Shape suffixes: V values, N questions, D doses, R resamples.

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.persona.arms import DISCRETE, Arm, distance
from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.persona.frontier import area, best_at, best_place
from loradrift.analysis.steering_cells.resampled import draws
from loradrift.statistics.bounded import Bounded
from loradrift.statistics.values import Array

RAISE, LOWER = 1, -1
SIDES = {RAISE: "raise", LOWER: "lower"}


class Reached(NamedTuple):
    """An arm's best on one side of dose 0."""

    curve: Curve
    """The side's, from dose 0 outwards."""

    side: int
    dose: float
    """Where the trait is best at the coherence that is asked for; NaN where none is so coherent."""

    best: Bounded
    """The trait there; of the lowering side turned round (100 less it)."""

    gain: Bounded
    """What it is more than without steering."""

    area: Bounded
    coherent: bool
    """Whether any measured dose but 0 is coherent enough."""

    edge: bool
    """Whether the best dose is the largest one: larger ones might be better."""

    measured: int | None
    """The place of the best measured dose that is coherent enough; None where there is none."""

    by_seed: Mapping[int, float]
    """The best trait of each direction alone; empty for one seed."""

    @property
    def arm(self) -> Arm:
        """Which arm."""
        return self.curve.arm


def reach(curve: Curve, side: int, threshold: float, weights_RN: Array) -> Reached:
    """The best of an arm at a coherence."""
    own, joined = curve.side(side), curve.arm.kind not in DISCRETE
    levels = [1] if not own.has_unknown else [0, 1, 2]
    traits_VND, coherences_VND = own.traits_VND[levels], own.coherences_VND[levels]
    points = traits_VND.mean(axis=1), coherences_VND.mean(axis=1)
    resampled = weights_RN @ traits_VND, weights_RN @ coherences_VND

    def bounded(values_V: Array, resamples_VR: Array) -> Bounded:
        shape = (3, resamples_VR.shape[1])
        return Bounded(np.broadcast_to(values_V, 3), np.broadcast_to(resamples_VR, shape))

    best = bounded(*(best_at(t, k, threshold, joined=joined) for t, k in (points, resampled)))
    under = bounded(*(area(t, k, joined=joined) for t, k in (points, resampled)))
    traits_D, coherences_D = (each[len(levels) // 2] for each in points)
    place = best_place(own.doses_D, traits_D, coherences_D, threshold, joined=joined)
    fit = [i for i in range(1, len(own.doses_D)) if coherences_D[i] >= threshold]
    return Reached(
        curve=own,
        side=side,
        dose=place.dose,
        best=best,
        gain=best.minus(own.trait_at(0, weights_RN)),
        area=under,
        coherent=bool(fit),
        edge=len(own.doses_D) > 1
        and place.dose == own.doses_D[-1]
        and own.arm.kind not in DISCRETE,
        measured=max(fit, key=lambda i: float(traits_D[i]), default=None),
        by_seed={
            seed: _best_of(each, threshold, joined=joined) for seed, each in own.by_seed.items()
        },
    )


def _best_of(curve: Curve, threshold: float, *, joined: bool) -> float:
    """The best trait of a curve as it was measured."""
    traits_D, coherences_D = curve.traits_VND[1].mean(axis=0), curve.coherences_VND[1].mean(axis=0)
    return float(best_at(traits_D, coherences_D, threshold, joined=joined))


def reach_all(curves: Sequence[Curve], threshold: float, seed: int) -> list[Reached]:
    """Every arm of every trait on both sides, as far as doses were measured there."""
    found = []
    for curve in curves:
        weights_RN = draws(curve.steered, seed, curve.num_questions)
        for side in SIDES:
            if len(curve.doses_D) == 1 or (curve.doses_D * side > 0).any():
                found.append(reach(curve, side, threshold, weights_RN))
    return found


def main_arms(reached: Sequence[Reached]) -> dict[str, Arm]:
    """The variant of each kind of arm that verdicts are about: the one that gains most.

    That is the mean over the traits in which most variants are coherent enough; of equal ones, the
    one with the default values. No arm is judged by a variant that does not suit the model.
    """
    found: dict[str, list[tuple[int, float, int, Arm]]] = {}
    for arm in sorted({each.arm for each in reached}, key=lambda arm: arm.order):
        own = [each.gain for each in reached if each.arm == arm and each.side == RAISE]
        gains = [gain.value for gain in own if not np.isnan(gain.value)]
        mean = float(np.mean(gains)) if gains else -np.inf
        found.setdefault(arm.kind, []).append((len(gains), mean, -distance(arm), arm))
    return {kind: max(variants, key=lambda v: v[:3])[3] for kind, variants in found.items()}


class Gap(NamedTuple):
    """One arm less another, at the coherence that is asked for, on the same questions."""

    trait: str
    side: int
    arm: Reached
    against: Reached
    difference: Bounded

    @property
    def num_questions(self) -> int:
        """The units of its interval."""
        return self.arm.curve.num_questions

    @property
    def by_seed(self) -> dict[int, float]:
        """The difference for each direction alone; of an arm without seeds the same for all."""
        sides = [each.by_seed for each in (self.arm, self.against)]
        seeds = [set(side) for side in sides if side]
        shared = sorted(set.intersection(*seeds)) if seeds else []
        ends = [each.best.value for each in (self.arm, self.against)]
        return {s: sides[0].get(s, ends[0]) - sides[1].get(s, ends[1]) for s in shared}


PAIRS = (
    ("weight", "activation"), ("weight", "prompt"), ("activation", "prompt"),
    ("weight", "weight_positive"), ("weight", "bias_only"), ("weight", "random_weight"),
    ("activation", "random_activation"),
)  # fmt: skip
"""Kinds of arms that are compared; the first less the second."""


def gaps(reached: Sequence[Reached]) -> list[Gap]:
    """All comparisons; every variant of an arm with every one of the other."""
    by_trait: dict[tuple[str, int], list[Reached]] = {}
    for each in reached:
        by_trait.setdefault((each.curve.steered, each.side), []).append(each)
    return [
        Gap(trait, side, left, right, left.best.minus(right.best))
        for (trait, side), own in by_trait.items()
        for pair in PAIRS
        for left in own
        if left.arm.kind == pair[0]
        for right in own
        if right.arm.kind == pair[1]
    ]


def gain_table(reached: Sequence[Reached]) -> pd.DataFrame:
    """One row per trait, side and arm."""
    return pd.DataFrame([_gain_row(each) for each in reached])


def _gain_row(each: Reached) -> dict[str, Any]:
    curve, n = each.curve, each.curve.num_questions
    gain, under, best = (part.interval(n) for part in (each.gain, each.area, each.best))
    sign = each.side
    measured: Mapping[str, float] = {"measured_dose": np.nan, "measured_coherence": np.nan}
    if each.measured is not None:
        measured = {
            "measured_dose": float(curve.doses_D[each.measured]),
            "measured_coherence": float(curve.coherences_VND[1, :, each.measured].mean()),
        }
    ends = (best.low, best.high) if sign > 0 else (100 - best.high, 100 - best.low)
    return {
        "trait": curve.steered,
        "side": SIDES[each.side],
        "arm": curve.arm.kind,
        "variant": curve.arm.variant,
        "questions": n,
        "by_seed": ", ".join(
            f"{own if sign > 0 else 100 - own:.3g}" for own in each.by_seed.values()
        ),
        "best_dose": each.dose,
        "best_trait": best.estimate if sign > 0 else 100 - best.estimate,
        "best_low": ends[0],
        "best_high": ends[1],
        "gain": gain.estimate,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "area": under.estimate,
        "area_low": under.low,
        "area_high": under.high,
        "coherent": each.coherent,
        "edge": each.edge,
        **measured,
    }


def gap_table(found: Sequence[Gap]) -> pd.DataFrame:
    """One row per comparison."""
    rows = []
    for each in found:
        interval = each.difference.interval(each.num_questions)
        areas = each.arm.area.minus(each.against.area).interval(each.num_questions)
        rows.append(
            {
                "trait": each.trait,
                "side": SIDES[each.side],
                "arm": each.arm.arm.kind,
                "variant": each.arm.arm.variant,
                "against": each.against.arm.kind,
                "against_variant": each.against.arm.variant,
                "difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "area_difference": areas.estimate,
                "area_low": areas.low,
                "area_high": areas.high,
                "questions": each.num_questions,
            }
        )
    return pd.DataFrame(rows)
