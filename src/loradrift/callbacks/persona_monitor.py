"""How far a training has moved along personas' directions, while it goes on."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from loradrift.adapters.directions import (
    FACTS,
    MAKES,
    check_base,
    read_direction_changes,
    read_direction_facts,
)
from loradrift.adapters.lora_layers import stored_weight
from loradrift.config import UserError, check
from loradrift.models import Backbone
from loradrift.weights import LowRank, dora_change, inner, norm

Direction = Mapping[str, LowRank]


class PersonaMonitor(Callback):
    """Log ``<dW, L> / |L|`` of each direction L every ``every_n_steps`` optimizer steps.

    The projection is linear in the weights: what it is at step 0 is taken off, so that no copy of
    the first weights is kept. Weights of which nothing trains are not read. Draws nothing, and
    changes nothing.

    Args:
        directions: Name of the metric below ``persona/`` -> weight changes by module.
        every_n_steps: Interval in optimizer steps; step 0 and the last one are always measured.

    Raises:
        UserError: If ``every_n_steps`` is not positive.
    """

    def __init__(self, directions: Mapping[str, Direction], every_n_steps: int) -> None:
        key = "callbacks.persona_monitor.every_n_steps"
        check(every_n_steps > 0, key, "positive", every_n_steps)
        self.directions = directions
        self.every_n_steps = every_n_steps
        self._lengths = {
            name: math.hypot(*map(norm, changes.values())) for name, changes in directions.items()
        }
        self._origin: dict[str, float] = {}
        self._last_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the origin, unless a resumed run has it.

        Raises:
            UserError: If a direction changes a module that the model does not have.
        """
        backbone = pl_module.backbone
        assert isinstance(backbone, Backbone)
        modules = dict(backbone.causal_lm.named_modules())
        for name, changes in self.directions.items():
            if lost := sorted(changes.keys() - modules.keys()):
                raise UserError(
                    f"direction {name} changes {lost[0]}, which the model does not have"
                )
        if not self._origin:
            self._origin = self._measure(pl_module)
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Measure on the interval."""
        if trainer.global_step % self.every_n_steps == 0:
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the last step."""
        self._log(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The origin, for a resumed run."""
        return dict(self._origin)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the origin of the interrupted run."""
        self._origin = dict(state_dict)

    def _log(self, trainer: Trainer, module: LightningModule) -> None:
        # With gradient accumulation several micro-batches end on the same optimizer step.
        if not trainer.is_global_zero or trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        found = self._measure(module)
        moved = {f"persona/{name}": found[name] - self._origin[name] for name in found}
        for logger in trainer.loggers:
            logger.log_metrics(moved, self._last_step)

    @torch.no_grad()
    def _measure(self, module: LightningModule) -> dict[str, float]:
        """The projection of the weights as they are, up to what never changes."""
        backbone = module.backbone
        assert isinstance(backbone, Backbone)
        modules = dict(backbone.causal_lm.named_modules())
        return {
            name: sum(_product(modules[each], change) for each, change in changes.items())
            / self._lengths[name]
            for name, changes in self.directions.items()
        }


def _product(layer: Any, onto: LowRank) -> float:
    """``<W, L>`` of what may train of a layer's weight: the adapter's part, or all of it."""
    if not hasattr(layer, "lora_A"):
        weight = layer.weight
        if not weight.requires_grad:
            return 0.0
        matrix_OI = weight.T if type(layer).__name__ == "Conv1D" else weight
        at = weight.device
        return inner(matrix_OI, LowRank(onto.B_OR.to(at), onto.A_RI.to(at), onto.scale))
    product = 0.0
    for adapter in layer.lora_A:
        B_OR, A_RI = layer.lora_B[adapter].weight, layer.lora_A[adapter].weight
        change = LowRank(B_OR.cpu(), A_RI.cpu(), float(layer.scaling[adapter]))
        if adapter in layer.lora_magnitude_vector:
            base = stored_weight(layer.get_base_layer()).cpu()
            base_OI = base.T if layer.fan_in_fan_out else base
            magnitude_O = layer.lora_magnitude_vector[adapter].weight.flatten().cpu().double()
            product += inner(dora_change(base_OI, change, magnitude_O), onto)
        else:
            product += inner(change, onto)
    return product


def read_directions(folder: str, fingerprint: str) -> dict[str, Direction]:
    """The directions at or below a folder, as ``<trait>/seed_<n>``, for the model with this digest.

    Raises:
        UserError: If there is none, one cannot be read, or it is of another base model.
    """
    paths = sorted(Path(folder).rglob(FACTS))
    if not paths:
        raise UserError(
            f"callbacks.persona_monitor.directions must be a folder of directions, got {folder}: "
            f"it holds no {FACTS}; {MAKES}"
        )
    found: dict[str, Direction] = {}
    for place in (path.parent for path in paths):
        facts = read_direction_facts(place)
        check_base(facts, place, fingerprint)
        name = f"{facts['trait']}/seed_{facts['seed']}"
        if name in found:
            raise UserError(
                f"callbacks.persona_monitor.directions={folder} holds two directions of "
                f"{facts['trait']} seed={facts['seed']}: name the folder of one study"
            )
        found[name] = read_direction_changes(place)
    return found
