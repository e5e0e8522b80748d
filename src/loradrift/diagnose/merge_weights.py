"""An adapter added to the weights of a loaded model, in place and without PEFT."""

# Shape suffixes: O outputs, I inputs, D width.

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import ROWS, AdapterFiles, Factors
from loradrift.adapters.base_checks import alike
from loradrift.adapters.check_result import NOTHING_TO_ADD, ordered, some
from loradrift.adapters.file_checks import check_files, check_fit, other_shape
from loradrift.adapters.lora_layers import (
    as_matrix,
    block_path,
    embed_scale,
    is_linear,
    is_transposed,
)
from loradrift.adapters.row_checks import trained_rows
from loradrift.adapters.starts import check_start, takes_from_base
from loradrift.config import UserError
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.models.hooks import hooked

Place = tuple[str, Any, Factors]
"""Name of an adapted layer, the layer, and what the files add to it."""


class MergedWeights(NamedTuple):
    """What came of adding an adapter to the weights."""

    gap: float
    """How far the outputs are from the adapter's, relative to what the adapter changes."""

    wanted: tuple[Tensor, ...]
    """The adapter's outputs."""

    untied: list[str]
    """Modules that shared their weight with another one, and have their own now."""


def merge_weights(loaded: LoadedBase, files: AdapterFiles) -> MergedWeights:
    """Add the adapter to the weights of ``loaded``, and put what it saved in their place.

    The outputs are compared with those of a model in which the saved tensors are, and each adapted
    module's output has the factors' part added.
    """
    model = loaded.model
    _refuse(files, model)
    places, saved = _match_modules(files, model), _match_saved(files, model)
    if start := check_start(files, [(_matrix(layer), x) for _, layer, x in places]):
        raise UserError(f"{files.folder}: {start.message}")
    with torch.no_grad():
        off = loaded.everything()
        untied = _untie(files, model, [*(name for name, _, _ in places), *saved])
        for name, value in saved.items():
            model.get_parameter(name).copy_(value)
        for module, rows in _token_rows(files, model).items():
            module.weight[rows[0]] = rows[1].to(module.weight)
        with hooked((layer, partial(_add, factors)) for _, layer, factors in places):
            wanted = loaded.everything()
        if all(map(torch.equal, wanted, off)):
            raise UserError(f"{files.folder} changes no output: there is nothing to merge")
        for _, layer, factors in places:
            _add_to_weight(layer, factors)
        return MergedWeights(relative_gap(loaded.everything(), wanted, off), wanted, untied)


def relative_gap(got: Iterable[Tensor], wanted: Iterable[Tensor], off: Iterable[Tensor]) -> float:
    """The largest difference of outputs, relative to what the adapter changes of them."""
    triples = zip(got, wanted, off, strict=True)
    gaps = [float((x - y).norm() / (y - z).norm()) for x, y, z in triples if not y.equal(z)]
    return max(gaps, default=0.0)


def _refuse(files: AdapterFiles, model: nn.Module) -> None:
    """Refuse adapters whose files are not whole, or not the change of the base's weights."""
    for check in ordered(check_files(files, {}, wants_head=False) | check_fit(files, model)):
        if check.passed is False and check.name not in NOTHING_TO_ADD:
            raise UserError(f"{files.folder}: {check}")
    if files.not_plain:
        raise UserError(
            f"{files.folder}: {files.not_plain} is set, and more than scale * B A would have to be "
            "merged: not supported"
        )
    if why := takes_from_base(files):
        raise UserError(why)


def _match_modules(files: AdapterFiles, model: nn.Module) -> list[Place]:
    """The layer of each module of the files, whichever object around it they were saved from."""
    layers = {name: x for name, x in model.named_modules() if _is_matrix(x)}
    tails = {name: block_path(name) for name in layers}
    places = []
    for module in files.parts:
        factors, tail = files.factors(module), block_path(module)
        fits = [name for name, other in tails.items() if other == tail]
        if factors is None or len(fits) != 1:
            raise UserError(f"{module} has {len(fits)} places in {type(model).__name__}")
        layer, change = layers[fits[0]], factors.low_rank.shape
        if (shape := _matrix(layer).shape) != change:
            raise UserError(other_shape(module, change, tuple(shape), "the base model"))
        places.append((fits[0], layer, factors))
    targets = files.config.get("target_modules")
    narrowed = any(files.config.get(key) for key in ("layers_to_transform", "exclude_modules"))
    if isinstance(targets, list) and not narrowed:
        ends = tuple(f".{target}" for target in targets)
        adapted = {block_path(module) for module in files.parts}
        named = [name for name, x in layers.items() if is_linear(x) and f".{name}".endswith(ends)]
        if lost := [name for name in named if tails[name] not in adapted]:
            what = f"{files.folder} is not whole: it holds nothing for {some(lost)}"
            raise UserError(f"{what}, which its target_modules name")
    return places


