"""The way out where no loading path works: the adapter added to the weights, and verified."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import AdapterFiles, Factors, read_files
from loradrift.adapters.check_result import other_shape, some
from loradrift.adapters.lora_layers import block_path, is_linear, is_transposed, matrix_of
from loradrift.config import UserError
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.loading import load_base
from loradrift.models.hooks import Hook, hooked

TOLERANCE = 1e-3
"""How far the merged model's outputs may be from the adapter's, relative to its effect."""


def merge_adapter(adapter: str | Path, base: str, out: str | Path) -> float:
    """Write the base model with the adapter added to its weights, as safetensors.

    Args:
        adapter: Folder of a PEFT LoRA adapter.
        base: The model that it was trained on.
        out: Folder of the merged model.

    Returns:
        How far its outputs are from the adapter's, relative to what the adapter changes.

    Raises:
        UserError: If the adapter's modules cannot be found in the model, the merged outputs are
            not the adapter's, or ``out`` would overwrite either.
    """
    files = read_files(Path(adapter))
    if Path(out).resolve() in (Path(adapter).resolve(), Path(base).resolve()):
        raise UserError(f"out={out} must be another folder than the adapter's and the base's")
    loaded = load_base(files, base, is_run=False)
    gap = merge(loaded, files)
    if gap > TOLERANCE:
        raise UserError(f"the merged model is off by {gap:.2g} of the adapter's effect")
    loaded.model.save_pretrained(out)
    if loaded.kind != "sentence-transformers":  # which saves its own
        _save_tokenizer(base, out)
    return gap


def _save_tokenizer(base: str, out: str | Path) -> None:
    from transformers import AutoTokenizer

    with suppress(OSError, ValueError):  # there need not be one
        AutoTokenizer.from_pretrained(base, trust_remote_code=False).save_pretrained(out)


def merge(loaded: LoadedBase, files: AdapterFiles) -> float:
    """Add the adapter to the weights of ``loaded``, in place, and verify.

    Returns:
        Difference of the outputs from those of the base with the factors added to each module's
        output, relative to what the factors change there.

    Raises:
        UserError: If the files do not say which weights to change, or change nothing.
    """
    places = match_modules(files, loaded.model)
    with torch.no_grad():
        off_BD = loaded.outputs().double()
        with added(places):
            wanted_BD = loaded.outputs().double()
        if torch.equal(wanted_BD, off_BD):
            raise UserError(f"{files.folder} changes no output: there is nothing to merge")
        for layer, factors in places.values():
            change_OI = factors.dense(matrix_of(layer))
            layer.weight += (change_OI.T if is_transposed(layer) else change_OI).to(layer.weight)
            if factors.bias_O is not None:
                layer.bias += (factors.low_rank.scale * factors.bias_O).to(layer.bias)
        got_BD = loaded.outputs().double()
    return float((got_BD - wanted_BD).norm() / (wanted_BD - off_BD).norm())


def match_modules(files: AdapterFiles, model: nn.Module) -> dict[str, tuple[Any, Factors]]:
    """The layer of each module of the files, whichever object around it they were saved from.

    Raises:
        UserError: If one has no place or several, or is no linear layer of that shape.
    """
    if files.not_plain or files.saved:
        raise UserError("more than scale * B A would have to be merged: not supported")
    layers = {name: x for name, x in model.named_modules() if is_linear(x)}
    tails = {name: block_path(name) for name in layers}
    places = {}
    for module in files.parts:
        factors, tail = files.factors(module), block_path(module)
        fits = [name for name, other in tails.items() if other == tail]
        if factors is None or len(fits) != 1:
            raise UserError(f"{module} has {len(fits)} places in {type(model).__name__}")
        layer = layers[fits[0]]
        shape = matrix_of(layer).shape
        if shape != factors.low_rank.shape:
            change = factors.low_rank.shape
            raise UserError(other_shape(module, change, tuple(shape), "the base model"))
        places[module] = (layer, factors)
    adapted = {block_path(module) for module in files.parts}
    if lost := [name for name in _targeted(files, layers) if tails[name] not in adapted]:
        raise UserError(
            f"{files.folder} is not whole: it holds nothing for {some(lost)}, which its "
            "target_modules name"
        )
    return places


def _targeted(files: AdapterFiles, names: Iterable[str]) -> Iterator[str]:
    """The modules that a plain list of targets names."""
    targets = files.config.get("target_modules")
    narrowed = any(files.config.get(key) for key in ("layers_to_transform", "exclude_modules"))
    if isinstance(targets, list) and not narrowed:
        ends = tuple(f".{target}" for target in targets)
        yield from (name for name in names if f".{name}".endswith(ends))


def added(places: dict[str, tuple[Any, Factors]]) -> AbstractContextManager[None]:
    """Each layer's output plus what the factors add to it: the adapter, without PEFT."""

    def hook(factors: Factors) -> Hook:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x, weight = inputs[0], matrix_of(layer)
            rows = factors.on(x.reshape(-1, x.shape[-1]), weight)
            return output + rows.reshape(output.shape).to(output)

        return add

    return hooked((layer, hook(factors)) for layer, factors in places.values())
