"""What an arm at a coefficient does to a model: its dose."""

# Shape suffixes: O outputs, I inputs, D width, L layers.

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from loradrift.config import UserError
from loradrift.generation.base import Intervention
from loradrift.generation.interventions import overflows
from loradrift.models.hooks import Hook, hooked
from loradrift.models.merging import merged
from loradrift.steering.config import MOST_INSTRUCTIONS, DirectionConfig, SteeringBenchmarkConfig
from loradrift.weights import Changes, LowRank, random_like

if TYPE_CHECKING:
    from loradrift.models import Backbone
    from loradrift.steering.directions import Direction


@dataclass(frozen=True)
class Dose:
    """Everything that is done to a model; nothing by default."""

    instructions: tuple[str, ...] = ()
    """Before every prompt."""

    interventions: tuple[Intervention, ...] = ()
    """In every request."""

    changes: tuple[tuple[Changes, float], ...] = ()
    """Merged into the weights, each by its coefficient."""

    constants: Mapping[str, Tensor] = field(default_factory=dict)
    """Module -> what (O) is added to its output for every token."""

    @property
    def is_nothing(self) -> bool:
        """Whether the model is as it is."""
        return not (self.instructions or self.interventions or self.changes or self.constants)

    @contextmanager
    def in_weights(self, backbone: "Backbone") -> Iterator[None]:
        """Change what the model computes for whoever asks; it is as before when the block ends."""
        with ExitStack() as stack:
            for changes, coefficient in self.changes:
                stack.enter_context(merged(backbone, changes, coefficient))
            lm = backbone.causal_lm
            hooks = ((lm.get_submodule(name), _adding(x)) for name, x in self.constants.items())
            stack.enter_context(hooked(hooks))
            yield


@dataclass(frozen=True)
class Material:
    """What doses are made of."""

    positive_instructions: tuple[str, ...]
    negative_instructions: tuple[str, ...]
    directions: Mapping[str, "Direction"]
    """The trait's own first, then those of ``steering.also``; none for arms without."""

    depth: int
    """Blocks of the model."""

    positive: Changes = field(default_factory=dict)
    """The positive adapter alone, where the arm takes it."""


def make_dose(config: SteeringBenchmarkConfig, material: Material) -> Dose:
    """The dose of the configured arm; of coefficient 0 it is nothing.

    Raises:
        UserError: If a layer is not there, or a coefficient overflows.
    """
    doses = {config.trait: config.coefficient, **config.steering.also}
    given = {trait: each for trait, each in doses.items() if each != 0}
    return MAKERS[config.arm](config, material, given) if given else Dose()


def instructions(coefficient: float, positive: Sequence[str], negative: Sequence[str]) -> int:
    """How many of a trait's instructions a coefficient stands for.

    >>> instructions(0.4, "abcde", "fghij"), instructions(-0.2, "abcde", "fghij")
    (2, 1)
    """
    there = positive if coefficient > 0 else negative
    return min(len(there), round(abs(coefficient) * MOST_INSTRUCTIONS))


