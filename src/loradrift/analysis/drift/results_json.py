"""``drift_analysis_results.json``: the keys that existing notebooks read, and new facts beside."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.effects import BOOTSTRAP_ERRORS, EQUAL
from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.rounding import rounding_json
from loradrift.analysis.drift.tables import DriftTables, last_steps


def drift_results(tables: DriftTables, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The results as JSON; what is not defined (a deviation of one seed) is null."""
    h2 = next(each for each in outcomes if each.hypothesis.table == "drift")
    reduction, means = tables.reduction, tables.summary["mean"]
    tasks = list(dict.fromkeys(reduction["task"]))
    overall = tables.overall.iloc[0].to_dict()
    results = {
        "control": tables.arms.control.name,
        "treatment": tables.arms.treatment.name,
        "not_compared": tables.others,
        "tasks_analyzed": tasks,
        "seeds_per_task": sorted(set(reduction["seed"])),
        "task_results": {task: _task(tables, task) for task in tasks},
        "cross_task_summary": {
            "mean_drift_reduction_all_tasks": means.mean(),
            "std_drift_reduction_all_tasks": means.std(ddof=1),
            "drift_ratio_all_tasks": {
                "ratio": None if h2.tasks_disagree else h2.ratio,
                "ci_95": [None, None] if h2.tasks_disagree else [h2.ratio_lower, h2.ratio_upper],
                "tasks_disagree": h2.tasks_disagree,
                "num_seeds": h2.num_seeds,
                "num_tasks": h2.num_tasks,
            },
            "sign_flip_all_tasks": {
                "num_seeds": overall["seeds"],
                "p_value": overall["p_sign_flip"],
                "least_p_value": overall["least_p"],
                "exact": overall["exact"],
            },
        },
    }
    return {key: _plain(value) for key, value in results.items()}


def _task(tables: DriftTables, task: str) -> dict[str, Any]:
    """The statistics and drifts of one task; differences are treatment minus control."""
    summary = tables.summary.set_index("task").loc[task]
    effects = tables.effects.set_index("task").loc[task]
    drift = last_steps(tables.drift[tables.drift["task"] == task]).set_index("method")
    learned = tables.learned[tables.learned["task"] == task]

    sizes = {}
    for name in ("d_z", "pooled_d"):
        interval = list(effects[[f"{name}_ci_lower", f"{name}_ci_upper"]])
        sizes[name] = {"d": effects[name], "g": effects[f"{name}_hedges"], "ci_95": interval}
    return {
        "learned": {row["method"]: _learned(row) for row in learned.to_dict("records")},
        "comparison_statistics": {
            "mean_drift_reduction_percent": summary["mean"],
            "std_drift_reduction_percent": summary["std"],
            "drift_ratio": {
                "ratio": summary["ratio"],
                "ci_95": list(summary[["ratio_lower", "ratio_upper"]]),
                "ci_95_any_text": list(summary[["ratio_lower_any_text", "ratio_upper_any_text"]]),
            },
            "significance_test": {
                "name": "paired t-test",
                "p_value": effects["p_t"],
                "significant_at_05": effects["p_t"] < 0.05,
                "p_value_bonferroni": effects["p_t_bonferroni"],
                "p_value_holm": effects["p_t_holm"],
                "p_value_benjamini_hochberg": effects["p_t_benjamini_hochberg"],
                "cohens_d": effects["pooled_d"],
                "p_value_sign_flip": summary["p_sign_flip"],
                "least_p_value_sign_flip": summary["least_p"],
            },
            "effect_sizes": sizes,
            "equivalence": {
                "equal_ratios": list(EQUAL),
                "ci_90_ratio": list(effects[["equivalence_lower", "equivalence_upper"]]),
                "p_value": effects["p_equivalence"],
            },
            "hierarchical_bootstrap": {
                "ci_95_ratio": list(effects[["bootstrap_lower", "bootstrap_upper"]]),
                "note": BOOTSTRAP_ERRORS,
            },
        },
        "rounding": rounding_json(tables.rounding, task),
        "all_results": {
            method: [
                {"seed": seed, "layer_wise_drift": _layer_wise(own)}
                for seed, own in drift.loc[[method]].groupby("seed")
            ]
            for method in tables.arms.names
        },
    }


def _learned(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Whether an arm beats the best constant answer; null where nobody can tell."""
    judged = not row["why_not_judged"]
    return {
        "learned": bool(row["learned"]) if judged else None,
        "metric": row["metric"],
        "score": row["score"],
        "ci_95": [row["ci_lower"], row["ci_upper"]],
        "baseline": row["baseline"],
        "why_not_judged": row["why_not_judged"] or None,
    }


def _layer_wise(drift: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The drift of each layer where one run is compared."""
    last = drift.pivot(index="layer", columns="measure", values="drift")
    return {
        f"layer_{layer}": {"cka": 1 - row["cka"], "cosine": 1 - row["cosine"], "drift": row["cka"]}
        for layer, row in last.iterrows()
    }


def _plain(value: Any) -> Any:
    """Python's own numbers, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
