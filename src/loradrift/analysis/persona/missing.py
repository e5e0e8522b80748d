"""Arms that were not measured, and the commands that measure them."""

from collections.abc import Sequence

from loradrift.analysis.persona.arms import ARMS, MANDATORY
from loradrift.analysis.steering_cells.reading import SteeringCell, command_of

PROMPT_DOSES = (0.2, 0.4, 0.6, 0.8, 1.0)
FIRST_DOSES = (0.25, 0.5, 1.0)
"""Doses to begin with where no arm of the same space was measured."""

DIRECTION = ("steering.study", "steering.direction", "steering.direction_seed")
VECTOR = ("steering.vector", "steering.layers", "steering.positions")
SPACES = {
    "activation": ("activation", "random_activation"),
    "weight": ("weight", "weight_positive", "random_weight", "bias_only"),
}
"""Arms whose doses mean the same."""


def missing_arms(cells: Sequence[SteeringCell]) -> dict[str, list[str]]:
    """Arm -> the traits that lack it, in the order of reports."""
    traits = sorted({cell.trait for cell in cells})
    there = {(cell.trait, cell.arm) for cell in cells}
    lost = {arm: [trait for trait in traits if (trait, arm) not in there] for arm in ARMS}
    return {arm: lacking for arm, lacking in lost.items() if lacking}


def missing_lines(cells: Sequence[SteeringCell]) -> list[str]:
    """A line for each arm that is missing, with the command that makes it."""
    lines = []
    for arm, traits in missing_arms(cells).items():
        needed = ", without which there is no verdict on equivalence" * (arm in MANDATORY)
        where = "" if len(traits) == len({cell.trait for cell in cells}) else (
            f" for {', '.join(traits)}")  # fmt: skip
        lines.append(
            f"arm={arm} is missing{where}{needed}: `{measuring(cells, traits, arm)}` makes it"
        )
    return lines


def measuring(
    cells: Sequence[SteeringCell],
    traits: Sequence[str],
    arm: str,
    doses: Sequence[float] | None = None,
) -> str:
    """The command that measures an arm of traits as other cells were measured."""
    space = next((space for space in SPACES.values() if arm in space), (arm,))
    kin = [cell for cell in cells if cell.arm in space] or list(cells)
    like = kin[0].record
    idle = set(VECTOR) if arm not in SPACES["activation"] else set()
    idle |= set(DIRECTION) if arm in ("none", "prompt") else set()
    typed = [each for each in like.overrides if each.partition("=")[0] not in (
        idle | {"steering.also", "steering.run", "force"})]  # fmt: skip
    known = doses or sorted({cell.coefficient for cell in kin if cell.arm in space} - {0.0})
    if arm == "none":
        known = [0.0]
    elif arm == "prompt" and not doses:
        known = list(PROMPT_DOSES)
    values = ",".join(f"{dose:g}" for dose in known or FIRST_DOSES)
    return command_of(typed, trait=",".join(traits), arm=arm, coefficient=values)
