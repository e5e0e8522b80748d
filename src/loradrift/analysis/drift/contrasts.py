"""The logarithm of the arms' ratio, seed by seed: of one task, or averaged over tasks."""

# Shape suffixes: S seeds, T tasks.

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from loradrift.analysis.drift.hypotheses import Evidence, Hypothesis
from loradrift.statistics import Interval, Variance, p_beyond, t_interval, variance_of_mean
from loradrift.statistics.values import Array

Side = Literal["greater", "less"]


class Contrast(NamedTuple):
    """A log ratio per seed, and what it varies by beside the seeds' own luck."""

    values_S: Array
    rows: Variance | None
    """Variance of the mean over seeds that the probe's rows make."""

    rounding: float
    """Variance of one seed's value that rounding makes."""

    def interval(self, confidence: float) -> Interval:
        """The interval of the mean over seeds."""
        return t_interval(self.values_S, self.rows, confidence, self.rounding)

    def p(self, bound: float, side: Side) -> float:
        """The one-sided p-value that goes with the interval."""
        return p_beyond(self.values_S, bound, side, self.rows, self.rounding)


def log_ratios(treatment_ST: Array, control_ST: Array) -> Array:
    """Infinite or NaN where a value is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(treatment_ST) - np.log(control_ST)


def over_tasks(
    hypothesis: Hypothesis, treatment_ST: Array, control_ST: Array, evidence: Evidence
) -> Contrast:
    """The contrast of all tasks together, as the hypothesis averages them."""
    if hypothesis.of_means:
        values_S = log_ratios(treatment_ST.mean(axis=1), control_ST.mean(axis=1))
    else:
        values_S = log_ratios(treatment_ST, control_ST).mean(axis=1)
    return Contrast(values_S, *_noise(evidence, list(evidence.treatment)))


def by_task(treatment_ST: Array, control_ST: Array, evidence: Evidence) -> list[Contrast]:
    """The contrast of each task by itself."""
    ratios_ST = log_ratios(treatment_ST, control_ST)
    tasks = zip(evidence.treatment, ratios_ST.T, strict=True)
    return [Contrast(values_S, *_noise(evidence, [task])) for task, values_S in tasks]


def _noise(evidence: Evidence, tasks: Sequence[str]) -> tuple[Variance | None, float]:
    rows = None
    if evidence.rows is not None:
        rows = variance_of_mean([evidence.rows[task] for task in tasks])
    rounding = sum((evidence.rounding or {}).get(task, 0.0) for task in tasks)
    return rows, rounding / len(tasks) ** 2
