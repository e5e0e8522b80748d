"""Figures of offline calls: overheads, latency and throughput against batch size, settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.serving.looks import MARGIN_COLOR, arm_style
from loradrift.analysis.serving.overheads import LEAST_ROUNDS, contrasts
from loradrift.analysis.serving.plans import Arm
from loradrift.analysis.serving.tables import Measured
from loradrift.analysis.serving.text import contrast_row, ratio_text
from loradrift.analysis.serving.verdict import MARGIN, model_text, rounds_text
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, finish_panels, from_zero, ratio_axis, save
from loradrift.report.verdicts import apart

ROW = 0.42
"""Inches of a row of a figure of ratios."""


def setting(measured: Measured) -> str:
    """How captions say what a figure stands for."""
    cell = measured.cell
    marks = f"; {cell.marks}" if cell.marks else ""
    return f"Of {model_text(cell)}, {cell.plan.setting()}{marks}."


def draw_overheads(measured: Measured, folder: Path) -> Figure | None:
    """Every arm against the merged models, its rounds as dots, beside H3's margin."""
    plan = measured.cell.plan
    known = []
    for arm in plan.arms:
        row = contrast_row(measured, arm.name, "merged")
        if row is not None:
            known.append((plan.label(arm.name), arm_style(arm, plan)["color"], row))
    if not known:
        return None
    with canvas(1, height=0.9 + ROW * len(known)) as (figure, [axes]):
        _forest(axes, known, [1.0, MARGIN])
        axes.axvline(MARGIN, color=MARGIN_COLOR, lw=0.9, ls="--")
        axes.annotate(
            "H3: below 1.30", (MARGIN, 1), xycoords=("data", "axes fraction"), ha="center",
            va="bottom", fontsize=8, color=MARGIN_COLOR,
        )  # fmt: skip
        axes.set_xlabel(f"time / time of merged models, {measured.at} (log scale)")
        save(figure, folder, "overheads")
    said = ", ".join(f"{label} {_said(row)}" for label, _, row in known)
    return Figure(
        "overheads",
        "How many times as long the same requests take as with merged models, paired by round: "
        "diamonds are geometric means with 95 % t intervals, dots are rounds. "
        f"{setting(measured)}",
        f"Overheads over merged models at {measured.at}: {said}.",
    )


def _said(row: Any) -> str:
    return ratio_text(row["ratio"], row["low"], row["high"])


