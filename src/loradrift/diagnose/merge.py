"""The way out where no loading path works: the adapter added to the weights, and verified."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import AdapterFiles, Factors, read_files
from loradrift.adapters.check_result import some
from loradrift.adapters.file_checks import other_shape
from loradrift.adapters.lora_layers import block_path, is_linear, is_transposed, matrix_of
from loradrift.config import UserError
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.loading import load_base
from loradrift.models.hooks import hooked

TOLERANCE = 1e-3
"""How far the merged model's outputs may be from the adapter's, relative to its effect."""


def merge_adapter(adapter: str | Path, base: str, out: str | Path) -> float:
    """Write the base model with the adapter added to its weights, as safetensors.

    ``base`` is the model that the adapter was trained on. Returns how far the outputs of the model
    in ``out`` are from the adapter's, relative to what the adapter changes.

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
        from transformers import AutoTokenizer

        with suppress(OSError, ValueError):  # there need not be one
            AutoTokenizer.from_pretrained(base, trust_remote_code=False).save_pretrained(out)
    return gap


def merge(loaded: LoadedBase, files: AdapterFiles) -> float:
    """Add the adapter to the weights of ``loaded``, in place.

    Returns the difference of the outputs from those of the base with the factors added to each
    module's output, relative to what the factors change there.
    """
    places = _match_modules(files, loaded.model)
    with torch.no_grad():
        off_BD = loaded.outputs().double()
        with hooked((layer, partial(_add, factors)) for layer, factors in places):
            wanted_BD = loaded.outputs().double()
        if torch.equal(wanted_BD, off_BD):
            raise UserError(f"{files.folder} changes no output: there is nothing to merge")
        for layer, factors in places:
            change_OI = factors.dense(matrix_of(layer))
            layer.weight += (change_OI.T if is_transposed(layer) else change_OI).to(layer.weight)
            if factors.bias_O is not None:
                layer.bias += (factors.low_rank.scale * factors.bias_O).to(layer.bias)
        got_BD = loaded.outputs().double()
    return float((got_BD - wanted_BD).norm() / (wanted_BD - off_BD).norm())


def _add(factors: Factors, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A layer's output plus what the factors add to it: the adapter, without PEFT."""
    x = inputs[0]
    rows = factors.on(x.reshape(-1, x.shape[-1]), matrix_of(layer))
    return output + rows.reshape(output.shape).to(output)


def _match_modules(files: AdapterFiles, model: nn.Module) -> list[tuple[Any, Factors]]:
    """The layer of each module of the files, whichever object around it they were saved from."""
    if files.not_plain or files.saved:
        raise UserError("more than scale * B A would have to be merged: not supported")
    layers = {name: x for name, x in model.named_modules() if is_linear(x)}
    tails = {name: block_path(name) for name in layers}
    places = []
    for module in files.parts:
        factors, tail = files.factors(module), block_path(module)
        fits = [name for name, other in tails.items() if other == tail]
        if factors is None or len(fits) != 1:
            raise UserError(f"{module} has {len(fits)} places in {type(model).__name__}")
        layer, change = layers[fits[0]], factors.low_rank.shape
        if (shape := matrix_of(layer).shape) != change:
            raise UserError(other_shape(module, change, tuple(shape), "the base model"))
        places.append((layer, factors))
    targets = files.config.get("target_modules")
    narrowed = any(files.config.get(key) for key in ("layers_to_transform", "exclude_modules"))
    if isinstance(targets, list) and not narrowed:
        ends = tuple(f".{target}" for target in targets)
        adapted = {block_path(module) for module in files.parts}
        named = [name for name in layers if f".{name}".endswith(ends)]
        if lost := [name for name in named if tails[name] not in adapted]:
            what = f"{files.folder} is not whole: it holds nothing for {some(lost)}"
            raise UserError(f"{what}, which its target_modules name")
    return places