def _match_saved(files: AdapterFiles, model: nn.Module) -> dict[str, Tensor]:
    """The parameter in whose place each saved tensor belongs, but for trained rows."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    tails: dict[str, list[str]] = {}
    for name in parameters:
        tails.setdefault(_parameter_path(name), []).append(name)
    found = {}
    for key, value in files.saved.items():
        if key.endswith(ROWS):
            continue
        name = key.replace(".token_adapter.", ".").replace(".base_layer.", ".")
        fits = [name] if name in parameters else tails.get(_parameter_path(name), [])
        if len(fits) != 1:
            raise UserError(f"{key} has {len(fits)} places in {type(model).__name__}")
        if (shape := parameters[fits[0]].shape) != value.shape:
            raise UserError(other_shape(key, tuple(value.shape), tuple(shape), "the base model"))
        if not alike(parameters[fits[0]], value):  # PEFT saves adapted embeddings whole, too
            found[fits[0]] = value
    return found


def _parameter_path(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{block_path(module)}.{parameter}"


def _token_rows(files: AdapterFiles, model: nn.Module) -> dict[Any, tuple[list[int], Tensor]]:
    """The embedding, the tokens, and the rows that were trained for them."""
    found = {}
    for path, tokens, rows in trained_rows(files):
        fits = [x for name, x in model.named_modules() if f".{path}".endswith(f".{name}") and name]
        fits = [x for x in fits if isinstance(x, nn.Embedding)]
        if len(fits) != 1:
            raise UserError(f"{path} has {len(fits)} places in {type(model).__name__}")
        found[fits[0]] = tokens, rows
    return found


def _untie(files: AdapterFiles, model: nn.Module, changed: Iterable[str]) -> list[str]:
    """Give changed modules that share their weight a weight of their own, as PEFT's copies have.

    With ``ensure_weight_tying`` what is tied to a changed module, and not changed itself, follows.
    """
    from transformers import PreTrainedModel

    names = {name.removesuffix(".weight") for name in changed if not name.endswith(".bias")}
    untied = []
    for name in sorted(names):
        module, modules = model.get_submodule(name), dict(model.named_modules())
        weight: Any = getattr(module, "weight", None)
        sharing = [other for other, x in modules.items() if x._parameters.get("weight") is weight]
        follows = files.config.get("ensure_weight_tying") and names.isdisjoint({*sharing} - {name})
        if weight is None or len(sharing) < 2 or follows:
            continue
        module.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        untied.append(name)
        for other in modules.values():
            if isinstance(other, PreTrainedModel):
                other.config.tie_word_embeddings = False
    return untied


def _add_to_weight(layer: Any, factors: Factors) -> None:
    """Add in float64, and round once to the layer's own precision."""
    merged_OI = _matrix(layer) + factors.dense(_matrix(layer))
    layer.weight.copy_(merged_OI.T if _keeps_transposed(layer) else merged_OI)
    if factors.bias_O is not None:
        added_O = factors.low_rank.scale * factors.bias_O
        if layer.bias is None:
            raise UserError("the adapter adds a bias (lora_bias) where the base model has none")
        layer.bias.copy_(layer.bias.double() + added_O)


def _add(factors: Factors, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A layer's output plus what the factors add to it: the adapter, without PEFT."""
    x = inputs[0]
    rows = x.reshape(-1, x.shape[-1]) if x.is_floating_point() else x.flatten()
    added = embed_scale(layer) * factors.on(rows, _matrix(layer))
    return output + added.reshape(output.shape).to(output)


def _is_matrix(module: nn.Module) -> bool:
    return is_linear(module) or isinstance(module, nn.Embedding)


def _keeps_transposed(layer: nn.Module) -> bool:
    return is_transposed(layer) or isinstance(layer, nn.Embedding)


def _matrix(layer: Any) -> Tensor:
    return as_matrix(layer.weight, _keeps_transposed(layer))
