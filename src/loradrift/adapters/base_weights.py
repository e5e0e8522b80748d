"""The stored base model: its name, and whether the weights beside the adapter are its own too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from loradrift.adapters.adapter_files import CONFIG, AdapterFiles
from loradrift.adapters.check_result import Finding, check, holds, unjudged
from loradrift.adapters.lora_layers import LoraLayers
from loradrift.config import UserError
from loradrift.weights import StoredWeights

WRAPPED = (".lora_", ".modules_to_save.", ".original_module.", ".token_adapter.")
"""Parts of the names of parameters that PEFT added, or that the adapter's own files replace."""

Read = Callable[[str], Tensor | None]
"""A parameter's name in the model -> its stored value in float64, None where there is none."""


@check("base_name")
def check_base_name(files: AdapterFiles, base: str, *, digested: bool) -> Finding:
    """Whether the base is the one that the adapter names, where weights cannot be compared.

    Args:
        files: The adapter.
        base: Folder or hub name, as given.
        digested: Whether a run recorded the base's digest, which says more than a name.
    """
    named = str(files.config.get("base_model_name_or_path") or "")
    here = Path(named).exists() and Path(base).exists()
    if digested:
        return holds("the run recorded the base model's digest")
    if not named:
        return holds(f"{CONFIG} names no base model: base={base} is believed")
    if Path(named).samefile(base) if here else named == base:
        return holds(f"the base is the one that {CONFIG} names")
    if open_stored(Path(named)) is not None:
        return holds(f"the base that {CONFIG} names is {named}, compared above")
    if _model_name(named).casefold() == _model_name(base).casefold():
        return holds(f"{CONFIG} names {named}, which is not here; base={base} is called alike")
    return unjudged(
        f"{CONFIG} names {named}, base={base} is called otherwise, and the former is not here to "
        "compare their weights"
    )


def _model_name(model: str) -> str:
    """The end of a path or hub name, also of a snapshot in the hub's cache."""
    for part in Path(model).parts:
        if part.startswith("models--"):
            return part.rpartition("--")[2]
    return Path(model).name


def open_stored(folder: Path | None) -> StoredWeights | None:
    """The base model's weights, if it has any as safetensors."""
    try:
        return StoredWeights(folder) if folder is not None and folder.is_dir() else None
    except UserError:
        return None


def reader(stored: StoredWeights) -> Read:
    """Read a parameter by name, whichever object around it the file was saved from."""

    def read(name: str) -> Tensor | None:
        fits = [
            key for key in stored.shapes if key.endswith(f".{name}") or name.endswith(f".{key}")
        ]
        # the nearest: `norm.weight` ends the names of all layers' norms too
        nearest = min(fits, key=lambda key: abs(len(key) - len(name)), default=None)
        key = name if name in stored.shapes else nearest
        return None if key is None else stored.read(key)

    return read


def alike(live: Tensor, stored: Tensor) -> bool:
    """Whether both are the same weight; the live one may be of a copy in a lower precision."""
    return any(
        torch.equal(stored.to(dtype).to(live.dtype), live)
        for dtype in (live.dtype, torch.bfloat16, torch.float16)
    )


def compare_others(
    files: AdapterFiles, lora_layers: LoraLayers, read: Read
) -> tuple[int, str | None]:
    """How many weights without an adapter are the stored base's, and the first that is not.

    Returns:
        The number of those that are the same, and the other one in words, None where there is none.
    """
    same = 0
    for name, weight in _beside(files, lora_layers):
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


def _beside(files: AdapterFiles, lora_layers: LoraLayers) -> Iterator[tuple[str, Tensor]]:
    """Parameters that neither are adapted nor in the adapter's files, as the base names them."""
    saved = {key.replace(".base_layer.", ".") for key in files.saved}
    for parameter, weight in lora_layers.base.named_parameters():
        name = parameter.replace(".base_layer.", ".")
        added = any(part in f".{parameter}" for part in WRAPPED)
        if not added and name.removesuffix(".weight") not in files.parts and name not in saved:
            yield name, weight
