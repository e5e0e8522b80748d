"""The adapters in the actual forward pass: do they add what their files predict?"""

# Shape suffixes: N token rows, O outputs, I inputs, P predicted numbers, K adapters.

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import Factors
from loradrift.adapters.check_result import Finding, check, fails, holds, some, unjudged
from loradrift.adapters.lora_layers import Claim, LoraLayers, switched_off
from loradrift.models.hooks import Hook, eval_mode, hooked

NUM_ROWS = 64
"""Token rows of each layer that are kept."""

SLACK = 0.02
"""How far, relatively, the effect may be from the prediction, beside rounding."""

MOST_NOISE = 0.1
"""Rounding of one number, relative to the prediction, up to which a layer is judged."""

SAME = "the output is the same with the adapter and without it"


@dataclass
class Seen:
    """What went into one adapted layer, came out of it, and came out of its base layer."""

    x_NI: Tensor | None = None
    y_NO: Tensor | None = None
    base_NO: Tensor | None = None
    eps: float = 0.0
    """Rounding of the output's precision."""

    @property
    def whole(self) -> bool:
        """Whether the forward pass went through the layer and through its base layer."""
        return self.x_NI is not None and self.y_NO is not None and self.base_NO is not None


@dataclass
class Passes:
    """Two forward passes of one small batch."""

    layers: dict[str, Seen] = field(default_factory=dict)
    on: Tensor = field(default_factory=lambda: torch.empty(0))
    off: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def change(self) -> float:
        """Norm of the output's change by the adapters, relative to the output without them."""
        return float((self.on - self.off).norm() / self.off.norm())

    @property
    def cosine(self) -> float:
        """Mean cosine of the rows of the output with and without the adapters."""
        return float(torch.cosine_similarity(self.on, self.off, dim=-1).mean())


class Effect(NamedTuple):
    """What one layer adds, against what the files predict."""

    layer: str
    got_NO: Tensor
    wanted: dict[str, Tensor]
    """Predicted (N, O), by adapter."""

    rounding: float
    """Of the output, relative to the prediction; infinite where nothing is predicted."""

    @property
    def wanted_NO(self) -> Tensor:
        """The prediction of all adapters together."""
        return torch.stack([*self.wanted.values()]).sum(dim=0)

    @property
    def noise(self) -> float:
        """Rounding of one number."""
        return self.rounding / math.sqrt(self.got_NO.numel())

    @property
    def share(self) -> float:
        """How many times the prediction is in what the layer adds."""
        return float((self.got_NO * self.wanted_NO).sum()) / float(self.wanted_NO.norm()) ** 2

    @property
    def gap(self) -> float:
        """Distance of the two, relative to the prediction."""
        return float((self.got_NO - self.wanted_NO).norm()) / float(self.wanted_NO.norm())

    @property
    def excess(self) -> float:
        """How far they are apart beyond rounding."""
        return max(abs(self.share - 1) - 4 * self.noise, self.gap - self.rounding)

    def furthest(self) -> tuple[str, float]:
        """The adapter whose part is furthest from its prediction, and how many times it is there.

        The parts are the least-squares shares of the predictions in what the layer adds.
        """
        if len(self.wanted) == 1:
            return next(iter(self.wanted)), self.share
        predicted_PK = torch.stack([each.flatten() for each in self.wanted.values()], dim=1)
        added_P1 = self.got_NO.flatten()[:, None]
        shares = torch.linalg.lstsq(predicted_PK, added_P1, driver="gelsd").solution[:, 0]
        index = int((shares - 1).abs().argmax())
        return [*self.wanted][index], float(shares[index])


def run_on_and_off(
    model: nn.Module, adapters: Mapping[str, LoraLayers], forward: Callable[[], Tensor]
) -> Passes:
    """Run ``forward`` with the adapters as they are and with them switched off.

    The model's modes, its switches and the random state are as before afterwards.

    Args:
        model: Put into eval mode meanwhile.
        adapters: Whose layers are watched in the first pass.
        forward: The call that is used in earnest, on a small batch; gives (…, features).
    """
    passes = Passes()
    layers = {k: x for each in adapters.values() for k, x in each.linear().items()}
    # both passes uncompiled: they are compared to the last digits
    with eval_mode(model), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        hooks = [
            hook
            for name, layer in layers.items()
            for hook in _hooks(layer, passes.layers.setdefault(name, Seen()))
        ]
        with hooked(hooks):
            passes.on = _rows(forward())
        with switched_off(adapters.values()):
            passes.off = _rows(forward())
    return passes


