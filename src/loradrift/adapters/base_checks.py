"""Whether the weights below the adapter are those that it was trained on, and without it."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from loradrift.adapters.adapter_files import AdapterFiles, as_matrix
from loradrift.adapters.base_weights import Read, alike, compare_others, reader
from loradrift.adapters.check_result import Check
from loradrift.adapters.lora_layers import LoraLayers
from loradrift.weights.low_rank import LowRank, apply_to, inner, norm
from loradrift.weights.stored import StoredWeights

NUM_PROJECTED = 16
"""Base weights that are looked at where no stored ones are at hand."""


class Fingerprints(NamedTuple):
    """Digests of the base model: what the run recorded, and what was loaded."""

    recorded: str
    loaded: str


def check_base(
    files: AdapterFiles,
    site: LoraLayers,
    stored: StoredWeights | None,
    initial: Mapping[str, LowRank],
    prints: Fingerprints | None,
) -> tuple[Check, Check]:
    """``base`` and ``merged_once``.

    Args:
        files: The adapter.
        site: Where it sits.
        stored: The base model's own weights, to compare with; None where they are not at hand.
        initial: What PiSSA took out of the base.
        prints: Digests of the base model, where a run recorded one.
    """
    if misfit := _misfit(files, site):
        return Check("base", False, misfit), Check("merged_once", None, "not judged: another base")
    merged = _merged_by_peft(site)
    if prints is not None and prints.recorded != prints.loaded:
        wrong = Check(
            "base",
            False,
            f"the adapter was trained on a base model with digest {prints.recorded[:12]}, and this "
            f"one has {prints.loaded[:12]}: an adapter of another base",
        )
        return wrong, merged or _by_projection(files, site)
    if merged is not None:
        return Check("base", None, "not judged: the adapter is merged into it"), merged
    if stored is None:
        note = f"shapes fit {len(files.parts)} modules"
        base = Check("base", prints is not None or None, f"{note}; no stored weights to compare")
        return base, _by_projection(files, site)
    return _against_stored(files, site, reader(stored), initial)


def _misfit(files: AdapterFiles, site: LoraLayers) -> str | None:
    for name in site.linear():
        factors = files.factors(name) if name in files.parts else None
        weight_OI = site.weight(name) if factors else None
        if factors and weight_OI is not None and factors.low_rank.shape != weight_OI.shape:
            return (
                f"{name} changes a weight of shape {tuple(factors.low_rank.shape)}, and the base "
                f"model has {tuple(weight_OI.shape)} there: an adapter of another base"
            )
    return None


def _merged_by_peft(site: LoraLayers) -> Check | None:
    """What PEFT itself knows to be merged."""
    merged = {name: x.merged_adapters for name, x in site.layers.items() if x.merged}
    if not merged:
        return None
    name, adapters = next(iter(merged.items()))
    return Check(
        "merged_once",
        False,
        f"{len(merged)} layers hold {', '.join(adapters)} merged into their weights, {name} among "
        "them: call unmerge_adapter(), or merge_and_unload() and use the merged model alone",
    )


def _against_stored(
    files: AdapterFiles,
    site: LoraLayers,
    read: Read,
    initial: Mapping[str, LowRank],
) -> tuple[Check, Check]:
    compared, less = 0, ""
    for name in sorted(site.linear().keys() & files.parts.keys()):
        layer, factors, raw = site.layers[name], files.factors(name), read(f"{name}.weight")
        if raw is None or factors is None:
            continue
        live = layer.get_base_layer().weight.detach().cpu()
        if name not in initial and live.shape == raw.shape and alike(live, raw):
            compared += 1
            continue
        wanted_OI = as_matrix(raw.to(live.dtype), layer.fan_in_fan_out)
        live_OI = site.weight(name)
        if name in initial:
            live_OI = apply_to(live_OI, initial[name])
        if live_OI.shape != wanted_OI.shape:
            continue
        compared += 1
        moved_OI = live_OI - wanted_OI
        gap = norm(moved_OI) / norm(wanted_OI)
        if gap > 1e-4 and taken_out(files, name, moved_OI):
            less = f" less what init_lora_weights={files.config['init_lora_weights']} took out"
            continue
        if gap > 1e-4 and str(files.config.get("init_lora_weights")).startswith("pissa_niter"):
            return _drawn(files)
        if gap > 1e-4:
            return _moved(name, gap, moved_OI, factors.dense(wanted_OI))
    others, other = compare_others(files, site, read)
    if other is not None:
        wrong = Check("base", False, f"{other}, an adapter of another base")
        return wrong, Check("merged_once", None, "not judged: another base")
    if not compared + others:
        base = Check("base", None, "not judged: the stored base has no weights of these names")
        return base, _by_projection(files, site)
    note = f"{compared} weights below the adapter are the stored base's{less}"
    base = Check("base", True, f"{note}, and {others} others")
    again = _by_projection(files, site)  # the stored base may itself be the merged model
    if again.passed is False:
        return base, again
    return base, Check("merged_once", True, "the base weights are without the adapter")


def taken_out(files: AdapterFiles, module: str, moved_OI: Tensor) -> bool:
    """Whether PEFT took the adapter's start out of the base weight, as it does when it loads one.

    PiSSA and OLoRA begin with a part of the weight, of the adapter's rank. An adapter saved as it
    is, not converted to plain LoRA, needs the same base again.
    """
    factors = files.factors(module)
    if files.config.get("init_lora_weights") not in ("pissa", "olora") or factors is None:
        return False
    if -inner(moved_OI, factors.low_rank) < 0.5 * norm(moved_OI) ** 2:
        return False  # which the adapter would have to put back
    rank, draw = int(files.rank(module)), torch.Generator().manual_seed(0)
    probe_IR = torch.randn(moved_OI.shape[1], rank, generator=draw, dtype=moved_OI.dtype)
    span_OR = torch.linalg.qr(moved_OI @ probe_IR).Q
    rest_OI = moved_OI - span_OR @ (span_OR.T @ moved_OI)
    return norm(rest_OI) < 1e-2 * norm(moved_OI)  # the rest of the weight is rounded


def _drawn(files: AdapterFiles) -> tuple[Check, Check]:
    base = Check(
        "base",
        False,
        f"init_lora_weights={files.config['init_lora_weights']} draws at random what it takes out "
        "of the base, so that none like the one that was trained on comes back; it was saved "
        "without conversion",
    )
    return base, Check("merged_once", None, "not judged: another base")


def _moved(name: str, gap: float, moved_OI: Tensor, change_OI: Tensor) -> tuple[Check, Check]:
    """The live base weight is another one: by the adapter itself, or by something else."""
    share = inner(moved_OI, change_OI) / inner(change_OI, change_OI)
    if norm(moved_OI - share * change_OI) < 0.1 * norm(moved_OI):
        twice = Check(
            "merged_once",
            False,
            f"the base weight of {name} already holds {share:.3f} times the adapter's change: it "
            "was merged and is applied again; load the unmerged base, or the merged model alone",
            {"share": share},
        )
        return Check("base", None, "not judged: the adapter is merged into it"), twice
    base = Check(
        "base",
        False,
        f"the weight below {name} is not the stored base's: they differ by {gap:.2g} of it, an "
        "adapter of another base",
    )
    return base, Check("merged_once", None, "not judged: another base")


def _by_projection(files: AdapterFiles, site: LoraLayers) -> Check:
    """Without the stored base: a weight that holds its change has it once in its projection.

    ``<W, dW> / <dW, dW>`` is about 1 in every module of a base that the adapter was merged into.
    """
    shares = []
    for name in sorted(site.linear().keys() & files.parts.keys())[:NUM_PROJECTED]:
        factors = files.factors(name)
        if factors is None or factors.magnitude_O is not None or norm(factors.low_rank) == 0:
            continue
        change = factors.low_rank
        shares.append(inner(site.weight(name), change) / norm(change) ** 2)
    if len(shares) < 3:
        return Check("merged_once", None, "not judged: no stored base to compare with")
    low, high = min(shares), max(shares)
    figures = {"least": low, "most": high}
    if low > 0.8 and high < 1.2:
        return Check(
            "merged_once",
            False,
            f"every base weight already holds its change, {low:.2f} to {high:.2f} times: the "
            "adapter was merged and is applied again",
            figures,
        )
    if max(-low, high) < 0.5:
        return Check(
            "merged_once",
            True,
            f"the base weights hold {low:.2f} to {high:.2f} of their change",
            figures,
        )
    return Check("merged_once", None, "not judged: no stored base to compare with", figures)
