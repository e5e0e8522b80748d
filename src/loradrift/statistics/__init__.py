"""Tests, intervals and effect sizes for few seeds. ``docs/method.md`` says what each is for.

Primary: :func:`t_interval` with :func:`p_beyond`, :func:`task_differences`, :func:`max_t`. What
compares takes ``(treatment, control)``, a value per seed (S,) each.
All raise ValueError for values that are not finite or have another shape, for arms of different
length, and for a ``confidence`` that is not in (0, 1); a function's text adds what is its own.
"""

from loradrift.statistics.agreement import Agreement, Estimate, agreement
from loradrift.statistics.bootstrap import hierarchical_bootstrap
from loradrift.statistics.effect_size import hedges_factor, paired_d, pooled_d
from loradrift.statistics.heterogeneity import task_differences
from loradrift.statistics.intervals import (
    Interval,
    Variance,
    p_beyond,
    t_interval,
    variance_of_mean,
)
from loradrift.statistics.matched import Curve, Matched, cost_of, envelope, matched
from loradrift.statistics.paired import adjust, equivalence, paired_t
from loradrift.statistics.sign_flip import least_p, max_t, sign_flip
from loradrift.statistics.values import stack

__all__ = [
    "Agreement", "Curve", "Estimate", "Interval", "Matched", "Variance", "adjust", "agreement",
    "cost_of", "envelope", "equivalence", "hedges_factor", "hierarchical_bootstrap", "least_p",
    "matched", "max_t", "p_beyond", "paired_d", "paired_t", "pooled_d", "sign_flip", "stack",
    "t_interval", "task_differences", "variance_of_mean",
]  # fmt: skip
