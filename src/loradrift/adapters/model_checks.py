"""What PEFT made of the files in memory: where it sits, which keys it took, with which scale."""

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from loradrift.adapters.adapter_files import PREFIX, WEIGHTS, AdapterFiles
from loradrift.adapters.base_checks import NOT_FINITE, Read, alike
from loradrift.adapters.check_result import Finding, Findings, fails, holds, some, unjudged
from loradrift.adapters.file_checks import lone_factor
from loradrift.adapters.head_check import check_head_of_base
from loradrift.adapters.lora_layers import Claim, LoraLayers
from loradrift.adapters.part_checks import (
    LiveParts,
    check_lost,
    check_saved,
    check_zero,
    difference,
    not_the_files,
    unowned,
)
from loradrift.adapters.target_checks import idle_target
from loradrift.weights import LowRank, norm


def check_placement(model: nn.Module, lora_layers: LoraLayers | None) -> Finding:
    """PEFT sits on a transformer itself."""
    from transformers import PreTrainedModel

    if lora_layers is None:
        why = "the adapter was never put into it, or was merged and unloaded"
        return fails(f"{type(model).__name__} holds no LoRA layer: {why}")
    base, layers = lora_layers.base, lora_layers.layers
    what = type(base).__name__
    inner = [name for name, x in base.named_modules() if isinstance(x, PreTrainedModel)]
    if "" in inner or not inner:  # a transformer, or a model of another library
        inside = f"{lora_layers.where}: " if lora_layers.where else ""
        message = f"{inside}PEFT sits on {what} and adapts {len(layers)} of its modules"
        return holds(message, layers=len(layers))
    hint = f"put it on the transformer inside, {inner[0]}"
    return fails(f"PEFT wraps {what}, which is no transformer; {hint}")


def check_claim(
    own: Findings,
    claim: Claim,
    together: Collection[str],
    head: Mapping[str, Tensor] | None,
    read: Read | None,
) -> bool:
    """Add to the checks of the files those of what PEFT made of them; False if the rest is moot.

    ``read`` gives weights of the stored base, where there is one.
    """
    files, live = claim.files, LiveParts(claim.lora_layers)
    if target := idle_target(files, claim.lora_layers.base):
        own["consistent"] = fails(f"target_modules names {target}, which has no keys in {WEIGHTS}")
    elif lacks := unowned(files, live, read):
        own["consistent"] = fails(lacks)
    if own["head"].passed is None:
        own["head"] = check_head_of_base(files, claim.lora_layers, read)
    own["keys"] = _keys(files, claim.lora_layers, live)
    own["active"] = _active(claim.lora_layers, together)
    own |= _failing(check_lost(files, claim.lora_layers, live), own)
    if not own["consistent"].passed:
        contradicted = unjudged("the files contradict each other")
        own |= dict.fromkeys(("scale", "weights", "base", "effect"), contradicted)
        if own["consistent"].passed is None:  # what cannot be predicted can still be compared
            own |= check_saved(claim, live)
        return False
    if not math.isfinite(claim.scale):
        own["scale"] = fails(f"the adapter's own scale must be finite, got {claim.scale}")
        return False
    own["head"] = _head(own["head"], files, head)
    own["scale"], own["weights"] = _scale(claim), _weights(claim)
    own |= _failing(check_saved(claim, live, (name for name, _ in claim.factors())), own)
    own["parts"] = check_zero(claim, read)
    if files.odd_keys and False in (own["weights"].passed, own["keys"].passed):
        own["keys"] = fails(
            f"{len(files.odd_keys)} keys of {WEIGHTS} are not as PEFT writes and finds them, "
            f"{some(files.odd_keys)}: they must begin with '{PREFIX}' and not hold the adapter's "
            "name, as save_pretrained() does it; PEFT left them out"
        )
    return True


def _failing(found: Findings, own: Findings) -> Findings:
    """Those of the findings whose checks did not fail before."""
    return {name: finding for name, finding in found.items() if own[name].passed is not False}


def _keys(files: AdapterFiles, lora_layers: LoraLayers, live: LiveParts) -> Finding:
    """Every key of the files has its place, and every adapted module its keys."""
    names = {name for name, _ in lora_layers.base.named_modules()}
    layers, count = lora_layers.layers.keys(), len(files.parts) + len(files.saved)
    lost = [name for name in files.parts if name not in names]
    lost += [key for key in files.saved if key not in live.all]
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
    places, adapter = lora_layers.switches, lora_layers.adapter
    if off := [name for name, x in places.items() if x.disable_adapters]:
        which = "" if len(off) == len(places) else f", {some(off)}"
        disabled = f"the adapters are disabled in {len(off)} of {len(places)} layers{which}"
        return fails(f"{disabled}: call enable_adapter_layers()")
    if other := {name: x for name, x in places.items() if not _is_active(x, adapter)}:
        active = next(iter(other.values())).active_adapters
        which = "" if len(other) == len(places) else f", {some(other)}"
        return fails(
            f"{adapter} is not the active adapter in {len(other)} layers{which}: active is "
            f"{', '.join(active) or 'none'}; call set_adapter('{adapter}')"
        )
    if crowd := {name for x in places.values() for name in x.active_adapters} - set(together):
        return fails(f"beside {adapter} also active: {some(crowd)}")
    return holds(f"{adapter} is active in {len(places)} layers")


def _is_active(place: Any, adapter: str) -> bool:
    """Whether a layer uses the adapter; of saved modules only the first adapter's can be used."""
    from peft.utils.other import ModulesToSaveWrapper

    active = place.active_adapters
    return adapter in (active[:1] if isinstance(place, ModulesToSaveWrapper) else active)


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
        if not abs(got - wanted) <= 1e-6 * abs(wanted):
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
        if not all(x.isfinite().all() for x in (live.B_OR, live.A_RI)):
            return fails(f"a factor of {name} {NOT_FINITE}")
        same = all(map(alike, (live.B_OR, live.A_RI), (wanted.B_OR, wanted.A_RI)))
        gap = 0.0 if same else norm(wanted - live) / max(norm(wanted), 1e-300)
        worst, where = max((worst, where), (gap, name))
    if not where:
        return unjudged("no layer is adapted")
    if not worst <= 1e-5:
        differ = f"is not that of {WEIGHTS}: they differ by {worst:.2g} of it"
        stale = f"B A of {where} in memory {differ}; the file is stale, or was not loaded"
        return fails(stale, worst=worst)
    return holds(f"B A in memory are those of the file to {worst:.1g}", worst=worst)


def _head(saved: Finding, files: AdapterFiles, head: Mapping[str, Tensor] | None) -> Finding:
    """The head of a run's task must be the one in its files."""
    stored = files.head or {}
    if not saved.passed:
        return saved
    for key, value in (head or {}).items():
        if key not in stored or stored[key].shape != value.shape:
            return fails(f"the files hold no {key} of shape {tuple(value.shape)}")
        if gap := difference(value, stored[key]):
            return fails(not_the_files(key, gap))
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
        for module, layer in lora_layers.layers.items()
        if (B := names.get(f"{module}.lora_B")) is not None
    }
