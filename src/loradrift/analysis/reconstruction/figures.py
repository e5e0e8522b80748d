"""Figures of F1 and gold loss: by rank, against the baseline, by rung, by bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.looks import (
    LABELS,
    LINE_COLOR,
    RUNG_COLORS,
    arm_color,
    label_lines,
    point,
    rank_looks,
)
from loradrift.analysis.reconstruction.scores import OWN_RUNGS, RUNGS
from loradrift.analysis.reconstruction.tables import Reconstruction
from loradrift.analysis.reconstruction.verdicts import CLASSES
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, save

LINES = ("full_text", "pca_inverse", "mean_pooling", "truncated_bytes", "no_context")
"""Rungs of the base model that stand as lines behind the arms."""

ROW = 0.25
"""Inches of a row."""

MEANS = "Means over seeds and rows with 95 % intervals over both."


def setting_text(found: Reconstruction) -> str:
    """How captions say what a figure stands for."""
    record, keys = found.scores.first.record, dict(found.setting)
    return (
        f"{record.task_label}, model {found.scores.first.flat.get('model.name')}; "
        f"{keys['task.num_latents']} latents of {keys['task.d_z']} numbers of "
        f"{keys['task.latent_bits']} bits; {len(found.scores.ids):,} rows."
    )


def ends(row: Any, name: str) -> tuple[float, float]:
    """The ends of an interval in a table's row."""
    return float(row[f"{name}_low"]), float(row[f"{name}_high"])


def draw_ranks(found: Reconstruction, folder: Path) -> Figure:
    """F1 and gold loss against the rank, with the ladder as lines."""
    arms = [each.arm for each in found.compared]
    ranks = sorted({arm.rank for arm in arms if arm.rank is not None})
    places: dict[int | None, int] = {None: 0}
    places |= {rank: k for k, rank in enumerate(ranks, start=1)}
    looks, table = rank_looks(arms), found.tables["arms"]
    with canvas(2, height=2.7, columns=1) as (figure, axes):
        for each, column in zip(axes, LABELS, strict=True):
            for arm, row in zip(arms, table.to_dict("records"), strict=True):
                kin = [other for other in arms if other.rank == arm.rank]
                shift = (kin.index(arm) - (len(kin) - 1) / 2) * min(0.22, 0.8 / len(kin))
                x = places[arm.rank] + shift
                point(each, x, row[column], ends(row, column), **looks[arm])
            _ladder_lines(each, found, column)
            names = ["none" if rank is None else str(rank) for rank in places]
            each.set_xticks(list(places.values()), names)
            each.set(xlabel="rank of LoRA" if each is axes[-1] else "", ylabel=LABELS[column])
            each.set_xlim(-0.5, len(places) - 0.5)
            each.grid(visible=False, axis="x")
        _rank_legend(figure, arms, looks)
        save(figure, folder, "ranks")
    return Figure(
        "ranks",
        f"F1 and loss of the gold answer by rank. Dashed: the base model with other things in the "
        f"context's place. {MEANS} {setting_text(found)}",
    )


def base_heights(found: Reconstruction, column: str) -> dict[str, float]:
    """A column's value for each rung of the base model."""
    table = found.tables["ladder"]
    own = table[table["arm"] == ""]
    return dict(zip(own["rung"], own[column].astype(float), strict=True))


def _ladder_lines(axes: Any, found: Reconstruction, column: str) -> None:
    known = base_heights(found, column)
    heights = {RUNGS[rung]: known[rung] for rung in LINES if rung in known}
    colors = {RUNGS[rung]: RUNG_COLORS[rung] for rung in LINES}
    for name, y in heights.items():
        axes.axhline(y, color=colors[name], lw=1, ls=(0, (4, 2)), zorder=0)
    label_lines(axes, heights, colors)


