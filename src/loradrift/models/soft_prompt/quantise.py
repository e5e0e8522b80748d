"""Latents of few bits: the values of a grid, and a gradient that goes past the rounding."""

# Shape suffixes: B rows, M latents, Z numbers of a latent, N numbers in all.

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

WHOLE = 32
"""Bits of a number that is not quantised."""


class _StraightThrough(torch.autograd.Function):
    """The second argument's value with the first one's gradient (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Tensor) -> Tensor:
        # not z + (value - z): its rounding would leave the grid
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Grid(nn.Module):
    """``2 ** bits`` equally spaced values between two bounds for each number of a latent.

    Args:
        d_z: Z.
        bits: 4, 8 or 16; 32 leaves the numbers as they are.
    """

    low_Z: Tensor
    high_Z: Tensor

    def __init__(self, d_z: int, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("low_Z", -torch.ones(d_z))
        self.register_buffer("high_Z", torch.ones(d_z))

    @property
    def _step_Z(self) -> Tensor:
        return (self.high_Z - self.low_Z) / ((1 << self.bits) - 1)

    def codes(self, z_BMZ: Tensor) -> Tensor:
        """The number (int64, from 0 to ``2 ** bits - 1``) of the nearest value of the grid."""
        assert self.bits < WHOLE, "numbers of 32 bits have no grid"
        inside_BMZ = torch.clamp(z_BMZ, self.low_Z, self.high_Z)
        codes_BMZ: Tensor = torch.round((inside_BMZ - self.low_Z) / self._step_Z).long()
        return codes_BMZ

    def values(self, codes_BMZ: Tensor) -> Tensor:
        """The values that codes stand for."""
        values_BMZ: Tensor = self.low_Z + codes_BMZ * self._step_Z
        return values_BMZ

    def forward(self, z_BMZ: Tensor) -> Tensor:
        """The nearest values of the grid; the gradient is that of ``z_BMZ``."""
        z_BMZ = precise(z_BMZ)
        if self.bits == WHOLE:
            return z_BMZ
        with torch.no_grad():
            values_BMZ = self.values(self.codes(z_BMZ))
        return quantised(z_BMZ, values_BMZ)


def precise(x: Tensor) -> Tensor:
    """In float32 at least: autocast gives bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def quantised(z: Tensor, value: Tensor) -> Tensor:
    """``value`` to the bit, with the gradient of ``z``."""
    return cast(Tensor, _StraightThrough.apply(z, value))  # type: ignore[no-untyped-call]


def pack(codes: Tensor, bits: int) -> bytes:
    r"""Codes of ``bits`` bits each as bytes, without a gap; the last byte is filled with zeros.

    >>> pack(torch.tensor([1, 15, 2]), 4)
    b'\x1f '
    """
    numbers_N = codes.flatten().cpu().numpy().astype(np.uint32)
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint32)
    flags_NK = (numbers_N[:, None] >> shifts) & 1
    return np.packbits(flags_NK.astype(np.uint8)).tobytes()


def unpack(packed: bytes, count: int, bits: int) -> Tensor:
    r"""The ``count`` codes that :func:`pack` was given.

    >>> unpack(b'\x1f ', 3, 4)
    tensor([ 1, 15,  2])
    """
    flags = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count * bits)
    shifts = np.arange(bits - 1, -1, -1)
    return torch.from_numpy((flags.reshape(count, bits).astype(np.int64) << shifts).sum(1))
