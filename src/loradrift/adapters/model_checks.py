"""What PEFT made of the files in memory: where it sits, which keys it took, with which scale."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import PREFIX, WEIGHTS, AdapterFiles
from loradrift.adapters.check_result import Finding, Findings, fails, holds, some, unjudged
from loradrift.adapters.file_checks import lone_factor
from loradrift.adapters.lora_layers import Claim, LoraLayers
from loradrift.weights import LowRank, norm


def check_placement(model: nn.Module, lora_layers: LoraLayers | None) -> Finding:
    """PEFT sits on a transformer itself."""
    from transformers import PreTrainedModel

    if lora_layers is None:
        why = "the adapter was never put into it, or was merged and unloaded"
        return fails(f"{type(model).__name__} holds no LoRA layer: {why}")
    base, layers = lora_layers.base, lora_layers.layers
    what = type(base).__name__
    if isinstance(base, PreTrainedModel):
        inside = f"{lora_layers.where}: " if lora_layers.where else ""
        message = f"{inside}PEFT sits on {what} and adapts {len(layers)} of its modules"
        return holds(message, layers=len(layers))
    inner = next((name for name, x in base.named_modules() if isinstance(x, PreTrainedModel)), None)
    hint = f"; put it on the transformer inside, {inner}" if inner else ""
    return fails(f"PEFT wraps {what}, which is no transformer{hint}")


def check_claim(
    own: Findings, claim: Claim, together: Collection[str], head: Mapping[str, Tensor] | None
) -> bool:
    """Add to the checks of the files those of what PEFT made of them; False if the rest is moot."""
    files = claim.files
    own["keys"] = _keys(files, claim.lora_layers)
    own["active"] = _active(claim.lora_layers, together)
    if not own["consistent"].passed:
        contradicted = unjudged("the files contradict each other")
        own |= dict.fromkeys(("scale", "weights", "base", "effect"), contradicted)
        return False
    own["head"] = _head(own["head"], claim, head)
    own["scale"], own["weights"] = _scale(claim), _weights(claim)
    if files.odd_keys and False in (own["weights"].passed, own["keys"].passed):
        own["keys"] = fails(
            f"{len(files.odd_keys)} keys of {WEIGHTS} are not as PEFT writes and finds them, "
            f"{some(files.odd_keys)}: they must begin with '{PREFIX}' and not hold the adapter's "
            "name, as save_pretrained() does it; PEFT left them out"
        )
    return True


SAVED = re.compile(r"\.modules_to_save\.[^.]+(?=\.)")
"""What PEFT puts between the name of a saved module and those of its parts."""


def _keys(files: AdapterFiles, lora_layers: LoraLayers) -> Finding:
    """Every key of the files has its module, and every adapted module its keys."""
    names = {SAVED.sub("", name) for name, _ in lora_layers.base.named_modules()}
    layers, count = lora_layers.layers.keys(), len(files.parts) + len(files.saved)
    lost = [name for name in files.parts if name not in names]
    lost += [key for key in files.saved if not _has_place(key, names)]
    if lost:
        message = f"{len(lost)} of {count} modules in {WEIGHTS} are not in the model: {some(lost)}"
        return fails(message + _hint(lost, names), found=count - len(lost), keys=count)
    if lacks := lone_factor(files):
        return fails(lacks, lacking=1)
    if bare := files.parts.keys() - layers:
        message = f"{len(bare)} of {len(files.parts)} modules of {WEIGHTS} are in the model"
        return fails(f"{message} without its adapter: {some(bare)}")
    if bare := layers - files.parts.keys():
        message = f"{len(bare)} adapted modules have no keys in {WEIGHTS}: {some(bare)}"
        return fails(f"{message}; they keep the random start of PEFT", lacking=len(bare))
    return holds(f"{count} of {count} found their module", found=1.0)


def _has_place(key: str, names: set[str]) -> bool:
    """Whether a saved tensor's module exists; PEFT may have wrapped it."""
    module = key.rpartition(".")[0]
    return bool(module) and (module in names or module.removesuffix(".base_layer") in names)


def _hint(lost: list[str], names: set[str]) -> str:
    first = lost[0]
    for cut in ("base_model.model.", "model.", "base_model."):
        if first.removeprefix(cut) != first and all(x.removeprefix(cut) in names for x in lost):
            return f"; without '{cut}' in front all fit: the prefix was put there once too often"
    if suffix := next((name for name in sorted(names) if name and first.endswith(f".{name}")), ""):
        return f"; the model has {suffix}: the adapter belongs to an object around it"
    if outer := [name for name in names if name.endswith(f".{first}")]:
        return f"; the model has {outer[0]}: the adapter belongs to the transformer inside"
    nearest = get_close_matches(first, names, n=1)
    return f"; nearest is {nearest[0]}" if nearest else ""


