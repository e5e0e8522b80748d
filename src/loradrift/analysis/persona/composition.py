"""Two traits steered at once: whether each stays as strong as it is alone."""

# Shape suffixes: R resamples, N questions.

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.steering_cells.judged import Judged
from loradrift.analysis.steering_cells.resampled import draws, scores_over
from loradrift.statistics.bounded import Bounded
from loradrift.statistics.values import Array


class Composition(NamedTuple):
    """Two traits steered at once, on the questions of the first."""

    arm: Arm
    steered: str
    also: Mapping[str, float]
    dose: float
    judged: str
    gain: Bounded
    """Of both together over no steering."""

    kept: Bounded | None
    """Both together less this trait steered alone; None where that was not measured."""

    coherence: float
    num_questions: int


def compositions(
    judged: Sequence[Judged], arms: Mapping[Judged, Arm], seed: int
) -> tuple[list[Composition], list[str]]:
    """Every cell that steers two traits or more, and what is missing beside it.

    Doses of 0 stand for a trait that is not steered: with them the second trait alone is measured
    on the first one's questions.
    """
    plain = [each for each in judged if each.cell.arm == "none"]
    found, problems = [], []
    for (arm, trait, dose, also), cells in _groups(judged, arms).items():
        if not dose or not any(also.values()):
            continue
        nothing = [each for each in plain if each.cell.trait == trait]
        if not nothing:
            problems.append(f"two traits at once, {trait} first: arm=none of {trait} is missing")
            continue
        count = len(cells[0].cell.questions)
        weights_RN = draws(trait, seed, count)
        parts = [each.scores[trait].coherence_VN[1] for each in cells]
        for name in (trait, *also):
            gain = _between(cells, nothing, name, weights_RN)
            if gain is None:
                problems.append(f"{cells[0].cell.name} is not judged for {name}")
                continue
            alone = _alone(judged, arms, (arm, trait, dose, also), name)
            kept = _between(cells, alone, name, weights_RN) if alone else None
            found.append(Composition(
                arm, trait, dict(also), dose, name, gain, kept, float(np.mean(parts)), count
            ))  # fmt: skip
    return found, problems


class _Also(dict[str, float]):
    """Coefficients by trait, as a key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))


Key = tuple[Arm, str, float, _Also]


def _groups(judged: Sequence[Judged], arms: Mapping[Judged, Arm]) -> dict[Key, list[Judged]]:
    groups: dict[Key, list[Judged]] = {}
    for each in judged:
        cell = each.cell
        key = arms[each], cell.trait, cell.coefficient, _Also(cell.also)
        groups.setdefault(key, []).append(each)
    return groups


def _alone(
    judged: Sequence[Judged], arms: Mapping[Judged, Arm], key: Key, name: str
) -> list[Judged]:
    """The cells that steer one of the traits alone, on the same questions."""
    arm, trait, dose, also = key
    wanted = (dose, {}) if name == trait else (0.0, {name: also[name]})
    return [
        each
        for each in judged
        if (arms[each], each.cell.trait) == (arm, trait)
        and (each.cell.coefficient, dict(each.cell.also)) == wanted
    ]


def _between(
    cells: Sequence[Judged], others: Sequence[Judged], name: str, weights_RN: Array
) -> Bounded | None:
    left, right = (scores_over(each, name, weights_RN) for each in (cells, others))
    return None if left is None or right is None else left.minus(right)


def composition_table(found: Sequence[Composition]) -> pd.DataFrame:
    """One row per arm, pair of traits and judged trait."""
    rows: list[dict[str, Any]] = []
    for each in found:
        gain = each.gain.interval(each.num_questions)
        kept = each.kept.interval(each.num_questions) if each.kept else None
        rows.append(
            {
                "arm": each.arm.kind, "variant": each.arm.variant, "steered": each.steered,
                "dose": each.dose,
                "also": ", ".join(f"{trait} {dose:g}" for trait, dose in each.also.items()),
                "judged": each.judged, "gain": gain.estimate, "gain_low": gain.low,
                "gain_high": gain.high, "kept": kept.estimate if kept else np.nan,
                "kept_low": kept.low if kept else np.nan,
                "kept_high": kept.high if kept else np.nan, "coherence": each.coherence,
                "questions": each.num_questions,
            }
        )  # fmt: skip
    columns = ["arm", "variant", "steered", "dose", "also", "judged", "gain", "gain_low",
               "gain_high", "kept", "kept_low", "kept_high", "coherence", "questions"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
