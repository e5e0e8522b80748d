"""The figures about weights: tables go in, axes are drawn."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.drift.pairing import METHODS
from loradrift.analysis.weights.tables import Weights
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import (
    COLORS,
    LABELS,
    MARKERS,
    canvas,
    few_ticks,
    finish_panels,
    save,
    task_label,
)


def per_layer(axes: Any, modules: pd.DataFrame, task: str, value: str, label: str) -> None:
    """A quantity of each layer: mean over its modules and seeds, band over seeds.

    Args:
        axes: One panel.
        modules: ``method``, ``seed``, ``layer`` and the quantity, of one task.
        task: Its name.
        value: Column of the quantity.
        label: Of the axis, with its unit.
    """
    for method in METHODS:
        mean = _band(axes, modules[modules["method"] == method], value, COLORS[method])
        axes.plot(
            mean.index, mean, marker=MARKERS[method], color=COLORS[method], label=LABELS[method]
        )
    _layers(axes, modules, label, task)


def lora_rank(axes: Any, modules: pd.DataFrame) -> None:
    """The rank that LoRA cannot exceed, as a line; modules of one task."""
    rank = modules["lora_rank"].max()
    axes.axhline(rank, color="gray", ls=":", lw=1.2, label=f"LoRA's rank, {rank:g}")


def intruders(axes: Any, modules: pd.DataFrame, task: str) -> None:
    """Intruder dimensions of each layer, those of a random change as large, and the null.

    Args:
        axes: One panel.
        modules: ``method``, ``seed``, ``layer``, ``intruders``, ``intruders_control``,
            ``intruders_random``, of one task.
        task: Its name.
    """
    for method in METHODS:
        own = modules[modules["method"] == method]
        mean = _band(axes, own, "intruders", COLORS[method])
        axes.plot(
            mean.index, mean, marker=MARKERS[method], color=COLORS[method], label=LABELS[method]
        )
        control = own.groupby("layer")["intruders_control"].mean()
        axes.plot(
            control.index, control, ls="--", color=COLORS[method], lw=1.1,
            label=f"random, as large as {LABELS[method]}'s",
        )  # fmt: skip
    _layers(axes, modules, f"intruders among {modules['directions'].max():g}", task)
    # Few or none is the common case. The null would flatten it, so that is a note above; and a
    # scale that ends below 1 would make much of nothing.
    top = max(1.0, axes.dataLim.ymax)
    axes.set_ylim(-0.04 * top, 1.2 * top)
    null = modules.groupby("layer")["intruders_random"].mean()
    axes.annotate(
        f"random directions: {_between(null)}", (0.98, 0.98), xycoords="axes fraction",
        ha="right", va="top", fontsize=7.5, color="#444444",
    )  # fmt: skip


def against_norm(axes: Any, totals: pd.DataFrame, task: str, value: str, label: str) -> None:
    """A quantity of each run against the size of its update.

    Args:
        axes: One panel.
        totals: ``method``, ``relative_norm`` and the quantity, of one task.
        task: Its name.
        value: Column of the quantity.
        label: Of the axis, with its unit.
    """
    for method in METHODS:
        own = totals[totals["method"] == method]
        axes.plot(
            own["relative_norm"], own[value], MARKERS[method], color=COLORS[method], ms=6,
            mec="black", mew=0.5, alpha=0.85, label=LABELS[method],
        )  # fmt: skip
    values = totals[value].dropna()
    axes.set_xlim(0, 1.1 * totals["relative_norm"].max())
    axes.set_ylim(min(0.0, 1.15 * values.min()), max(0.0, 1.15 * values.max()))
    few_ticks(axes.xaxis)
    axes.set_xlabel("relative update norm")
    axes.set_ylabel(label)
    axes.set_title(task_label(task))


def _between(values: pd.Series) -> str:
    ends = dict.fromkeys([f"{values.min():.3g}", f"{values.max():.3g}"])
    return " to ".join(ends)


def _band(axes: Any, own: pd.DataFrame, value: str, color: str) -> pd.Series:
    """The mean over seeds of each layer's mean; draws the range over seeds."""
    seeds = own.groupby(["layer", "seed"])[value].mean().astype(float).groupby("layer")
    mean: pd.Series = seeds.mean()
    axes.fill_between(mean.index, seeds.min(), seeds.max(), color=color, alpha=0.2, lw=0)
    return mean


def _layers(axes: Any, modules: pd.DataFrame, label: str, task: str) -> None:
    numbers = sorted(modules["layer"].unique())
    axes.set_ylim(bottom=0)
    axes.set_xticks(numbers[:: max(1, len(numbers) // 8)])
    axes.set_xlabel("layer")
    axes.set_ylabel(label)
    axes.set_title(task_label(task))


def _rank(axes: Any, modules: pd.DataFrame, task: str) -> None:
    per_layer(axes, modules, task, "effective_rank", "effective rank")
    lora_rank(axes, modules)


def _panels(
    name: str,
    caption: str,
    draw: Callable[[Any, pd.DataFrame, str], None],
    weights: Weights,
    folder: Path,
    *,
    columns: int = 4,
) -> Figure | None:
    """Draw one panel per task from the modules that both methods change, or from the runs."""
    modules, totals = weights.modules, weights.totals
    if name.endswith("_against_norm"):
        table = totals[totals[name.removesuffix("_against_norm")].notna()]
    else:
        table = modules[modules["lora_rank"].notna()]
    if table.empty:
        return None
    tasks = list(dict.fromkeys(table["task"]))
    with canvas(len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            draw(axes, table[table["task"] == task], task)
        finish_panels(figure, panels, columns=columns)
        save(figure, folder, name)
    return Figure(name, caption)


WEIGHTS: Drawers = {
    "update_norm": partial(
        _panels,
        "update_norm",
        "How much each layer's weights changed: |dW| / |W| (Frobenius), mean over the layer's "
        "modules and over seeds; band: from the least seed to the largest.",
        partial(per_layer, value="relative_norm", label="relative update norm"),
    ),
    "effective_rank": partial(
        _panels,
        "effective_rank",
        "In how many directions they changed: the exponential of the entropy of the update's "
        "singular values, likewise. LoRA cannot exceed its rank.",
        _rank,
    ),
    "intruders": partial(
        _panels,
        "intruders",
        "Intruder dimensions: of the strongest left singular vectors of a tuned weight, those "
        "whose |cosine| with every base one is below 0.5; mean over modules and seeds. Dashed: "
        "a random change as large, of the same rank. Where that has as many, size alone "
        "explains them. Of random directions, as many are intruders as the note says.",
        intruders,
        columns=2,
    ),
    "drift_against_norm": partial(
        _panels,
        "drift_against_norm",
        "Drift at the last step, mean over layers, against the size of the whole update: |dW| "
        "/ |W| over all linear layers; each mark is a run.",
        partial(against_norm, value="drift", label="mean drift (1 - CKA)"),
    ),
    "forgetting_against_norm": partial(
        _panels,
        "forgetting_against_norm",
        "Forgetting, the rise of the next-token loss on neutral text, against the size of "
        "the whole update; each mark is a run.",
        partial(against_norm, value="forgetting", label="forgetting (nats per token)"),
    ),
}
"""The figures of :class:`Weights`."""
