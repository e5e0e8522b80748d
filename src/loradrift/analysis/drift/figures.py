"""The figures about drift: tables go in, axes are drawn."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.ratio_figures import draw_hypotheses, draw_ratio
from loradrift.analysis.drift.tables import DriftTables, last_steps
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import draw_panels, few_ticks, from_zero


def _of(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task]


def layer_profile(axes: Any, tables: DriftTables, task: str) -> None:
    """Drift of each layer at the last dump: mean and range over seeds, the floor below."""
    cka = _of(tables.drift, task)
    drift = last_steps(cka[cka["measure"] == "cka"])
    for arm in tables.arms:
        layers = drift[drift["method"] == arm.name].groupby("layer")["drift"]
        mean, low, high = layers.mean(), layers.min(), layers.max()
        axes.fill_between(mean.index, low, high, color=arm.color, alpha=0.2, lw=0)
        axes.plot(mean.index, mean, **arm.line)
    floor = _of(tables.controls, task).groupby("layer")["floor"].mean()
    axes.plot(floor.index, floor, ls=":", color="gray", label="floor")
    from_zero(axes)
    numbers = sorted(drift["layer"].unique())
    ticks = numbers[:: max(1, len(numbers) // 8)]
    axes.set(xticks=ticks, xlabel="layer", ylabel="drift (1 - CKA)")


def drift_over_steps(axes: Any, tables: DriftTables, task: str) -> None:
    """Mean drift over layers against the optimizer step; one thin line per seed."""
    mean_drift = _of(tables.mean_drift, task)
    for arm in tables.arms:
        own = mean_drift[mean_drift["method"] == arm.name]
        for _, seed in own.groupby("seed"):
            axes.plot(seed["step"], seed["drift"], color=arm.color, alpha=0.3, lw=0.8)
        steps = own.groupby("step")["drift"]
        mean = steps.mean()[steps.count() == own["seed"].nunique()]  # others would make a kink
        axes.plot(mean.index, mean, **arm.line)
    from_zero(axes)
    few_ticks(axes.xaxis)
    axes.set(xlabel="optimizer step", ylabel="mean drift (1 - CKA)")


def frontier(axes: Any, tables: DriftTables, task: str) -> None:
    """What drift a performance costs: each run's path from its first validation on."""
    points = _of(tables.frontier, task)
    for arm in tables.arms:
        for number, (_, path) in enumerate(points[points["method"] == arm.name].groupby("seed")):
            unlabelled = arm.line | {"label": None}
            axes.plot(path["drift"], path["score"], **unlabelled, alpha=0.6, lw=0.9, ms=2.5)
            end, line = path.iloc[-1], unlabelled if number else arm.line
            look = {"ls": "", "ms": 6, "mec": "black", "mew": 0.6, "alpha": 0.8} | line
            axes.plot(end["drift"], end["score"], **look)
    few_ticks(axes.xaxis)
    metric = _of(tables.runs, task)["metric"].iloc[0]
    axes.set(xlabel="mean drift (1 - CKA)", ylabel=f"best validation {metric}")


def layer_difference(axes: Any, tables: DriftTables, task: str) -> Any:
    """CKA of every base layer with every tuned layer, the treatment minus the control."""
    from matplotlib.colors import LinearSegmentedColormap

    arms, keys = tables.arms, ["task", "base_layer", "layer"]
    wide = tables.grids.pivot_table(index=keys, columns="method", values="cka", sort=False)
    whole = wide[arms.treatment.name] - wide[arms.control.name]
    limit = max(0.01, float(whole.abs().max()))
    difference = whole[task].unstack("layer").to_numpy(dtype=float)
    # The side of an arm has its colour.
    colors = [arms.control.color, "#F7F7F7", arms.treatment.color]
    cmap = LinearSegmentedColormap.from_list("arms", colors)
    image = axes.imshow(difference, cmap=cmap, vmin=-limit, vmax=limit, origin="lower")
    size = len(difference)
    for i, j in np.ndindex(difference.shape) if size <= 8 else ():
        value = difference[i, j]
        shade = "white" if abs(value) > 0.7 * limit else "black"
        axes.text(j, i, signed(value, limit), ha="center", va="center", fontsize=6, color=shade)
    axes.grid(visible=False)
    ticks = range(0, size, max(1, size // 8))
    axes.set(xticks=ticks, xlabel="layer after training")
    axes.set(yticks=ticks, ylabel="layer of the base model")
    return image


def signed(value: float, limit: float) -> str:
    """A value on a scale that ends at ``limit``, whose two first digits it shows."""
    digits = max(0, 1 - math.floor(math.log10(limit)))
    text = f"{value:+.{digits}f}"
    sign = "+" if value > 0 else "\N{MINUS SIGN}"
    return sign + text[1:].removeprefix("0") if float(text) else "0"


PLOTS: dict[str, tuple[Callable[[Any, DriftTables, str], Any], str]] = {
    "layer_profiles": (
        layer_profile,
        "Drift of each layer where runs are compared: mean over seeds, band from the least to the "
        "largest; each task has a scale of its own. The dotted floor is the base model against "
        "itself, in another order and in bfloat16; at most about {floor:.1e}.",
    ),
    "drift_over_steps": (
        drift_over_steps,
        "Mean drift over layers while training: mean over seeds; thin lines: each seed. Each task "
        "has a scale of its own.",
    ),
    "frontier": (
        frontier,
        "What drift (mean over layers) a performance costs: each run from its first validation to "
        "its last (large, outlined), with the best score so far. Up and to the left is better; "
        "each task has scales of its own.",
    ),
    "layer_difference": (
        layer_difference,
        "CKA of every layer of the base model with every layer after training, {minus}, mean over "
        "seeds. Blue: more alike after {treatment}. The diagonal compares a layer with itself.",
    ),
}
"""Name -> what draws a task's panel, and the caption, in which ``{floor}``, ``{minus}`` and
``{treatment}`` are filled in."""


def _draw(name: str, tables: DriftTables, folder: Path) -> Figure:
    """Draw one of :data:`PLOTS`."""
    arms, (draw, caption) = tables.arms, PLOTS[name]
    control, treatment = (arm.label for arm in arms)
    floor = tables.controls["floor"].max()
    return draw_panels(
        list(tables.summary["task"]),
        lambda axes, task: draw(axes, tables, task),
        folder,
        name,
        caption.format(treatment=treatment, minus=arms.minus, floor=floor),
        color_bar=f"CKA, {treatment}\nminus {control}" if draw is layer_difference else "",
    )


DRIFT: Drawers = {
    "drift_ratio": draw_ratio,
    **{name: partial(_draw, name) for name in PLOTS},
}
"""The figures of :class:`DriftTables`."""

HYPOTHESES: Drawers = {"hypotheses": draw_hypotheses}
"""The figure of the hypotheses' outcomes."""
