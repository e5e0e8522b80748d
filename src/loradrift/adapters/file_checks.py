"""What an adapter's files say: whole, consistent, learned, and of the shapes of a base model."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from torch import nn

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import MAGNITUDE, WEIGHTS, AdapterFiles
from loradrift.adapters.check_result import Finding, Findings, fails, holds, some, unjudged
from loradrift.adapters.convolutions import as_factors
from loradrift.adapters.lora_layers import block_path, is_linear, is_transposed
from loradrift.adapters.row_checks import row_problems, rows_missing, rows_outside
from loradrift.adapters.target_checks import (
    idle_target,
    pattern_problems,
    target_problems,
)
from loradrift.runs.model_files import HEAD

HEADED = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
"""Task types of PEFT whose models have a head that the base model lacks."""

HEADS = ("classifier", "score", "qa_outputs")
"""Modules that PEFT saves for these tasks, be they in ``modules_to_save`` or not."""

REBUILT = ("target_parameters", "layer_replication", "kasa_config", "use_bdlora", "use_qalora")
"""Settings of PEFT under which the adapted model has other modules or weights than the base."""

Misfits = Iterator[tuple[str, Finding]]
"""Names of the checks that each belongs to, and what is wrong."""


def check_files(files: AdapterFiles, recorded: Mapping[str, str], *, wants_head: bool) -> Findings:
    """The checks that need no model; a run of a task with a head wants ``head.safetensors``."""
    return {
        "files": _hashes(files, recorded),
        "consistent": _consistent(files),
        "head": _head(files, wants_head),
        "lora_B": _learned(files, "lora_B"),
        "lora_A": _learned(files, "lora_A"),
    }


def _hashes(files: AdapterFiles, recorded: Mapping[str, str]) -> Finding:
    """Valid, and the same as when they were certified."""
    for name, digest in recorded.items():
        if files.sha256.get(name) != digest:
            found = files.sha256.get(name, "nothing")[:12]
            return fails(
                f"{files.folder / name} is not the file that was certified: its sha256 was "
                f"{digest[:12]}, and is {found}"
            )
    shown = ", ".join(f"{name} {digest[:12]}" for name, digest in files.sha256.items())
    count = len(files.parts)
    size = sum(x.numel() for parts in files.parts.values() for x in parts.values())
    message = f"{count} modules, {size:,} numbers, all finite; sha256 {shown}"
    return holds(message, modules=count, numbers=size)


def _consistent(files: AdapterFiles) -> Finding:
    """Ranks, shapes and targets of the configuration are those of the weights."""
    if odd := [key for key in REBUILT if files.config.get(key)]:
        return unjudged(
            f"{odd[0]} is set in {CONFIG}, under which the factors are not those of the base "
            "model's own modules and weights"
        )
    problems = [line for module in files.parts if (line := misfit(files, module))]
    problems += [*pattern_problems(files), *row_problems(files), *target_problems(files)]
    if problems:
        more = f" ({len(problems)} such)" if len(problems) > 1 else ""
        return fails(problems[0] + more, problems=len(problems))
    ranks = ", ".join(map(str, sorted({files.rank(module) for module in files.parts})))
    return holds(f"{CONFIG} and {WEIGHTS} agree on {len(files.parts)} modules of rank {ranks}")


def misfit(files: AdapterFiles, module: str) -> str | None:
    """Where a module's tensors contradict the configuration, in words."""
    parts = files.parts[module]
    kind = "lora_embedding" if "lora_embedding_A" in parts else "lora"
    whole = {f"{kind}_A", f"{kind}_B"} <= parts.keys()
    for part, key, judged in (
        (MAGNITUDE, "use_dora", True),
        ("lora_B.bias", "lora_bias", whole and kind == "lora"),
    ):
        if judged and (part in parts) != bool(files.config.get(key)):
            has = "holds" if part in parts else "lacks"
            return f"{WEIGHTS} {has} {module}.{part}, but {key}={files.config.get(key)}"
    if not whole:
        return None  # a lone factor is the check of the keys
    B, A, rank = parts[f"{kind}_B"], parts[f"{kind}_A"], files.rank(module)
    matrices = B.ndim == A.ndim == 2
    if len(A) == rank and as_factors(B, A) is not None:
        return None
    shapes = f"{tuple(B.shape)}", f"{tuple(A.shape)}"
    if matrices and len(B) == A.shape[1] == rank:
        return (
            f"{module}: A and B are swapped or transposed: B is {shapes[0]} and A {shapes[1]}, "
            f"where rank {rank} stands at B's end and A's beginning"
        )
    factors = f"B {shapes[0]} and A {shapes[1]} in {WEIGHTS}"
    return f"{module}: {factors} do not fit the rank {rank} of {CONFIG}"


def lone_factor(files: AdapterFiles) -> str | None:
    """The first module that has A or B and not the other, in words."""
    for module, parts in files.parts.items():
        kinds = [part for part in parts if part.endswith(("_A", "_B"))]
        if len(kinds) != 2:
            other = "lora_B" if kinds == ["lora_A"] else "lora_A"
            return f"{WEIGHTS} has no {other} for {module}"
    return None


