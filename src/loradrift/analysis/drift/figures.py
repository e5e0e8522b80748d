"""One function per figure: a table goes in, axes are drawn."""

import math
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypotheses import Outcome, Verdict
from loradrift.report.style import few_ticks, from_zero, task_label

VERDICT_COLORS = {Verdict.SUPPORTED: "#00694D", Verdict.REFUTED: "#B34700"}


def drift_reduction(axes: Any, arms: Arms, reduction: pd.DataFrame, summary: pd.DataFrame) -> None:
    """How much less the treatment drifts, per task: seeds as dots, mean and 95 % interval.

    Args:
        axes: One panel.
        arms: What is compared.
        reduction: ``task``, ``seed``, ``reduction_percent``.
        summary: ``task``, ``mean``, ``ci_lower``, ``ci_upper``, in percent.
    """
    rows: Any = summary.itertuples()
    for place, row in enumerate(rows):
        seeds = reduction.loc[reduction["task"] == row.task, "reduction_percent"]
        spread = np.linspace(-0.12, 0.12, len(seeds)) if len(seeds) > 1 else [0.0]
        axes.plot(
            seeds, place + np.asarray(spread) + 0.22, "o",
            color=arms.treatment.color, alpha=0.55, mew=0,
        )  # fmt: skip
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
    axes.set_xlabel(f"drift reduction of {arms.versus} (%)")


