"""Where in a model PEFT sits, and with which layers."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from loradrift.adapters.adapter_files import AdapterFiles, Factors
from loradrift.adapters.convolutions import CONVOLUTIONS, as_factors, as_weight
from loradrift.weights import LowRank

OUT = ".base_layer.out_proj"
"""What PEFT adds to the name of an ``nn.MultiheadAttention`` for its second layer."""

DEFAULT = "default"
"""The name that PEFT gives an adapter for which none is typed."""


@dataclass(frozen=True)
class LoraLayers:
    """The module that PEFT adapts, and the layers of one adapter in it."""

    where: str
    """Name of PEFT's own object inside the model; "" is the model itself."""

    base: nn.Module
    """What is adapted: a transformer, if all is well."""

    layers: dict[str, Any]
    """PEFT's LoRA layers, by name inside ``base``."""

    wrappers: dict[str, Any]
    """Modules beside which PEFT put a trained copy (``modules_to_save``) or trained rows
    (``trainable_token_indices``), by name inside ``base``."""

    adapter: str
    """Name under which PEFT keeps the adapter."""

    holder: Any
    """PEFT's own object, or the transformer that holds adapters itself."""

    @property
    def switches(self) -> dict[str, Any]:
        """Everything of the adapter that can be switched off by itself."""
        tokens = {
            f"{name}.token_adapter": x.token_adapter
            for name, x in self.wrappers.items()
            if hasattr(x, "token_adapter")
        }
        return self.layers | self.wrappers | tokens

    def low_rank(self, module: str) -> LowRank | None:
        """A layer's factors as they are in memory; None if they do not fit each other."""
        layer = self.layers[module]
        if self.adapter in layer.lora_A:
            B, A = layer.lora_B[self.adapter].weight, layer.lora_A[self.adapter].weight
        else:
            B, A = layer.lora_embedding_B[self.adapter], layer.lora_embedding_A[self.adapter]
        matrices = as_factors(B.cpu(), A.cpu())
        if matrices is None:
            return None
        return LowRank(*matrices, float(layer.scaling[self.adapter]))

    def weight(self, module: str) -> Tensor:
        """The base weight under a layer, in float64 on the CPU, (O, I)."""
        return self.matrix(module, stored_weight(self.layers[module].get_base_layer()))

    def matrix(self, module: str, weight: Tensor) -> Tensor:
        """A weight of the shape of this layer's own as (O, I), in float64 on the CPU."""
        layer = self.layers[module]
        base = layer.get_base_layer()
        if isinstance(base, CONVOLUTIONS):
            return as_weight(weight.detach().cpu().double(), base.groups)
        return as_matrix(weight, keeps_transposed(layer))

    @property
    def quantised(self) -> bool:
        """Whether a base weight is packed into whole numbers."""
        weights = [stored_weight(x.get_base_layer()) for x in self.layers.values()]
        return any(not weight.is_floating_point() for weight in weights)

    @property
    def inside_attention(self) -> set[str]:
        """Layers that change weights of ``nn.MultiheadAttention``, which calls none of them."""
        whole = [
            name
            for name, layer in self.layers.items()
            if isinstance(layer.get_base_layer(), nn.MultiheadAttention)
        ]
        return {x for x in self.layers if x in whole or x.removesuffix(OUT) in whole}


@dataclass(frozen=True)
class Claim:
    """An adapter that a model is said to apply: its files, its layers, and its scale."""

    files: AdapterFiles
    lora_layers: LoraLayers
    scale: float = 1.0
    """A factor beside the files' own scale: what PEFT's ``set_scale`` sets."""

    initial: dict[str, LowRank] = field(default_factory=dict)
    """What was taken out of the base's modules at the start (PiSSA)."""

    def factors(self) -> Iterator[tuple[str, Factors]]:
        """The change of each layer that has one in the files, at this scale."""
        for name in self.lora_layers.layers:
            if (factors := self.files.factors(name)) is not None:
                yield name, factors.times(self.scale)


def find_lora_layers(model: nn.Module, adapter: str = DEFAULT) -> LoraLayers | None:
    """The first place at which PEFT holds an adapter of this name; None if there is none."""
    from peft import PeftMixedModel, PeftModel
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    for where, module in model.named_modules():
        if isinstance(module, PeftModel):
            base = module.get_base_model()
        elif isinstance(module, PeftMixedModel):
            base = module.base_model.model
        elif getattr(module, "_hf_peft_config_loaded", False):  # transformers' own add_adapter
            base = module
        else:
            continue
        inside = dict(base.named_modules())
        layers = {
            name: x
            for name, x in inside.items()
            if isinstance(x, LoraLayer) and (adapter in x.lora_A or adapter in x.lora_embedding_A)
        }
        if layers:
            wrappers = {
                name: x
                for name, x in inside.items()
                if isinstance(x, AuxiliaryTrainingWrapper) and adapter in x._adapters
            }
            return LoraLayers(where, base, layers, wrappers, adapter, module)
    return None


@contextmanager
def switched_off(adapters: Iterable[LoraLayers]) -> Iterator[None]:
    """Use the layers' own switch: PEFT's context manager also changes which parameters train."""
    modules = {x for each in adapters for x in each.switches.values()}
    before = {module: module._disable_adapters for module in modules}
    try:
        for module in modules:
            module._disable_adapters = True
        yield
    finally:
        for module, value in before.items():
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


def keeps_transposed(layer: Any) -> bool:
    """Whether the weight below one of PEFT's layers is (I, O): Conv1D's, or an embedding's rows."""
    return bool(getattr(layer, "fan_in_fan_out", False)) or isinstance(
        layer.get_base_layer(), nn.Embedding
    )


def stored_weight(base: Any) -> Tensor:
    """The weight that a layer's factors change, of attention that of its inputs."""
    weight: Tensor = base.in_proj_weight if hasattr(base, "in_proj_weight") else base.weight
    return weight


def embed_scale(layer: Any) -> float:
    """What a scaled embedding (Gemma's) multiplies its rows with; 1 of any other layer."""
    base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    return float(getattr(base, "embed_scale", 1.0))


def as_matrix(weight: Tensor, transposed: bool) -> Tensor:
    """A stored weight as (O, I), in float64 on the CPU."""
    return (weight.T if transposed else weight).detach().cpu().double()
