"""What data say about a claim, and how figures of ratios show it."""

from enum import StrEnum
from typing import Any

import numpy as np


class Verdict(StrEnum):
    """What the data say about a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    EQUIVALENT = "equivalent"
    """Refuted, and both sides are equal within the margin: the interval lies between the margin
    and its reciprocal, also where it has no width."""

    UNDECIDED = "undecided"
    NO_DATA = "no data"


VERDICT_COLORS = {Verdict.SUPPORTED: "#00694D", Verdict.REFUTED: "#B34700"}

ROW_INCHES = 0.6
"""The height of a task in the figure of ratios."""


def verdict_color(verdict: Verdict) -> str:
    """A verdict's colour, dark enough to be read on white."""
    return VERDICT_COLORS.get(verdict, "#444444")


def apart(number: int) -> tuple[Any, float]:
    """Heights for dots below a mean, in a row's own, and their size in points: none hides another.

    They share a third of the row.
    """
    if number == 1:
        return np.array([0.16]), 5.0
    pitch = 0.34 * ROW_INCHES * 72 / (number - 1)
    return np.linspace(0.06, 0.4, number), float(np.clip(pitch, 1.0, 5.0))
