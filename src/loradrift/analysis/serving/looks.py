"""How arms look: the same colour, marker and line in every figure."""

from typing import Any

from loradrift.analysis.serving.plans import Arm, Plan

COLORS = {
    "baseline": "#6E6E6E", "lora_enabled_base": "#A6A6A6", "merged": "#D55E00",
    "single": "#56B4E9", "declared_rank": "#CC79A7", "few_slots": "#B8860B",
    "few_in_memory": "#6B4E16", "engines": "#000000",
}  # fmt: skip
MARKERS = {
    "baseline": "s", "lora_enabled_base": "D", "merged": "o", "single": "^",
    "declared_rank": "P", "few_slots": "X", "few_in_memory": "H", "engines": "*",
}  # fmt: skip
SEVERAL = (
    ("#0072B2", "v", "-"), ("#009E73", "d", "--"), ("#5B2A86", "p", "-."), ("#8C2D04", "h", ":"),
    ("#1B4332", "<", "--"), ("#3A3A98", ">", "-."),
)  # fmt: skip
"""Of arms with several adapters, from few to many: they often lie upon each other."""

SIDE_BY_SIDE, APART = "#0072B2", "#D55E00"
"""Colours of one engine with adapters, and of merged models."""

MARGIN_COLOR = "#555555"
"""Of lines that are no data."""


def arm_style(arm: Arm, plan: Plan) -> dict[str, Any]:
    """Colour, marker and line of an arm."""
    if arm.kind == "multi":
        counts = sorted({len(each.adapters) for each in plan.of_kind("multi")})
        look = SEVERAL[counts.index(len(arm.adapters)) % len(SEVERAL)]
    else:
        line = ":" if arm.kind == "baseline" else "-"
        look = COLORS.get(arm.kind, "#444444"), MARKERS.get(arm.kind, "o"), line
    edges = {"ms": 8 if look[1] == "*" else 5, "mec": "white", "mew": 0.3}
    return dict(zip(("color", "marker", "ls"), look, strict=True)) | edges