def chosen_layers(steering: DirectionConfig, depth: int) -> list[int]:
    """The blocks whose outputs are changed: those that were typed, or the middle one.

    Raises:
        UserError: If the model has no such block.
    """
    for layer in steering.layers:
        if layer >= depth:
            rule = f"from 0 to {depth - 1}, as the model has blocks"
            raise UserError(f"steering.layers must be {rule}, got {layer}")
    return sorted(steering.layers) or [depth // 2]


def vector_dose(
    steering: DirectionConfig, vectors: Sequence[tuple[Tensor, float]], depth: int
) -> Dose:
    """``h + c v`` at each chosen layer, for one or more (v_LD, c).

    Raises:
        UserError: If ``c v`` is not finite.
    """
    interventions = []
    for vector_LD, coefficient in vectors:
        for layer in chosen_layers(steering, depth):
            if overflows(vector_LD[layer], coefficient):
                raise UserError(
                    f"coefficient={coefficient:g} is too large: times the vector of layer {layer} "
                    "its square is not finite"
                )
            vector = tuple(vector_LD[layer].tolist())
            interventions.append(Intervention(layer, vector, coefficient, steering.positions))
    return Dose(interventions=tuple(interventions))


def random_vectors(vector_LD: Tensor, seed: int) -> Tensor:
    """Gaussian vectors, each layer's as long as the direction's own."""
    draw = torch.Generator().manual_seed(seed)
    drawn_LD = torch.randn(vector_LD.shape, generator=draw, dtype=torch.float64)
    scale_L = vector_LD.double().norm(dim=1) / drawn_LD.norm(dim=1)
    scaled_LD: Tensor = drawn_LD * scale_L[:, None]
    return scaled_LD


def random_changes(changes: Mapping[str, LowRank], seed: int) -> dict[str, Any]:
    """Gaussian changes, each module's of the same norm and rank as the direction's own."""
    draw = torch.Generator().manual_seed(seed)
    return {name: random_like(changes[name], draw) for name in sorted(changes)}


def mean_outputs(direction: "Direction", coefficient: float) -> dict[str, Tensor]:
    """``c dW E[x]`` of each module (O): what the direction adds whatever the input.

    Raises:
        UserError: If one is not finite.
    """
    found = {}
    for name, change in direction.changes.items():
        mean_I = direction.input_means[name].double()
        constant_O = (coefficient * change.scale * (change.B_OR @ (change.A_RI @ mean_I))).float()
        if not constant_O.isfinite().all():
            raise UserError(
                f"coefficient={coefficient:g} is too large: what it adds to {name} is not finite"
            )
        found[name] = constant_O
    return found


def _none(config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]) -> Dose:
    raise AssertionError("arm=none has coefficient 0")


def _prompt(
    config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]
) -> Dose:
    positive, negative = material.positive_instructions, material.negative_instructions
    count = instructions(config.coefficient, positive, negative)
    return Dose(instructions=(positive if config.coefficient > 0 else negative)[:count])


def _activation(
    config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]
) -> Dose:
    name = config.steering.vector
    vectors = [(material.directions[trait].vectors[name], c) for trait, c in given.items()]
    return vector_dose(config.steering, vectors, material.depth)


def _random_activation(
    config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]
) -> Dose:
    own_LD = material.directions[config.trait].vectors[config.steering.vector]
    drawn = random_vectors(own_LD, config.seed)
    return vector_dose(config.steering, [(drawn, config.coefficient)], material.depth)


def _weight(
    config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]
) -> Dose:
    return Dose(changes=tuple((material.directions[t].changes, c) for t, c in given.items()))


def _weight_positive(
    config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]
) -> Dose:
    return Dose(changes=((material.positive, config.coefficient),))


def _random_weight(
    config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]
) -> Dose:
    drawn = random_changes(material.directions[config.trait].changes, config.seed)
    return Dose(changes=((drawn, config.coefficient),))


def _bias_only(
    config: SteeringBenchmarkConfig, material: Material, given: Mapping[str, float]
) -> Dose:
    return Dose(constants=mean_outputs(material.directions[config.trait], config.coefficient))


Maker = Callable[[SteeringBenchmarkConfig, Material, Mapping[str, float]], Dose]

MAKERS: Mapping[str, Maker] = {
    "none": _none,
    "prompt": _prompt,
    "activation": _activation,
    "weight": _weight,
    "weight_positive": _weight_positive,
    "bias_only": _bias_only,
    "random_weight": _random_weight,
    "random_activation": _random_activation,
}
"""Arm -> what makes its dose; takes the traits whose coefficient is not 0."""


def _adding(constant_O: Tensor) -> Hook:
    def hook(_module: nn.Module, _inputs: object, output: Any) -> Any:
        return output + constant_O.to(output)

    return hook
