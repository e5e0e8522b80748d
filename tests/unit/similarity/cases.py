"""Pairs of matrices on which instruments are known to go wrong."""

import torch
from torch import Tensor


def noisy(n, d, size, *, massive=1.0, dtype=torch.float32) -> tuple[Tensor, Tensor]:
    """Rows, of which one may be massive, and the same rows with noise of a size added to them."""
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(n, d, generator=generator).to(dtype) for _ in range(2))
    x[3] *= massive
    return x, x + size * noise


def _pair(n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(n, d, generator=generator)
    y_ND = x_ND @ torch.randn(d, d, generator=generator) / d**0.5
    return x_ND, y_ND + 0.7 * torch.randn(n, d, generator=generator)


def _scaled(x: Tensor, where: int | tuple[slice, int], factor: float) -> Tensor:
    x = x.clone()
    x[where] *= factor
    return x


def hard_cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> two sides of equal width."""
    short, long = _pair(40, 96, 0), _pair(300, 16, 1)
    cases = {"n below d": short, "n above d": long}
    column = slice(None), 3
    for name, (x, y) in (("short", short), ("long", long)):
        cases |= {
            f"{name}: means 1000 times the spread": (x + 1000, y - 1000),
            f"{name}: one dimension of 300x": (_scaled(x, column, 300), _scaled(y, column, 300)),
            f"{name}: one dimension of 1000x": (_scaled(x, column, 1000), y),
            f"{name}: one massive row": (_scaled(x, 5, 1000), _scaled(y, 5, 1000)),
            f"{name}: duplicated rows": (torch.cat([x, x[:9]]), torch.cat([y, y[:9]])),
            f"{name}: tiny": (x * 1e-18, y * 1e-18),
            f"{name}: huge": (x * 1e17, y * 1e17),
            f"{name}: bfloat16": (x.bfloat16(), y.bfloat16()),
            f"{name}: float16": (x.half(), y.half()),
        }
    return cases
