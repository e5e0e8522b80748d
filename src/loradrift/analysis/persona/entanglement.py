"""What steering one trait does to the others."""

# Shape suffixes: V values, N questions, R resamples.

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.gains import Reached
from loradrift.analysis.steering_cells.resampled import draws, scores_over
from loradrift.statistics.bounded import Bounded, mean_of
from loradrift.statistics.values import Array


class Side(NamedTuple):
    """An arm's best measured dose on one trait's questions, beside no steering."""

    steered: str
    arm: Arm
    dose: float
    gains: Mapping[str, Bounded]
    """Judged trait -> what its score is more than without steering."""

    num_questions: int


def side_effects(reached: Sequence[Reached], seed: int) -> list[Side]:
    """The gain in every judged trait of each arm at its best coherent measured dose."""
    found = []
    for each in reached:
        if each.side < 0 or each.measured is None:
            continue
        curve = each.curve
        weights_RN = draws(curve.steered, seed, curve.num_questions)
        dose = float(curve.doses_D[each.measured])
        gains = {}
        for trait in sorted(curve.cells[dose][0].scores):
            sides = [scores_over(curve.cells[at], trait, weights_RN) for at in (dose, 0.0)]
            if sides[0] is not None and sides[1] is not None:
                gains[trait] = sides[0].minus(sides[1])
        found.append(Side(curve.steered, each.arm, dose, gains, curve.num_questions))
    return found


def matrix_table(sides: Sequence[Side]) -> pd.DataFrame:
    """One row per arm, steered and judged trait."""
    rows = []
    for side in sides:
        for judged, gain in side.gains.items():
            interval = gain.interval(side.num_questions)
            rows.append(
                {
                    "arm": side.arm.kind, "variant": side.arm.variant, "steered": side.steered,
                    "judged": judged, "dose": side.dose, "gain": interval.estimate,
                    "low": interval.low, "high": interval.high,
                }
            )  # fmt: skip
    columns = ["arm", "variant", "steered", "judged", "dose", "gain", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


class Selectivity(NamedTuple):
    """By how much an arm moves its own trait more than the one it moves most beside."""

    trait: str
    arm: Arm
    other: str
    difference: Bounded
    num_questions: int


def selectivity(sides: Sequence[Side]) -> list[Selectivity]:
    """Own gain less the largest change of another trait, up or down."""
    found = []
    for side in sides:
        others = {trait: gain for trait, gain in side.gains.items() if trait != side.steered}
        if not others or side.steered not in side.gains:
            continue
        changes = [_size(gain) for gain in others.values()]
        largest = Bounded(
            np.max([each.values_V for each in changes], axis=0),
            np.max([each.resamples_VR for each in changes], axis=0),
        )
        other = max(others, key=lambda trait: abs(others[trait].value))
        gap = side.gains[side.steered].minus(largest)
        found.append(Selectivity(side.steered, side.arm, other, gap, side.num_questions))
    return found


def _size(gain: Bounded) -> Bounded:
    """The absolute value; between ends of either sign the least is 0."""

    def sizes(low: Array, mid: Array, high: Array) -> Array:
        ends = np.abs(low), np.abs(high)
        least = np.where(low * high <= 0, 0.0, np.minimum(*ends))
        same = low == high
        return np.stack([np.where(same, ends[0], least), np.abs(mid), np.maximum(*ends)])

    return Bounded(sizes(*gain.values_V), sizes(*gain.resamples_VR))


def mean_selectivity(found: Sequence[Selectivity]) -> Bounded | None:
    """Over traits; None where there is none."""
    return mean_of([each.difference for each in found]) if found else None
