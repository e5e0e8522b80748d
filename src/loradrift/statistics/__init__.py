"""Tests, intervals and effect sizes for few seeds. ``docs/method.md`` says what each is for.

Primary: :func:`sign_flip`, :func:`max_t`, :func:`t_interval`, :func:`noninferiority`,
:func:`equivalence`. What compares takes ``(treatment, control)``, a value per seed each.
"""

from loradrift.statistics.bootstrap import Bootstrap, hierarchical_bootstrap
from loradrift.statistics.corrections import Adjusted, adjust
from loradrift.statistics.effect_size import (
    EffectSize,
    cohens_d,
    hedges_factor,
    paired_d,
    pooled_d,
)
from loradrift.statistics.intervals import (
    Interval,
    Variance,
    ratio_interval,
    t_interval,
    variance_of_mean,
)
from loradrift.statistics.paired import (
    Equivalence,
    TTest,
    equivalence,
    noninferiority,
    paired_t,
)
from loradrift.statistics.sign_flip import MaxT, SignFlip, least_p, max_t, sign_flip
from loradrift.statistics.values import stack

__all__ = [
    "Adjusted", "Bootstrap", "EffectSize", "Equivalence", "Interval", "MaxT", "SignFlip", "TTest",
    "Variance", "adjust", "cohens_d", "equivalence", "hedges_factor", "hierarchical_bootstrap",
    "least_p", "max_t", "noninferiority", "paired_d", "paired_t", "pooled_d", "ratio_interval",
    "sign_flip", "stack", "t_interval", "variance_of_mean",
]  # fmt: skip
