"""The report's section about weights: its figures, its tables, and what the terminal shows."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.labels import labelled, task_labels
from loradrift.analysis.weights import WeightsConfig
from loradrift.analysis.weights.tables import Weights
from loradrift.report.blocks import (
    Block,
    Heading,
    Paragraph,
    Table,
    cell_text,
    interval_text,
    p_text,
)
from loradrift.report.figures import Figures
from loradrift.report.terminal import print_table

NAMES = {
    "relative_norm": "update norm",
    "effective_rank": "effective rank",
    "stable_rank": "stable rank",
    "energy_top_1": "energy in top 1",
    "energy_top_r": "in top r",
}
"""How tables write quantities whose names are not words."""


def weight_blocks(arms: Arms, weights: Weights, figures: Figures) -> list[Block]:
    """Compose the report's section about weights."""
    problems = left_out(list(weights.not_analysed["not analysed"]))
    summary = weights.summary
    if summary.empty:
        return [Heading("Weights"), *problems]
    return [
        Heading("Weights"),
        Paragraph(
            "What training did to the linear layers, on the modules that both methods change. "
            "Overlap is the share of the update's energy inside the ten strongest singular "
            "directions of the base weight, left (outputs) and right (inputs); in brackets, that "
            "of a random change."
        ),
        *problems,
        *figures["update_norm"],
        *figures["effective_rank"],
        Table(arms.labelled(sizes(summary)), "Means over modules and seeds."),
        *figures["intruders"],
        Table(
            arms.labelled(directions(summary)), "Means over modules and seeds; random in brackets."
        ),
        Table(
            arms.labelled(_comparison(weights.comparison)),
            f"{arms.minus}, on the same modules: the mean over seeds with its 95 % t interval, and "
            "the exact two-sided sign-flip test with the least p that so many seeds can reach.",
        ),
        Heading("Drift and forgetting against update norm"),
        *figures["drift_against_norm"],
        *figures["forgetting_against_norm"],
        Table(
            arms.labelled(weights.totals.drop(columns="typed", errors="ignore")).rename(
                columns={"relative_norm": "relative update norm"}
            ),
            "Each run's update over all linear layers, relative to their norm, with its mean drift "
            "and its forgetting: the rise of the next-token loss on neutral text, in nats per "
            "token ('-' where it was not measured). Embeddings and norms, which some methods "
            "change too, are not in the update norm.",
        ),
    ]


def _comparison(comparison: pd.DataFrame) -> pd.DataFrame:
    """Write each quantity in words, its interval in one column, and p."""
    ends = zip(comparison["ci_lower"], comparison["ci_upper"], strict=True)
    table = comparison.drop(columns=["ci_lower", "ci_upper", "p_sign_flip", "least_p"]).assign(
        quantity=[NAMES.get(name, name.replace("_", " ")) for name in comparison["quantity"]]
    )
    table["95 % interval"] = [interval_text(*each) for each in ends]
    table["p"] = [*map(p_text, comparison["p_sign_flip"])]
    return table.assign(**{"least p": [*map(p_text, comparison["least_p"])]})


def left_out(problems: Sequence[str]) -> list[Block]:
    """Compose a table of what is not in the report; nothing if nothing is missing."""
    if not problems:
        return []
    frame = pd.DataFrame({"not analysed": list(problems)})
    return [Table(frame, "What was left out of this report, and why.")]


def sizes(summary: pd.DataFrame) -> pd.DataFrame:
    """Show how much changed and in how many directions, per task and method."""
    return summary[["task", "method", "modules", "seeds", *NAMES]].rename(columns=NAMES)


def directions(summary: pd.DataFrame) -> pd.DataFrame:
    """Show where it changed, per task and method, with what chance gives in brackets."""
    table = summary[["task", "method"]].copy()
    for side in ("left", "right"):
        table[f"overlap {side}"] = _with_chance(summary, f"overlap_{side}", "random")
    table["intruders"] = list(map(cell_text, summary["intruders"]))
    table["random change as large"] = summary["intruders_control"]
    table["random directions"] = summary["intruders_random"]
    return table


def show(settings: WeightsConfig, weights: Weights) -> None:
    """Print the summary, and where the tables are."""
    config, weights = settings.analysis, labelled(weights, task_labels(weights.totals))
    print_weights(Arms.of(config.control, config.treatment), weights)
    print(f"tables: {Path(config.results) / 'weights'}")


def print_weights(arms: Arms, weights: Weights) -> None:
    """Print the summary."""
    summary = weights.summary
    table = sizes(summary).drop(columns=["stable rank", "energy in top 1"])
    table["overlap left"] = _with_chance(summary, "overlap_left", "random")
    table["intruders"] = _with_chance(summary, "intruders", "control")
    print_table(arms.labelled(table), "Weight changes (in brackets: of a random change)")


def _with_chance(summary: pd.DataFrame, value: str, chance: str) -> list[str]:
    pairs = zip(summary[value], summary[f"{value}_{chance}"], strict=True)
    return [f"{cell_text(value)} ({cell_text(random)})" for value, random in pairs]
