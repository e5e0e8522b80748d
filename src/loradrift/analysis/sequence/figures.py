"""The figures: matrices of scores and drift, their course along the chain, and by layer."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from loradrift.analysis.frontier.reading import arm_label
from loradrift.analysis.sequence.along_figures import draw_along, draw_profiles
from loradrift.analysis.sequence.axes import (
    BAND,
    floor_text,
    looks,
    numbered,
    step_axis,
    tick_labels,
)
from loradrift.analysis.sequence.tables import ChainReport
from loradrift.report.blocks import Figure, interval_text
from loradrift.report.figures import Drawers
from loradrift.report.style import canvas, draw_panels, few_ticks, save
from loradrift.report.verdicts import ROW_INCHES, apart


def square(found: ChainReport, arm: str, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A column of the matrix of an arm, steps by tasks; NaN for tasks still to come."""
    own = found.tables["matrix"]
    own = own[own["arm"] == arm].pivot(index="step", columns="task", values=column)
    return own.reindex(columns=list(found.order)).to_numpy(dtype=float)


def heat_map(
    axes: Any, found: ChainReport, arm: str, column: str, ends: tuple[float, float]
) -> Any:
    """An arm's matrix with its numbers."""
    values = square(found, arm, column)
    low, high = ends
    image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high)
    for i, j in np.argwhere(np.isfinite(values)):
        # cividis is dark at its lower end
        shade = "white" if values[i, j] < low + 0.55 * (high - low) else "black"
        axes.text(j, i, f"{values[i, j]:.3g}", ha="center", va="center", fontsize=8, color=shade)
    axes.grid(visible=False)
    axes.set_xticks(range(len(values)), tick_labels(found), fontsize=7)
    axes.set_yticks(range(len(values)), numbered(found), fontsize=7)
    axes.set(xlabel="task", ylabel="after step")
    return image


MATRICES = {
    "score_matrix": (
        "score", "score (%)",
        "Score of each task (column) after each step (row), in percent of its own metric, mean "
        "over seeds. The diagonal is a task after its own step; below it, what later steps left.",
    ),
    "drift_matrix": (
        "drift", "drift (1 - CKA)",
        "Drift from the very first model, on the probe of each task (column) after each step "
        "(row): mean over layers, geometric mean over seeds. {floor}",
    ),
}  # fmt: skip
"""Name -> column, the label of the colours, and the caption."""


def draw_matrix(name: str, found: ChainReport, folder: Path) -> Figure | None:
    """The matrices of all arms, side by side."""
    column, label, caption = MATRICES[name]
    table = found.tables["matrix"]
    known = table[column].dropna()
    if known.empty:
        return None
    ends = float(known.min()), float(known.max())
    arms = {arm_label(arm): arm for arm in found.arms}
    drawn = draw_panels(
        list(arms), lambda axes, title: heat_map(axes, found, arms[title], column, ends), folder,
        name, caption.format(floor=floor_text(found)), color_bar=label,
    )  # fmt: skip
    said = [
        f"{arm_label(row['arm'])} after {row['after']} on {row['task']}: {row[column]:.3g}"
        for row in table.to_dict("records")
    ]
    return Figure(drawn.name, drawn.caption, f"{label}: {'; '.join(said)}.")


def scores_of(axes: Any, found: ChainReport, task: str) -> None:
    """A task's score after its own step and each later one, and the best constant answer's."""
    matrix = found.tables["matrix"]
    steps = found.tables["steps"]
    later = found.tables["seeds"]
    for arm, look in looks(found).items():
        own = matrix[(matrix["arm"] == arm) & (matrix["task"] == task)]
        axes.plot(own["step"], own["score"], **look)
        seeds = later[(later["arm"] == arm) & (later["task"] == task)].groupby("step")["score"]
        low, high = seeds.min(), seeds.max()
        axes.fill_between(low.index, low, high, color=look["color"], alpha=BAND, lw=0)
        if len(low) == 1:  # a band of one step has no width
            axes.vlines(low.index, low, high, color=look["color"], alpha=BAND, lw=12, zorder=1)
    learned = found.tables["learned"]
    constant = 100 * learned.loc[learned["task"] == task, "baseline"].max()
    if np.isfinite(constant):
        axes.axhline(constant, color="gray", ls=":", lw=1, label="best constant answer")
    few_ticks(axes.yaxis)
    metric = steps.loc[steps["task"] == task, "metric"].iloc[0]
    step_axis(axes, found)
    axes.set(ylabel=f"{metric} (%)")


def draw_scores(found: ChainReport, folder: Path) -> Figure:
    """The score of each task along the steps."""
    tasks = {found.task_label(task): task for task in found.order}
    return draw_panels(
        list(tasks), lambda axes, label: scores_of(axes, found, tasks[label]), folder,
        "scores_along",
        "The score of each task after its own step and each later one: mean over seeds, band from "
        "the least seed to the largest.",
    )  # fmt: skip


def draw_transfer(found: ChainReport, folder: Path) -> Figure | None:
    """Each arm's backward transfer: seeds, and the mean with its interval."""
    table = found.tables["summary"]
    own = table[table["measure"] == "backward_transfer"] if len(table) else table
    if own.empty:
        return None
    rows, look = own.to_dict("records"), looks(found)
    with canvas(1, height=0.9 + ROW_INCHES * len(rows)) as (figure, [axes]):
        for place, row in enumerate(rows):
            seeds = [float(each.partition(": ")[2]) for each in row["by_seed"].split(", ")]
            heights, size = apart(len(seeds))
            color = look[row["arm"]]["color"]
            axes.plot(seeds, place + heights, "o", ms=size, color=color, alpha=0.85, mec="white",
                      mew=0.4)  # fmt: skip
            for name, width, shift in (("rows", 3.0, 0.16), ("value", 1.2, 0.16)):
                low, high = row[f"{name}_low"], row[f"{name}_high"]
                if np.isfinite([low, high]).all():
                    axes.plot([low, high], [place - shift] * 2, color=color if name == "rows" else
                              "black", lw=width, alpha=0.4 if name == "rows" else 1,
                              solid_capstyle="butt")  # fmt: skip
            axes.plot(row["value"], place - 0.16, "D", color="black", ms=5.5)
        axes.axvline(0, color="black", lw=0.8)
        axes.set_yticks(range(len(rows)), [arm_label(row["arm"]) for row in rows])
        axes.grid(visible=False, axis="y")
        axes.set(ylim=(len(rows) - 0.45, -0.55), xlabel="backward transfer (points)")
        save(figure, folder, "transfer")
    said = [
        f"{arm_label(row['arm'])} {row['value']:.3g} "
        f"({interval_text(row['value_low'], row['value_high'])})"
        for row in rows
    ]
    return Figure(
        "transfer",
        "Backward transfer, over all earlier tasks: how much their scores changed from their own "
        "step to the last, in points. Diamonds: mean over seeds, thin line its 95 % interval over "
        "seeds, wide line that over evaluated rows; dots: seeds. Left of 0 earlier tasks are "
        "forgotten.",
        f"Backward transfer in points with 95 % intervals over seeds: {', '.join(said)}.",
    )


SEQUENCE: Drawers = {
    **{name: partial(draw_matrix, name) for name in MATRICES},
    "scores_along": draw_scores,
    "transfer": draw_transfer,
    "along": draw_along,
    "layer_profiles": draw_profiles,
}
"""The figures of a :class:`ChainReport`."""
