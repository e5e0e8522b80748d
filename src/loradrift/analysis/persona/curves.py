"""Dose-response: trait and coherence of each question at each dose of an arm."""

# Shape suffixes: V values (unknown scores lowest, as the known ones, highest), N questions,
# D doses, R resamples.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.steering_cells.judged import Judged, Scores
from loradrift.analysis.steering_cells.resampled import mean_over
from loradrift.statistics.bounded import Bounded
from loradrift.statistics.values import Array

Cells = Mapping[float, Sequence[Judged]]
"""Dose -> cells, one per seed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """An arm on one trait's questions, as scored for one trait."""

    steered: str
    judged: str
    arm: Arm
    doses_D: Array
    """Ascending; 0 is among them."""

    traits_VND: Array
    coherences_VND: Array
    seeds: tuple[int, ...] = ()
    """Seeds of the directions, whose scores are averaged."""

    by_seed: Mapping[int, "Curve"] = field(default_factory=dict)
    """The curve of each direction alone; empty for one seed."""

    cells: Cells
    """What was measured; dose 0 may be the cell without steering."""

    @property
    def zero(self) -> int:
        """The place of dose 0."""
        return int(np.flatnonzero(self.doses_D == 0)[0])

    @property
    def num_questions(self) -> int:
        """The units of every interval."""
        return int(self.traits_VND.shape[1])

    def side(self, sign: int) -> "Curve":
        """From 0 to the largest dose of one sign; of the other sign with the trait turned round.

        What raises the turned trait lowers the trait.
        """
        places = np.flatnonzero(self.doses_D * sign >= 0)
        places = places[np.argsort(np.abs(self.doses_D[places]))]
        traits = self.traits_VND[:, :, places]
        return replace(
            self,
            doses_D=self.doses_D[places],
            traits_VND=traits if sign > 0 else 100 - traits[::-1],
            coherences_VND=self.coherences_VND[:, :, places],
            by_seed={seed: each.side(sign) for seed, each in self.by_seed.items()},
        )

    @cached_property
    def has_unknown(self) -> bool:
        """Whether any score is unknown."""
        return not (
            np.array_equal(self.traits_VND[0], self.traits_VND[2])
            and np.array_equal(self.coherences_VND[0], self.coherences_VND[2])
        )

    def trait_at(self, place: int, weights_RN: Array) -> Bounded:
        """The mean trait at a dose."""
        return mean_over(self.traits_VND[:, :, place], weights_RN)

    def coherence_at(self, place: int, weights_RN: Array) -> Bounded:
        """The mean coherence at a dose."""
        return mean_over(self.coherences_VND[:, :, place], weights_RN)


def make_curves(
    judged: Sequence[Judged], arms: Mapping[Judged, Arm], judged_trait: str | None = None
) -> tuple[list[Curve], list[str]]:
    """A curve for each trait and arm, and a line for what keeps cells out of one.

    ``judged_trait`` is the trait whose scores are read; None is the one that is steered. An arm
    without a cell of its own at dose 0 has the one without steering there.
    """
    curves, problems = [], []
    for trait in sorted({each.cell.trait for each in judged}):
        own = [each for each in judged if each.cell.trait == trait]
        known = judged_trait or trait
        own = [each for each in own if known in each.scores]
        nothing = [each for each in own if arms[each].kind == "none"]
        for arm in sorted({arms[each] for each in own}, key=lambda arm: arm.order):
            cells = _by_dose([each for each in own if arms[each] == arm])
            if 0.0 not in cells and nothing:
                cells[0.0] = nothing
            if 0.0 not in cells:
                problems.append(f"{arm.text} of {trait} has no dose 0, and arm=none is missing")
                continue
            made, lines = _curve(trait, known, arm, cells)
            curves.append(made)
            problems += lines
    return curves, problems


def _by_dose(judged: Sequence[Judged]) -> dict[float, list[Judged]]:
    cells: dict[float, list[Judged]] = {}
    for each in judged:
        cells.setdefault(each.cell.coefficient, []).append(each)
    return cells


def _curve(trait: str, known: str, arm: Arm, cells: Cells) -> tuple[Curve, list[str]]:
    """Average the seeds at every dose that all of them have."""
    seeds = sorted({each.cell.seed for dose, own in cells.items() if dose for each in own})
    kept, problems = {}, []
    for dose in sorted(cells):
        there = {each.cell.seed for each in cells[dose]}
        if dose and (lost := [str(seed) for seed in seeds if seed not in there]):
            problems.append(
                f"{arm.text} of {trait} at dose {dose:g} is left out: direction seed "
                f"{', '.join(lost)} lacks it"
            )
        else:
            kept[dose] = cells[dose]
    by_seed = {}
    for seed in seeds if len(seeds) > 1 else ():
        own = {dose: [each for each in at if each.cell.seed == seed] for dose, at in kept.items()}
        own[0.0] = own[0.0] or list(kept[0.0])  # no steering has no seed
        by_seed[seed] = _averaged(trait, known, arm, own)
    curve = _averaged(trait, known, arm, kept)
    return replace(curve, seeds=tuple(seeds), by_seed=by_seed), problems


def _averaged(trait: str, known: str, arm: Arm, cells: Cells) -> Curve:
    """The mean of the cells at each dose."""
    scores = [_average([each.scores[known] for each in own]) for own in cells.values()]
    return Curve(
        steered=trait,
        judged=known,
        arm=arm,
        doses_D=np.array(list(cells)),
        traits_VND=np.stack([each.trait_VN for each in scores], axis=2),
        coherences_VND=np.stack([each.coherence_VN for each in scores], axis=2),
        cells=cells,
    )


def _average(scores: Sequence[Scores]) -> Scores:
    """The mean over the seeds of a dose."""
    return Scores(*(np.mean(parts, axis=0) for parts in zip(*scores, strict=True)))
