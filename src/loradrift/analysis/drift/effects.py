"""What stands beside the primary test and interval: effect sizes, descriptions, corrections."""

# Shape suffixes: S seeds, N probe rows.

from collections.abc import Mapping

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Arms
from loradrift.statistics import (
    adjust,
    equivalence,
    hierarchical_bootstrap,
    paired_d,
    paired_t,
    pooled_d,
    sign_flip,
)
from loradrift.statistics.values import Array

EQUAL = 20.0
"""Reductions within this many percent count as equal: the margin of H2."""

BOOTSTRAP_ERRORS = (
    "a description, not a test: with 3 seeds of one task its 95 % interval misses the truth in 5 "
    "to 29 % of cases, with 5 seeds in 3 to 16 % (docs/method.md)"
)


def overall(reduction: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The two-sided sign-flip test over all blocks.

    Args:
        reduction: ``task``, ``seed``, ``reduction_percent``: one block a row.
        rng: Draws the flips beyond 40 blocks.

    Returns:
        One row: ``tasks``, ``seeds``, ``blocks``, ``mean`` (over blocks), ``p_sign_flip``,
        ``least_p``, ``exact`` (all flips were counted).
    """
    values = reduction["reduction_percent"].to_numpy()
    test = sign_flip(values, rng=rng)
    row = {
        "tasks": reduction["task"].nunique(),
        "seeds": reduction["seed"].nunique(),
        "blocks": len(values),
        "mean": test.estimate,
        "p_sign_flip": test.p,
        "least_p": test.least_p,
        "exact": test.exact,
    }
    return pd.DataFrame([row])


def effect_table(
    arms: Arms,
    reduction: pd.DataFrame,
    by_row: Mapping[str, Array],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Per task everything that describes the difference of the arms' drifts.

    Args:
        arms: What is compared.
        reduction: ``task``, ``seed``, a column for each arm, ``reduction_percent``.
        by_row: The reduction of each task as pseudo-values of seeds and probe rows (S, N), whose
            mean is the reduction: rows cannot be drawn twice, their pseudo-values can.
        rng: Draws the bootstrap.
    """
    tests, rows = {}, []
    for task, own in reduction.groupby("task", sort=False):
        control, treatment = (own[name].to_numpy() for name in arms.names)
        change = own["reduction_percent"].to_numpy()
        tests[str(task)] = paired_t(treatment, control).p
        row: dict[str, object] = {"task": task, "seeds": len(own)}
        for name, size in (("d_z", paired_d), ("pooled_d", pooled_d)):
            effect = size(treatment, control)
            row |= {
                name: effect.d,
                f"{name}_hedges": effect.g,
                f"{name}_ci_lower": effect.low,
                f"{name}_ci_upper": effect.high,
            }
        spread = hierarchical_bootstrap({str(task): by_row[str(task)]}, rng)
        equal = equivalence(change, np.zeros_like(change), -EQUAL, EQUAL)
        row |= {
            "bootstrap_lower": spread.low,
            "bootstrap_upper": spread.high,
            "equivalence_lower": equal.interval.low,
            "equivalence_upper": equal.interval.high,
            "p_equivalence": equal.p,
            "p_t": tests[str(task)],
        }
        rows.append(row)
    corrected = adjust(tests)
    for row in rows:
        own_p = corrected[str(row["task"])]
        known = np.isfinite(tests[str(row["task"])])
        row |= {
            f"p_t_{name}": getattr(own_p, name) if known else np.nan
            for name in ("bonferroni", "holm", "benjamini_hochberg")
        }
    return pd.DataFrame(rows)
