"""What PEFT made of the files in memory: where it sits, which keys it took, with which scale."""

from collections.abc import Mapping
from difflib import get_close_matches

from torch import Tensor, nn

from loradrift.adapters.adapter_files import PREFIX, WEIGHTS, AdapterFiles
from loradrift.adapters.check_result import Check, some
from loradrift.adapters.lora_layers import LoraLayers
from loradrift.weights.low_rank import LowRank, norm


def check_placement(model: nn.Module, site: LoraLayers | None) -> Check:
    """``placement``: PEFT sits on a transformer itself."""
    from transformers import PreTrainedModel

    if site is None:
        return Check(
            "placement",
            False,
            f"{type(model).__name__} holds no LoRA layer: the adapter was never put into it, or "
            "was merged and unloaded",
        )
    what = type(site.base).__name__
    if isinstance(site.base, PreTrainedModel):
        inside = f"{site.where}: " if site.where else ""
        return Check(
            "placement",
            True,
            f"{inside}PEFT sits on {what} and adapts {len(site.layers)} of its modules",
            {"layers": len(site.layers)},
        )
    inner = next(
        (name for name, x in site.base.named_modules() if isinstance(x, PreTrainedModel)), None
    )
    hint = f"; put it on the transformer inside, {inner}" if inner else ""
    return Check("placement", False, f"PEFT wraps {what}, which is no transformer{hint}")


def check_keys(files: AdapterFiles, names: set[str], layers: set[str] | None) -> Check:
    """``keys``: every key of the files has its module, and every adapted module its keys.

    Args:
        files: The adapter.
        names: All modules of the transformer.
        layers: Those that PEFT adapted; None where it has not been loaded.
    """
    keys = [*files.parts, *files.saved]
    lost = [name for name in files.parts if name not in names]
    lost += [key for key in files.saved if not _has_place(key, names)]
    if lost:
        return Check(
            "keys",
            False,
            f"{len(lost)} of {len(keys)} modules in {WEIGHTS} are not in the model: {some(lost)}"
            + _hint(lost, names),
            {"found": len(keys) - len(lost), "keys": len(keys)},
        )
    for module, parts in files.parts.items():
        kinds = [part for part in parts if part.endswith(("_A", "_B"))]
        if len(kinds) != 2:
            other = "lora_B" if kinds == ["lora_A"] else "lora_A"
            lacks = f"{WEIGHTS} has no {other} for {module}"
            return Check("keys", False, lacks, {"lacking": 1})
    if layers is not None and (bare := files.parts.keys() - layers):
        return Check(
            "keys",
            False,
            f"{len(bare)} of {len(files.parts)} modules of {WEIGHTS} are in the model without its "
            f"adapter: {some(bare)}",
        )
    if bare := (layers or set()) - files.parts.keys():
        return Check(
            "keys",
            False,
            f"{len(bare)} adapted modules have no keys in {WEIGHTS}: {some(bare)}; they keep the "
            "random start of PEFT",
            {"lacking": len(bare)},
        )
    return Check("keys", True, f"{len(keys)} of {len(keys)} found their module", {"found": 1.0})


def check_odd_keys(files: AdapterFiles) -> Check:
    """``keys``, where PEFT did not take the files' factors: their keys are not PEFT's."""
    odd = files.odd_keys
    return Check(
        "keys",
        False,
        f"{len(odd)} keys of {WEIGHTS} are not as PEFT writes and finds them, {some(odd)}: they "
        f"must begin with '{PREFIX}' and not hold the adapter's name, as save_pretrained() does "
        "it; PEFT left them out",
    )


def _has_place(key: str, names: set[str]) -> bool:
    """Whether a saved tensor's module exists; PEFT may have wrapped it."""
    module = key.rpartition(".")[0]
    if not module:
        return False
    return module in names or module.removesuffix(".base_layer") in names


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


def check_active(site: LoraLayers) -> Check:
    """``active``: the adapter is the active one in every layer, and none is switched off."""
    off = [name for name, x in site.layers.items() if x.disable_adapters]
    if off:
        return Check(
            "active",
            False,
            f"the adapters are disabled in {len(off)} of {len(site.layers)} layers: "
            "call enable_adapter_layers()",
        )
    other = [name for name, x in site.layers.items() if site.adapter not in x.active_adapters]
    if other:
        active = site.layers[other[0]].active_adapters
        return Check(
            "active",
            False,
            f"{site.adapter} is not the active adapter in {len(other)} layers: active is "
            f"{', '.join(active) or 'none'}; call set_adapter('{site.adapter}')",
        )
    crowd = {name for x in site.layers.values() for name in x.active_adapters} - {site.adapter}
    if crowd:
        return Check("active", False, f"beside {site.adapter} also active: {some(crowd)}")
    return Check("active", True, f"{site.adapter} is active in {len(site.layers)} layers")


