"""Several p-values at once: family-wise error (Bonferroni, Holm) and false discoveries (BH).

Holm 1979, Scand. J. Statist. 6:65; Benjamini & Hochberg 1995, JRSS B 57:289.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


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
    """
    from statsmodels.stats.multitest import multipletests  # takes a second to import

    for name, p in p_values.items():
        if not (np.isnan(p) or 0 <= p <= 1):
            raise ValueError(f"the p-value of {name} must be in [0, 1], got {p}")
    if not p_values:
        return {}
    counted = np.nan_to_num(np.array(list(p_values.values()), dtype=np.float64), nan=1.0)
    corrected = [
        multipletests(counted, method=method)[1] for method in ("bonferroni", "holm", "fdr_bh")
    ]
    rows = zip(p_values, counted, *corrected, strict=True)
    return {name: Adjusted(*map(float, values)) for name, *values in rows}
