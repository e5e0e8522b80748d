"""Weight changes as factors, and the algebra that LoRA changes and dense ones share.

LoRA: ``dW = scale * B A`` (Hu et al. 2021, arXiv:2106.09685, eq. 3). Everything here comes from the
factors; no product of the size of the weight is formed for a LoRA change.
"""

# Shape suffixes: O outputs, I inputs, R rank, K singular values (at most R of a low-rank change).

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import matrix_norm, qr


@dataclass(frozen=True, eq=False)
class LowRank:
    """A change ``scale * B A`` of shape (O, I), in float64; ValueError if B and A do not fit."""

    B_OR: Tensor
    A_RI: Tensor
    scale: float = 1.0
    """What PEFT multiplies the product with."""

    def __post_init__(self) -> None:
        B_OR, A_RI = self.B_OR, self.A_RI
        if B_OR.ndim != 2 or A_RI.ndim != 2 or B_OR.shape[1] != len(A_RI):
            got = f"{tuple(B_OR.shape)} and {tuple(A_RI.shape)}"
            raise ValueError(f"expected factors B (O, R) and A (R, I), got shapes {got}")
        object.__setattr__(self, "B_OR", B_OR.detach().double())
        object.__setattr__(self, "A_RI", A_RI.detach().double())

    @property
    def shape(self) -> torch.Size:
        """(O, I)."""
        return torch.Size((len(self.B_OR), self.A_RI.shape[1]))

    @property
    def rank(self) -> int:
        """R: an upper bound of the rank of the change."""
        return len(self.A_RI)

    def __add__(self, other: LowRank) -> LowRank:
        return _stack(self, other, 1.0)

    def __sub__(self, other: LowRank) -> LowRank:
        return _stack(self, other, -1.0)


def _stack(x: LowRank, y: LowRank, sign: float) -> LowRank:
    """``x + sign * y``, exactly: ``[sx Bx, sign sy By][Ax; Ay]``."""
    check_same_shape(x, y)
    B_OR = torch.cat([x.scale * x.B_OR, sign * y.scale * y.B_OR], dim=1)
    return LowRank(B_OR, torch.cat([x.A_RI, y.A_RI]))


Change = LowRank | Tensor
"""A weight change (O, I): factored, or a dense matrix of any floating dtype."""


class Svd(NamedTuple):
    """``U diag(S) V^T``, largest singular value first."""

    U_OK: Tensor
    S_K: Tensor
    V_IK: Tensor


def inner(x: Change, y: Change) -> float:
    """Frobenius inner product, accumulated in float64.

    ``sum((B1^T B2) * (A1 A2^T))`` for two LoRA changes, ``sum((dW A^T) * B)`` for one and a dense
    matrix.

    Example:
        >>> one = LowRank(torch.ones(2, 1), torch.ones(1, 3), scale=2)
        >>> inner(one, one), inner(one, torch.ones(2, 3))
        (24.0, 12.0)
    """
    check_same_shape(x, y)
    if isinstance(x, LowRank) and isinstance(y, LowRank):
        small_RR = (x.B_OR.T @ y.B_OR) * (x.A_RI @ y.A_RI.T)
        return x.scale * y.scale * float(small_RR.sum())
    if isinstance(x, LowRank):
        return inner(y, x)
    if isinstance(y, LowRank):
        return y.scale * float(((x.double() @ y.A_RI.T) * y.B_OR).sum())
    return float((x.double() * y.double()).sum())


def norm(x: Change) -> float:
    """Frobenius norm.

    Example:
        >>> norm(LowRank(torch.tensor([[3.0], [4.0]]), torch.ones(1, 1), scale=2))
        10.0
    """
    if isinstance(x, Tensor):
        return float(matrix_norm(x.double()))
    # Not the root of inner(x, x): between two near adapters that keeps half of the digits.
    return float(matrix_norm(_small(x)))


NOTHING = 1e-12
"""Share of its factors' sizes below which a product is what rounding leaves of zero."""


def is_zero(x: Change) -> bool:
    """Whether a change is zero, or the difference of equal factors.

    Example:
        >>> one = LowRank(torch.ones(2, 1), torch.ones(1, 3), scale=0.7)
        >>> is_zero(one - one), is_zero(one)
        (True, False)
    """
    if isinstance(x, Tensor):
        return not x.any()
    sizes = abs(x.scale) * float(matrix_norm(x.B_OR)) * float(matrix_norm(x.A_RI))
    return norm(x) <= NOTHING * sizes


