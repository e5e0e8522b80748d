"""How arms look: the same colour, marker and line in every figure."""

from typing import Any

from loradrift.analysis.persona.arms import Arm

COLORS = {
    "none": "#000000", "prompt": "#009E73", "activation": "#D55E00", "weight": "#0072B2",
    "weight_positive": "#56B4E9", "bias_only": "#CC79A7", "random_activation": "#B8860B",
    "random_weight": "#7A7A7A",
}  # fmt: skip
MARKERS = {
    "none": "*", "prompt": "D", "activation": "s", "weight": "o", "weight_positive": "^",
    "bias_only": "v", "random_activation": "x", "random_weight": "+",
}  # fmt: skip
LINES = ("-", "--", ":", "-.")
"""Of the variants of an arm."""

MARGIN_COLOR = "#555555"
"""Of lines that are no data."""

BAND = 0.15
"""How opaque intervals are."""


def arm_style(arm: Arm, variant: int = 0) -> dict[str, Any]:
    """Colour, marker and line of an arm; ``variant`` counts those of its kind."""
    marker = MARKERS.get(arm.kind, "o")
    edge = {} if marker in "x+" else {"mec": "white", "mew": 0.3}
    return {
        "color": COLORS.get(arm.kind, "#444444"),
        "marker": marker,
        "ls": LINES[variant % len(LINES)],
        "ms": 9 if marker == "*" else 5,
        **edge,
    }


def styles(arms: list[Arm]) -> dict[Arm, dict[str, Any]]:
    """The look of each arm."""
    found: dict[Arm, dict[str, Any]] = {}
    for arm in sorted(set(arms), key=lambda arm: arm.order):
        found[arm] = arm_style(arm, sum(other.kind == arm.kind for other in found))
    return found
