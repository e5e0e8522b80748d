"""Tests, intervals and effect sizes for few seeds. ``docs/method.md`` says what each is for.

Primary: :func:`sign_flip`, :func:`max_t`, :func:`t_interval`, :func:`noninferiority`,
:func:`equivalence`. The jackknife of CKA is in :mod:`.jackknife`, which imports torch.
"""

from loradrift.analysis.statistics.bootstrap import Bootstrap, hierarchical_bootstrap
from loradrift.analysis.statistics.corrections import Adjusted, adjust
from loradrift.analysis.statistics.effect_size import (
    EffectSize,
    cohens_d,
    hedges_factor,
    paired_d,
    pooled_d,
)
from loradrift.analysis.statistics.intervals import (
    Interval,
    Variance,
    ratio_interval,
    t_interval,
    variance_of_mean,
)
from loradrift.analysis.statistics.paired import (
    Equivalence,
    TaskComparison,
    TTest,
    equivalence,
    noninferiority,
    paired_t,
    per_task,
)
from loradrift.analysis.statistics.sign_flip import MaxT, SignFlip, least_p, max_t, sign_flip
from loradrift.analysis.statistics.values import stack

__all__ = [
    "Adjusted",
    "Bootstrap",
    "EffectSize",
    "Equivalence",
    "Interval",
    "MaxT",
    "SignFlip",
    "TTest",
    "TaskComparison",
    "Variance",
    "adjust",
    "cohens_d",
    "equivalence",
    "hedges_factor",
    "hierarchical_bootstrap",
    "least_p",
    "max_t",
    "noninferiority",
    "paired_d",
    "paired_t",
    "per_task",
    "pooled_d",
    "ratio_interval",
    "sign_flip",
    "stack",
    "t_interval",
    "variance_of_mean",
]
