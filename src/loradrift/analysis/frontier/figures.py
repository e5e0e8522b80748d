"""The figures: curves over learning rates, ratios, and where each arm drifts less."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

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


def curves(axes: Any, found: Frontier, rates: pd.DataFrame, x: Axis, y: Axis) -> None:
    """Each arm over some ``rates`` of a task.

    Marks are means over seeds, the band is from the least seed to the largest, thin lines are the
    seeds.
    """
    points = found.tables["points"]
    for arm, look in looks(found).items():
        own = rates[(rates["arm"] == arm) & rates[x.column].notna()].sort_values("rate")
        if own.empty:
            continue
        low, high = own["rate"].iloc[[0, -1]]
        axes.plot(own[x.column], own[y.column], **look | {"label": _with_rates(look, low, high)})
        for one, next_one in pairwise(own.index):  # a curve may turn back
            ends = own.loc[[one, next_one]]
            band = (ends[f"{y.column}_{end}"] for end in ("low", "high"))
            axes.fill_between(ends[x.column], *band, color=look["color"], alpha=0.18, lw=0)
        runs = points[points["arm"].eq(arm) & points["task"].isin(own["task"])]
        runs = runs[runs["rate"].isin(own["rate"])].sort_values("rate")
        for column in (x, y):
            if _is_log(column, rates):  # a seed may have no place where their mean has one
                runs = runs[runs[column.column] > 0]
        for _, seed in runs.groupby("seed"):
            axes.plot(seed[x.column], seed[y.column], color=look["color"], lw=0.6, alpha=0.45)
    for column, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        (log_scale if _is_log(column, rates) else few_ticks)(axis)
    axes.set(xlabel=x.label, ylabel=y.label)


def _is_log(axis: Axis, rates: pd.DataFrame) -> bool:
    return axis.log and not (rates[axis.column] <= 0).any()


def _with_rates(look: Mapping[str, Any], low: float, high: float) -> str:
    return f"{look['label']}, {low:g} to {high:g}"


def moving_rates(found: Frontier, task: str) -> pd.DataFrame:
    """The rates of a task at which a backbone was trained."""
    table = found.of("rates", task)
    return table[table["arm"].isin(looks(found))]


def norm_curves(axes: Any, found: Frontier, task: str) -> None:
    """Drift against the size of the update."""
    curves(axes, found, moving_rates(found, task), NORM, DRIFT)


def log_scale(axis: Any) -> None:
    """A log scale whose ticks are written as numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def against_score(axes: Any, found: Frontier, task: str, x: Axis) -> None:
    """Scores against a cost, with the control, what a constant answer equals and what diverged."""
    table = moving_rates(found, task)
    learned = found.of("learned", task)
    constant = learned["baseline"].max()
    no_better = table["score"] <= constant
    # the curves have the height: the constant answer's score is often far below all of them
    shown = table if no_better.all() else table[~no_better]
    curves(axes, found, shown, x, Axis("score", metric_of(found, task), log=False))
    for row in table[no_better & table[x.column].notna()].to_dict("records"):
        color = looks(found)[row["arm"]]
        axes.plot(
            row[x.column], 0, transform=axes.get_xaxis_transform(), marker=color["marker"], ls="",
            color=color["color"], mfc="white", clip_on=False, zorder=3,
        )  # fmt: skip
    for score in learned.loc[learned["arm"].map(is_frozen), "score"]:
        axes.axhline(score, color=CONTROL, ls="--", lw=1.1, label="frozen backbone")
    if constant >= axes.get_ylim()[0]:
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
