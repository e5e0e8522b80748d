"""Tests, intervals and effect sizes for few seeds. ``docs/method.md`` says what each is for.

Primary: :func:`sign_flip`, :func:`max_t`, :func:`t_interval`, :func:`noninferiority`,
:func:`equivalence`. What compares takes ``(treatment, control)``, a value per seed (S,) each.
All raise ValueError for values that are not finite or have another shape, for arms of different
length, and for a ``confidence`` that is not in (0, 1); a function's text adds what is its own.
"""

from loradrift.statistics.bootstrap import hierarchical_bootstrap
from loradrift.statistics.effect_size import hedges_factor, paired_d, pooled_d
from loradrift.statistics.intervals import (
    Interval,
    Variance,
    ratio_interval,
    t_interval,
    variance_of_mean,
)
from loradrift.statistics.paired import adjust, equivalence, noninferiority, paired_t
from loradrift.statistics.sign_flip import least_p, max_t, sign_flip
from loradrift.statistics.values import stack

__all__ = [
    "Interval", "Variance", "adjust", "equivalence", "hedges_factor", "hierarchical_bootstrap",
    "least_p", "max_t", "noninferiority", "paired_d", "paired_t", "pooled_d", "ratio_interval",
    "sign_flip", "stack", "t_interval", "variance_of_mean",
]  # fmt: skip