def scaled(x: Change, factor: float) -> Change:
    """The change times a number.

    Example:
        >>> scaled(LowRank(torch.ones(2, 1), torch.ones(1, 3), scale=2), -0.5).scale
        -1.0
    """
    return replace(x, scale=factor * x.scale) if isinstance(x, LowRank) else factor * x.double()


def times(x: Change, inputs_I: Tensor) -> Tensor:
    """What a change (O, I) adds to the output of its module for an input (I), in float64.

    Example:
        >>> times(LowRank(torch.ones(2, 1), torch.ones(1, 3), scale=2), torch.ones(3)).tolist()
        [6.0, 6.0]
    """
    if isinstance(x, LowRank):
        return x.scale * (x.B_OR @ (x.A_RI @ inputs_I.double()))
    return x.double() @ inputs_I.double()


def svd(x: Change) -> Svd:
    """Singular values and vectors; of a LoRA change by QR of both factors, then a small SVD.

    Example:
        >>> round(float(svd(LowRank(torch.ones(2, 1), torch.ones(1, 2))).S_K[0]), 6)
        2.0
    """
    if isinstance(x, Tensor):
        U_OK, S_K, Vh_KI = torch.linalg.svd(x.double(), full_matrices=False)
        return Svd(U_OK, S_K, Vh_KI.T)
    Q_B, core_RR, Q_A = _core(x)
    U_RK, S_K, Vh_KR = torch.linalg.svd(core_RR, full_matrices=False)
    return Svd(Q_B @ U_RK, S_K, Q_A @ Vh_KR.T)


def singular_values(x: Change) -> Tensor:
    """Singular values (K,), largest first: :func:`svd` without the cost of its vectors.

    Those of a dense matrix are right to 1e-7 of the largest one, and zero below that: they are
    roots of its smaller Gram's eigenvalues, which takes less than half of the time.

    Example:
        >>> singular_values(torch.diag(torch.tensor([3.0, 4.0]))).tolist()
        [4.0, 3.0]
    """
    if isinstance(x, LowRank):
        S_K: Tensor = torch.linalg.svdvals(_small(x))
        return S_K
    wide_KN = (x if x.shape[0] <= x.shape[1] else x.T).double()
    squares_K = torch.linalg.eigvalsh(wide_KN @ wide_KN.T).flip(0)
    return torch.where(squares_K > 1e-14 * squares_K[0], squares_K, 0).sqrt()


def _core(x: LowRank) -> tuple[Tensor, Tensor, Tensor]:
    """``Q_B core Q_A^T`` with orthonormal columns left and right."""
    Q_B, R_B = qr(x.B_OR)
    Q_A, R_A = qr(x.A_RI.T)
    return Q_B, x.scale * (R_B @ R_A.T), Q_A


def _small(x: LowRank) -> Tensor:
    """The core alone, which has the change's norm and singular values."""
    _, R_B = qr(x.B_OR, mode="r")
    _, R_A = qr(x.A_RI.T, mode="r")
    small_RR: Tensor = x.scale * (R_B @ R_A.T)
    return small_RR


def apply_to(base_OI: Tensor, x: Change) -> Tensor:
    """The tuned weight ``W + dW``, in float64: the one place where a LoRA change becomes dense.

    Example:
        >>> apply_to(torch.zeros(1, 2), LowRank(torch.ones(1, 1), torch.ones(1, 2), 3)).tolist()
        [[3.0, 3.0]]
    """
    check_same_shape(base_OI, x)
    if isinstance(x, Tensor):
        return base_OI.double() + x.double()
    return torch.addmm(base_OI.double(), x.B_OR, x.A_RI, alpha=x.scale)


def dora_change(base_OI: Tensor, factors: LowRank, magnitude_O: Tensor) -> Tensor:
    """The change by DoRA, ``m (W + s B A) / |W + s B A| - W`` with norms of rows, in float64.

    Liu et al. 2024 (arXiv:2402.09353, eq. 5): rows of the adapted weight, set to learned lengths.

    Example:
        >>> base, none = torch.eye(2), LowRank(torch.zeros(2, 1), torch.ones(1, 2))
        >>> dora_change(base, none, torch.tensor([1.0, 3.0])).tolist()
        [[0.0, 0.0], [0.0, 2.0]]
    """
    adapted_OI = apply_to(base_OI, factors)
    stretch_O1 = (magnitude_O / adapted_OI.norm(dim=1))[:, None]
    change_OI: Tensor = stretch_O1 * adapted_OI - base_OI.double()
    return change_OI


def check_same_shape(x: Change, y: Change) -> None:
    """Raise ValueError for changes of different weights."""
    if x.shape != y.shape:
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"expected changes of one weight, got shapes {shapes}")
