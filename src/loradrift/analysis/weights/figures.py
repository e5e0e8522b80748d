"""The figures about weights, one function each: a table goes in, axes are drawn."""

from typing import Any

import pandas as pd

from loradrift.analysis.drift.pairing import METHODS
from loradrift.report.style import COLORS, LABELS, MARKERS, few_ticks, task_label


def per_layer(axes: Any, modules: pd.DataFrame, value: str, label: str, task: str) -> None:
    """A quantity of each layer: mean over its modules and seeds, band over seeds.

    Args:
        axes: One panel.
        modules: ``method``, ``seed``, ``layer`` and the quantity, of one task.
        value: Column of the quantity.
        label: Of the axis, with its unit.
        task: Its name.
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


def against_norm(axes: Any, totals: pd.DataFrame, value: str, label: str, task: str) -> None:
    """A quantity of each run against the size of its update.

    Args:
        axes: One panel.
        totals: ``method``, ``relative_norm`` and the quantity, of one task.
        value: Column of the quantity.
        label: Of the axis, with its unit.
        task: Its name.
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
