"""The report's section about weights: its figures, its tables, and what the terminal shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from loradrift.analysis.drift.page import left_out
from loradrift.analysis.weights import figures as weight_figures
from loradrift.analysis.weights.tables import Weights
from loradrift.report.blocks import Block, Figure, Heading, Paragraph, Table, cell_text
from loradrift.report.style import canvas, finish_panels, save


def draw_weights(weights: Weights, folder: Path) -> list[Figure]:
    """Draw and save every figure about weights; none if no weights could be read."""
    both = weights.modules[weights.modules["lora_rank"].notna()]
    totals = weights.totals
    if both.empty:
        return []

    def rank(axes: Any, own: pd.DataFrame, task: str) -> None:
        weight_figures.per_layer(axes, own, "effective_rank", "effective rank", task)
        weight_figures.lora_rank(axes, own)

    drawn = [
        _panels(
            both,
            lambda axes, own, task: weight_figures.per_layer(
                axes, own, "relative_norm", "relative update norm", task
            ),
            folder,
            "update_norm",
            "How much each layer's weights changed: |dW| / |W| (Frobenius), mean over the layer's "
            "modules and over seeds; band: from the least seed to the largest.",
        ),
        _panels(
            both,
            rank,
            folder,
            "effective_rank",
            "In how many directions they changed: the exponential of the entropy of the update's "
            "singular values, likewise. LoRA cannot exceed its rank.",
        ),
        _panels(
            both,
            weight_figures.intruders,
            folder,
            "intruders",
            "Intruder dimensions: of the strongest left singular vectors of a tuned weight, those "
            "whose |cosine| with every base one is below 0.5; mean over modules and seeds. Dashed: "
            "a random change as large, of the same rank. Where that has as many, size alone "
            "explains them. Of random directions, as many are intruders as the note says.",
            columns=2,
        ),
        _panels(
            totals,
            lambda axes, own, task: weight_figures.against_norm(
                axes, own, "drift", "mean drift (1 - CKA)", task
            ),
            folder,
            "drift_against_norm",
            "Drift at the last step, mean over layers, against the size of the whole update: |dW| "
            "/ |W| over all linear layers; each mark is a run.",
        ),
    ]
    measured = totals[totals["forgetting"].notna()]
    if len(measured):
        drawn.append(
            _panels(
                measured,
                lambda axes, own, task: weight_figures.against_norm(
                    axes, own, "forgetting", "forgetting (nats per token)", task
                ),
                folder,
                "forgetting_against_norm",
                "Forgetting, the rise of the next-token loss on neutral text, against the size of "
                "the whole update; each mark is a run.",
            )
        )
    return drawn


def _panels(
    table: pd.DataFrame,
    draw: Callable[[Any, pd.DataFrame, str], None],
    folder: Path,
    name: str,
    caption: str,
    *,
    columns: int = 4,
) -> Figure:
    """One panel per task; ``columns`` of the legend."""
    tasks = list(dict.fromkeys(table["task"]))
    with canvas(len(tasks)) as (figure, panels):
        for axes, task in zip(panels, tasks, strict=True):
            draw(axes, table[table["task"] == task], task)
        finish_panels(figure, panels, columns=columns)
        save(figure, folder, name)
    return Figure(name, caption)


def weight_blocks(weights: Weights, figures: list[Figure]) -> list[Block]:
    """The section, in order."""
    problems = left_out(list(weights.not_analysed["not analysed"]))
    if not figures:
        return [Heading("Weights"), *problems]
    return [
        Heading("Weights"),
        Paragraph(
            "What training did to the linear layers, on the modules that LoRA changes. Overlap is "
            "the share of the update's energy inside the ten strongest singular directions of the "
            "base weight, left (outputs) and right (inputs); in brackets, that of a random change."
        ),
        *problems,
        *figures[:2],
        Table(sizes(weights.summary), "Means over modules and seeds."),
        figures[2],
        Table(directions(weights.summary), "Means over modules and seeds; random in brackets."),
        Table(
            weights.comparison,
            "LoRA minus full fine-tuning, on the same modules: the mean over seeds with its 95 % t "
            "interval, and the exact two-sided sign-flip test with the least p that so many seeds "
            "can reach.",
        ),
        Heading("Drift and forgetting against update norm"),
        *figures[3:],
        Table(
            weights.totals,
            "Each run's update over all linear layers, relative to their norm, with its mean drift "
            "and its forgetting: the rise of the next-token loss on neutral text, in nats per "
            "token ('-' where it was not measured). Embeddings and norms, which full fine-tuning "
            "changes too, are not in the update norm.",
        ),
    ]


def sizes(summary: pd.DataFrame) -> pd.DataFrame:
    """How much and in how many directions, per task and method."""
    names = {
        "relative_norm": "update norm",
        "effective_rank": "effective rank",
        "stable_rank": "stable rank",
        "energy_top_1": "energy in top 1",
        "energy_top_r": "in top r",
    }
    return summary[["task", "method", "modules", "seeds", *names]].rename(columns=names)


def directions(summary: pd.DataFrame) -> pd.DataFrame:
    """Where, per task and method, with what chance gives in brackets."""
    table = summary[["task", "method"]].copy()
    for side in ("left", "right"):
        table[f"overlap {side}"] = _with_chance(summary, f"overlap_{side}", "random")
    table["intruders"] = [cell_text(value) for value in summary["intruders"]]
    table["random change as large"] = summary["intruders_control"]
    table["random directions"] = summary["intruders_random"]
    return table


def weight_summary(summary: pd.DataFrame) -> pd.DataFrame:
    """What the terminal shows."""
    table = sizes(summary).drop(columns=["stable rank", "energy in top 1"])
    table["overlap left"] = _with_chance(summary, "overlap_left", "random")
    table["intruders"] = _with_chance(summary, "intruders", "control")
    return table


def _with_chance(summary: pd.DataFrame, value: str, chance: str) -> list[str]:
    pairs = zip(summary[value], summary[f"{value}_{chance}"], strict=True)
    return [f"{cell_text(value)} ({cell_text(random)})" for value, random in pairs]