def check_scale(files: AdapterFiles, site: LoraLayers) -> Check:
    """``scale``: each layer multiplies with what the configuration says."""
    rule = "alpha/sqrt(r)" if files.config.get("use_rslora") else "alpha/r"
    scales = []
    for name, layer in site.layers.items():
        if name not in files.parts or site.adapter not in layer.scaling:
            continue
        wanted, got = files.scale(name), float(layer.scaling[site.adapter])
        if abs(got - wanted) > 1e-6 * wanted:
            return Check(
                "scale",
                False,
                f"{name} multiplies with {got:g}, and {rule} of adapter_config.json is {wanted:g}",
                {"got": got, "wanted": wanted},
            )
        scales.append(got)
    if not scales:
        return Check("scale", None, "not judged: no module of the files is in the model")
    spread = (
        f"{min(scales):g}" if min(scales) == max(scales) else f"{min(scales):g} to {max(scales):g}"
    )
    return Check("scale", True, f"{rule} = {spread} in {len(scales)} layers")


def check_weights(
    files: AdapterFiles, site: LoraLayers, initial: Mapping[str, LowRank], *, tolerance: float
) -> Check:
    """``weights``: the factors in memory are those of the files."""
    worst, where = 0.0, ""
    for name in site.linear():
        factors = files.factors(name) if name in files.parts else None
        if factors is None:
            continue
        live = site.low_rank(name)
        if live is not None and name in initial:
            live = live - initial[name]
        wanted = factors.low_rank
        if live is None or live.shape != wanted.shape:
            return Check("weights", False, f"{name} holds factors of another shape in memory")
        # the scale is the business of its own check
        unit = LowRank(live.B_OR, live.A_RI, live.scale if name in initial else wanted.scale)
        gap = norm(wanted - unit) / max(norm(wanted), 1e-300)
        worst, where = max((worst, where), (gap, name))
    if not where:
        return Check("weights", None, "not judged: no linear layer is adapted")
    figures = {"worst": worst}
    if worst > tolerance:
        return Check(
            "weights",
            False,
            f"B A of {where} in memory is not that of {WEIGHTS}: they differ by {worst:.2g} of it; "
            "the file is stale, or was not loaded",
            figures,
        )
    return Check("weights", True, f"B A in memory are those of the file to {worst:.1g}", figures)


def check_head_live(
    check: Check, files: AdapterFiles, site: LoraLayers, head: Mapping[str, Tensor] | None
) -> Check:
    """``head``, with the one in memory: it must be the one in the files."""
    if not check.passed:
        return check
    live = dict(head or {})
    stored = dict(files.head or {}) if head is not None else {}
    for name, wrapper in site.heads.items():
        if site.adapter in wrapper.modules_to_save:
            state = wrapper.modules_to_save[site.adapter].state_dict()
            live |= {f"{name}.{key}": value for key, value in state.items()}
            stored |= {k: v for k, v in files.saved.items() if k.startswith(f"{name}.")}
    for key, value in live.items():
        if key not in stored or stored[key].shape != value.shape:
            return Check("head", False, f"the files hold no {key} of shape {tuple(value.shape)}")
        gap = float((stored[key] - value.detach().cpu().double()).abs().max())
        if gap > 1e-2 * float(stored[key].abs().max()) + 1e-12:
            return Check("head", False, f"{key} in memory is not the file's: off by {gap:.2g}")
    return check


def initial_factors(weights: Mapping[str, Tensor] | None, site: LoraLayers) -> dict[str, LowRank]:
    """The adapter's first product of each layer, where it was taken out of the base (PiSSA).

    Args:
        weights: By name of the parameter in PEFT's model; None where nothing was taken out.
        site: For names and scales.
    """
    end = f".{site.adapter}.weight"
    names = {
        name.removeprefix(PREFIX).removesuffix(end): x.cpu() for name, x in (weights or {}).items()
    }
    return {
        module: LowRank(
            names[f"{module}.lora_B"],
            names[f"{module}.lora_A"],
            float(layer.scaling[site.adapter]),
        )
        for module, layer in site.linear().items()
        if f"{module}.lora_B" in names
    }
