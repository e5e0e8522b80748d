"""Figures: projection against behaviour, the norm beside it, and the monitor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.persona_projection.prediction import SUCCESS
from loradrift.analysis.persona_projection.tables import Prediction
from loradrift.report.blocks import Figure
from loradrift.report.figures import Drawers
from loradrift.report.style import canvas, few_ticks, finish_panels, save

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def draw_projection(found: Prediction | None, folder: Path) -> Sequence[Figure]:
    """Each run and trait: change of behaviour against the projection, and against the norm."""
    if found is None or found.points.empty:
        return []
    with canvas(2, height=3.2, columns=2) as (figure, axes):
        for each, name, label in (
            (axes[0], "projection", "projection of the weight change"),
            (axes[1], "norm", "norm of the weight change"),
        ):
            _points(each, found.points, name)
            each.axhline(0, color="black", lw=0.8)
            each.set(xlabel=label, ylabel="trait changed (points)")
            few_ticks(each.xaxis)
        r = found.estimates.get("pearson")
        if r is not None:
            axes[0].set_title(f"r: {r.text}")
            axes[1].set_title(f"r: {found.estimates['norm_pearson'].text}")
        finish_panels(figure, axes, columns=3)
        save(figure, folder, "projection")
    return [Figure(
        "projection",
        "Every fine-tuned run and trait: how much the trait's score changed against the base model "
        "(bars: 95 % over questions), by the projection of the run's weight change on directions "
        "made of other runs, and by the norm of the change alone. Filled: the trait that the run "
        "was trained on. Above: Pearson's r with its 95 % interval over runs; the success line is "
        f"{SUCCESS:g}.",
    )]  # fmt: skip


def _points(axes: Any, points: pd.DataFrame, name: str) -> None:
    for number, (trait, own) in enumerate(points.groupby("trait", sort=True)):
        color = COLORS[number % len(COLORS)]
        marker = MARKERS[number % len(MARKERS)]
        ends = np.array([own["change"] - own["change_low"], own["change_high"] - own["change"]])
        axes.errorbar(
            own[name], own["change"], yerr=np.nan_to_num(np.maximum(ends, 0)), fmt="none",
            ecolor=color, elinewidth=0.7, alpha=0.5,
        )  # fmt: skip
        for is_own, face in ((True, color), (False, "white")):
            part = own[own["own"] == is_own]
            axes.plot(
                part[name], part["change"], marker, color=color, mfc=face, ms=4.5, mew=0.9,
                label=str(trait) if is_own or not own["own"].any() else None,
            )  # fmt: skip


def draw_monitor(found: Prediction | None, folder: Path) -> Sequence[Figure]:
    """What the monitor said while training, and how well it told who gains."""
    if found is None or found.monitor.empty:
        return []
    with canvas(2, height=2.9, columns=2) as (figure, axes):
        own = found.logs.merge(found.points[["run", "trait", "own", "change"]], on=["run", "trait"])
        for _, line in own[own["own"]].groupby(["run", "trait"]):
            rising = float(line["change"].iloc[0]) > 0
            axes[0].plot(
                line["share"], line["projection"], color=COLORS[0 if rising else 1], lw=0.9,
                label="the trait rose" if rising else "the trait fell",
            )  # fmt: skip
        axes[0].set(xlabel="share of the training", ylabel="projection")
        table = found.monitor
        ends = np.array([table["auroc"] - table["low"], table["high"] - table["auroc"]])
        axes[1].errorbar(
            table["share"], table["auroc"], yerr=np.nan_to_num(np.maximum(ends, 0)), fmt="o-",
            color="black", capsize=2.5, lw=1.2,
        )  # fmt: skip
        axes[1].axhline(0.5, color="#555555", lw=0.8, ls="--")
        axes[1].set(xlabel="share of the training", ylabel="AUROC of a gain", ylim=(-0.03, 1.03))
        finish_panels(figure, axes)
        save(figure, folder, "monitor")
    return [Figure(
        "monitor",
        "The monitor: projections on the trait trained on, logged while training; and how well the "
        "projection by then tells the runs and traits that gain, with 95 % intervals over runs "
        "(dashed: chance).",
    )]  # fmt: skip


PROJECTION: Drawers = {"projection": draw_projection, "monitor": draw_monitor}
"""Name -> what draws it."""
