"""The adapters in the actual forward pass: do they add what their files predict?"""

# Shape suffixes: N token rows, O outputs, I inputs, P predicted numbers, K adapters.

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import Factors
from loradrift.adapters.check_result import Finding, fails, holds, some, unjudged
from loradrift.adapters.convolutions import CONVOLUTIONS, patches
from loradrift.adapters.lora_layers import Claim, LoraLayers, embed_scale, switched_off
from loradrift.adapters.part_checks import Calls
from loradrift.models.hooks import eval_mode, hooked
from loradrift.weights import LowRank

NUM_ROWS = 64
"""Token rows of each layer that are kept."""

SLACK = 0.02
"""How far, relatively, the effect may be from the prediction, beside rounding."""

MOST_NOISE = 0.1
"""Rounding of one number, relative to the prediction, up to which a layer is judged."""

SAME = "the output is the same with the adapter and without it"

Parts = dict[str, Factors]
"""Adapter -> what it adds to one layer."""


class Seen(NamedTuple):
    """What went into one adapted layer, came out of it, and came out of its base layer."""

    x_NI: Tensor  # or the ids (N,) of tokens
    y_NO: Tensor
    base_NO: Tensor
    eps: float
    """Rounding of the output's precision."""


class Passes(NamedTuple):
    """Two forward passes of one small batch."""

    layers: dict[str, Seen]
    """The layers through which the forward pass went, and through their base layers."""

    on: Tensor
    off: Tensor


class Effect:
    """What one layer adds to its base layer's output, against the prediction of each adapter."""

    def __init__(
        self, layer: str, seen: Seen, weight_OI: Tensor, parts: Parts, initial: list[LowRank]
    ) -> None:
        x_NI, got_NO = seen.x_NI, seen.y_NO - seen.base_NO
        for start in initial:  # the layer also puts back what was taken out of its base
            got_NO = got_NO - Factors(start).on(x_NI, weight_OI)
        self.layer, self.got_NO = layer, got_NO
        self.wanted = {adapter: each.on(x_NI, weight_OI) for adapter, each in parts.items()}
        wanted_NO = torch.stack([*self.wanted.values()]).sum(dim=0)
        size, rounding = float(wanted_NO.norm()), seen.eps * float(seen.y_NO.norm())
        self.unpredicted = size == 0 and bool(got_NO.any())
        self.drowned = size == 0 or rounding / size > MOST_NOISE * got_NO.numel() ** 0.5
        if not self.drowned:
            rounding = rounding / size
            self.share = float((got_NO * wanted_NO).sum()) / size**2
            self.gap = float((got_NO - wanted_NO).norm()) / size
            noise = rounding / got_NO.numel() ** 0.5
            self.excess = max(abs(self.share - 1) - 4 * noise, self.gap - rounding)

    def furthest(self) -> tuple[str, float]:
        """The adapter whose least-squares share in what the layer adds is furthest from 1."""
        if len(self.wanted) == 1:
            return next(iter(self.wanted)), self.share
        predicted_PK = torch.stack([each.flatten() for each in self.wanted.values()], dim=1)
        added_P1 = self.got_NO.flatten()[:, None]
        shares = torch.linalg.lstsq(predicted_PK, added_P1, driver="gelsd").solution[:, 0]
        index = int((shares - 1).abs().argmax())
        return [*self.wanted][index], float(shares[index])


def check_effect(
    model: nn.Module,
    claims: Mapping[str, Claim],
    forward: Callable[[], Tensor],
    *,
    made_up: bool = False,
) -> Finding:
    """Every adapted layer's output differs from its base layer's as the files predict.

    Input that was ``made_up``, a text without the images that a model takes too, proves nothing of
    the layers that it does not reach.

    Runs ``forward`` with the adapters as they are and with them switched off. The model's modes,
    its switches and the random state are as before afterwards.
    """
    if reason := _foreseen(claims):
        return unjudged(reason)
    places = [claim.lora_layers for claim in claims.values()]
    hidden = set[str]().union(*(place.inside_attention for place in places))
    calls = Calls(places)
    try:
        passes = _run_on_and_off(model, places, forward, calls)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the model raises on the input that it was given
        said = next(iter(str(error).splitlines()), "")
        return unjudged(f"the forward pass raises {type(error).__name__}: {said}")
    by_layer: dict[str, Parts] = {}
    for adapter, claim in claims.items():
        for name, factors in claim.factors():
            by_layer.setdefault(name, {})[adapter] = factors
    # a small batch need not reach every expert
    silent = [name for name in by_layer.keys() - passes.layers.keys() if "expert" not in name]
    if silent := [name for name in silent if name not in hidden]:
        verdict, on = (unjudged, " on made-up input") if made_up else (fails, "")
        return verdict(f"the forward pass{on} does not go through {some(silent)}, which is adapted")
    if problem := calls.problem():
        return fails(problem)
    found = _compare(claims, by_layer, passes)
    if hidden and found.passed is not False:
        return unjudged(f"{some(hidden)} is changed inside nn.MultiheadAttention, unseen")
    return found


