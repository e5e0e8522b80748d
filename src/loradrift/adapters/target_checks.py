"""Where the modules that a configuration names are not those of the weights."""

import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from torch import nn

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import WEIGHTS, AdapterFiles, matches
from loradrift.adapters.convolutions import CONVOLUTIONS
from loradrift.adapters.lora_layers import OUT


def target_problems(files: AdapterFiles) -> Iterator[str]:
    """Factors outside of the targets, or excluded from them, by PEFT's rule."""
    for name in map(_without_out, files.parts):
        if _is_excluded(files.config, name):
            yield f"{name} has keys in {WEIGHTS} and is one of exclude_modules in {CONFIG}"
    targets = files.config.get("target_modules")
    if isinstance(targets, str) and targets != "all-linear":
        odd = [x for x in map(_without_out, files.parts) if not re.fullmatch(targets, x)]
        yield from (f"{name} does not match target_modules={targets} of {CONFIG}" for name in odd)
    if not isinstance(targets, list):
        return
    ends = tuple(f".{target}" for target in targets)
    tied = files.config.get("ensure_weight_tying")  # PEFT adapts what is tied to a target too
    for name in map(_without_out, files.parts):
        if tied or _is_target(files.config, name):
            continue
        what = "is none of target_modules"
        if f".{name}".endswith(ends):
            what = f"is in none of layers_to_transform={files.config.get('layers_to_transform')}"
        yield f"{name} has keys in {WEIGHTS} and {what} in {CONFIG}"


def _without_out(name: str) -> str:
    """A module's name, and of the two layers in ``nn.MultiheadAttention`` the attention's."""
    return name.removesuffix(OUT)


def idle_target(files: AdapterFiles, model: nn.Module) -> str | None:
    """A target without factors that PEFT would adapt in this model: it ignores names of none."""
    targets = files.config.get("target_modules")
    saved = [f".{name}." for name in files.config.get("modules_to_save") or []]
    kinds = (nn.Linear, nn.Embedding, *CONVOLUTIONS)
    for target in targets if isinstance(targets, list) else []:
        if any(f".{name}".endswith(f".{target}") for name in map(_without_out, files.parts)):
            continue
        for name, module in model.named_modules():
            fits = f".{name}".endswith(f".{target}") and isinstance(module, kinds)
            kept = any(part in f".{name}." for part in saved)
            if fits and not kept and _is_target(files.config, name, excluding=True):
                return str(target)
    return None


def _is_target(config: Mapping[str, Any], name: str, *, excluding: bool = False) -> bool:
    from peft.tuners.tuners_utils import check_target_module_exists

    keys = ["target_modules", "layers_to_transform", "layers_pattern"]
    keys += ["exclude_modules"] * excluding
    return bool(
        check_target_module_exists(SimpleNamespace(**{k: config.get(k) for k in keys}), name)
    )


def _is_excluded(config: Mapping[str, Any], name: str) -> bool:
    excluded = {"target_modules": ".*", "exclude_modules": config.get("exclude_modules")}
    return not _is_target(excluded, name, excluding=True)


def pattern_problems(files: AdapterFiles) -> Iterator[str]:
    """Patterns of the configuration that match no module: their values are never used."""
    for setting in ("rank_pattern", "alpha_pattern"):
        for pattern in files.config.get(setting) or {}:
            if not any(matches(pattern, name) for name in files.parts):
                yield f"{setting} of {CONFIG} names {pattern}, which matches no module of {WEIGHTS}"
    patterns = files.config.get("layers_pattern") or []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if not any(re.match(rf"(.*\.)?{pattern}\.\d+\.", name) for name in files.parts):
            yield f"layers_pattern of {CONFIG} names {pattern}, which no module of {WEIGHTS} is in"
