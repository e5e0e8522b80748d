"""The figures about weights: tables go in, axes are drawn."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from loradrift.analysis.drift.arms import Arm, Arms
from loradrift.analysis.weights.tables import Weights, compared_modules
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import draw_panels, few_ticks


def per_layer(axes: Any, arms: Arms, modules: pd.DataFrame, value: str, label: str) -> None:
    """Draw column ``value`` of one task's ``modules`` by layer: mean over modules and seeds."""
    for arm in arms:
        _line(axes, modules[modules["method"] == arm.name], value, arm)
    _layers(axes, modules, label)


def intruders(axes: Any, arms: Arms, modules: pd.DataFrame) -> None:
    """Draw a task's intruder dimensions by layer, those of a random change as large, the null."""
    for arm in arms:
        own = modules[modules["method"] == arm.name]
        _line(axes, own, "intruders", arm)
        control = own.groupby("layer")["intruders_control"].mean()
        name = f"random, as large as {arm.label}'s"
        axes.plot(control.index, control, ls="--", color=arm.color, lw=1.1, label=name)
    _layers(axes, modules, f"intruders among {modules['directions'].max():g}")
    # Few or none is the common case. The null would flatten it, so that is a note above; and a
    # scale that ends below 1 would make much of nothing.
    top = max(1.0, axes.dataLim.ymax)
    axes.set_ylim(-0.04 * top, 1.2 * top)
    null = modules.groupby("layer")["intruders_random"].mean()
    ends = dict.fromkeys([f"{null.min():.3g}", f"{null.max():.3g}"])
    axes.annotate(
        f"random directions: {' to '.join(ends)}", (0.98, 0.98), xycoords="axes fraction",
        ha="right", va="top", fontsize=7.5, color="#444444",
    )  # fmt: skip


def against_norm(axes: Any, arms: Arms, totals: pd.DataFrame, value: str, label: str) -> None:
    """Draw a quantity of each run, in column ``value``, against the size of its update."""
    for arm in arms:
        own = totals[totals["method"] == arm.name]
        look = {"ls": "", "ms": 6, "mec": "black", "mew": 0.5, "alpha": 0.85} | arm.line
        axes.plot(own["relative_norm"], own[value], **look)
    values = totals[value].dropna()
    axes.set_xlim(0, 1.1 * totals["relative_norm"].max())
    axes.set_ylim(min(0.0, 1.15 * values.min()), max(0.0, 1.15 * values.max()))
    few_ticks(axes.xaxis)
    axes.set_xlabel("relative update norm")
    axes.set_ylabel(label)


def _line(axes: Any, own: pd.DataFrame, value: str, arm: Arm) -> None:
    """Draw the mean over seeds of each layer's mean, and the range over seeds."""
    seeds = own.groupby(["layer", "seed"])[value].mean().astype(float).groupby("layer")
    mean = seeds.mean()
    axes.fill_between(mean.index, seeds.min(), seeds.max(), color=arm.color, alpha=0.2, lw=0)
    axes.plot(mean.index, mean, **arm.line)


def _layers(axes: Any, modules: pd.DataFrame, label: str) -> None:
    numbers = sorted(modules["layer"].unique())
    axes.set_ylim(bottom=0)
    axes.set_xticks(numbers[:: max(1, len(numbers) // 8)])
    axes.set_xlabel("layer")
    axes.set_ylabel(label)


def _rank(axes: Any, arms: Arms, modules: pd.DataFrame) -> None:
    """Draw the effective rank, and the adapters' ranks, which a low-rank change cannot exceed."""
    per_layer(axes, arms, modules, "effective_rank", "effective rank")
    ranks = sorted(modules["lora_rank"].dropna().unique())
    axes.set_ylim(top=max([axes.get_ylim()[1], *(1.05 * rank for rank in ranks)]))
    for rank in ranks:
        axes.axhline(rank, color="gray", ls=":", lw=1.2, label=f"adapter's rank, {rank:g}")


class _Plot(NamedTuple):
    """A figure with a panel for each task, and the number of its legend's columns."""

    draw: Callable[[Any, Arms, pd.DataFrame], None]
    caption: str
    columns: int = 4


PLOTS = {
    "update_norm": _Plot(
        partial(per_layer, value="relative_norm", label="relative update norm"),
        "How much each layer's weights changed: |dW| / |W| (Frobenius), mean over the layer's "
        "modules and over seeds; band: from the least seed to the largest.",
    ),
    "effective_rank": _Plot(
        _rank,
        "In how many directions they changed: the exponential of the entropy of the update's "
        "singular values, likewise. Dotted: an adapter's rank, which its product B A cannot "
        "exceed; rescaled rows, as DoRA has them, can.",
    ),
    "intruders": _Plot(
        intruders,
        "Intruder dimensions: of the strongest left singular vectors of a tuned weight, those "
        "whose |cosine| with every base one is below 0.5; mean over modules and seeds. Dashed: "
        "a random change as large, of the same rank. Where that has as many, size alone "
        "explains them. Of random directions, as many are intruders as the note says.",
        columns=2,
    ),
    "drift_against_norm": _Plot(
        partial(against_norm, value="drift", label="mean drift (1 - CKA)"),
        "Drift where runs are compared, mean over layers, against the size of the whole update: "
        "|dW| / |W| over all linear layers; each mark is a run.",
    ),
    "forgetting_against_norm": _Plot(
        partial(against_norm, value="forgetting", label="forgetting (nats per token)"),
        "Forgetting, the rise of the next-token loss on neutral text, against the size of "
        "the whole update; each mark is a run.",
    ),
}


def _draw(name: str, tables: tuple[Arms, Weights], folder: Path) -> Figure | None:
    """Draw one of :data:`PLOTS` from the modules that both methods change, or from the runs."""
    (arms, weights), plot = tables, PLOTS[name]
    table = compared_modules(weights.modules)
    if name.endswith("_against_norm"):
        table = weights.totals[weights.totals[name.removesuffix("_against_norm")].notna()]
    if table.empty:
        return None
    tasks = {str(task): own for task, own in table.groupby("task", sort=False)}

    def panel(axes: Any, task: str) -> None:
        plot.draw(axes, arms, tasks[task])

    return draw_panels(list(tasks), panel, folder, name, plot.caption, columns=plot.columns)


WEIGHTS: Drawers = {name: partial(_draw, name) for name in PLOTS}
"""The figures of the arms and their :class:`Weights`."""
