"""The figures of the report, by name."""

from loradrift.analysis.reconstruction.figures import (
    draw_gains,
    draw_ladder,
    draw_ranks,
    draw_rate,
)
from loradrift.analysis.reconstruction.training_figures import draw_curves, draw_dashboard
from loradrift.report.figures import Drawers

RECONSTRUCTION: Drawers = {
    "ranks": draw_ranks, "gains": draw_gains, "ladder": draw_ladder, "rate": draw_rate,
    "curves": draw_curves, "collapse": draw_dashboard,
}  # fmt: skip
"""Name -> what draws it."""
