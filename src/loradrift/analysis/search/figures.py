"""A search's figures: tables go in, axes are drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.search.tables import MIN_TRIALS, SHUFFLES, TOP, Searches
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import (
    COLORS,
    LABELS,
    canvas,
    few_ticks,
    finish_panels,
    save,
    task_label,
)

STATES: dict[str, dict[str, Any]] = {
    "complete": {"marker": "o"},
    "pruned": {"marker": "X", "color": "#999999", "mew": 0, "ms": 6},
    "failed": {"marker": "v", "color": "black", "mew": 0, "ms": 5},
    "killed": {"marker": "v", "color": "black", "mfc": "none"},
    "interrupted": {"marker": "^", "color": "black", "mfc": "none"},
}
"""How a trial is drawn, by how it ended. Complete ones have their method's colour, and no others
have a colour at all: nobody can take them for a method's."""

BARS: dict[str, dict[str, Any]] = {
    "complete": {},
    "pruned": {"facecolor": "#999999"},
    "failed": {"facecolor": "white", "edgecolor": "black", "hatch": "//////", "lw": 0.8},
}
"""The same for a trial's time."""

OTHER = "#009E73"
"""Colour of methods that the comparison of two does not know."""


def _draw_history(tables: Searches, folder: Path) -> Figure | None:
    shown = tables.trials[tables.trials["state"].isin(STATES)]
    return _panels(shown, _history, tables, folder, "search_history")


def _draw_parallel(tables: Searches, folder: Path) -> Figure | None:
    trial = ["task", "method", "number"]
    scores = tables.trials[[*trial, "state", "value"]].rename(columns={"value": "score"})
    ended = scores[scores["score"].notna() & scores["state"].isin(("complete", "pruned"))]
    found = tables.coordinates.merge(ended, on=trial)
    return _panels(found, _parallel, tables, folder, "search_parallel", columns=2)


def _draw_importance(tables: Searches, folder: Path) -> Figure | None:
    return _panels(tables.importance, _importance, tables, folder, "search_importance")


def _draw_times(tables: Searches, folder: Path) -> Figure | None:
    timed = tables.trials[tables.trials["seconds"].notna()]
    return _panels(timed, _seconds, tables, folder, "search_time")


SEARCHES: Drawers = {
    "search_history": _draw_history,
    "search_parallel": _draw_parallel,
    "search_importance": _draw_importance,
    "search_time": _draw_times,
}
"""The figures of :class:`Searches`."""

NO_TIME = "A killed or interrupted trial has no time: when its process ended is not known."
"""How captions explain that there is no time."""

CAPTIONS = {
    "search_history": "The objective of each trial. The line is the best so far; a cross is a "
    "pruned trial with the last value that it reported, a black triangle one that failed "
    "(open: it was killed or, with its tip up, interrupted, and run again), at the foot if it "
    "reported none.",
    "search_parallel": "Each line is a trial, from its parameters to its objective, the darker "
    "the better; thick: the best (the first of equal ones); dashed: pruned. Every axis spans "
    "the range that was searched, in its logarithm where that was.",
    "search_importance": "Which parameters tell the best quarter of the completed trials from all "
    "of them (PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255); the shares sum to 1. The black "
    f"line is what chance gives: the 95 % quantile of {SHUFFLES} searches with the same trials and "
    f"shuffled values. Searches with fewer than {MIN_TRIALS} completed trials are left out.",
    "search_time": f"The time that each trial took; pruned and failed ones end early. {NO_TIME}",
}
assert TOP == 0.25  # as the caption says


def _panels(
    table: pd.DataFrame,
    draw: Callable[[Any, pd.DataFrame, pd.Series], None],
    tables: Searches,
    folder: Path,
    name: str,
    *,
    columns: int = 3,
) -> Figure | None:
    """Draw one panel per search that the table knows."""
    searches = [row for _, row in tables.summary.iterrows() if len(_of(table, row))]
    if not searches:
        return None
    width = 7.8 / columns
    with canvas(len(searches), width=width, columns=columns) as (figure, panels):
        for axes, row in zip(panels, searches, strict=True):
            draw(axes, _of(table, row), row)
            axes.set_title(f"{task_label(row['task'])}, {LABELS.get(row['method'], row['method'])}")
        finish_panels(figure, panels)
        save(figure, folder, name)
    return Figure(name, CAPTIONS[name])


def _of(table: pd.DataFrame, search: pd.Series) -> pd.DataFrame:
    mine = (table["task"] == search["task"]) & (table["method"] == search["method"])
    return pd.DataFrame(table[mine])


