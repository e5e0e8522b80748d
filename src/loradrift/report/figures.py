"""One function per figure: a table goes in, axes are drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.hypotheses import Outcome, Verdict
from loradrift.report.style import COLORS, LABELS, MARKERS, task_label

METHODS = ("full_finetune", "lora")


def drift_reduction(axes: Any, reduction: pd.DataFrame, summary: pd.DataFrame) -> None:
    """How much less LoRA drifts, per task: seeds as dots, mean and 95 % interval.

    Args:
        axes: One panel.
        reduction: ``task``, ``seed``, ``reduction_percent``.
        summary: ``task``, ``mean``, ``ci_lower``, ``ci_upper``, in percent.
    """
    rows: Any = summary.itertuples()
    for place, row in enumerate(rows):
        seeds = reduction.loc[reduction["task"] == row.task, "reduction_percent"]
        spread = np.linspace(-0.12, 0.12, len(seeds)) if len(seeds) > 1 else [0.0]
        axes.plot(
            seeds, place + np.asarray(spread) + 0.22, "o", color=COLORS["lora"], alpha=0.55, mew=0
        )
        interval = [[row.mean - row.ci_lower], [row.ci_upper - row.mean]]
        drawn = interval if np.isfinite(interval).all() else None
        axes.errorbar(row.mean, place, xerr=drawn, fmt="D", color="black", capsize=3, ms=5)
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(20, color="gray", lw=0.8, ls="--")
    axes.annotate(
        "hypothesis: 20 %", (20, 1), xycoords=("data", "axes fraction"), ha="left", va="bottom",
        fontsize=7, color="gray",
    )  # fmt: skip
    axes.set_yticks(range(len(summary)), [task_label(task) for task in summary["task"]])
    axes.set_ylim(len(summary) - 0.4, -0.5)
    axes.set_xlabel("drift reduction of LoRA against full fine-tuning (%)")


def layer_profile(axes: Any, drift: pd.DataFrame, controls: pd.DataFrame, task: str) -> None:
    """Drift of each layer at the last dump: mean and range over seeds, the floor below.

    Args:
        axes: One panel.
        drift: ``method``, ``seed``, ``layer``, ``drift`` of the last step of one task.
        controls: ``layer``, ``floor``, ``shuffled`` of the task.
        task: Its name.
    """
    for method in METHODS:
        layers = drift[drift["method"] == method].groupby("layer")["drift"]
        mean, low, high = layers.mean(), layers.min(), layers.max()
        axes.fill_between(mean.index, low, high, color=COLORS[method], alpha=0.2, lw=0)
        axes.plot(
            mean.index, mean, marker=MARKERS[method], color=COLORS[method], label=LABELS[method]
        )
    floor = controls.groupby("layer")["floor"].mean()
    label = f"floor, at most {floor.max():.0e}"
    axes.plot(floor.index, floor, ls=":", color="gray", label=label)
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted(drift["layer"].unique()))
    axes.set_xlabel("layer")
    axes.set_ylabel("drift (1 - CKA)")
    axes.set_title(task_label(task))


def drift_over_steps(axes: Any, mean_drift: pd.DataFrame, task: str) -> None:
    """Mean drift over layers against the optimizer step; one thin line per seed.

    Args:
        axes: One panel.
        mean_drift: ``method``, ``seed``, ``step``, ``drift`` of one task.
        task: Its name.
    """
    for method in METHODS:
        own = mean_drift[mean_drift["method"] == method]
        for _, seed in own.groupby("seed"):
            axes.plot(seed["step"], seed["drift"], color=COLORS[method], alpha=0.3, lw=0.8)
        mean = own.groupby("step")["drift"].mean()
        axes.plot(
            mean.index, mean, marker=MARKERS[method], color=COLORS[method], label=LABELS[method]
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("mean drift over layers (1 - CKA)")
    axes.set_title(task_label(task))


def frontier(axes: Any, points: pd.DataFrame, metric: str, task: str) -> None:
    """What drift a performance costs: each run's path from its first validation on.

    Args:
        axes: One panel.
        points: ``method``, ``seed``, ``score``, ``drift`` of one task, in order of steps.
        metric: Name of the score.
        task: Its name.
    """
    for method in METHODS:
        for number, (_, path) in enumerate(points[points["method"] == method].groupby("seed")):
            axes.plot(
                path["drift"], path["score"], color=COLORS[method], marker=MARKERS[method],
                alpha=0.6, lw=1, ms=3, label=LABELS[method] if not number else None,
            )  # fmt: skip
            axes.plot(path["drift"].iloc[-1], path["score"].iloc[-1], MARKERS[method],
                      color=COLORS[method], ms=7, mec="black", mew=0.6)  # fmt: skip
    axes.set_xlabel("mean drift over layers (1 - CKA)")
    axes.set_ylabel(f"validation {metric}, best so far")
    axes.set_title(task_label(task))


def layer_difference(figure: Any, axes: Any, grids: pd.DataFrame, task: str, limit: float) -> None:
    """CKA of every base layer with every tuned layer: LoRA minus full fine-tuning.

    Args:
        figure: Holds the colour bar.
        axes: One panel.
        grids: ``method``, ``base_layer``, ``layer``, ``cka``, the mean over seeds, of one task.
        task: Its name.
        limit: End of the colour scale, the same in all panels.
    """
    squares = {
        method: grids[grids["method"] == method].pivot(
            index="base_layer", columns="layer", values="cka"
        )
        for method in METHODS
    }
    difference = (squares["lora"] - squares["full_finetune"]).to_numpy(dtype=float)
    image = axes.imshow(difference, cmap="PuOr_r", vmin=-limit, vmax=limit, origin="lower")
    size = len(difference)
    if size <= 8:
        for i in range(size):
            for j in range(size):
                value = difference[i, j]
                shade = "white" if abs(value) > 0.6 * limit else "black"
                axes.text(j, i, f"{value:+.2f}", ha="center", va="center", fontsize=6, color=shade)
    axes.grid(visible=False)
    ticks = range(0, size, max(1, size // 8))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_xlabel("layer after training")
    axes.set_ylabel("layer of the base model")
    axes.set_title(task_label(task))
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("CKA, LoRA minus full", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def forest(axes: Any, outcomes: Sequence[Outcome]) -> None:
    """Each hypothesis' estimate with its interval, its margin, and the verdict.

    Args:
        axes: One panel.
        outcomes: In percent.
    """
    colors = {Verdict.SUPPORTED: "#009E73", Verdict.REFUTED: "#D55E00"}
    for place, outcome in enumerate(outcomes):
        color = colors.get(outcome.verdict, "gray")
        if outcome.estimate is not None:
            if outcome.ci_lower is not None and outcome.ci_upper is not None:
                axes.plot([outcome.ci_lower, outcome.ci_upper], [place, place], color=color, lw=2)
            axes.plot(outcome.estimate, place, "D", color=color)
        margin = outcome.hypothesis.margin
        axes.plot([margin, margin], [place - 0.3, place + 0.3], color="black", ls="--", lw=1)
        axes.annotate(
            str(outcome.verdict),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            color=color,
        )
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(outcomes)), [outcome.hypothesis.name for outcome in outcomes])
    axes.set_ylim(len(outcomes) - 0.5, -0.5)
    axes.set_xlabel("loss of score, reduction of drift, overhead (%)")
