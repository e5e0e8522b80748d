"""Low-rank adapters on a backbone, through PEFT."""

import re
import warnings
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import nn

from loradrift.config import LoraConfig, UserError, check
from loradrift.models.backbone import Backbone


def add_lora(backbone: Backbone, method: LoraConfig, *, seed: int) -> None:
    """Put PEFT on the language model itself, in place, with weights drawn by ``seed``.

    Raises:
        UserError: If the target modules match nothing, the rank is too large, or there are fewer
            blocks than are to be adapted.
    """
    import peft

    linear = _linear_layers(backbone)
    first = _first_blocks(backbone, method.layers)
    if method.target_modules == ["all-linear"]:
        kept = _kept_as_modules(backbone, linear)
        targets = [name for name in linear if name.rpartition(".")[2] in kept]
        targets = [name for name in targets if first.holds(name)]
    else:
        targets = method.target_modules
        _check_targets(backbone, linear, targets)
    typed = f"method.target_modules=[{', '.join(method.target_modules)}]"
    if not targets:
        kind = type(backbone.causal_lm).__name__
        raise UserError(f"{typed}: {kind} has no linear layer that LoRA can adapt")
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
        target_modules=targets,
        layers_to_transform=first.numbers,
        layers_pattern=first.pattern,
        use_rslora=method.rslora,
        use_dora=method.dora,
        init_lora_weights=initial,
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        # GPT-2's layers store their weights transposed; PEFT sets this for each layer itself
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
        torch.manual_seed(seed)
        try:
            backbone.lm = peft.get_peft_model(backbone.causal_lm, config)
        except ValueError as error:  # such as a state-space layer that reads its weight itself
            raise UserError(f"{typed}: {str(error).splitlines()[0]}") from None


class Blocks(NamedTuple):
    """The blocks that are adapted, as PEFT takes them; None for all of the transformer."""

    numbers: list[int] | None
    pattern: str | None
    """The name of their list."""

    def holds(self, name: str) -> bool:
        """Whether a module is in one of them."""
        if self.numbers is None:
            return True
        found = re.search(rf"(?:^|\.){self.pattern}\.(\d+)\.", name)
        return found is not None and int(found[1]) in self.numbers


def _first_blocks(backbone: Backbone, layers: int | str) -> Blocks:
    if isinstance(layers, str):
        return Blocks(None, None)
    blocks = backbone.blocks
    depth = len(blocks)
    check(layers <= depth, "method.layers", f"at most {depth}, the model's blocks", layers)
    path = next(name for name, x in backbone.causal_lm.named_modules() if x is blocks)
    return Blocks(list(range(layers)), path.rpartition(".")[2])


def _linear_layers(backbone: Backbone) -> dict[str, Any]:
    """The transformer's layers that PEFT takes for linear, by name in the language model.

    GPT-2's are its own ``Conv1D``. A router that is a linear layer (Phi-3.5-MoE, Llama 4) gives
    more than PEFT can add to.
    """
    from transformers.pytorch_utils import Conv1D

    lm = backbone.causal_lm
    inside = set(backbone.decoder.modules()) - {lm.get_output_embeddings()}
    layers = {
        name: module
        for name, module in lm.named_modules()
        if module in inside and isinstance(module, nn.Linear | Conv1D)
    }
    return {name: x for name, x in layers.items() if not type(x).__name__.endswith("Router")}


def _kept_as_modules(backbone: Backbone, linear: Iterable[str]) -> set[str]:
    """The layers' own names that PEFT takes for modules.

    In a mixture of experts it takes some for the experts' stacked weights, as older files name
    them; a change of those is no ``scale * B A`` of a module, and is not certified.
    """
    import peft
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    kept = set()
    for name in {path.rpartition(".")[2] for path in linear}:
        config = peft.LoraConfig(target_modules=[name])
        with suppress(ValueError):  # one name of two that are stacked together
            convert_peft_config_for_transformers(config, backbone.causal_lm, None)
            if not config.target_parameters:
                kept.add(name)
    return kept


def _check_targets(backbone: Backbone, linear: dict[str, Any], targets: list[str]) -> None:
    names = sorted({name.rpartition(".")[2] for name in linear})
    there = ", ".join(names)
    layers = set(linear.values())
    kinds = {
        name: module in layers or isinstance(module, nn.Embedding)
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
        if not _kept_as_modules(backbone, [target]):
            stacked = "PEFT takes the name for the experts' stacked weights"
            raise UserError(f"{what} cannot be adapted: {stacked}; [all-linear] leaves it out")
