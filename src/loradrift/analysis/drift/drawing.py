"""The report's figures about drift, written from its tables."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.drift import figures
from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.tables import DriftTables, last_steps
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import canvas, draw_panels, save


def _of(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task]


def _per_task(
    tables: DriftTables,
    draw: Callable[[Any, str], Any],
    folder: Path,
    name: str,
    caption: str,
    **options: Any,
) -> Figure:
    return draw_panels(list(tables.summary["task"]), draw, folder, name, caption, **options)


def _reduction(tables: DriftTables, folder: Path) -> Figure:
    arms = tables.arms
    with canvas(1, width=5.6, height=1.1 + 0.55 * len(tables.summary)) as (figure, [axes]):
        figures.drift_reduction(axes, arms, tables.reduction, tables.summary)
        save(figure, folder, "drift_reduction")
    control, treatment = (arm.label for arm in arms)
    return Figure(
        "drift_reduction",
        f"Drift reduction: 100 (1 - drift of {treatment} / drift of {control}), mean over layers, "
        "at the last step. Diamonds: mean over seeds with its 95 % t interval (the probe's rows "
        f"held fixed); dots: seeds. Right of 0, {treatment} drifts less.",
    )


def _profiles(tables: DriftTables, folder: Path) -> Figure:
    last = last_steps(tables.drift[tables.drift["measure"] == "cka"])
    return _per_task(
        tables,
        lambda axes, task: figures.layer_profile(
            axes, tables.arms, _of(last, task), _of(tables.controls, task)
        ),
        folder,
        "layer_profiles",
        "Drift of each layer at the last step: mean over seeds, band from the least to the "
        "largest; each task has a scale of its own. The dotted floor is the base model against "
        "itself, in another order and in bfloat16; at most about "
        f"{tables.controls['floor'].max():.1e}.",
    )


def _steps(tables: DriftTables, folder: Path) -> Figure:
    return _per_task(
        tables,
        lambda axes, task: figures.drift_over_steps(
            axes, tables.arms, _of(tables.mean_drift, task)
        ),
        folder,
        "drift_over_steps",
        "Mean drift over layers while training: mean over seeds; thin lines: each seed. Each task "
        "has a scale of its own.",
    )


def _frontier(tables: DriftTables, folder: Path) -> Figure:
    metrics = tables.runs.drop_duplicates("task").set_index("task")["metric"]
    return _per_task(
        tables,
        lambda axes, task: figures.frontier(
            axes, tables.arms, _of(tables.frontier, task), metrics[task]
        ),
        folder,
        "frontier",
        "What drift (mean over layers) a performance costs: each run from its first validation to "
        "its last (large, outlined), with the best score so far. Up and to the left is better; "
        "each task has scales of its own.",
    )


def _layers(tables: DriftTables, folder: Path) -> Figure:
    arms, keys = tables.arms, ["task", "method", "base_layer", "layer"]
    grids = tables.grids.groupby(keys, sort=False)["cka"].mean().reset_index()
    wide = grids.pivot(index=["task", "base_layer", "layer"], columns="method", values="cka")
    limit = max(0.01, float((wide[arms.treatment.name] - wide[arms.control.name]).abs().max()))
    return _per_task(
        tables,
        lambda axes, task: figures.layer_difference(axes, arms, _of(grids, task), limit),
        folder,
        "layer_difference",
        f"CKA of every layer of the base model with every layer after training, {arms.minus}, "
        f"mean over seeds. Blue: more alike after {arms.treatment.label}. The diagonal compares a "
        "layer with itself.",
        color_bar=f"CKA, {arms.treatment.label}\nminus {arms.control.label}",
    )


def _forest(outcomes: Sequence[Outcome], folder: Path) -> Figure:
    with canvas(len(outcomes), width=6.4, height=1.0, columns=1) as (figure, panels):
        for axes, outcome in zip(panels, outcomes, strict=True):
            figures.hypothesis(axes, outcome)
        save(figure, folder, "hypotheses")
    return Figure(
        "hypotheses",
        "The hypotheses' estimates with 95 % intervals over seeds, each on a scale of its own. "
        "Dashed: the margin; shaded: where the hypothesis holds.",
    )


DRIFT: Drawers = {
    "drift_reduction": _reduction,
    "layer_profiles": _profiles,
    "drift_over_steps": _steps,
    "frontier": _frontier,
    "layer_difference": _layers,
}
"""The figures of :class:`DriftTables`."""

HYPOTHESES: Drawers = {"hypotheses": _forest}
"""The figure of the hypotheses' outcomes."""
