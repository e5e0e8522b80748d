"""Figures of two judges: their scores of each answer, and their means of each cell."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.judges.tables import Compared
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import ARM_COLORS, draw_panels

BINS = 10
COLOR = ARM_COLORS["treatment"]
MEAN_COLOR = ARM_COLORS["control"]


def draw_scores(compared: Compared, folder: Path) -> Figure | None:
    """Every answer by both judges' scores, with the first's mean in tenths of the second's."""
    read, table = compared.read, compared.scores
    if table.empty:
        return None

    def draw(axes: Any, measure: str) -> None:
        own = table[table["measure"] == measure]
        _square(axes, read.second, read.first)
        axes.plot(own["second"], own["first"], ".", color=COLOR, alpha=0.25, label="answer",
                  rasterized=True)  # fmt: skip
        tenth = np.minimum(own["second"] // (100 / BINS), BINS - 1)
        means = own.groupby(tenth)[["second", "first"]].mean()
        axes.plot(means["second"], means["first"], "s", color=MEAN_COLOR, label="mean of a tenth")

    caption = (
        f"Each answer's scores by {read.first} and {read.second}; the diagonal is where both give "
        "the same."
    )
    return draw_panels(_measures(table), draw, folder, "judges_scores", caption)


def draw_cells(compared: Compared, folder: Path) -> Figure | None:
    """The mean scores of each cell by both judges, by arm."""
    read, table = compared.read, compared.cells
    if table["cell"].nunique() < 2:
        return None
    arms = [arm for arm in dict.fromkeys(table["arm"]) if pd.notna(arm)]

    def draw(axes: Any, measure: str) -> None:
        own = table[table["measure"] == measure]
        _square(axes, read.second, read.first)
        for place, arm in enumerate(arms):
            mine = own[own["arm"] == arm]
            axes.plot(mine["second"], mine["first"], "osD^v<>Ph"[place % 9], label=arm)

    caption = (
        f"Mean scores of each cell by {read.first} and {read.second}: comparisons of arms rest on "
        "these."
    )
    return draw_panels(_measures(table), draw, folder, "judges_cells", caption)


def _square(axes: Any, x: str, y: str) -> None:
    axes.plot([0, 100], [0, 100], "-", color="0.7", linewidth=0.8)
    axes.set(xlim=(-3, 103), ylim=(-3, 103), xlabel=x, ylabel=y)


def _measures(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["measure"]))


JUDGES: Drawers = {"judges_scores": draw_scores, "judges_cells": draw_cells}