def _learned(files: AdapterFiles, which: str) -> Finding:
    """No module's factor is all zeros."""
    embedding = which.replace("_", "_embedding_")
    norms = {
        module: float(tensor.norm())
        for module, parts in files.parts.items()
        if (tensor := parts.get(which, parts.get(embedding))) is not None
    }
    if not norms:
        return fails(f"{WEIGHTS} holds no {which}")
    name, count = which.removeprefix("lora_"), len(norms)
    if zero := [module for module, norm in norms.items() if norm == 0]:
        return fails(
            f"{name} is zero in {len(zero)} of {count} modules, {some(zero)}: the adapter adds "
            "nothing there; it was not trained, or not saved",
            zero=len(zero),
            modules=count,
        )
    least, most = min(norms.values()), max(norms.values())
    message = f"norm of {name} {least:.3g} to {most:.3g} in {count} modules"
    return holds(message, least=least, most=most)


def _head(files: AdapterFiles, wanted: bool) -> Finding:
    """What stands on the transformer is there, where the task needs it."""
    if wanted and files.head is None:
        return fails(f"{files.folder} has lost {HEAD}: the task's head would be random")
    modules = files.config.get("modules_to_save") or []
    task = files.config.get("task_type")
    saved = any(f"{module}." in key for key in files.saved for module in modules)
    if (modules or task in HEADED) and not wanted and not saved:
        return unjudged(f"{WEIGHTS} holds no head, and the model must say whether it has its own")
    if files.head is not None:
        return holds(f"{HEAD} holds {', '.join(sorted(files.head))}")
    if files.saved:
        return holds(f"saved beside the factors: {some(files.saved)}")
    return holds("the task needs no head")


def check_fit(files: AdapterFiles, model: nn.Module) -> Findings:
    """The first misfit of shapes, by the check that it belongs to; empty where all fits.

    Modules that the model does not have are the business of ``keys``.
    """
    checks = (_idle, _tokens_added, _shapes, _saved_modules, rows_missing, rows_outside)
    misfits = (check(files, model) for check in checks)
    return dict(islice(chain.from_iterable(misfits), 1))


def _idle(files: AdapterFiles, model: nn.Module) -> Misfits:
    if target := idle_target(files, model):
        yield "consistent", fails(f"target_modules names {target}, which has no keys in {WEIGHTS}")


def _shapes(files: AdapterFiles, model: nn.Module) -> Misfits:
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


def other_shape(module: str, change: Sequence[int], weight: object, owner: str) -> str:
    """The message that a module's factors and the weight of ``owner`` differ in shape."""
    return f"{module} changes a weight of shape {tuple(change)}, and {owner} has {weight} there"


def _tokens_added(files: AdapterFiles, model: nn.Module) -> Misfits:
    """An embedding with more rows than the base's: PEFT saves one that was resized."""
    for name, layer in model.named_modules():
        own = files.saved
        saved = own.get(f"{name}.weight", own.get(f"{name}.base_layer.weight"))
        if not isinstance(layer, nn.Embedding) or saved is None:
            continue
        rows, count = len(saved), len(layer.weight)
        if saved.shape[1:] == layer.weight.shape[1:] and rows > count:
            what = f"{name}.weight has {rows} rows in {WEIGHTS}, and {count} in the model"
            yield "base", fails(f"{what}: tokens were added to its base", rows=rows)


def _saved_modules(files: AdapterFiles, model: nn.Module) -> Misfits:
    """Modules of ``modules_to_save`` of another shape, or which the file lacks in part or whole."""
    ends = tuple(files.config.get("modules_to_save") or [])
    if files.config.get("task_type") in HEADED:
        ends += HEADS
    saved = files.saved
    heads = {name: x for name, x in model.named_modules() if name.endswith(ends)}  # PEFT's rule
    for name, head in heads.items():
        for parameter, weight in head.named_parameters(name, remove_duplicate=False):
            key = next((k for k in saved if k == parameter or parameter.endswith(f".{k}")), None)
            if key is None:
                yield "head", head_lost(name, parameter, saved)
            elif key is not None and saved[key].shape != weight.shape:
                shapes = f"{tuple(saved[key].shape)} in {WEIGHTS}, and {tuple(weight.shape)}"
                yield "head", fails(f"{key} has shape {shapes} in the model")


def head_lost(module: str, parameter: str, saved: Iterable[str]) -> Finding:
    """What fails where a saved module, or a parameter of it, is not in the files."""
    beside = next((key for key in saved if key.startswith(f"{module}.")), None)
    if beside is not None:
        return fails(f"{WEIGHTS} has lost {parameter}, and holds {beside} beside it")
    named = f"modules_to_save of {CONFIG} names it, or its task_type wants it"
    return fails(f"{WEIGHTS} has lost all of {module}: {named}; it would be the base's, or random")
