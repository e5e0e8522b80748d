"""Faults of an adapter's files, and of a model that holds it, for ``certificate.py``."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

HEALTHY = "nothing: the adapter as it is"

Weights = dict[str, Tensor]


def zero_b(weights: Weights, config: dict[str, Any]) -> None:
    """B as it was before training."""
    for key in weights:
        if "lora_B" in key:
            weights[key] = torch.zeros_like(weights[key])


def rename(weights: Weights, config: dict[str, Any]) -> None:
    """Keys of a model that was wrapped once more."""
    for key in list(weights):
        weights[key.replace("base_model.model.", "base_model.model.model.", 1)] = weights.pop(key)


def lose_layer(weights: Weights, config: dict[str, Any]) -> None:
    """One block's keys are not saved."""
    for key in [key for key in weights if ".layers.0." in key]:
        del weights[key]


def lose_targets(weights: Weights, config: dict[str, Any]) -> None:
    """The settings name attention alone, and the file holds the other layers too."""
    config["target_modules"] = ["q_proj", "k_proj", "v_proj", "o_proj"]


def not_a_number(weights: Weights, config: dict[str, Any]) -> None:
    """One number is NaN."""
    next(iter(weights.values()))[0, 0] = torch.nan


def other_rank(weights: Weights, config: dict[str, Any]) -> None:
    """The rank in the settings is another one."""
    config["r"] = 2 * config["r"]


def layers(model: Any) -> list[LoraLayer]:
    """The adapted layers."""
    return [each for each in model.modules() if isinstance(each, LoraLayer)]


def disable(model: Any) -> None:
    """As ``with model.disable_adapter()`` that was left by no exit."""
    model.base_model.disable_adapter_layers()


def disable_half(model: Any) -> None:
    """Every other layer is disabled."""
    for layer in layers(model)[::2]:
        layer.enable_adapters(enabled=False)


def half_scale(model: Any) -> None:
    """A scale that was set and not set back."""
    for layer in layers(model):
        layer.scaling["default"] /= 2


def stale(model: Any) -> None:
    """One layer has the factors of an earlier step."""
    with torch.no_grad():
        layers(model)[-1].lora_B["default"].weight.mul_(0.9)


FILE_FAULTS: Mapping[str, Callable[[Weights, dict[str, Any]], None]] = {
    HEALTHY: lambda weights, config: None,
    "B is zero": zero_b,
    "keys with a prefix too many": rename,
    "one block's keys lost": lose_layer,
    "settings name half of the layers": lose_targets,
    "a number is NaN": not_a_number,
    "another rank in the settings": other_rank,
}
MODEL_FAULTS: Mapping[str, Callable[[Any], None]] = {
    "adapters disabled": disable,
    "every other layer disabled": disable_half,
    "scale halved": half_scale,
    "stale factors in one layer": stale,
}
