"""What is looked at before anything is read or made: keys that would have no effect."""

from collections.abc import Collection, Sequence

from loradrift.config import UserError
from loradrift.config.benchmarks import refuse_absent_gpu, refuse_training_keys
from loradrift.config.keys import typed_keys
from loradrift.steering.config import (
    SteeringBenchmarkConfig,
    SteeringConfig,
    SteeringCostConfig,
)

VECTOR_ARMS = ("activation", "random_activation")
"""Arms that add vectors to what the blocks give."""

PLAIN_ARMS = ("none", "prompt")
"""Arms that need no direction."""

COMPOSED_ARMS = ("weight", "activation")
"""Arms that steer several traits together."""

DRAWN_ARMS = ("random_weight", "random_activation")
"""Arms whose direction ``seed`` draws."""


def check_door(
    config: SteeringBenchmarkConfig | SteeringCostConfig, overrides: Sequence[str]
) -> None:
    """Refuse what was typed and would have no effect, and a GPU that is not there.

    Raises:
        UserError: Names the key, and with what it has no effect.
    """
    typed = typed_keys(overrides)
    needs, named = "", "steering.study names whose directions are used"
    idle = {"study": f"benchmark={config.benchmark}: {named}"}
    steering = config.steering
    if steering.direction and not (isinstance(steering, SteeringConfig) and steering.also):
        named = "steering.direction, which names the direction's folder"
        idle |= {f"steering.{key}": named for key in ("study", "direction_seed")}
    if isinstance(config, SteeringBenchmarkConfig):
        idle |= _idle(config)
        if config.arm != "none" and "coefficient" not in typed:
            needs = f"arm={config.arm} needs coefficient=<dose>"
    for key in sorted(typed):
        for start, why in idle.items():
            if f"{key}.".startswith(f"{start}."):
                raise UserError(f"{key} has no effect with {why}")
    refuse_training_keys(config, typed)
    if needs:
        raise UserError(f"{needs}: 0, its default, is the model as it is")
    refuse_absent_gpu(config)


def _idle(config: SteeringBenchmarkConfig) -> dict[str, str]:
    """Beginning of a key -> with what it has no effect."""
    arm, steering = config.arm, config.steering
    why: dict[str, Collection[str]] = {}
    if arm not in VECTOR_ARMS:
        why[f"arm={arm}, which adds no vectors"] = ("vector", "layers", "positions")
    if arm in PLAIN_ARMS:
        keys = ("study", "direction", "direction_seed")
        why[f"arm={arm}, which needs no direction"] = keys
    if arm not in COMPOSED_ARMS:
        why[f"arm={arm}: arm=weight and arm=activation steer several traits"] = ("also",)
    idle = {f"steering.{key}": line for line, keys in why.items() for key in keys}
    if steering.task is None:
        idle |= dict.fromkeys(("steering.task_rows", "data.evaluation_split"), "steering.task=null")
    if arm not in DRAWN_ARMS and steering.temperature == 0:
        idle["seed"] = f"arm={arm} and steering.temperature=0, which draw nothing"
    return idle
