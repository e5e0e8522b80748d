"""The figures of ratios: how far the treatment drifts per task, and the hypotheses' intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loradrift.analysis.drift.hypotheses import Outcome
from loradrift.analysis.drift.rounding import rounding_variance
from loradrift.analysis.drift.tables import DriftTables
from loradrift.report.blocks import Figure, interval_text
from loradrift.report.style import canvas, ratio_axis, save
from loradrift.report.verdicts import ROW_INCHES, Verdict, apart, verdict_color


def draw_ratio(tables: DriftTables, folder: Path) -> Figure:
    """How far the treatment drifts against the control, per task, on a log scale."""
    summary, arms = tables.summary, tables.arms
    rows: list[Any] = list(summary.itertuples())
    with canvas(1, height=0.9 + ROW_INCHES * len(summary)) as (figure, [axes]):
        ends = [1.0, 0.8, 1.25, *np.exp(tables.reduction["log_ratio"])]
        for place, row in enumerate(rows):
            seeds = np.exp(tables.reduction.loc[tables.reduction["task"] == row.task, "log_ratio"])
            heights, size = apart(len(seeds))
            dots = {"color": arms.treatment.color, "alpha": 0.85, "mec": "white", "mew": 0.4}
            axes.plot(seeds, place + heights, "o", ms=size, **dots)
            low, high = row.ratio_lower_any_text, row.ratio_upper_any_text
            interval = [[row.ratio - low], [high - row.ratio]]
            known = np.isfinite(interval).all()
            drawn = interval if known else None
            rounding = rounding_variance(tables.rounding, [row.task])
            if rounding is not None:
                floor = np.exp([-2 * rounding.value**0.5, 2 * rounding.value**0.5])
                axes.fill_betweenx([place - 0.36, place + 0.36], *floor, color="#DDDDDD", lw=0)
                ends += list(floor)
            mean = {"fmt": "D", "color": "black", "capsize": 3, "ms": 5.5}
            axes.errorbar(row.ratio, place - 0.16, xerr=drawn, **mean)
            ends += [low, high] if known else []
        ratio_axis(axes, min(ends), max(ends))
        axes.axvline(1, color="black", lw=0.8)
        axes.axvline(0.8, color="#555555", lw=0.8, ls="--")
        axes.annotate(
            "hypothesis: below 0.8", (0.8, 1), xycoords=("data", "axes fraction"), ha="right",
            va="bottom", fontsize=8, color="#555555",
        )  # fmt: skip
        names = [task.replace(" (", "\n(") for task in summary["task"]]
        axes.set_yticks(range(len(summary)), names)
        axes.grid(visible=False, axis="y")
        label = f"drift of {arms.treatment.label} / drift of {arms.control.label} (log scale)"
        axes.set(ylim=(len(summary) - 0.45, -0.55), xlabel=label)
        save(figure, folder, "drift_ratio")
    control, treatment = (arm.label for arm in arms)
    said = [
        f"{row.task} {row.ratio:.3g} "
        f"({interval_text(row.ratio_lower_any_text, row.ratio_upper_any_text)})"
        for row in rows
    ]
    return Figure(
        "drift_ratio",
        f"How many times as far {treatment} drifts as {control}: mean drift over layers where "
        "the runs are compared, on a log scale, so that half and double are as far from 1. "
        "Diamonds: geometric mean over seeds with its 95 % interval, which also holds for other "
        f"rows than the probe's; dots: seeds. Left of 1, {treatment} drifts less."
        + (" Gray: how far rounding alone moves one seed's ratio." if len(tables.rounding) else ""),
        f"Drift of {treatment} as a multiple of {control}'s, with 95 % intervals: "
        f"{', '.join(said)}.",
    )


def hypothesis(axes: Any, outcome: Outcome) -> None:
    """One hypothesis' ratio with its intervals, the side where it holds, and the verdict."""
    claim = outcome.hypothesis
    pairs = [
        (outcome.verdict_lower, outcome.verdict_upper),
        (outcome.ratio_lower, outcome.ratio_upper),
    ]
    shown: list[tuple[float, float]] = []
    says = str(outcome.verdict)
    if outcome.tasks_disagree:
        says += "\ntasks disagree"
        for ratio in outcome.task_ratios.values():
            axes.plot(ratio, 0, "D", color="white", mec="black", ms=5)
    elif outcome.ratio is not None:
        axes.plot(outcome.ratio, 0, "D", color="white", mec="black", ms=6)
        says += f"\n{outcome.ratio:.3g} times"
        shown = [(low, high) for low, high in pairs if low is not None and high is not None]
    # In front: a short interval stays visible inside the diamond.
    for interval, width in zip(shown[::-1], (2.0, 0.8), strict=False):
        axes.plot(interval, [0, 0], "|-", color="black", lw=width, ms=8, mew=1.2)
    if shown:
        says += "\n{:.3g} to {:.3g}".format(*shown[-1])
    ratios = outcome.task_ratios.values() if outcome.tasks_disagree else [outcome.ratio or 1.0]
    ends = [1.0, claim.margin, *ratios, *(end for pair in shown for end in pair)]
    ratio_axis(axes, min(ends), max(ends))
    low, high = axes.get_xlim()
    holds = (claim.margin, high) if claim.direction == "at least" else (low, claim.margin)
    axes.axvspan(*holds, color="#009E73", alpha=0.12, lw=0)
    axes.axvline(claim.margin, color="black", ls="--", lw=1)
    axes.axvline(1, color="gray", lw=0.8)
    color = verdict_color(outcome.verdict)
    axes.annotate(says, (1.02, 0.5), xycoords="axes fraction", va="center", fontsize=8, color=color)
    axes.set(ylim=(-1, 1), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("ratio (log scale)", fontsize=8)
    axes.set_title(f"{claim.name}: {claim.claim}", loc="left", fontsize=8.5)


def draw_hypotheses(outcomes: Sequence[Outcome], folder: Path) -> Figure | None:
    """The hypotheses that there are data for, one panel each."""
    outcomes = [each for each in outcomes if each.verdict != Verdict.NO_DATA]
    if not outcomes:
        return None
    with canvas(len(outcomes), height=1.0, columns=1) as (figure, panels):
        for axes, outcome in zip(panels, outcomes, strict=True):
            hypothesis(axes, outcome)
        save(figure, folder, "hypotheses")
    return Figure(
        "hypotheses",
        "Ratios, treatment to control, with their 95 % intervals over seeds (thick) and the 99 % "
        "ones from which the verdicts are read (thin), each on a log scale of its own. Dashed: the "
        "margin; shaded: where the hypothesis holds."
        + (" H3's interval is over a benchmark's rounds, and its verdict is read from it."
           if any(each.hypothesis.table == "serving" for each in outcomes) else ""),
    )  # fmt: skip
