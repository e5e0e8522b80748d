"""The figures of the report, by name."""

from loradrift.analysis.serving.figures import (
    draw_batches,
    draw_map,
    draw_overheads,
    draw_settings,
)
from loradrift.analysis.serving.load_figures import draw_cells, draw_server
from loradrift.analysis.serving.memory_figures import draw_cold, draw_memory
from loradrift.report.figures import Drawers

SERVING: Drawers = {
    "overheads": draw_overheads, "batches": draw_batches, "overhead_map": draw_map,
    "memory": draw_memory, "cold_warm": draw_cold, "server": draw_server,
    "settings": draw_settings,
}  # fmt: skip
"""The figures of one cell."""

CELLS: Drawers = {"cells": draw_cells}
"""The figure of all cells."""
