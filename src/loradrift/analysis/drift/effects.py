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
    """The two-sided sign-flip test over all blocks, of which ``reduction`` has one a row.

    ``exact`` says that all flips were counted: ``rng`` draws them beyond 40 blocks.
    """
    test = sign_flip(reduction["reduction_percent"].to_numpy(), rng=rng)
    counts = [reduction["task"].nunique(), reduction["seed"].nunique(), len(reduction)]
    columns = ["tasks", "seeds", "blocks", "mean", "p_sign_flip", "least_p", "exact"]
    row = [*counts, test.estimate, test.p, test.least_p, test.exact]
    return pd.DataFrame([row], columns=columns)


def effect_table(
    arms: Arms, reduction: pd.DataFrame, by_row: Mapping[str, Array], rng: np.random.Generator
) -> pd.DataFrame:
    """Everything that describes the difference of the arms' drifts, per task.

    ``by_row`` holds the reductions of each task without each probe row in turn (S, N).
    """
    rows = []
    for task, own in reduction.groupby("task", sort=False):
        control, treatment = (own[name].to_numpy() for name in arms.names)
        change_S = own["reduction_percent"].to_numpy()
        row: dict[str, object] = {"task": task, "seeds": len(own)}
        for name, size in (("d_z", paired_d), ("pooled_d", pooled_d)):
            effect = size(treatment, control)
            row |= {name: effect.d, f"{name}_hedges": effect.g}
            row |= {f"{name}_ci_lower": effect.low, f"{name}_ci_upper": effect.high}
        values_SN = _pseudo_values(change_S, by_row[str(task)])
        spread = hierarchical_bootstrap({str(task): values_SN}, rng)
        equal = equivalence(change_S, np.zeros_like(change_S), -EQUAL, EQUAL)
        row |= {
            "bootstrap_lower": spread.low,
            "bootstrap_upper": spread.high,
            "equivalence_lower": equal.interval.low,
            "equivalence_upper": equal.interval.high,
            "p_equivalence": equal.p,
            "p_t": paired_t(treatment, control).p,
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    corrected = adjust(dict(zip(table["task"], table["p_t"], strict=True)))
    for name in ("bonferroni", "holm", "benjamini_hochberg"):
        adjusted = pd.Series([getattr(corrected[task], name) for task in table["task"]])
        table[f"p_t_{name}"] = adjusted.where(table["p_t"].notna())
    return table


def _pseudo_values(change_S: Array, without_SN: Array) -> Array:
    """What each probe row adds to each seed's reduction (S, N): their mean is the reduction.

    Rows cannot be drawn twice; their pseudo-values can.
    """
    pulls_SN = without_SN.mean(axis=1, keepdims=True) - without_SN
    values_SN: Array = change_S[:, None] + (without_SN.shape[1] - 1) * pulls_SN
    return values_SN