def _hooks(layer: Any, seen: Seen) -> list[tuple[nn.Module, Hook]]:
    def whole(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if seen.y_NO is None:  # the first call alone, should a layer be shared or text generated
            seen.x_NI, seen.y_NO = _rows(inputs[0]), _rows(output)
            seen.eps = torch.finfo(output.dtype).eps

    def base(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if seen.base_NO is None:
            seen.base_NO = _rows(output)

    return [(layer, whole), (layer.get_base_layer(), base)]


def _rows(x: Tensor) -> Tensor:
    return x.detach().reshape(-1, x.shape[-1])[:NUM_ROWS].to("cpu", torch.float64)


@check("effect")
def check_effect(claims: Mapping[str, Claim], passes: Passes) -> Finding:
    """Every adapted layer's output differs from its base layer's as the files predict."""
    if any(claim.files.not_plain for claim in claims.values()):
        return unjudged("this kind of LoRA adds something else than B A")
    parts: dict[str, dict[str, Factors]] = {}
    for adapter, claim in claims.items():
        for name, factors in claim.factors():
            parts.setdefault(name, {})[adapter] = factors
    seen = {name: each for name, each in passes.layers.items() if name in parts}
    # a small batch need not reach every expert
    if silent := [k for k, each in seen.items() if not each.whole and "expert" not in k]:
        return fails(f"the forward pass does not go through {some(silent)}, which is adapted")
    reached = {name: each for name, each in seen.items() if each.whole}
    effects = [_measure(name, each, claims, parts[name]) for name, each in reached.items()]
    if odd := [each for each in effects if isinstance(each, Finding)]:
        return odd[0]
    found = [each for each in effects if isinstance(each, Effect) and each.noise <= MOST_NOISE]
    if found:
        return _judge(max(found, key=lambda each: each.excess), len(found), passes, len(claims))
    if effects and passes.change == 0:
        return fails(SAME, output_change=0.0, layers=0.0)
    lost = f"its change drowns in rounding in {len(effects)} layers"
    return unjudged(lost if effects else "no layer")


def _measure(
    name: str, seen: Seen, claims: Mapping[str, Claim], factors: Mapping[str, Factors]
) -> Effect | Finding:
    """What a layer adds; a failure where that cannot be compared with the files."""
    assert seen.x_NI is not None and seen.y_NO is not None and seen.base_NO is not None
    weight_OI = claims[next(iter(factors))].lora_layers.weight(name)
    if any(each.low_rank.shape != weight_OI.shape for each in factors.values()):
        return fails(f"{name}: the files' factors do not fit the layer")
    got_NO = seen.y_NO - seen.base_NO
    for claim in claims.values():
        if name in claim.initial:  # the layer also puts back what was taken out of its base
            got_NO = got_NO - Factors(claim.initial[name]).on(seen.x_NI, weight_OI)
    wanted = {adapter: each.on(seen.x_NI, weight_OI) for adapter, each in factors.items()}
    size = float(torch.stack([*wanted.values()]).sum(dim=0).norm())
    if size == 0 and got_NO.any():
        return fails(f"{name} changes its output, the files predict none")
    rounding = seen.eps * float(seen.y_NO.norm()) / size if size else torch.inf
    return Effect(name, got_NO, wanted, rounding)


def _judge(worst: Effect, num_layers: int, passes: Passes, num_adapters: int) -> Finding:
    figures = {
        "share": worst.share,
        "gap": worst.gap,
        "output_change": passes.change,
        "cosine": passes.cosine,
        "layers": float(num_layers),
    }
    if worst.excess > SLACK:
        adapter, share = worst.furthest()
        whose = f"{adapter}: " if num_adapters > 1 else ""
        return fails(
            f"{whose}{worst.layer} changes its output by {share:.3f} times what scale * B A x of "
            f"the files predicts, off by {worst.gap:.2g} of it",
            **figures,
        )
    if passes.change == 0:
        return fails(SAME, **figures)
    return holds(
        f"{num_layers} layers add {worst.share:.4f} times scale * B A x at worst; the output "
        f"changes by {passes.change:.2g} of its norm",
        **figures,
    )
