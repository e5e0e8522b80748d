"""Weight changes added to a model's weights for the time of a block: ``W' = W + c dW``."""

# Shape suffixes: O outputs, I inputs.

import math
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.config import UserError
from loradrift.models.backbone import Backbone
from loradrift.weights import (
    Change,
    Changes,
    LowRank,
    apply_to,
    is_zero,
    read_change,
    scaled,
)


@contextmanager
def merged(backbone: Backbone, changes: Changes, coefficient: float = 1.0) -> Iterator[None]:
    """Add ``coefficient`` times the changes to the weights, in place; take them out at the end.

    The weights are afterwards the same bits as before, also after an error. Blocks nest: an inner
    one adds to what an outer one has merged, and restores that. A weight is summed in float64 and
    rounded once; one change is dense at a time, and a copy of each weight is kept. Below PEFT's
    layers the base weights change. A coefficient of 0 changes nothing.

    Args:
        backbone: As is or wrapped by PEFT; its parameters stay the same objects.
        changes: By the modules' names in the language model, as PEFT's files and stored weights
            have them (``model.layers.0.self_attn.q_proj``).
        coefficient: Any finite number.

    Raises:
        UserError: If a module is unknown, no linear layer, of another shape, or is to train itself,
            if all changes are zero, or if the coefficient is so large that a weight is no longer
            finite, or so small that no weight changes.
    """
    if not math.isfinite(coefficient):
        raise UserError(f"coefficient must be a finite number, got {coefficient}")
    layers = _find(backbone.causal_lm, changes)
    if coefficient == 0:
        yield
        return
    before: list[tuple[Tensor, Tensor]] = []
    try:
        with torch.inference_mode(False), torch.no_grad():
            _merge(layers, changes, coefficient, before)
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            for weight, saved in reversed(before):  # two layers may share one weight
                weight.copy_(saved)


def _merge(
    layers: dict[str, Any],
    changes: Changes,
    coefficient: float,
    before: list[tuple[Tensor, Tensor]],
) -> None:
    """Merge layer by layer; ``before`` gets each weight and its values."""
    empty = unchanged = True
    for name, layer in layers.items():
        change = read_change(changes[name])
        if empty and is_zero(change):  # one that is not suffices
            continue
        empty = False
        weight = layer.weight
        before.append((weight, weight.detach().clone()))
        tuned_OI = _tuned(layer, change, coefficient)
        if not tuned_OI.isfinite().all():
            kind = str(weight.dtype).removeprefix("torch.")
            raise UserError(
                f"coefficient={coefficient}: the weight of {name} would not be finite in {kind}"
            )
        unchanged = unchanged and torch.equal(tuned_OI, weight)
        weight.copy_(tuned_OI)
    if empty:
        raise UserError(f"the direction is zero in all of its {len(layers)} modules")
    if unchanged:
        raise UserError(
            f"coefficient={coefficient} is so small that no weight changes: it would have no effect"
        )


def _tuned(layer: Any, change: Change, coefficient: float) -> Tensor:
    """The new weight, rounded once to its precision and laid out as the layer keeps it."""
    weight, part = layer.weight, scaled(change, coefficient)
    if isinstance(part, LowRank):
        part = LowRank(part.B_OR.to(weight.device), part.A_RI.to(weight.device), part.scale)
    else:
        part = part.to(weight.device)
    if _is_transposed(layer):
        return apply_to(weight.T, part).T.to(weight.dtype)
    return apply_to(weight, part).to(weight.dtype)


def _find(lm: nn.Module, changes: Changes) -> dict[str, Any]:
    """The linear layer of each change, below PEFT's if there is one."""
    if not changes:
        raise UserError("the direction changes no module")
    modules = dict(lm.named_modules())
    found: dict[str, Any] = {}
    for name, change in changes.items():
        if name not in modules:
            raise UserError(_unknown(name, modules))
        outer: Any = modules[name]
        layer = outer.get_base_layer() if hasattr(outer, "get_base_layer") else outer
        if not (isinstance(layer, nn.Linear) or _is_transposed(layer)):
            raise UserError(f"{name} is no linear layer but {type(layer).__name__}")
        weight = layer.weight
        if not weight.is_floating_point():
            kind = str(weight.dtype).removeprefix("torch.")
            raise UserError(f"the weight of {name} is quantised ({kind}): nothing can be added")
        shape = tuple(weight.T.shape if _is_transposed(layer) else weight.shape)
        if shape != tuple(change.shape):
            raise UserError(
                f"{name} has shape {shape} in the model and {tuple(change.shape)} in the "
                "direction: it is of another base model"
            )
        if weight.requires_grad and layer.training:
            raise UserError(
                f"{name} is to train: what it learns would be taken out with the direction; "
                "freeze it, as LoRA does"
            )
        found[name] = layer
    return found


def _unknown(name: str, modules: dict[str, nn.Module]) -> str:
    linear = [each for each, module in modules.items() if isinstance(module, nn.Linear)]
    nearest = get_close_matches(name, linear or list(modules), n=1, cutoff=0.0)
    hint = f"; the nearest is {nearest[0]}" if nearest else ""
    return f"the model has no module {name}, which the direction changes{hint}"


def _is_transposed(layer: object) -> bool:
    """Whether it is GPT-2's ``Conv1D``, which keeps its weight as (I, O)."""
    return type(layer).__name__ == "Conv1D"
