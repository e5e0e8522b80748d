"""The figures: curves over learning rates, ratios, and where each arm drifts less."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loradrift.analysis.frontier.reading import arm_label, is_frozen
from loradrift.analysis.frontier.sentences import metric_of, task_label
from loradrift.analysis.frontier.tables import Frontier
from loradrift.report.blocks import Figure, interval_text
from loradrift.report.figures import Drawers
from loradrift.report.style import canvas, draw_panels, few_ticks, ratio_axis, save
from loradrift.report.verdicts import ROW_INCHES, apart

BASELINE = {"color": "#D55E00", "marker": "s"}
COLORS = ("#0072B2", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#000000")
MARKERS = "o^vDP*"
CONTROL = "#444444"


def looks(found: Frontier) -> dict[str, dict[str, Any]]:
    """Arm -> colour, marker and label of its line, the same in every figure."""
    return arm_looks([arm for arm in found.arms if not is_frozen(arm)], found.baseline)


def arm_looks(arms: Sequence[str], baseline: str) -> dict[str, dict[str, Any]]:
    """The looks of some arms, of which the ``baseline`` has its own."""
    look = {baseline: BASELINE | {"label": arm_label(baseline)}}
    for number, arm in enumerate(arm for arm in arms if arm != baseline):
        place = number % len(COLORS)
        look[arm] = {"color": COLORS[place], "marker": MARKERS[place], "label": arm_label(arm)}
    return look


class Axis(NamedTuple):
    """A column of the table of rates as an axis."""

    column: str
    label: str
    log: bool = True
    """Whether its scale is logarithmic, if all values are positive."""


DRIFT = Axis("drift", "mean drift (1 - CKA)")
FORGETTING = Axis("forgetting", "forgetting (nats per token)")
NORM = Axis("norm", "update norm |dW| / |W|")


def curves(axes: Any, found: Frontier, task: str, x: Axis, y: Axis) -> None:
    """Each arm over its rates: mean over seeds, band from the least seed to the largest."""
    table = found.of("rates", task)
    for arm, look in looks(found).items():
        own = table[(table["arm"] == arm) & table[x.column].notna()].sort_values("rate")
        if own.empty:
            continue
        axes.plot(own[x.column], own[y.column], **look)
        ends = own.sort_values(x.column)
        low, high = (ends[f"{y.column}_{end}"] for end in ("low", "high"))
        axes.fill_between(ends[x.column], low, high, color=look["color"], alpha=0.18, lw=0)
    drawn = table[table["arm"].isin(looks(found))]
    for column, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        positive = not (drawn[column.column] <= 0).any()
        (log_scale if column.log and positive else few_ticks)(axis)
    axes.set(xlabel=x.label, ylabel=y.label)


def log_scale(axis: Any) -> None:
    """A log scale whose ticks are written as numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def against_score(axes: Any, found: Frontier, task: str, x: Axis) -> None:
    """Scores against a cost, with the control, the constant answer and what diverged."""
    curves(axes, found, task, x, Axis("score", metric_of(found, task), log=False))
    learned = found.of("learned", task)
    control = learned[learned["arm"].map(is_frozen)]
    for score in control["score"]:
        axes.axhline(score, color=CONTROL, ls="--", lw=1.1, label="frozen backbone")
    constant = learned["baseline"].max()
    if np.isfinite(constant):
        axes.axhline(constant, color="gray", ls=":", lw=1, label="best constant answer")
    diverged(axes, found, task)


def diverged(axes: Any, found: Frontier, task: str) -> None:
    """A cross at the right end for each rate at which a seed diverged: it has no place."""
    table = found.of("rates", task)
    look = looks(found)
    own = table[(table["diverged"] > 0) & table["arm"].isin(look)]
    for number, row in enumerate(own.to_dict("records")):
        place = 0.05 + 0.06 * number
        axes.plot(
            0.985, place, "x", transform=axes.transAxes, color=look[row["arm"]]["color"], ms=6,
            mew=1.6, clip_on=False,
        )  # fmt: skip
        axes.annotate(
            f"{row['rate']:g} diverged ", (0.97, place), xycoords="axes fraction", ha="right",
            va="center", fontsize=6.5, color=look[row["arm"]]["color"],
        )  # fmt: skip


BANDS = "Each mark is a rate, mean over seeds; band: from the least seed to the largest."

PLOTS: dict[str, tuple[Callable[..., None], str, str]] = {
    "accuracy_against_drift": (
        partial(against_score, x=DRIFT), "drift",
        "What a score costs in drift (mean over layers, of the evaluated checkpoint). "
        f"{BANDS} Up and to the left is better. A cross: a rate at which a seed diverged.",
    ),
    "accuracy_against_forgetting": (
        partial(against_score, x=FORGETTING), "forgetting",
        "What a score costs in forgetting, the rise of the next-token loss on neutral text. "
        f"{BANDS} Up and to the left is better. A cross: a rate at which a seed diverged.",
    ),
    "drift_against_norm": (
        partial(curves, x=NORM, y=DRIFT), "norm",
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
