"""The figures of the report, by name."""

from loradrift.analysis.persona.dose_figures import draw_costs, draw_doses, draw_frontier
from loradrift.analysis.persona.gain_figures import draw_differences, draw_gains
from loradrift.analysis.persona.other_figures import (
    draw_composition,
    draw_efficiency,
    draw_entanglement,
    draw_prevention,
    draw_spaces,
)
from loradrift.report.figures import Drawers

PERSONA: Drawers = {
    "doses": draw_doses, "frontier": draw_frontier, "gains": draw_gains,
    "differences": draw_differences, "costs": draw_costs, "efficiency": draw_efficiency,
    "composition": draw_composition, "entanglement": draw_entanglement,
    "prevention": draw_prevention, "spaces": draw_spaces,
}  # fmt: skip
"""Name -> what draws it."""
