"""The study's figures, written from its tables."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from loradrift.analysis.drift import figures
from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.tables import DriftTables, last_steps
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import canvas, finish_panels, save


def _of(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task]


def _reduction(study: DriftTables, folder: Path) -> Figure:
    with canvas(1, width=5.6, height=1.1 + 0.55 * len(study.summary)) as (figure, [axes]):
        figures.drift_reduction(axes, study.reduction, study.summary)
        save(figure, folder, "drift_reduction")
    return Figure(
        "drift_reduction",
        "Drift reduction: 100 (1 - drift of LoRA / drift of full fine-tuning), mean over layers, "
        "at the last step. Diamonds: mean over seeds with its 95 % t interval (the probe's rows "
        "held fixed); dots: seeds. Right of 0, LoRA drifts less.",
    )


def _profiles(study: DriftTables, folder: Path) -> Figure:
    tasks = list(study.summary["task"])
    last = last_steps(study.drift[study.drift["measure"] == "cka"])
    with canvas(len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            figures.layer_profile(axes, _of(last, task), _of(study.controls, task), task)
        finish_panels(figure, panels)
        save(figure, folder, "layer_profiles")
    return Figure(
        "layer_profiles",
        "Drift of each layer at the last step: mean over seeds, band from the least to the "
        "largest; each task has a scale of its own. The dotted floor is the base model against "
        "itself, in another order and in bfloat16; at most about "
        f"{study.controls['floor'].max():.1e}.",
    )


def _steps(study: DriftTables, folder: Path) -> Figure:
    tasks = list(study.summary["task"])
    with canvas(len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            figures.drift_over_steps(axes, _of(study.mean_drift, task), task)
        finish_panels(figure, panels)
        save(figure, folder, "drift_over_steps")
    return Figure(
        "drift_over_steps",
        "Mean drift over layers while training: mean over seeds; thin lines: each seed. Each task "
        "has a scale of its own.",
    )


def _frontier(study: DriftTables, folder: Path) -> Figure:
    tasks = list(study.summary["task"])
    metrics = study.runs.drop_duplicates("task").set_index("task")["metric"]
    with canvas(len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            figures.frontier(axes, _of(study.frontier, task), metrics[task], task)
        finish_panels(figure, panels)
        save(figure, folder, "frontier")
    return Figure(
        "frontier",
        "What drift (mean over layers) a performance costs: each run from its first validation to "
        "its last (large, outlined), with the best score so far. Up and to the left is better; "
        "each task has scales of its own.",
    )


def _layers(study: DriftTables, folder: Path) -> Figure:
    tasks = list(study.summary["task"])
    keys = ["task", "method", "base_layer", "layer"]
    grids = study.grids.groupby(keys, sort=False)["cka"].mean().reset_index()
    wide = grids.pivot(index=["task", "base_layer", "layer"], columns="method", values="cka")
    limit = max(0.01, float((wide["lora"] - wide["full_finetune"]).abs().max()))
    with canvas(len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            image = figures.layer_difference(axes, _of(grids, task), task, limit)
        finish_panels(figure, panels)
        figure.set_layout_engine("compressed")  # squares, side by side
        bar = figure.colorbar(image, ax=panels, shrink=0.85, aspect=30, pad=0.02)
        bar.set_label("CKA, LoRA minus full", fontsize=8)
        save(figure, folder, "layer_difference")
    return Figure(
        "layer_difference",
        "CKA of every layer of the base model with every layer after training, LoRA minus full "
        "fine-tuning, mean over seeds. Blue: more alike after LoRA. The diagonal compares a layer "
        "with itself.",
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


STUDY: Drawers = {
    "drift_reduction": _reduction,
    "layer_profiles": _profiles,
    "drift_over_steps": _steps,
    "frontier": _frontier,
    "layer_difference": _layers,
}
"""The figures of a study's :class:`DriftTables`."""

HYPOTHESES: Drawers = {"hypotheses": _forest}
"""The figure of the hypotheses' outcomes."""
