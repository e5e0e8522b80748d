"""Several p-values at once: family-wise error (Bonferroni, Holm) and false discoveries (BH).

Holm 1979, Scand. J. Statist. 6:65; Benjamini & Hochberg 1995, JRSS B 57:289.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats


class Adjusted(NamedTuple):
    """One p-value among others."""

    p: float
    bonferroni: float
    holm: float
    benjamini_hochberg: float


def adjust(p_values: Mapping[str, float]) -> dict[str, Adjusted]:
    """Correct each p-value for the others.

    A NaN is a test that was planned and could not be made: it counts as 1, so that its result,
    once there, can only make the others' corrected values smaller.

    Raises:
        ValueError: If a p-value is outside [0, 1].

    Example:
        >>> adjust({"drift": 0.01, "score": 0.04})["drift"]
        Adjusted(p=0.01, bonferroni=0.02, holm=0.02, benjamini_hochberg=0.02)
    """
    for name, p in p_values.items():
        if not (np.isnan(p) or 0 <= p <= 1):
            raise ValueError(f"the p-value of {name} must be in [0, 1], got {p}")
    if not p_values:
        return {}
    p_N = np.nan_to_num(np.array(list(p_values.values()), dtype=np.float64), nan=1.0)
    order_N, count = np.argsort(p_N, kind="stable"), len(p_N)
    holm_N = np.empty(count)
    holm_N[order_N] = np.maximum.accumulate(p_N[order_N] * np.arange(count, 0, -1))
    columns = p_N, p_N * count, holm_N, stats.false_discovery_control(p_N)
    rows = zip(p_values, *(np.minimum(column, 1).tolist() for column in columns), strict=True)
    return {name: Adjusted(*values) for name, *values in rows}
