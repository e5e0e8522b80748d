"""A panel of curves over learning rates: what each arm reaches, and what that costs."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from loradrift.analysis.frontier.reading import arm_label, is_frozen
from loradrift.analysis.frontier.sentences import metric_of
from loradrift.analysis.frontier.tables import Frontier
from loradrift.report.style import few_ticks

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


def curves(
    axes: Any,
    found: Frontier,
    table: pd.DataFrame,
    places: tuple[Axis, Axis],
    rates: pd.DataFrame,
) -> None:
    """Each arm over some ``rates`` of a task, on scales that hold all rates of its ``table``.

    Marks are means over seeds, the band is from the least seed to the largest, thin lines are the
    seeds.
    """
    (x, y), points = places, found.tables["points"]
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
            if _is_log(column, table):  # a seed may have no place where their mean has one
                runs = runs[runs[column.column] > 0]
        for _, seed in runs.groupby("seed"):
            axes.plot(seed[x.column], seed[y.column], color=look["color"], lw=0.6, alpha=0.45)
    for column, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        (log_scale if _is_log(column, table) else few_ticks)(axis)
    axes.set(xlabel=x.label, ylabel=y.label)


def _is_log(axis: Axis, table: pd.DataFrame) -> bool:
    return axis.log and not (table[axis.column] <= 0).any()


def _with_rates(look: Mapping[str, Any], low: float, high: float) -> str:
    return f"{look['label']}, {low:g} to {high:g}"


def moving_rates(found: Frontier, task: str) -> pd.DataFrame:
    """The rates of a task at which a backbone was trained."""
    table = found.of("rates", task)
    return table[table["arm"].isin(looks(found))]


def norm_curves(axes: Any, found: Frontier, task: str) -> None:
    """Drift against the size of the update."""
    table = moving_rates(found, task)
    curves(axes, found, table, (NORM, DRIFT), table)


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
    score = Axis("score", metric_of(found, task), log=False)
    curves(axes, found, table, (x, score), shown)
    for row in table[no_better & table[x.column].notna()].to_dict("records"):
        look = looks(found)[row["arm"]]
        axes.plot(
            row[x.column], 0, transform=axes.get_xaxis_transform(), marker=look["marker"], ls="",
            color=look["color"], mfc="white", clip_on=False, zorder=3,
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
