"""Whether tasks disagree by more than the luck of the seeds.

Every task is run with the same seeds, so what a seed does to all tasks alike is taken out first:
the F test of the tasks in a layout of seeds and tasks (Fisher 1935, The Design of Experiments,
section 26). Where each task's value also depends on the rows it was measured on, their variance is
added to the noise.
"""

# Shape suffixes: S seeds, T tasks.

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from loradrift.statistics.intervals import Variance
from loradrift.statistics.values import snap


class Heterogeneity(NamedTuple):
    """Differences between tasks against the noise; NaN where there is nothing to compare."""

    f: float
    p: float
    df: tuple[int, int]


def task_differences(values_ST: ArrayLike, rows: Sequence[Variance] = ()) -> Heterogeneity:
    """Test whether all tasks have the same mean over seeds; NaN where a value is not finite.

    Args:
        values_ST: A value per seed and task (S, T).
        rows: Variance of each task's mean over seeds that its rows make.

    Example:
        >>> round(task_differences([[1, 3], [2, 4], [3, 6]]).p, 3)
        0.02
    """
    values_ST = np.asarray(values_ST, dtype=np.float64)
    s, t = values_ST.shape
    df = (t - 1, (s - 1) * (t - 1))
    if s == 1 or t == 1 or not np.isfinite(values_ST).all():
        return Heterogeneity(np.nan, np.nan, df)
    tasks_T = snap(values_ST.mean(axis=0) - values_ST.mean(), values_ST.ravel())
    rest_ST = values_ST - values_ST.mean(axis=0) - values_ST.mean(axis=1, keepdims=True)
    rest_ST = snap(rest_ST + values_ST.mean(), values_ST.ravel())
    between = s * float(np.square(tasks_T).sum()) / df[0]
    within = float(np.square(rest_ST).sum()) / df[1]
    within += s * sum(part.value for part in rows) / t
    if within == 0:
        return Heterogeneity(np.inf if between else np.nan, 0.0 if between else 1.0, df)
    return Heterogeneity(between / within, float(stats.f.sf(between / within, *df)), df)
