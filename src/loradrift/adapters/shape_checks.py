"""Whether an adapter's files fit a base model, before PEFT puts one into the other."""

from collections import Counter
from collections.abc import Iterator

from torch import nn

from loradrift.adapters.adapter_files import CONFIG, WEIGHTS, AdapterFiles
from loradrift.adapters.check_result import Check, other_shape
from loradrift.adapters.lora_layers import block_path, is_linear, is_transposed


def check_fit(files: AdapterFiles, model: nn.Module) -> list[Check]:
    """The first misfit of shapes, by the check that it belongs to; empty where all fits.

    Modules that the model does not have are the business of ``keys``.
    """
    for misfits in (_factors, _tokens_added, _saved_modules):
        if found := next(misfits(files, model), None):
            return [found]
    indices = files.config.get("trainable_token_indices")  # rows of the embedding that were trained
    if indices and not any(key.endswith("trainable_tokens_delta") for key in files.saved):
        lost = f"{WEIGHTS} has lost the rows of trainable_token_indices in {CONFIG}"
        return [Check("keys", False, lost, {"lacking": 1})]
    return []


def _factors(files: AdapterFiles, model: nn.Module) -> Iterator[Check]:
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
            yield Check(
                "consistent",
                False,
                f"{module}: A and B are swapped and transposed: B A is {change}, and the weight "
                f"{shape}",
            )
        elif change != shape:
            what = other_shape(module, change, shape, "the base model")
            yield Check("base", False, f"{what}: an adapter of another base")


def _tokens_added(files: AdapterFiles, model: nn.Module) -> Iterator[Check]:
    """An embedding with more rows than the base's: PEFT saves one that was resized."""
    for name, layer in model.named_modules():
        saved = files.saved.get(f"{name}.weight")
        if not isinstance(layer, nn.Embedding) or saved is None:
            continue
        rows, count = len(saved), len(layer.weight)
        if saved.shape[1:] == layer.weight.shape[1:] and rows > count:
            yield Check(
                "base",
                False,
                f"{name}.weight has {rows} rows in {WEIGHTS}, and {count} in the model: tokens "
                "were added to its base",
                {"rows": rows},
            )


def _saved_modules(files: AdapterFiles, model: nn.Module) -> Iterator[Check]:
    """Of ``modules_to_save``: another shape, or a parameter that the file lacks."""
    names = files.config.get("modules_to_save") or []
    saved = files.saved
    for parameter, weight in model.named_parameters(remove_duplicate=False):
        module = parameter.rpartition(".")[0]
        if not any(module == name or module.endswith(f".{name}") for name in names):
            continue
        key = next((k for k in saved if k == parameter or parameter.endswith(f".{k}")), None)
        others = [k for k in saved if k.rpartition(".")[0] == module]
        if key is None and others:  # a module that is lost whole is the files' own check's business
            what = f"{WEIGHTS} has lost {parameter}, and holds {others[0]} beside it"
            yield Check("head", False, what)
        elif key is not None and saved[key].shape != weight.shape:
            what = f"{key} has shape {tuple(saved[key].shape)} in {WEIGHTS}"
            yield Check("head", False, f"{what}, and {tuple(weight.shape)} in the model")
