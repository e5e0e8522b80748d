"""Convolutions as matrices: a weight (O, C, kernel) is (O, I), with I the numbers of one patch."""

# Shape suffixes: O outputs, R rank, I inputs of one patch, N patches.

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def as_factors(B: Tensor, A: Tensor) -> tuple[Tensor, Tensor] | None:
    """LoRA's B and A as matrices (O, R) and (R, I); None if they do not fit each other.

    Of a convolution in groups PEFT keeps the blocks of B, and A for all channels.
    """
    if A.ndim < 2 or A.ndim != B.ndim or not B.shape[1] or len(A) % B.shape[1]:
        return None
    groups = len(A) // B.shape[1]
    if A.ndim == 2 or len(B) % groups or B[0, 0].numel() != 1:
        return (B, A) if A.ndim == 2 and groups == 1 else None
    return _in_blocks(B, groups), A.flatten(1)


def as_weight(weight: Tensor, groups: int) -> Tensor:
    """The weight of a convolution as (O, I) for all channels, zero where groups do not reach."""
    return _in_blocks(weight, groups)


def _in_blocks(weight: Tensor, groups: int) -> Tensor:
    whole: Tensor = torch.block_diag(*weight.flatten(1).chunk(groups))  # type: ignore[no-untyped-call]
    return whole


def patches(x: Tensor, layer: Any) -> Tensor:
    """The patches (N, I) of an input (batch, channels, …) that a convolution multiplies."""
    sizes, steps = layer.kernel_size, layer.stride
    if layer.padding == "same":
        around = [((size - 1) // 2, size // 2) for size in sizes]
    else:
        around = [(0, 0) if layer.padding == "valid" else (one, one) for one in layer.padding]
    x = pad(x, [side for sides in reversed(around) for side in sides])
    for axis, (size, step) in enumerate(zip(sizes, steps, strict=True)):
        x = x.unfold(2 + axis, size, step)  # the patch's own axes come last
    places = range(2, 2 + len(sizes))
    return x.movedim(1, 1 + len(places)).flatten(0, len(places)).flatten(1)