def _forest(axes: Any, rows: Sequence[tuple[str, str, Any]], ends: list[float]) -> None:
    """Rows of ratios: each with its rounds, its mean, its interval, and both as numbers."""
    ends = list(ends)
    for place, (_, color, row) in enumerate(rows):
        rounds = np.exp(row["log_ratios"])
        heights, size = apart(len(rounds))
        axes.plot(rounds, place + heights * 0.9, "o", ms=size, color=color, mec="white", mew=0.4)
        interval = np.array([[row["ratio"] - row["low"]], [row["high"] - row["ratio"]]])
        drawn = interval if np.isfinite(interval).all() else None
        axes.errorbar(row["ratio"], place - 0.14, xerr=drawn, fmt="D", color="black", capsize=3)
        axes.annotate(
            _said(row), (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
        ends += [*rounds, *(row[end] for end in ("low", "high") if np.isfinite(row[end]))]
    ratio_axis(axes, min(ends), max(ends))
    axes.axvline(1, color="black", lw=0.8)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")


def draw_settings(measured: Measured, folder: Path) -> Figure | None:
    """What each single setting costs: an arm against the one that it changes one thing of."""
    plan = measured.cell.plan
    rows = []
    for each in contrasts(plan):
        base_pair = (each.arm, plan.arm(each.against).kind) == ("merged", "baseline")
        enabled = plan.arm(each.arm).kind == "lora_enabled_base" and each.against == "baseline"
        if each.against in ("merged", "baseline") and not (base_pair or enabled):
            continue
        row = contrast_row(measured, each.arm, each.against)
        if row is not None:
            label = f"{plan.label(each.arm)}\nagainst {plan.label(each.against)}"
            rows.append((label, arm_style(plan.arm(each.arm), plan)["color"], row))
    if not rows:
        return None
    with canvas(1, height=0.9 + ROW * len(rows)) as (figure, [axes]):
        _forest(axes, rows, [0.95, 1.05])
        axes.set_xlabel(f"ratio of times, {measured.at} (log scale)")
        save(figure, folder, "settings")
    said = ", ".join(f"{label} {_said(row)}".replace("\n", " ") for label, _, row in rows)
    return Figure(
        "settings",
        "What one setting costs: the same requests with it and without it, paired by round; "
        f"diamonds with 95 % t intervals, dots are rounds. {setting(measured)}",
        f"What single settings cost at {measured.at}: {said}.",
    )


def draw_batches(measured: Measured, folder: Path) -> Figure | None:
    """Latency and throughput against the batch size, with bands over rounds."""
    plan = measured.cell.plan
    shown = plan.of_kind("baseline", "lora_enabled_base", "single", "multi", "engines")
    shown = [*shown[:1], plan.arm("merged"), *shown[1:]]
    bands = measured.bands[measured.bands["phase"] == "offline"]
    panels = {"mean_latency_s": "mean latency (s)", "tokens_per_s": "tokens/s, all requests"}
    if bands["load"].nunique() < 2:
        return None
    with canvas(2, height=3.0, columns=2) as (figure, axes):
        for own, (column, label) in zip(axes, panels.items(), strict=True):
            for arm in shown:
                draw_band(own, bands, arm, measured, column)
            loads = sorted(bands["load"].unique())
            own.set_xscale("log", base=2)
            own.set_xticks(loads, [f"{load:g}" for load in loads])
            own.minorticks_off()
            own.set(xlabel="batch size", ylabel=label)
            from_zero(own)
            few_ticks(own.yaxis)
        finish_panels(figure, axes, columns=4)
        save(figure, folder, "batches")
    return Figure(
        "batches",
        "Latency from submission to the last token, and throughput, against the batch size: "
        "geometric means over rounds; bands are 95 % t intervals over rounds, of what slows a "
        f"whole round too. {setting(measured)}",
        f"Latency and throughput of {len(shown)} arms against batch size.",
    )


def draw_band(axes: Any, bands: pd.DataFrame, arm: Arm, measured: Measured, column: str) -> None:
    """One arm's line with its band, from a column of the bands; of few rounds there is none."""
    own = bands[bands["arm"] == arm.name].sort_values("load")
    if own.empty:
        return
    plan = measured.cell.plan
    style = arm_style(arm, plan)
    if own["rounds"].min() >= LEAST_ROUNDS:
        ends = (own[f"{column}_{end}"] for end in ("low", "high"))
        axes.fill_between(own["load"], *ends, color=style["color"], alpha=0.15, lw=0)
    axes.plot(own["load"], own[column], label=plan.label(arm.name), **style)


def draw_map(measured: Measured, folder: Path) -> Figure | None:
    """Overhead over merged models: arm by batch size."""
    plan = measured.cell.plan
    table = measured.overheads
    own = table[(table["phase"] == "offline") & (table["against"] == "merged")]
    if own.empty:
        return None
    ratios = own.pivot(index="arm", columns="load", values="ratio")
    arms = [arm.name for arm in plan.arms if arm.name in ratios.index]
    ratios = ratios.loc[arms]
    percents = 100 * (ratios.to_numpy() - 1)
    most = max(30.0, float(np.nanmax(percents)))
    size = min(7.5, 38 / len(ratios.columns))
    with canvas(1, height=0.9 + 0.36 * len(arms)) as (figure, [axes]):
        image = axes.imshow(percents, cmap="OrRd", vmin=0, vmax=most, aspect="auto")
        for row in own.to_dict("records"):
            x, y = list(ratios.columns).index(row["load"]), arms.index(row["arm"])
            percent = percents[y, x]
            above = row["low"] > MARGIN
            axes.text(
                x, y, ratio_text(row["ratio"], row["low"], row["high"]).replace(" (", "\n("),
                ha="center", va="center", fontsize=size, fontweight="bold" if above else "normal",
                color="white" if percent > 0.6 * most else "black", linespacing=1.05,
            )  # fmt: skip
        axes.set_xticks(range(len(ratios.columns)), [f"{load:g}" for load in ratios.columns])
        axes.set_yticks(range(len(arms)), [plan.label(arm) for arm in arms])
        axes.set_xlabel("batch size")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=25, label="overhead (%)")
        bar.ax.axhline(100 * (MARGIN - 1), color="black", lw=1.2)
        save(figure, folder, "overhead_map")
    return Figure(
        "overhead_map",
        "Overhead over merged models in percent with its 95 % interval "
        f"({rounds_text(int(own['rounds'].max()))}), by arm and batch size; bold where the whole "
        f"interval is above 30 %, the black line of the scale. {setting(measured)}",
    )
