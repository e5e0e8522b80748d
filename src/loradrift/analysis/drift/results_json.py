"""``drift_analysis_results.json``: the keys that existing notebooks read, and new facts beside."""

import math
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.effects import BOOTSTRAP_ERRORS, EQUAL
from loradrift.analysis.drift.tables import DriftTables, last_steps


def drift_results(tables: DriftTables) -> dict[str, Any]:
    """The results as JSON; what is not defined (a deviation of one seed) is null."""
    reduction = tables.reduction
    tasks = list(dict.fromkeys(reduction["task"]))
    results = {task: _task(tables, task) for task in tasks}
    means, overall = tables.summary["mean"], tables.overall.iloc[0].to_dict()
    plain: dict[str, Any] = _plain(
        {
            "control": tables.arms.control.name,
            "treatment": tables.arms.treatment.name,
            "not_compared": tables.others,
            "tasks_analyzed": tasks,
            "seeds_per_task": sorted({int(seed) for seed in reduction["seed"]}),
            "task_results": results,
            "cross_task_summary": {
                "mean_drift_reduction_all_tasks": means.mean(),
                "std_drift_reduction_all_tasks": means.std(ddof=1),
                "sign_flip_all_blocks": {
                    "num_blocks": overall["blocks"],
                    "mean_drift_reduction_percent": overall["mean"],
                    "p_value": overall["p_sign_flip"],
                    "least_p_value": overall["least_p"],
                    "exact": overall["exact"],
                },
            },
        }
    )
    return plain


def _task(tables: DriftTables, task: str) -> dict[str, Any]:
    summary = tables.summary[tables.summary["task"] == task].iloc[0]
    effects = tables.effects[tables.effects["task"] == task].iloc[0]
    drift = last_steps(tables.drift[tables.drift["task"] == task])
    return {
        "comparison_statistics": {
            "mean_drift_reduction_percent": summary["mean"],
            "std_drift_reduction_percent": summary["std"],
            "ci_95_percent": [summary["ci_lower"], summary["ci_upper"]],
            "ci_95_percent_any_text": [
                summary["ci_lower_any_text"],
                summary["ci_upper_any_text"],
            ],
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
            **_descriptions(effects),
        },
        "all_results": {
            method: [
                {"seed": int(seed), "layer_wise_drift": _layer_wise(own, int(seed))}
                for seed in sorted(own["seed"].unique())
            ]
            for method in tables.arms.names
            for own in [drift[drift["method"] == method]]
        },
    }


def _descriptions(effects: "pd.Series[Any]") -> dict[str, Any]:
    """What stands beside the tests, of one task; differences are treatment minus control."""

    def size(name: str) -> dict[str, Any]:
        interval = [effects[f"{name}_ci_lower"], effects[f"{name}_ci_upper"]]
        return {"d": effects[name], "g": effects[f"{name}_hedges"], "ci_95": interval}

    return {
        "effect_sizes": {"d_z": size("d_z"), "pooled_d": size("pooled_d")},
        "equivalence": {
            "margin_percent": EQUAL,
            "ci_90_percent": [effects["equivalence_lower"], effects["equivalence_upper"]],
            "p_value": effects["p_equivalence"],
        },
        "hierarchical_bootstrap": {
            "ci_95_percent": [effects["bootstrap_lower"], effects["bootstrap_upper"]],
            "note": BOOTSTRAP_ERRORS,
        },
    }


def _layer_wise(drift: pd.DataFrame, seed: int) -> dict[str, dict[str, float]]:
    """Of the last step of one arm's run."""
    last = drift[drift["seed"] == seed].pivot(index="layer", columns="measure", values="drift")
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
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
