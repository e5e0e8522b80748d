"""Whether the weights beside the adapter are the stored base model's too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from loradrift.adapters.adapter_files import AdapterFiles
from loradrift.adapters.lora_layers import LoraLayers
from loradrift.config import UserError
from loradrift.weights.stored import StoredWeights

WRAPPED = (".lora_", ".modules_to_save.", ".original_module.", ".token_adapter.")
"""Parts of the names of parameters that PEFT added, or that the adapter's own files replace."""

Read = Callable[[str], Tensor | None]
"""A parameter's name in the model -> its stored value in float64, None where there is none."""


def open_stored(folder: Path | None) -> StoredWeights | None:
    """The base model's weights, if it has any as safetensors."""
    try:
        return StoredWeights(folder) if folder is not None and folder.is_dir() else None
    except UserError:
        return None


def reader(stored: StoredWeights) -> Read:
    """Read a parameter by name, whichever object around it the file was saved from."""

    def read(name: str) -> Tensor | None:
        if name in stored.shapes:
            return stored.read(name)
        fits = [
            key for key in stored.shapes if key.endswith(f".{name}") or name.endswith(f".{key}")
        ]
        # the nearest: `norm.weight` ends the names of all layers' norms too
        key = min(fits, key=lambda key: abs(len(key) - len(name)), default=None)
        return None if key is None else stored.read(key)

    return read


def alike(live: Tensor, stored: Tensor) -> bool:
    """Whether both are the same weight; the live one may be of a copy in a lower precision."""
    return any(
        torch.equal(stored.to(dtype).to(live.dtype), live)
        for dtype in (live.dtype, torch.bfloat16, torch.float16)
    )


def compare_others(files: AdapterFiles, site: LoraLayers, read: Read) -> tuple[int, str | None]:
    """How many weights without an adapter are the stored base's, and the first that is not.

    Args:
        files: The adapter; what it brings itself is left out.
        site: Where it sits.
        read: For the stored base.

    Returns:
        The number of those that are the same, and the other one in words, None where there is none.
    """
    same = 0
    for name, weight in _beside(files, site):
        stored = read(name)
        if stored is None or not weight.is_floating_point():
            continue  # a new head, or quantised weights
        live = weight.detach().cpu()
        if live.shape != stored.shape:
            shapes = f"{tuple(live.shape)}, and {tuple(stored.shape)} in its base"
            return same, f"{name} has shape {shapes}"
        if not alike(live, stored):
            gap = float((live.double() - stored).norm() / stored.norm().clamp_min(1e-300))
            if gap > 1e-6:
                return same, f"{name} is not the stored base's: they differ by {gap:.2g} of it"
        same += 1
    return same, None


def _beside(files: AdapterFiles, site: LoraLayers) -> Iterator[tuple[str, Tensor]]:
    """Parameters that neither are adapted nor in the adapter's files, as the base names them."""
    saved = {key.replace(".base_layer.", ".") for key in files.saved}
    for parameter, weight in site.base.named_parameters():
        if any(part in f".{parameter}" for part in WRAPPED):
            continue
        name = parameter.replace(".base_layer.", ".")
        adapted = name.removesuffix(".weight") in files.parts
        if not adapted and name not in saved:
            yield name, weight
