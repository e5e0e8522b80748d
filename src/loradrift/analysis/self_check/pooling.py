"""The self-test of what comes before every measure: pooling sees a row's own tokens only."""

# Shape suffixes: B rows, T tokens, D width.

import torch
from torch import Tensor

from loradrift.activations.pooling import POOLINGS
from loradrift.similarity import SelfCheck


def pooling_self_check(*, seed: int = 0) -> list[SelfCheck]:
    """Pool the same tokens with and without padding and special tokens around them.

    The padding holds NaN, as attention may leave there, and the beginning-of-sequence token is a
    thousand times as large as the others.

    Args:
        seed: Of the data.

    Returns:
        One self-check for each pooling, of the largest difference.
    """
    generator = torch.Generator().manual_seed(seed)
    x_BTD = torch.randn(8, 12, 16, generator=generator)
    content_BT = torch.arange(12) < torch.arange(5, 13)[:, None]
    bos = 1000 * torch.randn(8, 1, 16, generator=generator), torch.zeros(8, 1, dtype=torch.bool)
    padding = torch.full((8, 7, 16), torch.nan), torch.zeros(8, 7, dtype=torch.bool)
    wide_BTD, mask_BT = (
        torch.cat([before, own, after], 1)
        for before, own, after in zip(bos, (x_BTD, content_BT), padding, strict=True)
    )

    def difference(name: str) -> float:
        pooled: Tensor = POOLINGS[name](x_BTD, content_BT) - POOLINGS[name](wide_BTD, mask_BT)
        return float(pooled.abs().max())

    claim = "difference after padding and special tokens"
    return [SelfCheck(f"pooling: {name}", claim, 0.0, difference(name), 1e-6) for name in POOLINGS]
