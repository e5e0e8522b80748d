"""The size and the singular values of a weight change, and the directions it adds to its weight.

Effective rank: Roy & Vetterli 2007 (EUSIPCO), the exponential of the entropy of the singular
values' shares. Intruder dimension: Shuttleworth et al. 2024 (arXiv:2410.21228), a top-k left
singular vector of the tuned weight whose largest |cosine| with all of the base weight's left
singular vectors is below a threshold.
"""

# Shape suffixes: O outputs, I inputs, K singular values, T top directions, M draws.

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Generator, Tensor

from loradrift.weights.low_rank import Change, LowRank, Svd, apply_to, norm

LANCZOS = 512
"""Weights with more rows and columns than this, and than four times the directions asked for, are
not decomposed as a whole."""

NUM_DRAWS = 1000
"""Random directions of a null: the share that counts is within 0.03 of the truth (2 sigma)."""


def relative_norm(change: Change, base_OI: Tensor) -> float:
    """``|dW|_F / |W|_F``; NaN for a base weight of zeros.

    Example:
        >>> relative_norm(torch.ones(2, 2), 4 * torch.ones(2, 2))
        0.25
    """
    size = norm(base_OI)
    return norm(change) / size if size else math.nan


def effective_rank(values_K: Tensor) -> float:
    """How many directions a change spreads over, in [1, K]: ``exp(entropy(s / sum(s)))``.

    Singular values of zero do not count; a change of zeros has NaN.

    Example:
        >>> effective_rank(torch.tensor([1.0, 1.0, 0.0]))
        2.0
    """
    share_K = values_K.double() / values_K.double().sum()
    return float(torch.special.entr(share_K).sum().exp())


def stable_rank(values_K: Tensor) -> float:
    """``|dW|_F^2 / |dW|_2^2``, in [1, K]; NaN for a change of zeros.

    Example:
        >>> stable_rank(torch.tensor([2.0, 1.0]))
        1.25
    """
    values_K = values_K.double()
    return float((values_K / values_K.max()).square().sum())


def top_energy(values_K: Tensor, k: int) -> float:
    """Share of ``|dW|_F^2`` in the k largest singular values; NaN for a change of zeros.

    Example:
        >>> top_energy(torch.tensor([3.0, 4.0]), k=1)
        0.64
    """
    check_top(k)
    energy_K = values_K.double().sort(descending=True).values.square()
    return float(energy_K[:k].sum() / energy_K.sum())


class Directions(NamedTuple):
    """The top directions of a tuned weight, as the base weight's directions see them."""

    num_intruders: int

    largest_cosines_T: Tensor
    """Largest |cosine| of each with a base direction, strongest direction first."""


class RandomDirection(NamedTuple):
    """The same numbers for directions that have nothing to do with the base weight."""

    expected_num_intruders: float
    """How many of T independent random directions would be intruders."""

    largest_cosine: float
    """Mean over draws. Close to the threshold, intruders mean nothing: the weight is too narrow."""


class Intruders(NamedTuple):
    """Intruder dimensions of a change, and what they are to be read against."""

    change: Directions
    control: Directions
    """The directions of a random change as large (:func:`random_like`)."""

    null: RandomDirection


def intruder_dimensions(
    change: Change,
    base_OI: Tensor,
    base: Svd,
    *,
    generator: Generator,
    k: int = 10,
    threshold: float = 0.5,
) -> Intruders:
    """Count the top directions that the tuned weight has and the base weight has not.

    Equal singular values leave their directions undefined, and near ones turn them easily: the
    control has that effect too.

    Args:
        change: (O, I).
        base_OI: The weight before training.
        base: ``svd(base_OI)``: it is needed elsewhere as well, and costs most.
        generator: On the CPU; draws the control and the null.
        k: Top directions looked at, at least 1; all, if there are fewer.
        threshold: Largest |cosine| of an intruder, exclusive.

    Example:
        >>> from loradrift.weights import svd
        >>> base, draw = torch.diag(torch.arange(4.0, 0, -1)), Generator().manual_seed(0)
        >>> turned = LowRank(torch.ones(4, 1), torch.ones(1, 4), scale=9)
        >>> found = intruder_dimensions(turned, base, svd(base), generator=draw, k=1, threshold=0.6)
        >>> found.change.num_intruders  # along (1, 1, 1, 1), with cosine 0.5 to each of the base's
        1
    """
    check_top(k)

    def judge(update: Change) -> Directions:
        top_OT = _top_left(apply_to(base_OI, update), k)
        cosines_T = (base.U_OK.T @ top_OT).abs().amax(dim=0)
        return Directions(int((cosines_T < threshold).sum()), cosines_T)

    judged = judge(change)
    control = judge(random_like(change, generator))
    # Which K orthonormal directions they are makes no difference to a random one: any K axes.
    rows, num_directions = base.U_OK.shape
    random_MO = torch.randn(NUM_DRAWS, rows, generator=generator, dtype=torch.float64)
    cosines_M = random_MO[:, :num_directions].abs().amax(dim=1) / random_MO.norm(dim=1)
    expected = len(judged.largest_cosines_T) * float((cosines_M < threshold).double().mean())
    return Intruders(judged, control, RandomDirection(expected, float(cosines_M.mean())))


def random_like(change: Change, generator: Generator) -> Change:
    """A Gaussian change of the same shape and Frobenius norm, and of the same rank if factored.

    Example:
        >>> draw = Generator().manual_seed(0)
        >>> round(norm(random_like(2 * torch.eye(4), draw)), 6)
        4.0
    """

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        return drawn.to(change.A_RI.device if isinstance(change, LowRank) else change.device)

    rows, columns = change.shape
    if isinstance(change, LowRank):
        B_OR, A_RI = draw(rows, change.rank), draw(change.rank, columns)
        return LowRank(B_OR, A_RI, norm(change) / norm(LowRank(B_OR, A_RI)))
    random_OI = draw(rows, columns)
    return random_OI * (norm(change) / norm(random_OI))


def _top_left(weight_OI: Tensor, k: int) -> Tensor:
    """The k first left singular vectors, without the others.

    Lanczos iterations (ARPACK) to machine precision take 0.1 to 1 s of the 5.5 s of an SVD
    (2048 x 2048, one core). Small weights go by their smaller Gram matrix, which squares the
    condition number: that blurs the weakest directions, not the strongest.
    """
    rows, columns = weight_OI.shape
    if min(rows, columns) > max(LANCZOS, 4 * k):
        # a fixed start: the result does not depend on it, but for its last digits
        left_OT, _, _ = svds(weight_OI.numpy(force=True), k=k, rng=np.random.default_rng(0))
        return torch.from_numpy(left_OT[:, ::-1].copy()).to(weight_OI.device)
    wide = rows <= columns
    gram = weight_OI @ weight_OI.T if wide else weight_OI.T @ weight_OI
    top: Tensor = torch.linalg.eigh(gram).eigenvectors[:, -k:].flip(1)
    left_OT = top if wide else weight_OI @ top
    unit_OT: Tensor = left_OT / left_OT.norm(dim=0)
    return unit_OT


def check_top(k: int) -> None:
    """Raise ValueError unless a number of directions is positive."""
    if k < 1:
        raise ValueError(f"k must be positive, got {k}")
