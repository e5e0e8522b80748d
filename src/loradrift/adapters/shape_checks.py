"""Whether an adapter's files fit a base model, before PEFT puts one into the other."""

from collections import Counter

from torch import nn

from loradrift.adapters.adapter_files import CONFIG, WEIGHTS, AdapterFiles, as_matrix
from loradrift.adapters.check_result import Check
from loradrift.adapters.lora_layers import block_path, is_linear, is_transposed


def check_fit(files: AdapterFiles, model: nn.Module) -> list[Check]:
    """The first misfit of shapes, by the check that it belongs to; empty where all fits.

    Modules that the model does not have are the business of ``keys``.

    Args:
        files: The adapter.
        model: The base model, without it.
    """
    misfit = (
        _factors_misfit(files, model)
        or _tokens_added(files, model)
        or _saved_misfit(files, model)
        or _tokens_lost(files)
    )
    return [] if misfit is None else [misfit]


def _factors_misfit(files: AdapterFiles, model: nn.Module) -> Check | None:
    names = dict(model.named_modules())
    paths = Counter(block_path(name) for name in names)
    places = {block_path(name): layer for name, layer in names.items()}
    for module, parts in files.parts.items():
        path = block_path(module)
        layer = names.get(module) or (places[path] if paths[path] == 1 else None)
        if layer is None or not (is_linear(layer) or isinstance(layer, nn.Embedding)):
            continue
        embeds = isinstance(layer, nn.Embedding)
        kind = "lora_embedding" if embeds else "lora"
        if not {f"{kind}_A", f"{kind}_B"} <= parts.keys():
            continue
        change = (len(parts[f"{kind}_B"]), parts[f"{kind}_A"].shape[1])
        shape = tuple(as_matrix(layer.weight, embeds or is_transposed(layer)).shape)
        if change == shape:
            continue
        if change == shape[::-1]:
            return Check(
                "consistent",
                False,
                f"{module}: A and B are swapped and transposed: B A is {change}, and the weight "
                f"{shape}",
            )
        return Check(
            "base",
            False,
            f"{module} changes a weight of shape {change}, and the base model has {shape} there: "
            "an adapter of another base",
        )
    return None


def _saved_misfit(files: AdapterFiles, model: nn.Module) -> Check | None:
    """Of ``modules_to_save``: another shape, or a parameter that the file lacks."""
    names = files.config.get("modules_to_save") or []
    saved = files.saved
    for parameter, weight in model.named_parameters(remove_duplicate=False):
        module = parameter.rpartition(".")[0]
        if not any(module == name or module.endswith(f".{name}") for name in names):
            continue
        key = next((k for k in saved if k == parameter or parameter.endswith(f".{k}")), None)
        if key is None:
            others = [k for k in saved if k.rpartition(".")[0] == module]
            if others:  # a module that is lost whole is the business of the files' own check
                what = f"{WEIGHTS} has lost {parameter}, and holds {others[0]} beside it"
                return Check("head", False, what)
        elif saved[key].shape != weight.shape:
            return Check(
                "head",
                False,
                f"{key} has shape {tuple(saved[key].shape)} in {WEIGHTS}, and "
                f"{tuple(weight.shape)} in the model",
            )
    return None


def _tokens_added(files: AdapterFiles, model: nn.Module) -> Check | None:
    """An embedding with more rows than the base's: PEFT saves one that was resized."""
    shapes = {
        f"{name}.weight": tuple(layer.weight.shape)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Embedding)
    }
    for key, tensor in files.saved.items():
        rows, shape = len(tensor), shapes.get(key)
        if shape and tuple(tensor.shape)[1:] == shape[1:] and rows > shape[0]:
            return Check(
                "base",
                False,
                f"{key} has {rows} rows in {WEIGHTS}, and {shape[0]} in the model: tokens were "
                "added to its base",
                {"rows": rows},
            )
    return None


def _tokens_lost(files: AdapterFiles) -> Check | None:
    """Rows of the embedding that were trained (``trainable_token_indices``), and not saved."""
    indices = files.config.get("trainable_token_indices")
    if not indices or any(key.endswith("trainable_tokens_delta") for key in files.saved):
        return None
    what = f"{WEIGHTS} has lost the rows of trainable_token_indices in {CONFIG}"
    return Check("keys", False, what, {"lacking": 1})