def _active(lora_layers: LoraLayers, together: Collection[str]) -> Finding:
    """The adapter is active in every layer, with no others than those that are to be."""
    layers, adapter = lora_layers.layers, lora_layers.adapter
    if off := [name for name, x in layers.items() if x.disable_adapters]:
        disabled = f"the adapters are disabled in {len(off)} of {len(layers)} layers"
        return fails(f"{disabled}: call enable_adapter_layers()")
    if other := [x.active_adapters for x in layers.values() if adapter not in x.active_adapters]:
        return fails(
            f"{adapter} is not the active adapter in {len(other)} layers: active is "
            f"{', '.join(other[0]) or 'none'}; call set_adapter('{adapter}')"
        )
    if crowd := {name for x in layers.values() for name in x.active_adapters} - set(together):
        return fails(f"beside {adapter} also active: {some(crowd)}")
    return holds(f"{adapter} is active in {len(layers)} layers")


def _scale(claim: Claim) -> Finding:
    """Each layer multiplies with what the configuration says, times the adapter's own scale."""
    files, adapter = claim.files, claim.lora_layers.adapter
    rule = "alpha/sqrt(r)" if files.config.get("use_rslora") else "alpha/r"
    rule = rule if claim.scale == 1 else f"{claim.scale:g} times {rule}"
    scales = []
    for name, layer in claim.lora_layers.layers.items():
        if name not in files.parts or adapter not in layer.scaling:
            continue
        wanted, got = claim.scale * files.scale(name), float(layer.scaling[adapter])
        if abs(got - wanted) > 1e-6 * abs(wanted):
            message = f"{name} multiplies with {got:g}, and {rule} of adapter_config.json is"
            return fails(f"{message} {wanted:g}", got=got, wanted=wanted)
        scales.append(got)
    if not scales:
        return unjudged("no module of the files is in the model")
    least, most = f"{min(scales):g}", f"{max(scales):g}"
    spread = least if least == most else f"{least} to {most}"
    return holds(f"{rule} = {spread} in {len(scales)} layers")


def _weights(claim: Claim) -> Finding:
    """The factors in memory are those of the files."""
    worst, where = 0.0, ""
    for name, factors in claim.factors():
        live, wanted = claim.lora_layers.low_rank(name), factors.low_rank
        if live is None or live.shape != wanted.shape:
            return fails(f"{name} holds factors of another shape in memory")
        if name in claim.initial:
            live = live - claim.initial[name]
        else:  # the scale is the business of its own check
            live = LowRank(live.B_OR, live.A_RI, wanted.scale)
        gap = norm(wanted - live) / max(norm(wanted), 1e-300)
        worst, where = max((worst, where), (gap, name))
    if not where:
        return unjudged("no linear layer is adapted")
    layers, adapter = claim.lora_layers.linear().values(), claim.lora_layers.adapter
    # adapters may be loaded in a lower precision
    if worst > 4 * max(torch.finfo(x.lora_A[adapter].weight.dtype).eps for x in layers) + 1e-5:
        differ = f"is not that of {WEIGHTS}: they differ by {worst:.2g} of it"
        stale = f"B A of {where} in memory {differ}; the file is stale, or was not loaded"
        return fails(stale, worst=worst)
    return holds(f"B A in memory are those of the file to {worst:.1g}", worst=worst)


def _head(saved: Finding, claim: Claim, head: Mapping[str, Tensor] | None) -> Finding:
    """The head in memory must be the one in the files."""
    if not saved.passed:
        return saved
    files, adapter = claim.files, claim.lora_layers.adapter
    live = dict(head or {})
    stored = dict(files.head or {}) if head is not None else {}
    for name, wrapper in claim.lora_layers.heads.items():
        if adapter in wrapper.modules_to_save:
            state = wrapper.modules_to_save[adapter].state_dict()
            live |= {f"{name}.{key}": value for key, value in state.items()}
            stored |= {k: v for k, v in files.saved.items() if k.startswith(f"{name}.")}
    for key, value in live.items():
        if key not in stored or stored[key].shape != value.shape:
            return fails(f"the files hold no {key} of shape {tuple(value.shape)}")
        gap = float((stored[key] - value.detach().cpu().double()).abs().max())
        if gap > 1e-2 * float(stored[key].abs().max()) + 1e-12:
            return fails(f"{key} in memory is not the file's: off by {gap:.2g}")
    return saved


def initial_factors(
    weights: Mapping[str, Tensor] | None, lora_layers: LoraLayers
) -> dict[str, LowRank]:
    """The adapter's first product of each layer, where it was taken out of the base (PiSSA)."""
    adapter = lora_layers.adapter
    names = {
        name.removeprefix(PREFIX).removesuffix(f".{adapter}.weight"): x.cpu()
        for name, x in (weights or {}).items()
    }
    return {
        module: LowRank(B, names[f"{module}.lora_A"], float(layer.scaling[adapter]))
        for module, layer in lora_layers.linear().items()
        if (B := names.get(f"{module}.lora_B")) is not None
    }
