"""Whether the weights below the adapter are those that it was trained on, and without it."""

from typing import NamedTuple

import torch
from torch import Tensor

from loradrift.adapters.base_weights import Read, alike, compare_others, reader
from loradrift.adapters.check_result import Check, Finding, fails, holds, other_shape, unjudged
from loradrift.adapters.lora_layers import Claim, LoraLayers, as_matrix
from loradrift.weights import LowRank, StoredWeights, inner, norm
from loradrift.weights.low_rank import apply_to

NUM_PROJECTED = 16
"""Base weights that are looked at where no stored ones are at hand."""

OTHER_BASE = unjudged("another base")
MERGED = unjudged("the adapter is merged into it")
NOT_STORED = "no stored base to compare with"


class Fingerprints(NamedTuple):
    """Digests of the base model: what the run recorded, and what was loaded."""

    recorded: str
    loaded: str


class BaseFindings(NamedTuple):
    """What is found about the base weights."""

    base: Finding
    merged_once: Finding = OTHER_BASE

    def checks(self) -> list[Check]:
        """By name."""
        return [Check("base", *self.base), Check("merged_once", *self.merged_once)]


def check_base(
    claim: Claim, stored: StoredWeights | None, prints: Fingerprints | None
) -> BaseFindings:
    """``base`` and ``merged_once``."""
    for name, factors in claim.factors():
        change, weight = factors.low_rank.shape, claim.lora_layers.weight(name).shape
        if change != weight:
            what = other_shape(name, change, tuple(weight), "the base model")
            return BaseFindings(fails(f"{what}: an adapter of another base"))
    merged = _merged_by_peft(claim.lora_layers)
    if prints is not None and prints.recorded != prints.loaded:
        wrong = fails(
            f"the adapter was trained on a base model with digest {prints.recorded[:12]}, and this "
            f"one has {prints.loaded[:12]}: an adapter of another base"
        )
        return BaseFindings(wrong, merged or _by_projection(claim))
    if merged is not None:
        return BaseFindings(MERGED, merged)
    if stored is None:
        note = f"shapes fit {len(claim.files.parts)} modules; no stored weights to compare"
        base = Finding(prints is not None or None, note, {})
        return BaseFindings(base, _by_projection(claim))
    return _against_stored(claim, reader(stored))


def _merged_by_peft(lora_layers: LoraLayers) -> Finding | None:
    """What PEFT itself knows to be merged."""
    merged = {name: x.merged_adapters for name, x in lora_layers.layers.items() if x.merged}
    if not merged:
        return None
    name, adapters = next(iter(merged.items()))
    return fails(
        f"{len(merged)} layers hold {', '.join(adapters)} merged into their weights, {name} among "
        "them: call unmerge_adapter(), or merge_and_unload() and use the merged model alone"
    )


def _against_stored(claim: Claim, read: Read) -> BaseFindings:
    files, lora_layers, initial = claim.files, claim.lora_layers, claim.initial
    start = str(files.config.get("init_lora_weights"))
    compared, less = 0, ""
    for name, factors in sorted(claim.factors()):
        layer, raw = lora_layers.layers[name], read(f"{name}.weight")
        if raw is None:
            continue
        live = layer.get_base_layer().weight.detach().cpu()
        if name not in initial and live.shape == raw.shape and alike(live, raw):
            compared += 1
            continue
        wanted_OI = as_matrix(raw.to(live.dtype), layer.fan_in_fan_out)
        live_OI = lora_layers.weight(name)
        if live_OI.shape != wanted_OI.shape:
            continue
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
            return BaseFindings(drawn)
        return _moved(name, gap, moved_OI, factors.dense(wanted_OI))
    others, other = compare_others(files, lora_layers, read)
    if other is not None:
        return BaseFindings(fails(f"{other}, an adapter of another base"))
    again = _by_projection(claim)  # the stored base may itself be the merged model
    if not compared + others:
        return BaseFindings(unjudged("the stored base has no weights of these names"), again)
    note = f"{compared} weights below the adapter are the stored base's{less}"
    once = again if again.passed is False else holds("the base weights are without the adapter")
    return BaseFindings(holds(f"{note}, and {others} others"), once)


def _taken_out(change: LowRank, rank: int, moved_OI: Tensor) -> bool:
    """Whether PEFT took the adapter's start out of the base weight, as it does when it loads one.

    PiSSA and OLoRA begin with a part of the weight, of the adapter's rank. An adapter saved as it
    is, not converted to plain LoRA, needs the same base again.
    """
    if -inner(moved_OI, change) < 0.5 * norm(moved_OI) ** 2:
        return False  # which the adapter would have to put back
    draw = torch.Generator().manual_seed(0)
    probe_IR = torch.randn(moved_OI.shape[1], rank, generator=draw, dtype=moved_OI.dtype)
    span_OR = torch.linalg.qr(moved_OI @ probe_IR).Q
    rest_OI = moved_OI - span_OR @ (span_OR.T @ moved_OI)
    return norm(rest_OI) < 1e-2 * norm(moved_OI)  # the rest of the weight is rounded


def _moved(name: str, gap: float, moved_OI: Tensor, change_OI: Tensor) -> BaseFindings:
    """The live base weight is another one: by the adapter itself, or by something else."""
    share = inner(moved_OI, change_OI) / inner(change_OI, change_OI)
    if norm(moved_OI - share * change_OI) < 0.1 * norm(moved_OI):
        twice = fails(
            f"the base weight of {name} already holds {share:.3f} times the adapter's change: it "
            "was merged and is applied again; load the unmerged base, or the merged model alone",
            share=share,
        )
        return BaseFindings(MERGED, twice)
    other = fails(
        f"the weight below {name} is not the stored base's: they differ by {gap:.2g} of it, an "
        "adapter of another base"
    )
    return BaseFindings(other)


def _by_projection(claim: Claim) -> Finding:
    """Without the stored base: a weight that holds its change has it once in its projection.

    ``<W, dW> / <dW, dW>`` is about 1 in every module of a base that the adapter was merged into.
    """
    shares = []
    for name, factors in sorted(claim.factors())[:NUM_PROJECTED]:
        change = factors.low_rank
        if factors.magnitude_O is None and (size := norm(change)):
            shares.append(inner(claim.lora_layers.weight(name), change) / size**2)
    if len(shares) < 3:
        return unjudged(NOT_STORED)
    low, high = min(shares), max(shares)
    if low > 0.8 and high < 1.2:
        return fails(
            f"every base weight already holds its change, {low:.2f} to {high:.2f} times: the "
            "adapter was merged and is applied again",
            least=low,
            most=high,
        )
    if max(-low, high) >= 0.5:
        return unjudged(NOT_STORED, least=low, most=high)
    span = f"{low:.2f} to {high:.2f}"
    return holds(f"the base weights hold {span} of their change", least=low, most=high)
