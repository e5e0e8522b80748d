"""The figures: curves over learning rates, ratios, and where each arm drifts less."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from loradrift.analysis.frontier.curve_panels import (
    DRIFT,
    FORGETTING,
    against_score,
    log_scale,
    looks,
    norm_curves,
)
from loradrift.analysis.frontier.reading import arm_label, is_frozen
from loradrift.analysis.frontier.sentences import metric_of, task_label
from loradrift.analysis.frontier.tables import Frontier
from loradrift.report.blocks import Figure, interval_text
from loradrift.report.figures import Drawers
from loradrift.report.style import canvas, draw_panels, ratio_axis, save
from loradrift.report.verdicts import ROW_INCHES, apart

BANDS = (
    "Each mark is a rate, of which the legend has the least and the largest: the mean over seeds "
    "(of drift the geometric one); thin lines are seeds, and the band is from the least to the "
    "largest."
)

SCORES = (
    f"{BANDS} Up and to the left is better. An open mark on the axis: a rate whose score is no "
    "better than the best constant answer's. A cross: a rate at which a seed diverged."
)

PLOTS: dict[str, tuple[Callable[[Any, Frontier, str], None], str, str]] = {
    "accuracy_against_drift": (
        partial(against_score, x=DRIFT), "drift",
        f"What a score costs in drift (mean over layers, of the evaluated checkpoint). {SCORES}",
    ),
    "accuracy_against_forgetting": (
        partial(against_score, x=FORGETTING), "forgetting",
        "What a score costs in forgetting, the rise of the next-token loss on neutral text. "
        f"{SCORES}",
    ),
    "drift_against_norm": (
        norm_curves, "norm",
        f"How far a model drifts for how large an update, over all linear layers. {BANDS}",
    ),
}  # fmt: skip
"""Name -> what draws a task's panel, the column that must be known, and the caption."""


def _draw(name: str, found: Frontier, folder: Path) -> Figure | None:
    draw, column, caption = PLOTS[name]
    known = found.tables["rates"]
    moving = known[~known["arm"].map(is_frozen) & known[column].notna()]
    tasks = {task_label(found, t): t for t in dict.fromkeys(moving["task"])}
    if not tasks:
        return None
    return draw_panels(
        list(tasks), lambda axes, label: draw(axes, found, tasks[label]), folder, name, caption
    )


def draw_ratios(found: Frontier, folder: Path) -> Figure | None:
    """How many times as far each arm drifts as the baseline at equal scores."""
    rows = [row for row in found.compared if np.isfinite(row["drift"])]
    if not rows:
        return None
    base = arm_label(found.baseline)
    look = looks(found)
    with canvas(1, height=0.9 + ROW_INCHES * len(rows)) as (figure, [axes]):
        ends = [1.0, 0.8, 1.25]
        for place, row in enumerate(rows):
            seeds = [float(each) for each in row["drift_by_seed"].split(", ")]
            heights, size = apart(len(seeds))
            dots = {"color": look[row["arm"]]["color"], "alpha": 0.85, "mec": "white", "mew": 0.4}
            axes.plot(seeds, place + heights, "o", ms=size, **dots)
            low, high = row["drift_low"], row["drift_high"]
            known = np.isfinite([low, high]).all()
            error = [[row["drift"] - low], [high - row["drift"]]] if known else None
            mean = {"fmt": "D", "color": "black", "capsize": 3, "ms": 5.5}
            axes.errorbar(row["drift"], place - 0.16, xerr=error, **mean)
            ends += [*seeds, *([low, high] if known else [])]
        ratio_axis(axes, min(ends), max(ends))
        axes.axvline(1, color="black", lw=0.8)
        axes.set_yticks(range(len(rows)), [_row_name(found, row) for row in rows])
        axes.grid(visible=False, axis="y")
        label = f"drift / drift of {base}, at equal scores (log scale)"
        axes.set(ylim=(len(rows) - 0.45, -0.55), xlabel=label)
        save(figure, folder, "ratios")
    said = [
        f"{_row_name(found, row)} {row['drift']:.3g} "
        f"({interval_text(row['drift_low'], row['drift_high'])})"
        for row in rows
    ]
    return Figure(
        "ratios",
        f"How many times as far each arm drifts as {base} at the scores that both reach, on a log "
        "scale. Diamonds: geometric mean over seeds with its 95 % interval; dots: seeds. Left of "
        "1 it drifts less.",
        f"Drift as a multiple of {base}'s, with 95 % intervals: {', '.join(said)}.",
    )


def _row_name(found: Frontier, row: Any) -> str:
    return f"{row['label']}\n{task_label(found, row['task'])}"


def ratio_by_score(axes: Any, found: Frontier, task: str) -> None:
    """The ratio of drifts by score, with its 95 % interval at each."""
    table, look = found.of("along", task), looks(found)
    for arm, own in table.groupby("arm", sort=False):
        color = look[str(arm)]["color"]
        axes.plot(own["score"], own["ratio"], color=color, label=look[str(arm)]["label"])
        axes.fill_between(
            own["score"], own["ratio_low"], own["ratio_high"], color=color, alpha=0.18, lw=0
        )
    axes.axhline(1, color="black", lw=0.8)
    log_scale(axes.yaxis)
    # an interval of few seeds reaches far beyond the curves
    axes.set_ylim(0.5 * min(1, table["ratio"].min()), 2 * max(1, table["ratio"].max()))
    base = arm_label(found.baseline)
    axes.set(xlabel=metric_of(found, task), ylabel=f"drift / {base}'s")


def draw_where(found: Frontier, folder: Path) -> Figure | None:
    """Which arm drifts less at which scores."""
    tasks = {task_label(found, t): t for t in dict.fromkeys(found.tables["along"]["task"])}
    if not tasks:
        return None
    return draw_panels(
        list(tasks), lambda axes, label: ratio_by_score(axes, found, tasks[label]), folder,
        "where",
        f"The ratio of drifts to {arm_label(found.baseline)}'s by score, over the scores that "
        "every seed compared reaches with both: geometric mean over seeds, band: 95 % interval at "
        "each score by itself. Below 1 the arm drifts less.",
    )  # fmt: skip


FRONTIER: Drawers = {
    **{name: partial(_draw, name) for name in PLOTS},
    "ratios": draw_ratios,
    "where": draw_where,
}
"""The figures of a :class:`Frontier`."""
