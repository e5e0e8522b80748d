"""What the figures of a chain share: looks of arms, places of steps, the floor in words."""

from typing import Any

import numpy as np

from loradrift.analysis.frontier.curve_panels import arm_looks
from loradrift.analysis.sequence.tables import ChainReport

BAND = 0.18


def looks(found: ChainReport) -> dict[str, dict[str, Any]]:
    """Arm -> colour, marker and label, the same in every figure."""
    return arm_looks(found.arms, found.baseline)


def tick_labels(found: ChainReport) -> list[str]:
    """The tasks as ticks: what says that rows were generated is on a line of its own."""
    return [found.task_label(task).replace(" (", "\n(") for task in found.order]


def numbered(found: ChainReport) -> list[str]:
    """Steps by the names of their tasks."""
    return [f"{k}: {label}" for k, label in enumerate(tick_labels(found), start=1)]


def step_axis(axes: Any, found: ChainReport) -> None:
    """A place for each step."""
    labels = numbered(found)
    size = 6.5 if max(map(len, labels)) > 12 else 8
    axes.set_xticks(range(1, len(labels) + 1), labels, fontsize=size)
    axes.set(xlim=(0.6, len(labels) + 0.4), xlabel="after step")


def floor_text(found: ChainReport) -> str:
    """What is measured where nothing moved."""
    floor = found.tables["matrix"]["floor"].max()
    if np.isnan(floor):
        return ""
    return (
        "The floor, the first model against itself in another order and in bfloat16, is at most "
        f"{floor:.1e}."
    )
