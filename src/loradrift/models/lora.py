"""Low-rank adapters on a backbone, through PEFT."""

from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from loradrift.config import LoraConfig, UserError
from loradrift.models.backbone import Backbone


def add_lora(backbone: Backbone, method: LoraConfig, *, seed: int) -> None:
    """Put PEFT on the language model itself, in place, with weights drawn by ``seed``.

    Raises:
        UserError: If the target modules match nothing, or the rank is too large.
    """
    import peft

    everything = method.target_modules == ["all-linear"]
    linear = _linear_layers(backbone)
    if not everything:
        _check_targets(backbone, linear, method.target_modules)
    largest = max(min(layer.weight.shape) for layer in linear.values())
    if method.rank > largest:
        raise UserError(
            f"method.rank must be at most {largest}, the rank of the model's largest linear "
            f"layer, got {method.rank}"
        )
    initial: Any = {"default": True}.get(method.init, method.init)
    config = peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules="all-linear" if everything else method.target_modules,
        use_rslora=method.rslora,
        use_dora=method.dora,
        init_lora_weights=initial,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone.lm = peft.get_peft_model(backbone.causal_lm, config)


def _linear_layers(backbone: Backbone) -> dict[str, Any]:
    """The layers that PEFT takes for linear, by name: GPT-2's are its own ``Conv1D``."""
    from transformers.pytorch_utils import Conv1D

    modules = backbone.decoder.named_modules()
    return {name: module for name, module in modules if isinstance(module, nn.Linear | Conv1D)}


def _check_targets(backbone: Backbone, linear: dict[str, Any], targets: list[str]) -> None:
    names = sorted({name.rpartition(".")[2] for name in linear})
    there = ", ".join(names)
    kinds = {
        name: name in linear or isinstance(module, nn.Embedding)
        for name, module in backbone.decoder.named_modules()
    }
    for target in targets:
        if target == "all-linear":
            got = ", ".join(targets)
            raise UserError(f"method.target_modules: all-linear stands alone, got {got}")
        hits = [fits for path, fits in kinds.items() if f".{path}".endswith(f".{target}")]
        what = f"method.target_modules: {target}"
        if not hits:
            nearest = get_close_matches(target, names, n=1)
            hint = f" Did you mean: {nearest[0]}?" if nearest else ""
            raise UserError(f"{what} matches no module.{hint} There are: {there}")
        if not all(hits):
            raise UserError(f"{what} is no linear layer; there are {there}")
