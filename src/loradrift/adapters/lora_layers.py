"""Where in a model PEFT sits, and with which layers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from loradrift.adapters.adapter_files import as_matrix
from loradrift.weights.low_rank import LowRank


@dataclass(frozen=True)
class LoraLayers:
    """The module that PEFT adapts, and the layers that it put into it."""

    where: str
    """Name of PEFT's own object inside the model; "" is the model itself."""

    base: nn.Module
    """What is adapted: a transformer, if all is well."""

    layers: dict[str, Any]
    """PEFT's LoRA layers, by name inside ``base``."""

    heads: dict[str, Any]
    """``modules_to_save``, by name inside ``base``."""

    adapter: str
    """Name under which PEFT keeps the adapter."""

    def low_rank(self, module: str) -> LowRank | None:
        """A layer's factors as they are in memory; None if they do not fit each other."""
        layer = self.layers[module]
        B, A = layer.lora_B[self.adapter].weight, layer.lora_A[self.adapter].weight
        if B.ndim != 2 or A.ndim != 2 or B.shape[1] != len(A):
            return None
        return LowRank(B.detach().cpu(), A.detach().cpu(), float(layer.scaling[self.adapter]))

    def linear(self) -> dict[str, Any]:
        """The layers whose change is ``scale * B A``."""
        return {name: x for name, x in self.layers.items() if self.adapter in x.lora_A}

    def weight(self, module: str) -> Tensor:
        """The base weight under a layer, in float64 on the CPU, (O, I)."""
        layer = self.layers[module]
        return as_matrix(layer.get_base_layer().weight, layer.fan_in_fan_out)


def find_lora_layers(model: nn.Module) -> LoraLayers | None:
    """The first place at which PEFT holds a LoRA adapter; None if there is none."""
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import ModulesToSaveWrapper

    for where, module in model.named_modules():
        if isinstance(module, PeftModel):
            base = module.get_base_model()
        elif getattr(module, "_hf_peft_config_loaded", False):  # transformers' own add_adapter
            base = module
        else:
            continue
        inside = dict(base.named_modules())
        layers = {name: x for name, x in inside.items() if isinstance(x, LoraLayer)}
        if layers:
            heads = {name: x for name, x in inside.items() if isinstance(x, ModulesToSaveWrapper)}
            return LoraLayers(where, base, layers, heads, _adapter_name(module, layers))
    return None


def _adapter_name(owner: nn.Module, layers: dict[str, Any]) -> str:
    """The active adapter or, if none of the layers knows it, the first that they do know."""
    names = list(
        dict.fromkeys(name for x in layers.values() for name in (*x.lora_A, *x.lora_embedding_A))
    )
    active = getattr(owner, "active_adapter", None)
    return active if isinstance(active, str) and active in names else names[0]


@contextmanager
def switched_off(site: LoraLayers) -> Iterator[None]:
    """The model without its adapter.

    By the layers' own switch: PEFT's context manager also changes which parameters train.
    """
    modules = [*site.layers.values(), *site.heads.values()]
    before = [module._disable_adapters for module in modules]
    try:
        for module in modules:
            module._disable_adapters = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module._disable_adapters = value


def block_path(name: str) -> str:
    """A module's name from its block's number on: what comes before depends on the wrapper."""
    match = re.search(r"\.(layers|layer|h|blocks|block)\.\d+\..+", f".{name}")
    return match[0] if match else f".{name.rpartition('.')[2]}"


def is_linear(module: nn.Module | None) -> bool:
    """Whether the weight is a linear map's, be it transposed."""
    return isinstance(module, nn.Linear) or is_transposed(module)


def is_transposed(module: nn.Module | None) -> bool:
    """Whether it is GPT-2's ``Conv1D``, which keeps its weight as (I, O)."""
    return type(module).__name__ == "Conv1D"
