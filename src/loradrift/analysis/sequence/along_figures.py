"""The figures of what a chain costs: neutral text and drift along the steps, drift by layer."""

from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.frontier.curve_panels import log_scale
from loradrift.analysis.frontier.reading import arm_label
from loradrift.analysis.sequence.axes import BAND, floor_text, looks, step_axis
from loradrift.analysis.sequence.tables import ChainReport
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, draw_panels, few_ticks, finish_panels, from_zero, save


def costs_along(axes: Any, found: ChainReport, column: str, label: str) -> None:
    """One of the costs after each step, with 95 % intervals over seeds."""
    table = found.tables["along"]
    for number, (arm, look) in enumerate(looks(found).items()):
        own = table[(table["arm"] == arm) & table[column].notna()]
        if own.empty:
            continue
        place = own["step"] + 0.06 * (number - (len(found.arms) - 1) / 2)
        ends = own[f"{column}_low"], own[f"{column}_high"]
        errors = [(own[column] - ends[0]).fillna(0), (ends[1] - own[column]).fillna(0)]
        axes.errorbar(place, own[column], yerr=errors, capsize=2, elinewidth=0.9, **look)
    step_axis(axes, found)
    axes.set(ylabel=label)


def ratio_scale(axes: Any) -> None:
    """A log scale; its ticks are powers only where it is long enough for some."""
    from matplotlib.ticker import LogLocator, NullLocator

    log_scale(axes.yaxis)
    low, high = axes.get_ylim()  # those of a linear scale may reach below 0
    if high < 5 * low:
        few_ticks(axes.yaxis)
    elif high > 50 * low:  # the interval of two seeds is that wide: powers of ten alone
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())


ALONG = {
    "forgetting of neutral text": ("neutral", "nats per token more"),
    "drift from the first model": ("drift", "drift (1 - CKA)"),
    "ratio of drifts": ("ratio", "drift / {base}'s"),
}
"""Title -> column of the table ``along``, and its axis."""


def draw_along(found: ChainReport, folder: Path) -> Figure | None:
    """Forgetting on neutral text, drift, and the ratio of drifts after each step."""
    table = found.tables["along"]
    shown = {title: each for title, each in ALONG.items() if table[each[0]].notna().any()}
    if not shown:
        return None
    with canvas(len(shown)) as (figure, panels):
        for axes, (title, (column, label)) in zip(panels, shown.items(), strict=True):
            costs_along(axes, found, column, label.format(base=arm_label(found.baseline)))
            if column == "ratio":
                axes.axhline(1, color="black", lw=0.8)
                ratio_scale(axes)
            elif column == "drift":
                # the interval of few seeds reaches beyond what drift can be
                axes.set_ylim(top=min(axes.get_ylim()[1], 1.1 * max(1, table["drift"].max())))
                from_zero(axes)
            else:
                axes.axhline(0, color="black", lw=0.8)
            axes.set_title(title)
        finish_panels(figure, panels)
        save(figure, folder, "along")
    return Figure(
        "along",
        "After each step, against the very first model: the rise of the next-token loss on neutral "
        f"text; drift, over the probes of the tasks so far; and drift as a multiple of "
        f"{arm_label(found.baseline)}'s. Means over seeds with 95 % intervals.",
    )


def profile(axes: Any, found: ChainReport, task: str) -> None:
    """Drift of each layer on a task's probe after the last step, over seeds, and the floor."""
    table = found.tables["layers"]
    own = table[(table["task"] == task) & (table["step"] == len(found.order))]
    for arm, look in looks(found).items():
        layers = own[own["arm"] == arm].groupby("layer")["drift"]
        mean, low, high = layers.mean(), layers.min(), layers.max()
        axes.fill_between(mean.index, low, high, color=look["color"], alpha=BAND, lw=0)
        axes.plot(mean.index, mean, **look)
    floor: pd.Series[float] = own.groupby("layer")["floor"].mean()
    axes.plot(floor.index, floor, ls=":", color="gray", label="floor")
    from_zero(axes)
    few_ticks(axes.xaxis, whole=True)
    axes.set(xlabel="layer", ylabel="drift (1 - CKA)")


def draw_profiles(found: ChainReport, folder: Path) -> Figure | None:
    """The layer profile on the probe of each task."""
    if found.tables["layers"].empty:
        return None
    tasks = {found.task_label(task): task for task in found.order}
    return draw_panels(
        list(tasks), lambda axes, label: profile(axes, found, tasks[label]), folder,
        "layer_profiles",
        "Drift of each layer from the very first model after the last step, on each task's probe: "
        f"mean over seeds, band from the least to the largest. {floor_text(found)}",
    )  # fmt: skip
