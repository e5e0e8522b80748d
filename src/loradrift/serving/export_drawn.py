"""Adapters that no run has trained: random factors, whose effect is as large as a trained one's."""

# Shape suffixes: B rows, T tokens, D width, O outputs, I inputs, R rank.

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor

from loradrift.adapters import AdapterFiles
from loradrift.adapters.adapter_files import PREFIX, WEIGHTS
from loradrift.adapters.lora_layers import is_linear, is_transposed
from loradrift.diagnose.made_up_inputs import made_up_inputs
from loradrift.models import Backbone
from loradrift.models.export import sort_targets
from loradrift.serving.export_check import load_beside, load_whole
from loradrift.serving.export_servable import VERSION
from loradrift.serving.export_source import find_source, fingerprint_of
from loradrift.serving.export_write import write_export
from loradrift.weights import norm

EFFECT = 0.3
"""How far an adapter moves the last hidden states, relative to their norm, where there is no
trained one to be like; three trained ones of the small model move them by 0.13, 0.29 and 0.77."""

SHARE = 0.1
"""Norm of each module's change relative to its weight's, before all are scaled to the effect."""

STEPS = 10
"""Most corrections of the scale."""

CLOSE = 0.05
"""How near the effect has to come to what is wanted, relative to it."""


class Target(NamedTuple):
    """A module to adapt."""

    name: str
    outputs: int
    inputs: int
    size: float
    """Norm of its change before all are scaled."""


@dataclass(frozen=True)
class Drawing:
    """What a drawn adapter depends on."""

    base: Path
    """Folder of the base model."""

    like: AdapterFiles | None
    """A trained adapter of this base: each module is changed by as much as it changes it, all times
    one factor."""

    rank: int
    """R of every module."""

    seed: int
    """Draws the factors: every seed gives others."""

    name: str
    """What engines call it."""

    @cached_property
    def digest(self) -> str:
        """Of all these."""
        like = None if self.like is None else self.like.sha256
        parts = [VERSION, fingerprint_of(self.base), like, self.rank, self.seed, self.name]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def export_drawn(drawing: Drawing, new: Path, out: Path) -> None:
    """Draw an adapter and write its export to ``new``, which will be renamed to ``out``."""
    with TemporaryDirectory() as scratch:
        adapter = Path(scratch, "drawn")
        write_drawn(drawing, adapter)
        source = find_source(adapter, str(drawing.base))
        write_export(source, new, out, drawn=(drawing.name, drawing.digest))


def write_drawn(drawing: Drawing, folder: Path) -> None:
    """Write a PEFT adapter with random factors, which moves the outputs as a trained one does.

    It has the linear modules of the one that it is like or, without one, all of the model's blocks.
    """
    from peft import LoraConfig
    from safetensors.torch import load_file, save_file

    base, like = drawing.base, drawing.like
    backbone = load_whole(base)
    ids_BT = made_up_inputs(str(base), backbone.lm)["input_ids"]
    off_BTD = _hidden(backbone, ids_BT)
    wanted = EFFECT
    if like is not None:
        wanted = _effect(Backbone(load_beside(base, like.folder)), ids_BT, off_BTD)
    targets = [*(_targets(backbone) if like is None else _targets_of(like))]
    LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(base),
        r=drawing.rank,
        lora_alpha=drawing.rank,
        target_modules=[target.name for target in targets],
        inference_mode=True,
    ).save_pretrained(str(folder))
    sort_targets(folder)
    generator = torch.Generator().manual_seed(drawing.seed)
    weights = {}
    for target in targets:
        for part, matrix in _draw(target, drawing.rank, generator).items():
            weights[f"{PREFIX}{target.name}.{part}.weight"] = matrix.float()
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    scale = _scale(Backbone(load_beside(base, folder)), ids_BT, off_BTD, wanted)
    weights = load_file(folder / WEIGHTS)
    scaled = {key: x * scale if ".lora_B." in key else x for key, x in weights.items()}
    save_file(scaled, folder / WEIGHTS, metadata={"format": "pt"})


def _scale(backbone: Backbone, ids_BT: Tensor, off_BTD: Tensor, wanted: float) -> float:
    """What B has to be multiplied with for the wanted effect, by repeated proportion."""
    parameters = [x for name, x in backbone.lm.named_parameters() if ".lora_B." in name]
    scale = 1.0
    for _ in range(STEPS):
        found = _effect(backbone, ids_BT, off_BTD)
        if abs(found / wanted - 1) < CLOSE:
            break
        # the effect need not be proportional: no step is larger than this
        step = min(3.0, max(1 / 3, wanted / found))
        with torch.no_grad():
            for x in parameters:
                x.mul_(step)
        scale *= step
    return scale


def _draw(target: Target, rank: int, generator: torch.Generator) -> dict[str, Tensor]:
    """A (R, I) and B (O, R), whose product has the target's norm."""
    options: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    A_RI = torch.randn(rank, target.inputs, **options) / math.sqrt(target.inputs)
    B_OR = torch.randn(target.outputs, rank, **options)
    product = float(((B_OR.T @ B_OR) * (A_RI @ A_RI.T)).sum()) ** 0.5
    return {"lora_A": A_RI, "lora_B": B_OR * (target.size / product)}


def _targets_of(like: AdapterFiles) -> Iterator[Target]:
    """The linear modules of a trained adapter, with the norms of its changes."""
    for module, parts in like.parts.items():
        factors = like.factors(module)
        if factors is not None and "lora_A" in parts:
            change = factors.low_rank
            outputs, inputs = change.shape
            yield Target(module, outputs, inputs, norm(change))


def _targets(backbone: Backbone) -> Iterator[Target]:
    """All linear modules of the blocks."""
    inside = {*backbone.blocks.modules()}
    for name, module in backbone.lm.named_modules():
        if module in inside and is_linear(module):
            weight = module.weight.detach()
            outputs, inputs = (weight.T if is_transposed(module) else weight).shape
            yield Target(name, outputs, inputs, SHARE * float(weight.double().norm()))


def _hidden(backbone: Backbone, ids_BT: Tensor) -> Tensor:
    with torch.no_grad():
        return backbone.encode(ids_BT).double()


def _effect(backbone: Backbone, ids_BT: Tensor, off_BTD: Tensor) -> float:
    """How far the last hidden states are from those without the adapter, relative to their norm."""
    return float((_hidden(backbone, ids_BT) - off_BTD).norm() / off_BTD.norm())
