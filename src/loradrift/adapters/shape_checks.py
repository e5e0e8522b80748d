"""Whether an adapter's files fit a base model, before PEFT puts one into the other."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from torch import nn

from loradrift.adapters.adapter_files import CONFIG, WEIGHTS, AdapterFiles
from loradrift.adapters.check_result import Finding, Findings, fails, other_shape
from loradrift.adapters.lora_layers import block_path, is_linear, is_transposed

Misfits = Iterator[tuple[str, Finding]]
"""Names of the checks that each belongs to, and what is wrong."""


def check_fit(files: AdapterFiles, model: nn.Module) -> Findings:
    """The first misfit of shapes, by the check that it belongs to; empty where all fits.

    Modules that the model does not have are the business of ``keys``.
    """
    misfits = (f(files, model) for f in (_factors, _tokens_added, _saved_modules, _rows_lost))
    return dict(islice(chain.from_iterable(misfits), 1))


def _factors(files: AdapterFiles, model: nn.Module) -> Misfits:
    names = dict(model.named_modules())
    paths = Counter(block_path(name) for name in names)
    places = {block_path(name): layer for name, layer in names.items()}
    for module, parts in files.parts.items():
        path = block_path(module)
        layer = names.get(module) or (places[path] if paths[path] == 1 else None)
        embeds = isinstance(layer, nn.Embedding)
        kind = "lora_embedding" if embeds else "lora"
        if not (embeds or is_linear(layer)) or not {f"{kind}_A", f"{kind}_B"} <= parts.keys():
            continue
        assert layer is not None
        change = (len(parts[f"{kind}_B"]), parts[f"{kind}_A"].shape[1])
        transposed = embeds or is_transposed(layer)
        shape = tuple(layer.weight.shape)[:: -1 if transposed else 1]
        if change == shape[::-1] != shape:
            how = f"B A is {change}, and the weight {shape}"
            yield "consistent", fails(f"{module}: A and B are swapped and transposed: {how}")
        elif change != shape:
            what = other_shape(module, change, shape, "the base model")
            yield "base", fails(f"{what}: an adapter of another base")


def _tokens_added(files: AdapterFiles, model: nn.Module) -> Misfits:
    """An embedding with more rows than the base's: PEFT saves one that was resized."""
    for name, layer in model.named_modules():
        saved = files.saved.get(f"{name}.weight")
        if not isinstance(layer, nn.Embedding) or saved is None:
            continue
        rows, count = len(saved), len(layer.weight)
        if saved.shape[1:] == layer.weight.shape[1:] and rows > count:
            what = f"{name}.weight has {rows} rows in {WEIGHTS}, and {count} in the model"
            yield "base", fails(f"{what}: tokens were added to its base", rows=rows)


def _saved_modules(files: AdapterFiles, model: nn.Module) -> Misfits:
    """Of ``modules_to_save``: another shape, or a parameter that the file lacks."""
    ends = tuple(f".{name}" for name in files.config.get("modules_to_save") or [])
    saved = files.saved
    for parameter, weight in model.named_parameters(remove_duplicate=False):
        module = parameter.rpartition(".")[0]
        if not f".{module}".endswith(ends):
            continue
        key = next((k for k in saved if k == parameter or parameter.endswith(f".{k}")), None)
        others = [k for k in saved if k.rpartition(".")[0] == module]
        if key is None and others:  # a module that is lost whole is the files' own check's business
            lost = f"{WEIGHTS} has lost {parameter}, and holds {others[0]} beside it"
            yield "head", fails(lost)
        elif key is not None and saved[key].shape != weight.shape:
            shapes = f"{tuple(saved[key].shape)} in {WEIGHTS}, and {tuple(weight.shape)}"
            yield "head", fails(f"{key} has shape {shapes} in the model")


def _rows_lost(files: AdapterFiles, _: nn.Module) -> Misfits:
    """Rows of the embedding that were trained, and which the file lacks."""
    indices = files.config.get("trainable_token_indices")
    if indices and not any(key.endswith("trainable_tokens_delta") for key in files.saved):
        lost = f"{WEIGHTS} has lost the rows of trainable_token_indices in {CONFIG}"
        yield "keys", fails(lost, lacking=1)