def _foreseen(claims: Mapping[str, Claim]) -> str | None:
    """Why no forward pass would tell, if that is known before."""
    for claim in claims.values():
        if any(x.merged_adapters for x in claim.lora_layers.switches.values()):
            return "the adapter is merged"
        if claim.files.not_plain:
            return "this kind of LoRA adds something else than B A"
        if claim.lora_layers.quantised and claim.files.config.get("use_dora"):
            return "what DoRA makes of quantised weights cannot be foretold"
    return None


def _compare(claims: Mapping[str, Claim], by_layer: Mapping[str, Parts], passes: Passes) -> Finding:
    effects = []
    for name, seen in passes.layers.items():
        if (parts := by_layer.get(name)) is None:
            continue
        weight_OI = _weight(claims[next(iter(parts))], name)
        if any(each.low_rank.shape != weight_OI.shape for each in parts.values()):
            return fails(f"{name}: the files' factors do not fit the layer")
        initial = [claim.initial[name] for claim in claims.values() if name in claim.initial]
        effects.append(Effect(name, seen, weight_OI, parts, initial))
    if odd := [each.layer for each in effects if each.unpredicted]:
        return fails(f"{odd[0]} changes its output, the files predict none")
    if odd := [each.layer for each in effects if not each.got_NO.isfinite().all()]:
        return fails(f"{odd[0]} gives NaN or infinity")
    if not (passes.on.isfinite().all() and passes.off.isfinite().all()):
        return fails("the outputs are NaN or infinite")
    return _judge(effects, passes, several=len(claims) > 1)


def _weight(claim: Claim, name: str) -> Tensor:
    """The base weight of a layer; if it is quantised, zeros, which only DoRA would notice."""
    factors = claim.files.factors(name)
    if claim.lora_layers.quantised and factors is not None:
        return torch.zeros(factors.low_rank.shape)
    return claim.lora_layers.weight(name)


def _run_on_and_off(
    model: nn.Module, places: Sequence[LoraLayers], forward: Callable[[], Tensor], calls: Calls
) -> Passes:
    seen: dict[str, dict[str, Any]] = defaultdict(dict)
    hidden = set[str]().union(*(place.inside_attention for place in places))

    def whole(into: dict[str, Any], layer: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        if "eps" not in into:  # the first call alone, should a layer be shared or text generated
            eps = torch.finfo(output.dtype).eps
            y_NO = _rows(_channels_last(layer, output)) / embed_scale(layer)
            into.update(x_NI=_input_rows(layer, inputs[0]), y_NO=y_NO, eps=eps)

    def below(into: dict[str, Any], layer: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        if "base_NO" not in into:
            into["base_NO"] = _rows(_channels_last(layer, output)) / embed_scale(layer)

    layers = {name: x for each in places for name, x in each.layers.items() if name not in hidden}
    hooks = [(layer, partial(whole, seen[name])) for name, layer in layers.items()]
    hooks += [(x.get_base_layer(), partial(below, seen[name])) for name, x in layers.items()]
    # both passes uncompiled: they are compared to the last digits
    with eval_mode(model), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        with hooked([*hooks, *calls.hooks()]):
            on = _rows(forward())
        with switched_off(places):
            off = _rows(forward())
    complete = len(Seen._fields)
    return Passes({k: Seen(**x) for k, x in seen.items() if len(x) == complete}, on, off)


def _channels_last(layer: Any, y: Tensor) -> Tensor:
    base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    return y.movedim(1, -1) if isinstance(base, CONVOLUTIONS) else y


def _input_rows(layer: Any, x: Tensor) -> Tensor:
    """What the layer's weight multiplies, row by row."""
    base = layer.get_base_layer()
    return _rows(patches(x, base) if isinstance(base, CONVOLUTIONS) else x)


def _rows(x: Tensor) -> Tensor:
    if not x.is_floating_point():  # token ids
        return x.detach().reshape(-1)[:NUM_ROWS].cpu()
    return x.detach().reshape(-1, x.shape[-1])[:NUM_ROWS].to("cpu", torch.float64)


def _judge(effects: Sequence[Effect], passes: Passes, *, several: bool) -> Finding:
    found = [each for each in effects if not each.drowned]
    size = float(passes.off.norm()) or float(passes.on.norm()) or 1.0  # all zeros are a size too
    change = float((passes.on - passes.off).norm()) / size
    if not found and effects and change == 0:
        return fails(SAME, output_change=0.0, layers=0.0)
    if not found:
        lost = f"its change drowns in rounding in {len(effects)} layers"
        return unjudged(lost if effects else "no layer")
    worst = max(found, key=lambda each: each.excess)
    figures = {
        "share": worst.share,
        "gap": worst.gap,
        "output_change": change,
        "cosine": float(torch.cosine_similarity(passes.on, passes.off, dim=-1).mean()),
        "layers": float(len(found)),
    }
    if not worst.excess <= SLACK:
        adapter, share = worst.furthest()
        layer = f"{adapter}: {worst.layer}" if several else worst.layer
        return fails(
            f"{layer} changes its output by {share:.3f} times what scale * B A x of the files "
            f"predicts, off by {worst.gap:.2g} of it",
            **figures,
        )
    if change == 0:
        return fails(SAME, **figures)
    return holds(
        f"{len(found)} layers add {worst.share:.4f} times scale * B A x at worst; the output "
        f"changes by {change:.2g} of its norm",
        **figures,
    )
