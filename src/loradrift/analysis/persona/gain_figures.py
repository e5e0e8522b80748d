"""Figures of gains at matched coherence, and of one arm against another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.persona.dose_figures import arm_of, setting_text
from loradrift.analysis.persona.equivalence import main_gaps
from loradrift.analysis.persona.looks import MARGIN_COLOR, styles
from loradrift.analysis.persona.tables import Persona
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, save
from loradrift.statistics.bounded import mean_of

ROW = 0.25
"""Inches of a row."""


def draw_gains(persona: Persona, folder: Path) -> Sequence[Figure]:
    """Every arm's gain at the coherence that is asked for: a panel per trait."""
    table = persona.tables["gains"]
    table = table[(table["side"] == "raise") & (table["arm"] != "none")]
    if table.empty:
        return []
    traits = list(dict.fromkeys(table["trait"]))
    arms = sorted({arm_of(row) for _, row in table.iterrows()}, key=lambda arm: arm.order)
    looks = styles(arms)
    with canvas(len(traits), height=0.75 + ROW * len(arms), columns=2) as (figure, axes):
        for place, (each, trait) in enumerate(zip(axes, traits, strict=True)):
            for _, row in table[table["trait"] == trait].iterrows():
                _interval(each, arms.index(arm_of(row)), row, looks[arm_of(row)])
            each.axvline(0, color="black", lw=0.8)
            names = [arm.text for arm in arms] if place % 2 == 0 else [""] * len(arms)
            each.set_yticks(range(len(arms)), names)
            each.set(ylim=(len(arms) - 0.5, -0.5), title=trait)
            each.set_xlabel("trait gained (points)")
            each.grid(visible=False, axis="y")
            few_ticks(each.xaxis)
        save(figure, folder, "gains")
    return [Figure(
        "gains",
        f"Trait gained at a coherence of at least {persona.settings.coherence:g}: each arm at its "
        "best dose, less no steering, with 95 % intervals over questions. An empty marker is an "
        "arm whose largest dose is its best one (more might gain more), or none of whose measured "
        "doses is that coherent (its gain is between dose 0 and the first one). "
        f"{setting_text(persona)}",
    )]  # fmt: skip


def _interval(axes: Any, place: int, row: pd.Series, look: dict[str, Any]) -> None:
    if np.isnan(row["gain"]):
        axes.annotate("not that coherent", (0, place), va="center", fontsize=7.5)
        return
    ends = np.array([[row["gain"] - row["gain_low"]], [row["gain_high"] - row["gain"]]])
    doubtful = bool(row["edge"]) or not bool(row["coherent"])
    axes.errorbar(
        row["gain"], place, xerr=np.maximum(ends, 0) if np.isfinite(ends).all() else None,
        fmt=look["marker"], ms=5, color=look["color"], mfc="white" if doubtful else look["color"],
        capsize=2.5, lw=1.2,
    )  # fmt: skip


PANELS = (("weight", "activation", "weights less activations"),
          ("weight", "prompt", "weights less prompt"),
          ("activation", "prompt", "activations less prompt"))  # fmt: skip


def draw_differences(persona: Persona, folder: Path) -> Sequence[Figure]:
    """One arm less another by trait, beside the margin of equivalence."""
    panels = [
        (main_gaps(persona.gaps, persona.main, kind, against), title)
        for kind, against, title in PANELS
    ]
    panels = [(found, title) for found, title in panels if found]
    if not panels:
        return []
    traits = sorted({gap.trait for found, _ in panels for gap in found})
    margin = persona.settings.margin
    rows = [*traits, "all traits"]
    with canvas(len(panels), height=0.8 + ROW * len(rows)) as (figure, axes):
        for place, (each, (found, title)) in enumerate(zip(axes, panels, strict=True)):
            parts = [(gap.trait, gap.difference, gap.num_questions) for gap in found]
            mean = mean_of([gap.difference for gap in found])
            parts.append(("all traits", mean, min(gap.num_questions for gap in found)))
            for name, difference, count in parts:
                interval = difference.interval(count)
                ends = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
                known = bool(np.isfinite(ends).all())
                shown = "D" if name == "all traits" else "o"
                each.errorbar(
                    interval.estimate, rows.index(name), fmt=shown, color="black", ms=5,
                    xerr=np.maximum(ends, 0) if known else None, capsize=2.5, lw=1.2,
                )  # fmt: skip
            each.axvspan(-margin, margin, color=MARGIN_COLOR, alpha=0.12, lw=0)
            each.axvline(0, color="black", lw=0.8)
            each.set_yticks(range(len(rows)), rows if place == 0 else [""] * len(rows))
            each.set(ylim=(len(rows) - 0.5, -0.5), title=title, xlabel="points")
            each.grid(visible=False, axis="y")
            few_ticks(each.xaxis)
        save(figure, folder, "differences")
    return [Figure(
        "differences",
        f"One arm less another at a coherence of at least {persona.settings.coherence:g}, paired "
        f"by question, with 95 % intervals. Grey: equivalent within {margin:g} points. "
        f"{setting_text(persona)}",
    )]  # fmt: skip
