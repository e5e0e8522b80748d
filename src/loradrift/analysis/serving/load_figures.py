"""Figures of a server's load, and of cells side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.serving.figures import draw_band, setting
from loradrift.analysis.serving.latencies import ALL, least_count
from loradrift.analysis.serving.looks import MARGIN_COLOR, arm_style
from loradrift.analysis.serving.tables import Measured, Serving
from loradrift.analysis.serving.text import ratio_text
from loradrift.analysis.serving.verdict import MARGIN
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, finish_panels, from_zero, ratio_axis, save


def draw_server(measured: Measured, folder: Path) -> Figure | None:
    """A server's tail latency and throughput against concurrency, and against request rate."""
    bands, plan = measured.bands, measured.cell.plan
    phases = [name for name in ("closed_loop", "open_loop") if (bands["phase"] == name).any()]
    if not phases:
        return None
    target = plan.latency_target_s
    with canvas(2 * len(phases), height=2.7, columns=2) as (figure, axes):
        for place, phase in enumerate(phases):
            own = bands[bands["phase"] == phase]
            left, right = axes[2 * place : 2 * place + 2]
            for name in dict.fromkeys(own["arm"]):
                if name not in plan.merged or "merged" not in set(own["arm"]):
                    _draw_pooled(left, measured, phase, name, "latency_p95_s")
                    if phase == "closed_loop":
                        draw_band(right, own, plan.arm(name), measured, "tokens_per_s")
                    else:
                        _draw_pooled(right, measured, phase, name, "goodput_per_s")
            left.set(xlabel=LOADS[phase], ylabel="p95 latency (s)")
            right.set(xlabel=LOADS[phase], ylabel=RIGHT[phase])
            if target < 1.5 * left.get_ylim()[1]:
                left.axhline(target, color=MARGIN_COLOR, lw=0.9, ls="--")
            for each in (left, right):
                _loads_axis(each, sorted(own["load"].unique()))
                from_zero(each)
                few_ticks(each.yaxis)
            if phase == "open_loop":
                sent = np.geomspace(own["load"].min() / 2, 2 * own["load"].max(), 50)
                right.plot(
                    sent, sent, color=MARGIN_COLOR, lw=0.9, ls=":", scalex=False, scaley=False
                )
        finish_panels(figure, axes)
        save(figure, folder, "server")
    return Figure(
        "server",
        "A server under load. Left: the 95th percentile of latency, over the requests of all "
        f"rounds (hollow: of fewer than {least_count(95)} requests, so little else than the "
        f"longest one; dashed, where in sight: the target of {target:g} s). Right: throughput "
        "(geometric mean over rounds; bands are 95 % t intervals of 5 rounds or more)"
        f"{GOODPUT if 'open_loop' in phases else ''}. {setting(measured)}",
    )


GOODPUT = (
    ", or goodput: the requests per second that meet the target (dotted: as many as were sent)"
)
LOADS = {"closed_loop": "requests in flight", "open_loop": "requests per second sent"}
RIGHT = {"closed_loop": "tokens/s, all requests", "open_loop": "goodput (requests/s)"}


def _loads_axis(axes: Any, loads: Sequence[float]) -> None:
    """A log scale with a tick at each load."""
    if len(loads) > 1:
        axes.set_xscale("log", base=2)
    axes.set_xticks(loads, [f"{load:.3g}" for load in loads])
    axes.minorticks_off()


def _draw_pooled(axes: Any, measured: Measured, phase: str, name: str, column: str) -> None:
    """A figure of one arm over the requests of all rounds; hollow where a p95 is of too few."""
    table: pd.DataFrame = measured.latencies
    own = table[
        (table["phase"] == phase) & (table["arm"] == name) & (table["adapter"] == ALL)
    ].sort_values("load")
    plan = measured.cell.plan
    style = arm_style(plan.arm(name), plan)
    axes.plot(own["load"], own[column], label=plan.label(name), **style)
    few = own[own["requests"] < least_count(95)]
    if column == "latency_p95_s" and len(few):
        hollow = {"ls": "none", "mfc": "white", "mec": style["color"], "mew": 1.0}
        axes.plot(few["load"], few[column], **style | hollow)


def draw_cells(serving: Serving, folder: Path) -> Figure | None:
    """H3's ratio in every cell that has one, where there are several."""
    cells = [each for each in serving.cells if each.verdict.rounds]
    if len(cells) < 2:
        return None
    ends = [1.0, MARGIN]
    with canvas(1, height=0.9 + 0.5 * len(cells)) as (figure, [axes]):
        for place, each in enumerate(cells):
            found = each.verdict
            interval = np.array([[found.ratio - found.low], [found.high - found.ratio]])
            known = bool(np.isfinite(interval).all())
            axes.errorbar(
                found.ratio, place, xerr=interval if known else None, fmt="D", color="black",
                capsize=3, mfc="black" if each.cell.finished else "white",
            )  # fmt: skip
            text = f"{ratio_text(found.ratio, found.low, found.high)}\n{found.verdict}"
            axes.annotate(
                text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8
            )
            ends += [found.ratio, *([found.low, found.high] if known else [])]
        ratio_axis(axes, min(ends), max(ends))
        axes.axvline(1, color="black", lw=0.8)
        axes.axvline(MARGIN, color=MARGIN_COLOR, lw=0.9, ls="--")
        names = [each.cell.name.replace(",", ",\n") for each in cells]
        axes.set_yticks(range(len(cells)), names)
        axes.set_ylim(len(cells) - 0.45, -0.55)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("two adapters / merged models, batch 8 (log scale)")
        save(figure, folder, "cells")
    return Figure(
        "cells",
        "Two adapters side by side against merged models in every cell, with 95 % t intervals; "
        "an empty diamond is a cell that is not finished; dashed: H3's margin of 1.30.",
    )