def layer_profile(axes: Any, arms: Arms, drift: pd.DataFrame, controls: pd.DataFrame) -> None:
    """Drift of each layer at the last dump: mean and range over seeds, the floor below.

    Args:
        axes: One panel.
        arms: What is compared.
        drift: ``method``, ``seed``, ``layer``, ``drift`` of the last step of one task.
        controls: ``layer``, ``floor``, ``shuffled`` of the task.
    """
    for arm in arms:
        layers = drift[drift["method"] == arm.name].groupby("layer")["drift"]
        mean, low, high = layers.mean(), layers.min(), layers.max()
        axes.fill_between(mean.index, low, high, color=arm.color, alpha=0.2, lw=0)
        axes.plot(mean.index, mean, **arm.line)
    floor = controls.groupby("layer")["floor"].mean()
    axes.plot(floor.index, floor, ls=":", color="gray", label="floor")
    from_zero(axes)
    numbers = sorted(drift["layer"].unique())
    axes.set_xticks(numbers[:: max(1, len(numbers) // 8)])
    axes.set_xlabel("layer")
    axes.set_ylabel("drift (1 - CKA)")


def drift_over_steps(axes: Any, arms: Arms, mean_drift: pd.DataFrame) -> None:
    """Mean drift over layers against the optimizer step; one thin line per seed.

    Args:
        axes: One panel.
        arms: What is compared.
        mean_drift: ``method``, ``seed``, ``step``, ``drift`` of one task.
    """
    for arm in arms:
        own = mean_drift[mean_drift["method"] == arm.name]
        for _, seed in own.groupby("seed"):
            axes.plot(seed["step"], seed["drift"], color=arm.color, alpha=0.3, lw=0.8)
        mean = own.groupby("step")["drift"].mean()
        axes.plot(mean.index, mean, **arm.line)
    from_zero(axes)
    few_ticks(axes.xaxis)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("mean drift (1 - CKA)")


def frontier(axes: Any, arms: Arms, points: pd.DataFrame, metric: str) -> None:
    """What drift a performance costs: each run's path from its first validation on.

    Args:
        axes: One panel.
        arms: What is compared.
        points: ``method``, ``seed``, ``score``, ``drift`` of one task, in order of steps.
        metric: Name of the score.
    """
    for arm in arms:
        for number, (_, path) in enumerate(points[points["method"] == arm.name].groupby("seed")):
            unlabelled = arm.line | {"label": None}
            axes.plot(path["drift"], path["score"], **unlabelled, alpha=0.6, lw=0.9, ms=2.5)
            axes.plot(
                path["drift"].iloc[-1], path["score"].iloc[-1], ls="", ms=6, mec="black", mew=0.6,
                **(unlabelled if number else arm.line),
            )  # fmt: skip
    few_ticks(axes.xaxis)
    axes.set_xlabel("mean drift (1 - CKA)")
    axes.set_ylabel(f"best validation {metric}")


def layer_difference(axes: Any, arms: Arms, grids: pd.DataFrame, limit: float) -> Any:
    """CKA of every base layer with every tuned layer: the treatment minus the control.

    Args:
        axes: One panel.
        arms: What is compared.
        grids: ``method``, ``base_layer``, ``layer``, ``cka``, the mean over seeds, of one task.
        limit: End of the colour scale, the same in all panels.

    Returns:
        What a colour bar shows.
    """
    from matplotlib.colors import LinearSegmentedColormap

    control, treatment = (
        grids[grids["method"] == name].pivot(index="base_layer", columns="layer", values="cka")
        for name in arms.names
    )
    difference = (treatment - control).to_numpy(dtype=float)
    # The side of an arm has its colour.
    cmap = LinearSegmentedColormap.from_list(
        "arms", [arms.control.color, "#F7F7F7", arms.treatment.color]
    )
    image = axes.imshow(difference, cmap=cmap, vmin=-limit, vmax=limit, origin="lower")
    size = len(difference)
    if size <= 8:
        for i in range(size):
            for j in range(size):
                value = difference[i, j]
                shade = "white" if abs(value) > 0.7 * limit else "black"
                text = signed(value, limit)
                axes.text(j, i, text, ha="center", va="center", fontsize=6, color=shade)
    axes.grid(visible=False)
    ticks = range(0, size, max(1, size // 8))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_xlabel("layer after training")
    axes.set_ylabel("layer of the base model")
    return image


def signed(value: float, limit: float) -> str:
    """A value on a scale that ends at ``limit``, whose two first digits it shows."""
    digits = max(0, 1 - math.floor(math.log10(limit)))
    text = f"{value:+.{digits}f}"
    sign = "+" if value > 0 else "\N{MINUS SIGN}"
    return sign + text[1:].removeprefix("0") if float(text) else "0"


def hypothesis(axes: Any, outcome: Outcome) -> None:
    """One hypothesis' estimate with its interval, the side where it holds, and the verdict.

    Args:
        axes: One panel: each hypothesis has a scale of its own.
        outcome: In percent.
    """
    claim = outcome.hypothesis
    shown = [outcome.estimate, outcome.ci_lower, outcome.ci_upper]
    numbers = [number for number in shown if number is not None]
    ends = [0.0, claim.margin, *numbers]
    room = 0.08 * (max(ends) - min(ends))
    low, high = min(ends) - room, max(ends) + room
    holds = (claim.margin, high) if claim.direction == "at least" else (low, claim.margin)
    axes.axvspan(*holds, color="#009E73", alpha=0.12, lw=0)
    axes.axvline(claim.margin, color="black", ls="--", lw=1)
    axes.axvline(0, color="gray", lw=0.8)
    says = str(outcome.verdict)
    if outcome.estimate is not None:
        axes.plot(outcome.estimate, 0, "D", color="white", mec="black", ms=6)
        says += f"\n{outcome.estimate:.3g} %"
    if outcome.ci_lower is not None and outcome.ci_upper is not None:
        # In front: a short interval stays visible inside the diamond.
        interval = [outcome.ci_lower, outcome.ci_upper]
        axes.plot(interval, [0, 0], "|-", color="black", lw=1.5, ms=8, mew=1.2)
        says += f"\n{outcome.ci_lower:.3g} to {outcome.ci_upper:.3g} %"
    color = VERDICT_COLORS.get(outcome.verdict, "#444444")
    axes.annotate(says, (1.02, 0.5), xycoords="axes fraction", va="center", fontsize=8, color=color)
    axes.set_xlim(low, high)
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    few_ticks(axes.xaxis, 7)
    axes.set_xlabel(f"{claim.change} (%)", fontsize=8)
    axes.set_title(f"{claim.name}: {claim.claim}", loc="left", fontsize=8.5)
