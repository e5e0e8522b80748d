"""How much of a weight change lies along something else: top directions, or another change.

The share of energy inside a singular subspace is ``|U_k^T dW|_F^2 / |dW|_F^2``. Hu et al. 2021
(arXiv:2106.09685, section 7.3) project the weight onto the directions of its change; here the
change is projected onto those of the weight. A random change has k / O of its energy there, of
whatever rank it is.
"""

# Shape suffixes: O outputs, I inputs, T top directions.

import math
from typing import NamedTuple

from loradrift.weights.low_rank import Change, LowRank, Svd, inner, norm
from loradrift.weights.spectrum import check_top


class Overlap(NamedTuple):
    """Shares of a change's energy inside the top singular subspaces of something else."""

    left: float
    """Inside the k first left singular vectors: on the side of the outputs."""

    right: float
    """Inside the k first right ones: on the side of the inputs."""

    expected_left: float
    """The value of a random change of the same shape, k / O."""

    expected_right: float
    """k / I."""


def subspace_overlap(change: Change, other: Svd, k: int) -> Overlap:
    """How much of a change (O, I) happens where the base weight, or another change, is strongest.

    ``k`` is the number of top directions of the other on either side. A change of zeros has NaN
    shares.

    Raises:
        ValueError: If k is not positive or exceeds the directions there are, or the shapes differ.

    Example:
        >>> from loradrift.weights import svd
        >>> base = svd(torch.diag(torch.tensor([2.0, 1.0])))
        >>> round(subspace_overlap(torch.diag(torch.tensor([3.0, 4.0])), base, k=1).left, 6)
        0.36
    """
    check_top(k)
    rows, columns = change.shape
    if (len(other.U_OK), len(other.V_IK)) != (rows, columns):
        raise ValueError(
            f"expected singular vectors for shape ({rows}, {columns}), got lengths "
            f"{len(other.U_OK)} and {len(other.V_IK)}"
        )
    if k > len(other.S_K):
        raise ValueError(f"k must be at most {len(other.S_K)}, the directions there are, got {k}")
    size = norm(change)
    left_OT, right_IT = other.U_OK[:, :k], other.V_IK[:, :k]
    inside: tuple[Change, Change]
    if isinstance(change, LowRank):
        B_OR, A_RI, scale = change.B_OR, change.A_RI, change.scale
        inside = LowRank(left_OT.T @ B_OR, A_RI, scale), LowRank(B_OR, A_RI @ right_IT, scale)
    else:
        inside = left_OT.T @ change.double(), change.double() @ right_IT
    left, right = ((norm(part) / size) ** 2 if size else math.nan for part in inside)
    return Overlap(left, right, k / rows, k / columns)


class Projection(NamedTuple):
    """One change along another."""

    coefficient: float
    """The part of it along the other is the other times this."""

    cosine: float
    """Its square is the share of energy in that part."""


def projection(change: Change, onto: Change) -> Projection:
    """Orthogonal projection of one change onto the line of another; either may be LoRA or dense.

    What a change of zeros leaves undefined is NaN.

    Example:
        >>> projection(torch.ones(2, 2), onto=2 * torch.ones(2, 2))
        Projection(coefficient=0.5, cosine=1.0)
    """
    product, size, length = inner(change, onto), norm(change), norm(onto)
    return Projection(
        product / length / length if length else math.nan,
        product / length / size if length and size else math.nan,
    )


def cosine(x: Change, y: Change) -> float:
    """Cosine between two changes, in [-1, 1]; NaN if one is zero.

    Example:
        >>> cosine(torch.eye(2), -3 * torch.eye(2))
        -1.0
    """
    return projection(x, y).cosine
