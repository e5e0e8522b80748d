"""Whether the weights below the adapter are those that it was trained on, and without it."""

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from loradrift.adapters.adapter_files import AdapterFiles
from loradrift.adapters.check_result import Finding, Findings, fails, holds, unjudged
from loradrift.adapters.config_check import config_difference
from loradrift.adapters.file_checks import other_shape
from loradrift.adapters.lora_layers import Claim, LoraLayers
from loradrift.adapters.merged_check import LOST, check_merged
from loradrift.config import UserError
from loradrift.weights import LowRank, StoredWeights, inner, norm
from loradrift.weights.low_rank import apply_to

WRAPPED = (".lora_", ".modules_to_save.", ".original_module.", ".trainable_tokens_")
"""Parts of the names of parameters that PEFT added, or that the adapter's own files replace."""

PEFTS_OWN = re.compile(r"\.(token_adapter\.)?base_layer\.")
"""What PEFT puts between a module's name and its weight's."""

Read = Callable[[str], Tensor | None]
"""A parameter's name in the model -> its stored value in float64, None where there is none."""

NOT_FINITE = "holds NaN or infinity in memory"
QUANTISED = "the base weights are quantised: they are not those that are stored"
OTHER_BASE = unjudged("another base")
MERGED = unjudged("the adapter is merged into it")
BY_DIGEST = holds("the base has the digest that the adapter was trained on")
STORED = holds("the base weights are the stored base's; the change is too small to be seen in them")


class Fingerprints(NamedTuple):
    """Digests of the base model: what the run recorded, and what was loaded."""

    recorded: str
    loaded: str


def check_base(claim: Claim, stored: StoredWeights | None, prints: Fingerprints | None) -> Findings:
    """``base`` and ``merged_once``."""
    if claim.lora_layers.quantised:
        return _both(unjudged(QUANTISED), unjudged(QUANTISED) if prints is None else BY_DIGEST)
    if (reason := _not_finite(claim) or _of_other_shape(claim)) is not None:
        return _both(fails(reason))
    merged = _merged_by_peft(claim.lora_layers)
    if prints is not None and prints.recorded != prints.loaded:
        wrong = fails(
            f"the adapter was trained on a base model with digest {prints.recorded[:12]}, and this "
            f"one has {prints.loaded[:12]}: an adapter of another base"
        )
        return _both(wrong, merged or check_merged(claim))
    if merged is not None:
        return _both(MERGED, merged)
    if stored is None:
        note = f"shapes fit {len(claim.files.parts)} modules; no stored weights to compare"
        return _both(Finding(prints is not None or None, note, {}), _merged_once(claim, prints))
    return _with_stored(claim, stored, prints)


def _with_stored(claim: Claim, stored: StoredWeights, prints: Fingerprints | None) -> Findings:
    found = _against_stored(claim, reader(stored))
    if "merged_once" in found:
        return found
    if found["base"].passed and (other := config_difference(claim.lora_layers.base, stored.folder)):
        return _both(fails(f"{other}: another base under the same weights"))
    # the stored base may itself be the merged model
    return found | {"merged_once": _merged_once(claim, prints, lost=STORED)}


def _merged_once(claim: Claim, prints: Fingerprints | None, *, lost: Finding = LOST) -> Finding:
    """Whether the base in use holds the change; ``lost`` if that cannot be seen in its weights."""
    found = check_merged(claim, lost)
    return BY_DIGEST if found.passed is None and prints is not None else found


def _both(base: Finding, merged_once: Finding = OTHER_BASE) -> Findings:
    return {"base": base, "merged_once": merged_once}


def _not_finite(claim: Claim) -> str | None:
    """That a parameter of the base in memory holds NaN or infinity, in words."""
    saved = {PEFTS_OWN.sub(".", key) for key in claim.files.saved}
    for parameter, weight in claim.lora_layers.base.named_parameters():
        name = PEFTS_OWN.sub(".", parameter)
        own = name not in saved and not any(part in f".{parameter}" for part in WRAPPED)
        # float first: float8 has no test of its own
        if own and weight.is_floating_point() and not weight.float().isfinite().all():
            return f"{name} {NOT_FINITE}"
    return None


def _of_other_shape(claim: Claim) -> str | None:
    for name, factors in claim.factors():
        change, weight = factors.low_rank.shape, claim.lora_layers.weight(name).shape
        if change != weight:
            what = other_shape(name, change, tuple(weight), "the base model")
            return f"{what}: an adapter of another base"
    return None


def _merged_by_peft(lora_layers: LoraLayers) -> Finding | None:
    """What PEFT itself knows to be merged."""
    merged = {k: x.merged_adapters for k, x in lora_layers.switches.items() if x.merged_adapters}
    if not merged:
        return None
    name, adapters = next(iter(merged.items()))
    return fails(
        f"{len(merged)} layers hold {', '.join(adapters)} merged into their weights, {name} among "
        "them: call unmerge_adapter(), or merge_and_unload() and use the merged model alone"
    )


