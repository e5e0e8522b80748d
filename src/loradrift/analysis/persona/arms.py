"""The arms of a comparison: how they are called, and in which order they stand."""

from collections.abc import Sequence
from typing import NamedTuple

from loradrift.analysis.steering_cells.reading import SteeringCell

ARMS = {
    "none": "no steering", "prompt": "prompt", "activation": "activations", "weight": "weights",
    "weight_positive": "positive LoRA alone", "bias_only": "bias only",
    "random_activation": "random activations", "random_weight": "random weights",
}  # fmt: skip
"""Arm -> how it is written, in the order of reports."""

MANDATORY = ("none", "prompt", "activation", "weight")
"""Without one of these there is no verdict on equivalence."""

DISCRETE = ("prompt",)
"""Arms whose doses are counts: there is nothing between two of them."""

DEFAULTS = {
    "study": "main", "direction": "", "vector": "response_avg", "layers": [], "positions": "all",
}  # fmt: skip
"""Keys below ``steering`` that tell variants of an arm apart, and their default values."""

KEYS = {
    "none": (),
    "prompt": (),
    **dict.fromkeys(("activation", "random_activation"), (*DEFAULTS,)),
}
"""Those of them that an arm reads; of the others, the direction alone."""


class Arm(NamedTuple):
    """An arm, and what its variant differs in from the others."""

    kind: str
    variant: str = ""

    @property
    def text(self) -> str:
        """``activations (positions=response)``."""
        name = ARMS.get(self.kind, self.kind)
        return f"{name} ({self.variant})" if self.variant else name

    @property
    def order(self) -> tuple[int, str, str]:
        """The place in reports."""
        known = list(ARMS)
        place = known.index(self.kind) if self.kind in known else len(known)
        return place, self.kind, self.variant


def arms_of(cells: Sequence[SteeringCell]) -> dict[SteeringCell, Arm]:
    """The arm of each cell; a variant says the keys that vary among the cells of its kind."""
    found = {}
    for kind in dict.fromkeys(cell.arm for cell in cells):
        own = [cell for cell in cells if cell.arm == kind]
        keys = KEYS.get(kind, ("study", "direction"))
        varying = [key for key in keys if len({_value(cell, key) for cell in own}) > 1]
        for cell in own:
            said = ", ".join(f"{key}={_value(cell, key)}" for key in varying)
            found[cell] = Arm(kind, said)
    return found


def distance(arm: Arm) -> int:
    """How many of the keys that vary have another value than the default."""
    pairs = (each.partition("=")[::2] for each in filter(None, arm.variant.split(", ")))
    return sum(str(DEFAULTS[key]) != value for key, value in pairs)


def _value(cell: SteeringCell, key: str) -> str:
    return str(cell.keys.get(key, DEFAULTS[key]))
