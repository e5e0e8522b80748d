"""The adapter in the actual forward pass: does it add what its files predict?"""

# Shape suffixes: N token rows, O outputs, I inputs.

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.adapters.adapter_files import AdapterFiles, Factors, as_matrix
from loradrift.adapters.check_result import Check, some
from loradrift.adapters.lora_layers import LoraLayers, switched_off
from loradrift.models.hooks import Hook, eval_mode, hooked
from loradrift.weights.low_rank import LowRank

NUM_ROWS = 64
"""Token rows of each layer that are kept."""

SLACK = 0.02
"""How far, relatively, the effect may be from the prediction, beside rounding."""


@dataclass
class Seen:
    """What went into one adapted layer, came out of it, and came out of its base layer."""

    x_NI: Tensor | None = None
    y_NO: Tensor | None = None
    base_NO: Tensor | None = None
    eps: float = 0.0
    """Rounding of the output's precision."""


@dataclass
class Passes:
    """Two forward passes of one small batch."""

    layers: dict[str, Seen] = field(default_factory=dict)
    on: Tensor | None = None
    off: Tensor | None = None

    @property
    def change(self) -> float:
        """Norm of the output's change by the adapter, relative to the output without it."""
        assert self.on is not None and self.off is not None
        return float((self.on - self.off).norm() / self.off.norm())

    @property
    def cosine(self) -> float:
        """Mean cosine of the rows of the output with and without the adapter."""
        assert self.on is not None and self.off is not None
        return float(torch.cosine_similarity(self.on, self.off, dim=-1).mean())


def watch(model: nn.Module, site: LoraLayers, forward: Callable[[], Tensor]) -> Passes:
    """Run ``forward`` with the adapter as it is and with it switched off.

    The model's modes, its switches and the random state are as before afterwards.

    Args:
        model: Put into eval mode meanwhile.
        site: Whose layers are watched in the first pass.
        forward: The call that is used in earnest, on a small batch; gives (…, features).
    """
    passes = Passes()
    # both passes uncompiled: they are compared to the last digits
    with eval_mode(model), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        hooks = [
            hook
            for name, layer in site.linear().items()
            for hook in _hooks(layer, passes.layers.setdefault(name, Seen()))
        ]
        with hooked(hooks):
            passes.on = _rows(forward())
        with switched_off(site):
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


def check_effect(
    files: AdapterFiles, site: LoraLayers, passes: Passes, initial: dict[str, LowRank]
) -> Check:
    """``effect``: every adapted layer's output differs from its base layer's as predicted."""
    if not files.plain:
        return Check("effect", None, "not judged: this kind of LoRA adds something else than B A")
    found: list[tuple[float, float, float, str]] = []
    unjudged, silent = [], []
    for name, seen in passes.layers.items():
        factors = files.factors(name) if name in files.parts else None
        if factors is None:
            continue
        if seen.x_NI is None or seen.y_NO is None or seen.base_NO is None:
            if "expert" not in name:  # which a small batch need not reach
                silent.append(name)
            continue
        layer = site.layers[name]
        weight_OI = as_matrix(layer.get_base_layer().weight, layer.fan_in_fan_out)
        if factors.low_rank.shape != weight_OI.shape:
            return Check("effect", False, f"{name}: the files' factors do not fit the layer")
        wanted_NO = factors.on(seen.x_NI, weight_OI)
        got_NO = seen.y_NO - seen.base_NO
        if name in initial:  # the layer also puts back what was taken out of its base
            got_NO = got_NO - Factors(initial[name]).on(seen.x_NI, weight_OI)
        size = float(wanted_NO.norm())
        if size == 0:
            if got_NO.any():
                return Check("effect", False, f"{name} changes its output, the files predict none")
            unjudged.append(name)
            continue
        rounding = seen.eps * float(seen.y_NO.norm()) / size
        share = float((got_NO * wanted_NO).sum()) / size**2
        gap = float((got_NO - wanted_NO).norm()) / size
        noise = rounding / wanted_NO.numel() ** 0.5
        if noise > 0.1:
            unjudged.append(name)
            continue
        excess = max(abs(share - 1) - 4 * noise, gap - rounding)
        found.append((excess, share, gap, name))
    return _judged(found, unjudged, silent, passes)


def _judged(
    found: list[tuple[float, float, float, str]],
    unjudged: list[str],
    silent: list[str],
    passes: Passes,
) -> Check:
    if silent:
        return Check(
            "effect",
            False,
            f"the forward pass does not go through {some(silent)}, which is adapted",
        )
    if not found:
        why = f"its change drowns in rounding in {len(unjudged)} layers" if unjudged else "no layer"
        if unjudged and passes.change == 0:
            figures = {"output_change": 0.0, "layers": 0.0}
            return Check(
                "effect", False, "the output is the same with the adapter and without it", figures
            )
        return Check("effect", None, f"not judged: {why}")
    excess, share, gap, name = max(found)
    figures = {
        "share": share,
        "gap": gap,
        "output_change": passes.change,
        "cosine": passes.cosine,
        "layers": float(len(found)),
    }
    if excess > SLACK:
        return Check(
            "effect",
            False,
            f"{name} changes its output by {share:.3f} times what scale * B A x of the files "
            f"predicts, off by {gap:.2g} of it",
            figures,
        )
    if passes.change == 0:
        return Check(
            "effect", False, "the output is the same with the adapter and without it", figures
        )
    return Check(
        "effect",
        True,
        f"{len(found)} layers add {share:.4f} times scale * B A x at worst; the output changes by "
        f"{passes.change:.2g} of its norm",
        figures,
    )
