"""Pairs of matrices on which instruments are known to go wrong."""

import torch
from torch import Tensor


def _pair(n: int, d: int, e: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(n, d, generator=generator)
    y_NE = x_ND @ torch.randn(d, e, generator=generator) / d**0.5
    return x_ND, y_NE + 0.7 * torch.randn(n, e, generator=generator)


def _outlier(x: Tensor, factor: float) -> Tensor:
    x = x.clone()
    x[:, 3] *= factor
    return x


def _massive_row(x: Tensor) -> Tensor:
    x = x.clone()
    x[5] *= 1000
    return x


def hard_cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> two sides of equal width."""
    short, long = _pair(40, 96, 96, 0), _pair(300, 16, 16, 1)
    cases = {"n below d": short, "n above d": long}
    for name, (x, y) in (("short", short), ("long", long)):
        cases |= {
            f"{name}: means 1000 times the spread": (x + 1000, y - 1000),
            f"{name}: one dimension of 300x": (_outlier(x, 300), _outlier(y, 300)),
            f"{name}: one dimension of 1000x": (_outlier(x, 1000), y),
            f"{name}: one massive row": (_massive_row(x), _massive_row(y)),
            f"{name}: duplicated rows": (torch.cat([x, x[:9]]), torch.cat([y, y[:9]])),
            f"{name}: tiny": (x * 1e-18, y * 1e-18),
            f"{name}: huge": (x * 1e17, y * 1e17),
            f"{name}: bfloat16": (x.bfloat16(), y.bfloat16()),
            f"{name}: float16": (x.half(), y.half()),
        }
    return cases
