r"""What a chain of tasks does to the tasks before: accuracy, backward transfer and forgetting.

``R[k][j]`` is the score of task j after step k, ``T`` the number of tasks:

    average accuracy    1 / T      sum over j      of  R[T][j]
    backward transfer   1 / (T-1)  sum over j < T  of  R[T][j] - R[j][j]
    forgetting          1 / (T-1)  sum over j < T  of  max over l < T of R[l][j]  -  R[T][j]

The second is Lopez-Paz & Ranzato 2017 (arXiv:1706.08840, eq. 3), the third Chaudhry et al. 2018
(arXiv:1801.10112, eq. 3). All are means over tasks, seed by seed. Seeds vary, and so would the
evaluated rows, which all steps, seeds and arms share: the variance that rows make is the jackknife
of the mean over seeds, rows paired between ``R[T][j]`` and ``R[j][j]``.
"""

# Shape suffixes: K steps from a task's own on, S seeds, N rows.

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from loradrift.analysis.drift.jackknife import jackknife_variance
from loradrift.analysis.sequence.scores import Column
from loradrift.statistics import Variance, variance_of_mean
from loradrift.statistics.values import Array

Columns = Mapping[int, Mapping[str, Column]]
"""Seed -> task -> an arm's scores."""


class Measure(NamedTuple):
    """A mean over tasks."""

    label: str
    term: Callable[[Array], Array]
    """A task's scores (K, ...) from its own step on -> its term (...)."""

    has_last: bool = False
    """Whether the last task has a term: nothing comes after it that it could be forgotten by."""

    is_smooth: bool = True
    """Whether leaving out rows tells how it varies: not so of a maximum."""


MEASURES = {
    "accuracy": Measure("average accuracy", lambda scores: scores[-1], has_last=True),
    "backward_transfer": Measure("backward transfer", lambda scores: scores[-1] - scores[0]),
    "forgetting": Measure(
        "forgetting", lambda scores: scores[:-1].max(axis=0) - scores[-1], is_smooth=False
    ),
}


def per_seed(columns: Columns, measure: Measure, tasks: Sequence[str]) -> dict[int, float]:
    """Seed -> mean over these tasks."""
    return {
        seed: float(np.mean([measure.term(own[task].scores_K) for task in tasks]))
        for seed, own in columns.items()
    }


def row_variance(
    columns: Columns, measure: Measure, tasks: Sequence[str], control: Columns | None = None
) -> Variance | None:
    """What the evaluated rows add to the variance of the mean over seeds; None if not known.

    Of the difference to ``control``, which has the same seeds, where that is given. Tasks have rows
    of their own, so their variances add up.
    """
    if not measure.is_smooth:
        return None
    parts = []
    for task in tasks:
        sides = [columns] if control is None else [columns, control]
        found = [_mean_replicates(side, measure, task) for side in sides]
        if any(each is None for each in found) or len({len(e) for e in found if e is not None}) > 1:
            return None
        first, *others = [each for each in found if each is not None]
        parts.append(jackknife_variance(first - others[0] if others else first))
    return variance_of_mean(parts)


def _mean_replicates(columns: Columns, measure: Measure, task: str) -> Array | None:
    """The mean over seeds of a task's term, without each row (N,)."""
    found = [own[task].without_KN for own in columns.values()]
    known = [each for each in found if each is not None]
    if len(known) < len(found) or len({each.shape for each in known}) > 1:
        return None
    mean_N: Array = np.mean([measure.term(each) for each in known], axis=0)
    return mean_N


def over_rows(estimate: float, rows: Variance | None) -> tuple[float, float]:
    """The 95 % interval over evaluated rows, for these seeds; NaN where it is not known.

    >>> low, high = over_rows(1.0, Variance(0.01, 199))
    >>> round(low, 2), round(high, 2)
    (0.8, 1.2)
    """
    if rows is None:
        return np.nan, np.nan
    half = float(stats.t.ppf(0.975, rows.df) * np.sqrt(rows.value))
    return estimate - half, estimate + half