def _rank_legend(figure: Any, arms: Sequence[Arm], looks: dict[Arm, dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    handles: dict[str, Any] = {}
    for arm in arms:
        look = looks[arm]
        if arm.rank is None:
            handles[arm.text] = Line2D([], [], ls="", **look)
            continue
        handles.setdefault(arm.blocks, Line2D([], [], ls="", marker="o", color=look["color"], ms=5))
        alpha = Line2D([], [], ls="", marker=look["marker"], color=LINE_COLOR, ms=5)
        handles.setdefault(f"alpha {arm.alpha:g}", alpha)
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=min(8, len(handles)),
        fontsize=8, columnspacing=1.2, handletextpad=0.3,
    )  # fmt: skip


def draw_gains(found: Reconstruction, folder: Path) -> Figure | None:
    """Every arm less the baseline."""
    table = found.tables["arms"]
    table = table[table["gain"].notna()].sort_values("gain", ascending=False)
    if table.empty:
        return None
    names = list(table["arm"])
    panels = (("gain", "F1 gained (points)"), ("loss_gain", "gold loss added (nats per token)"))
    with canvas(2, height=0.9 + ROW * len(names), columns=2) as (figure, axes):
        for place, (each, (column, label)) in enumerate(zip(axes, panels, strict=True)):
            for y, row in enumerate(table.to_dict("records")):
                look = {"marker": "o", "ms": 5, "color": "black"}
                point(each, row[column], y, ends(row, column), sideways=True, **look)
            each.axvline(0, color="black", lw=0.8)
            if column == "gain":
                for line in CLASSES.values():
                    each.axvline(line, color=LINE_COLOR, lw=0.8, ls="--", zorder=0)
            each.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
            each.set(ylim=(len(names) - 0.5, -0.5), xlabel=label)
            each.grid(visible=False, axis="y")
            few_ticks(each.xaxis)
        save(figure, folder, "gains")
    lines = ", ".join(f"{least:g} ({name})" for name, least in reversed(CLASSES.items()))
    return Figure(
        "gains",
        f"Every arm less {found.baseline.named}, paired by seed and row. Dashed: the lines of the "
        f"verdicts in points, {lines}. More is better on the left, less on the right. "
        f"{MEANS} {setting_text(found)}",
    )


def draw_ladder(found: Reconstruction, folder: Path) -> Figure:
    """The rungs from full text to no context."""
    table = found.tables["ladder"]
    best, baseline = found.best.arm, found.baseline
    shown = table[table["arm"].isin(["", baseline.text, best.text])].to_dict("records")
    names = [
        RUNGS[row["rung"]] + (f", {row['arm']}" if row["arm"] and best != baseline else "")
        for row in shown
    ]
    with canvas(2, height=0.9 + ROW * len(names), columns=2) as (figure, axes):
        for place, (each, column) in enumerate(zip(axes, LABELS, strict=True)):
            for y, row in enumerate(shown):
                marker = "o" if row["rung"] in OWN_RUNGS else "s"
                look = {"color": RUNG_COLORS[row["rung"]], "marker": marker, "ms": 5}
                point(each, row[column], y, ends(row, column), sideways=True, **look)
            each.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
            each.set(ylim=(len(names) - 0.5, -0.5), xlabel=LABELS[column])
            each.grid(visible=False, axis="y")
            few_ticks(each.xaxis)
        save(figure, folder, "ladder")
    return Figure(
        "ladder",
        "The ladder on the same rows. Squares: the base model, which no training changes. Circles: "
        f"the baseline and the arm with the highest F1. {MEANS} {setting_text(found)}",
    )


def draw_rate(found: Reconstruction, folder: Path) -> Figure | None:
    """F1 and gold loss against the bytes that stand for a context."""
    table = found.tables["rate"]
    table = table[table["rung"] != "mean_pooling"]  # of 32 bits a number: far off
    if table["bytes"].nunique() < 2:
        return None
    with canvas(2, height=3.3, columns=2) as (figure, axes):
        for each, column in zip(axes, LABELS, strict=True):
            for _, own in table.groupby(["rung", "arm"], sort=False):
                _rate_line(each, found, own.sort_values("bytes"), column)
            heights = base_heights(found, column)
            for rung in [rung for rung in ("full_text", "no_context") if rung in heights]:
                line = {"lw": 1, "ls": (0, (4, 2)), "label": RUNGS[rung]}
                each.axhline(heights[rung], color=RUNG_COLORS[rung], **line)
            text = float(table["text_bytes"].iloc[0])
            for share, words in ((1, "text"), (4, "1/4")):
                each.axvline(text / share, color=LINE_COLOR, lw=0.8, ls=":")
                each.annotate(
                    words, (text / share, 1.01), xycoords=("data", "axes fraction"), ha="center",
                    fontsize=7, color=LINE_COLOR,
                )  # fmt: skip
            each.set_xscale("log", base=2)
            each.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            each.set(xlabel="bytes of a context", ylabel=LABELS[column])
        _legend(figure, axes)
        save(figure, folder, "rate")
    return Figure(
        "rate",
        "Rate and distortion: F1 and loss of the gold answer by the bytes that stand for a "
        "context; the numbers at the points are M, the latents. Dotted: mean bytes of the texts, "
        "and a quarter of them. Chunk means, of 32 bits a number, take far more and are in the "
        f"table. {MEANS} {setting_text(found)}",
    )


def _rate_line(axes: Any, found: Reconstruction, own: pd.DataFrame, column: str) -> None:
    rung, arm = (str(own[name].iloc[0]) for name in ("rung", "arm"))
    best, baseline = found.best.arm, found.baseline
    arms = {each.arm.text: each.arm for each in found.compared}
    if arm and len(own) < 2 and arm not in (best.text, baseline.text):
        return
    color, label = RUNG_COLORS[rung], RUNGS[rung]
    if arm:
        known = arms.get(arm)
        color = RUNG_COLORS[rung] if known is None else arm_color(known, baseline, best)
        label = f"soft prompt, {arm}"
    marker = "o" if arm else "s"
    for k, row in enumerate(own.to_dict("records")):
        look: dict[str, Any] = {"color": color, "marker": marker, "ms": 4}
        look["label"] = None if k else label
        point(axes, row["bytes"], row[column], ends(row, column), **look)
        if arm == baseline.text:
            axes.annotate(
                str(row["num_latents"]), (row["bytes"], row[column]), xytext=(3, -9),
                textcoords="offset points", fontsize=7,
            )  # fmt: skip
    axes.plot(own["bytes"], own[column], color=color, lw=1.2, ls="-" if arm else "--", zorder=1)


def _legend(figure: Any, panels: Sequence[Any]) -> None:
    shown: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(name, handle)
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=3, fontsize=8)