def _against_stored(claim: Claim, read: Read) -> Findings:
    """``base``; and ``merged_once`` where the weights are not the stored ones."""
    files, lora_layers, initial = claim.files, claim.lora_layers, claim.initial
    start = str(files.config.get("init_lora_weights"))
    compared, less = 0, ""
    for name, factors in sorted(claim.factors()):
        raw = read(f"{name.replace('.base_layer.', '.')}.weight")
        if raw is None:
            continue
        live = lora_layers.layers[name].get_base_layer().weight.detach().cpu()
        if name not in initial and live.shape == raw.shape and alike(live, raw):
            compared += 1
            continue
        if live.shape != raw.shape:
            continue
        wanted_OI = lora_layers.matrix(name, raw.to(live.dtype))
        live_OI = lora_layers.weight(name)
        if name in initial:
            live_OI = apply_to(live_OI, initial[name])
        compared += 1
        moved_OI = live_OI - wanted_OI
        gap = norm(moved_OI) / norm(wanted_OI)
        if gap <= 1e-4:
            continue
        if start in ("pissa", "olora") and _taken_out(factors.low_rank, files.rank(name), moved_OI):
            less = f" less what init_lora_weights={start} took out"
            continue
        if start.startswith("pissa_niter"):
            drawn = fails(
                f"init_lora_weights={start} draws at random what it takes out of the base, so that "
                "none like the one that was trained on comes back; it was saved without conversion"
            )
            return _both(drawn)
        return _moved(name, gap, moved_OI, factors.dense(wanted_OI))
    others, other = _compare_others(files, lora_layers, read)
    if other is not None:
        return _both(fails(f"{other}, an adapter of another base"))
    if not compared + others:
        return {"base": unjudged("the stored base has no weights of these names")}
    note = f"{compared} weights below the adapter are the stored base's{less}"
    return {"base": holds(f"{note}, and {others} others")}


def _taken_out(change: LowRank, rank: int, moved_OI: Tensor) -> bool:
    """Whether PEFT took the adapter's start out of the base weight, as it does when it loads one.

    PiSSA and OLoRA begin with a part of the weight, of the adapter's rank. An adapter saved as it
    is, not converted to plain LoRA, needs the same base again.
    """
    if not -inner(moved_OI, change) >= 0.5 * norm(moved_OI) ** 2:
        return False  # which the adapter would have to put back
    draw = torch.Generator().manual_seed(0)
    probe_IP = torch.randn(moved_OI.shape[1], 2 * rank + 4, generator=draw, dtype=moved_OI.dtype)
    span_OP = torch.linalg.qr(moved_OI @ probe_IP).Q
    values_P = torch.linalg.svdvals(span_OP.T @ moved_OI)
    rest = norm(moved_OI) ** 2 - float(values_P[:rank].square().sum())
    return rest < 1e-4 * norm(moved_OI) ** 2  # the rest of the weight is rounded


def _moved(name: str, gap: float, moved_OI: Tensor, change_OI: Tensor) -> Findings:
    """The live base weight is another one: by the adapter itself, or by something else."""
    share = inner(moved_OI, change_OI) / inner(change_OI, change_OI)
    if norm(moved_OI - share * change_OI) < 0.1 * norm(moved_OI):
        message = (
            f"the base weight of {name} already holds {share:.3f} times the adapter's change: it "
            "was merged and is applied again; load the unmerged base, or the merged model alone"
        )
        return _both(MERGED, fails(message, share=share))
    message = f"the weight below {name} is not the stored base's: they differ by {gap:.2g} of it"
    return _both(fails(f"{message}, an adapter of another base"))


def open_stored(folder: Path | None) -> StoredWeights | None:
    """The base model's weights, if it has any as safetensors."""
    try:
        return StoredWeights(folder) if folder is not None and folder.is_dir() else None
    except UserError:
        return None


def reader(stored: StoredWeights) -> Read:
    """Read a parameter by name, whichever object around it the file was saved from."""

    def read(name: str) -> Tensor | None:
        fits = [k for k in stored.shapes if k.endswith(f".{name}") or name.endswith(f".{k}")]
        # the nearest: `norm.weight` ends the names of all layers' norms too
        nearest = min(fits, key=lambda key: abs(len(key) - len(name)), default=None)
        key = name if name in stored.shapes else nearest
        return None if key is None else stored.read(key)

    return read


def alike(live: Tensor, stored: Tensor) -> bool:
    """Whether both are the same weight; the live one may be of a copy in a lower precision."""
    return any(
        torch.equal(stored.to(dtype).to(live.dtype), live)
        for dtype in (live.dtype, torch.bfloat16, torch.float16)
    )


def _compare_others(
    files: AdapterFiles, lora_layers: LoraLayers, read: Read
) -> tuple[int, str | None]:
    """How many weights without an adapter are the stored base's, and the first that is not."""
    same = 0
    for name, weight in _beside(files, lora_layers):
        stored = read(name)
        if stored is None or not weight.is_floating_point():
            continue  # a new head, or quantised weights
        live = weight.detach().cpu()
        if live.shape != stored.shape:
            shapes = f"{tuple(live.shape)}, and {tuple(stored.shape)} in its base"
            return same, f"{name} has shape {shapes}"
        if not alike(live, stored):
            gap = float((live.double() - stored).norm() / stored.norm().clamp_min(1e-300))
            if not gap <= 1e-6:  # so that NaN is a difference
                return same, f"{name} is not the stored base's: they differ by {gap:.2g} of it"
        same += 1
    return same, None


def _beside(files: AdapterFiles, lora_layers: LoraLayers) -> Iterator[tuple[str, Tensor]]:
    """Tensors that neither are adapted nor in the adapter's files, as the base names them."""
    saved = {PEFTS_OWN.sub(".", key) for key in files.saved}
    base = lora_layers.base
    for parameter, weight in chain(base.named_parameters(), base.named_buffers()):
        name = PEFTS_OWN.sub(".", parameter)
        added = any(part in f".{parameter}" for part in WRAPPED)
        if not added and name.removesuffix(".weight") not in files.parts and name not in saved:
            yield name, weight
