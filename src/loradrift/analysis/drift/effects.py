"""The ratio of drifts per task, and what describes it: effect sizes, corrections."""

# Shape suffixes: S seeds, N probe rows.

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.jackknife import jackknife_variance
from loradrift.analysis.drift.rounding import rounding_variance
from loradrift.statistics import (
    adjust,
    equivalence,
    hierarchical_bootstrap,
    paired_d,
    paired_t,
    pooled_d,
    sign_flip,
    t_interval,
)
from loradrift.statistics.values import Array

EQUAL = 0.8, 1.25
"""Ratios of drifts between which they count as equal: the margin of H2 and its reciprocal."""

BOOTSTRAP_ERRORS = (
    "a description, not a test: with 3 seeds of one task its 95 % interval misses the truth in 5 "
    "to 29 % of cases, with 5 seeds in 3 to 16 % (docs/method.md)"
)


def ratio_summary(
    reduction: pd.DataFrame,
    by_row: Mapping[str, Array],
    rounding: pd.DataFrame,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The ratio of drifts of each task, with its intervals and its exact test.

    ``by_row`` holds the log ratios of each task without each probe row in turn (S, N); seeds vary
    at least as much as ``rounding`` does.
    """
    rows = []
    for task, own in reduction.groupby("task", sort=False):
        values = own["log_ratio"].to_numpy()
        rounded = rounding_variance(rounding, [str(task)])
        least = 0.0 if rounded is None else rounded.value
        seeds = t_interval(values, least=least)
        rows_of_probe = jackknife_variance(by_row[str(task)].mean(axis=0))
        beyond = t_interval(values, rows_of_probe, least=least)
        test = sign_flip(values, rng=rng)
        row = {
            "task": task, "seeds": len(values),
            "ratio": np.exp(seeds.estimate),
            "ratio_lower": np.exp(seeds.low), "ratio_upper": np.exp(seeds.high),
            "ratio_lower_any_text": np.exp(beyond.low), "ratio_upper_any_text": np.exp(beyond.high),
            "mean": own["reduction_percent"].mean(), "std": own["reduction_percent"].std(),
            "p_sign_flip": test.p, "least_p": test.least_p,
            "row_variance": rows_of_probe.value, "row_df": rows_of_probe.df,
        }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def overall(
    reduction: pd.DataFrame, unlearned: Collection[str], rng: np.random.Generator
) -> pd.DataFrame:
    """The two-sided sign-flip test of no difference, over the seeds that every task has.

    A seed may be lucky on all tasks at once, so that its mean over tasks is what is independent.
    Tasks that were not learned take no part. ``exact`` says that all flips were counted: ``rng``
    draws them beyond 40 seeds. Without a seed that every task has, the numbers are NaN.
    """
    own = reduction[~reduction["task"].isin(unlearned)]
    wide = own.pivot(index="seed", columns="task", values="log_ratio").dropna()
    row: dict[str, object] = {"tasks": wide.shape[1], "seeds": len(wide)}
    row |= {"p_sign_flip": np.nan, "least_p": np.nan, "exact": True}
    if wide.size:
        test = sign_flip(wide.to_numpy().mean(axis=1), rng=rng)
        row |= {"p_sign_flip": test.p, "least_p": test.least_p, "exact": test.exact}
    return pd.DataFrame([row])


def effect_table(
    arms: Arms, reduction: pd.DataFrame, by_row: Mapping[str, Array], rng: np.random.Generator
) -> pd.DataFrame:
    """Everything that describes the difference of the arms' drifts, per task.

    ``by_row`` holds the log ratios of each task without each probe row in turn (S, N).
    """
    rows = []
    for task, own in reduction.groupby("task", sort=False):
        control, treatment = (own[name].to_numpy() for name in arms.names)
        log_ratio_S = own["log_ratio"].to_numpy()
        row: dict[str, object] = {"task": task, "seeds": len(own)}
        for name, size in (("d_z", paired_d), ("pooled_d", pooled_d)):
            effect = size(treatment, control)
            row |= {name: effect.d, f"{name}_hedges": effect.g}
            row |= {f"{name}_ci_lower": effect.low, f"{name}_ci_upper": effect.high}
        values_SN = _pseudo_values(log_ratio_S, by_row[str(task)])
        spread = hierarchical_bootstrap({str(task): values_SN}, rng)
        equal = equivalence(np.log(treatment), np.log(control), *np.log(EQUAL))
        row |= {
            "bootstrap_lower": np.exp(spread.low),
            "bootstrap_upper": np.exp(spread.high),
            "equivalence_lower": np.exp(equal.interval.low),
            "equivalence_upper": np.exp(equal.interval.high),
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


def _pseudo_values(log_ratio_S: Array, without_SN: Array) -> Array:
    """What each probe row adds to each seed's log ratio (S, N): their mean is the log ratio.

    Rows cannot be drawn twice; their pseudo-values can.
    """
    pulls_SN = without_SN.mean(axis=1, keepdims=True) - without_SN
    values_SN: Array = log_ratio_S[:, None] + (without_SN.shape[1] - 1) * pulls_SN
    return values_SN