def _color(search: pd.Series) -> str:
    return COLORS.get(search["method"], OTHER)


def _history(axes: Any, trials: pd.DataFrame, search: pd.Series) -> None:
    complete = trials[trials["state"] == "complete"]
    best = complete["value"].cummax() if _up(search) else complete["value"].cummin()
    best = best.set_axis(complete["number"]).reindex(trials["number"]).ffill()
    axes.step(best.index, best, where="post", color=_color(search), lw=1, alpha=0.6)
    for state, style in STATES.items():
        own = trials[trials["state"] == state]
        if own.empty:
            continue
        known = own[own["value"].notna()]
        options = {"color": _color(search), "ls": "", **style}
        axes.plot(known["number"], known["value"], label=_legend(state), **options)
        without = own[own["value"].isna()]["number"]
        if len(without):
            axes.plot(
                without, [0.03] * len(without), transform=axes.get_xaxis_transform(), **options
            )
    axes.set_xlim(-0.5, trials["number"].max() + 0.5)
    few_ticks(axes.xaxis, whole=True)
    axes.set_xlabel("trial")
    axes.set_ylabel(search["objective"].replace("/", " "))


def _parallel(axes: Any, coordinates: pd.DataFrame, search: pd.Series) -> None:
    import matplotlib as mpl

    keys = list(dict.fromkeys(coordinates["key"]))
    wide = coordinates.pivot(index="number", columns="key", values="position")[keys]
    trials = coordinates.drop_duplicates("number").set_index("number")
    low, high = trials["score"].min(), trials["score"].max()
    heights = (trials["score"] - low) / (high - low) if high > low else trials["score"] * 0 + 0.5
    shades = mpl.colormaps["viridis_r"]  # the best are dark, and drawn last
    for number in heights.sort_values(ascending=_up(search)).index:
        pruned = trials["state"][number] == "pruned"
        goodness = heights[number] if _up(search) else 1 - heights[number]
        axes.plot(
            range(len(keys) + 1),
            [*wide.loc[number], heights[number]],
            color="#999999" if pruned else shades(0.1 + 0.9 * goodness),
            ls="--" if pruned else "-",
            lw=2.8 if number == search["best_trial"] else 1.0,
        )
    ends = coordinates.drop_duplicates("key").set_index("key")
    shown = [(ends["low"][key], ends["high"][key]) for key in keys]
    shown.append((f"{low:.3g}", f"{high:.3g}"))
    for place, (bottom, top) in enumerate(shown):
        axes.plot([place, place], [0, 1], color="black", lw=0.8)
        for height, text, side in ((-0.03, bottom, "top"), (1.03, top, "bottom")):
            axes.text(place, height, text, ha="center", va=side, fontsize=7)
    words = [key.rpartition(".")[2].replace("_", "\n") for key in keys]
    axes.set_xticks(range(len(keys) + 1), [*words, search["objective"].replace("/", "\n")])
    axes.tick_params(axis="x", length=0, pad=10, labelsize=7)
    axes.set_yticks([])
    axes.set_ylim(-0.02, 1.12)
    axes.set_xlim(-0.35, len(keys) + 0.35)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(visible=False)


def _importance(axes: Any, importance: pd.DataFrame, search: pd.Series) -> None:
    places = np.arange(len(importance))
    axes.barh(places, importance["importance"], color=_color(search), height=0.6)
    for place, chance in zip(places, importance["chance"], strict=True):
        axes.plot([chance, chance], [place - 0.38, place + 0.38], color="black", lw=1.5)
    axes.set_yticks(places, [key.rpartition(".")[2] for key in importance["key"]])
    axes.set_ylim(len(importance) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("importance")


def _seconds(axes: Any, trials: pd.DataFrame, search: pd.Series) -> None:
    for state, style in BARS.items():
        own = trials[(trials["state"] == state) & trials["seconds"].notna()]
        if len(own):
            options = {"facecolor": _color(search), "width": 0.7, "label": _legend(state)}
            options |= style
            axes.bar(own["number"], own["seconds"], **options)
    axes.set_xlim(-0.6, trials["number"].max() + 0.6)
    few_ticks(axes.xaxis, whole=True)
    few_ticks(axes.yaxis)
    axes.set_xlabel("trial")
    axes.set_ylabel("seconds")


def _legend(state: str) -> str | None:
    """Complete trials have another colour in each panel, and need no name."""
    return None if state == "complete" else state


def _up(search: pd.Series) -> bool:
    return bool(search["direction"] == "maximize")
