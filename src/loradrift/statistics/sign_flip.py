"""Exact sign-flip tests: of one quantity, and of all layers at once.

If a block's difference is as likely to come out as ``d`` or as ``-d`` (which holds when the two
methods are exchangeable, or the differences are symmetric about the null value), every pattern of
signs is equally likely, and the p-value is the share of patterns that are at least as extreme as
the one seen (Fisher 1935, The Design of Experiments, section 21; Winkler et al. 2014,
doi:10.1016/j.neuroimage.2014.01.060). Nothing else is assumed about the shape of the distribution,
but independence of the blocks is. max-T: Westfall & Young 1993, Resampling-Based Multiple Testing,
chapter 2 (single step).
"""

# Shape suffixes: B blocks (one per seed and task), L layers, F flips, C flips at a time.

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loradrift.statistics.values import ROUNDING, Alternative, Array, finite, snap

MAX_BLOCKS = 40
"""Two halves of 2^20 sums each."""

MAX_ENUMERATED = 20
"""Blocks whose flips are enumerated one by one, for all layers."""

CHUNK = 4096


def least_p(num_blocks: int, alternative: Alternative = "two-sided") -> float:
    """The smallest p-value that this many blocks can reach, whatever the data.

    Example:
        >>> least_p(3), least_p(3, "greater")
        (0.25, 0.125)
    """
    return min(1.0, 2.0 ** ((alternative == "two-sided") - num_blocks))


class SignFlip(NamedTuple):
    """One exact test."""

    estimate: float
    """Mean over the blocks."""

    p: float
    least_p: float
    num_blocks: int
    """Blocks that differ from the null value; the others carry no sign."""

    exact: bool
    """Whether every flip was looked at."""


def sign_flip(
    values: ArrayLike,
    mu0: float = 0.0,
    alternative: Alternative = "two-sided",
    rng: np.random.Generator | None = None,
    num_flips: int = 100_000,
) -> SignFlip:
    """Test the mean of the blocks against ``mu0``.

    Args:
        values: One paired difference per block (seed x task), of any shape. Blocks must be
            independent: seeds that are luckier on every task make the test reject too often; pass
            their means over tasks instead, at the price of fewer blocks.
        mu0: Null value, or the margin of a one-sided claim.
        alternative: ``greater`` tests whether the mean is above ``mu0``.
        rng: Draws the flips; needed beyond 40 blocks only, below all flips are counted.
        num_flips: How many flips it draws.

    Example:
        >>> sign_flip([1, 2, 3], alternative="greater").p
        0.125
    """
    values_B = finite(values).ravel()
    shifted_B = _shifted(values_B, mu0, alternative)
    moving_B = shifted_B[shifted_B != 0]
    n, two_sided = len(moving_B), alternative == "two-sided"
    floor, exact = least_p(n, alternative), n <= MAX_BLOCKS
    if exact:
        share = _share_at_least(moving_B, float(_extent(moving_B.sum(), two_sided)))
        p = min(1.0, 2 * share) if two_sided else share
    else:
        p = _drawn_p(moving_B, two_sided, rng, num_flips)
        floor = max(floor, 1 / (1 + num_flips))
    return SignFlip(float(values_B.mean()), p, floor, n, exact)


def _drawn_p(
    values_B: Array, two_sided: bool, rng: np.random.Generator | None, num_flips: int
) -> float:
    """Share of drawn sign patterns that are as extreme as the one seen, which is counted in."""
    threshold = _extent(values_B.sum(), two_sided) - ROUNDING * np.abs(values_B).sum()
    signs = _random_signs(rng, len(values_B), num_flips, MAX_BLOCKS)
    reached = sum(int((_extent(each @ values_B, two_sided) >= threshold).sum()) for each in signs)
    return (1 + reached) / (1 + num_flips)


def _shifted(values: Array, mu0: float, alternative: Alternative) -> Array:
    shifted = snap(values - mu0, values, mu0)
    return -shifted if alternative == "less" else shifted


def _share_at_least(values_B: Array, threshold: float) -> float:
    """Share of sign patterns whose sum reaches the threshold.

    All sums of one half meet all sums of the other in a sorted list, so that 40 blocks need 2^20
    searches and not 2^40 sums.
    """
    half = len(values_B) // 2
    left_F, right_F = _all_sums(values_B[:half]), np.sort(_all_sums(values_B[half:]))
    threshold -= ROUNDING * np.abs(values_B).sum()  # ties count, in whatever order they add up
    below_F = np.searchsorted(right_F, threshold - np.sort(left_F))
    return 1 - int(below_F.sum()) / (len(left_F) * len(right_F))


def _all_sums(values_B: Array) -> Array:
    sums_F = np.zeros(1)
    for value in values_B:
        sums_F = np.concatenate([sums_F - value, sums_F + value])
    return sums_F


class MaxT(NamedTuple):
    """Layers tested together."""

    estimates_L: Array
    p_L: Array
    """The chance, if no layer differs, that any layer would look as different as this one."""

    least_p: float
    num_blocks: int
    exact: bool
    """Whether every flip was looked at."""


def max_t(
    values_BL: ArrayLike,
    mu0: float = 0.0,
    alternative: Alternative = "two-sided",
    rng: np.random.Generator | None = None,
    num_flips: int = 10_000,
) -> MaxT:
    """Family-wise adjusted p-value of each layer, by the largest t statistic over layers.

    A flip turns all layers of a block together, which keeps their correlation: 22 layers that say
    the same cost almost nothing, where Bonferroni would multiply by 22.

    The arguments are those of :func:`sign_flip`, for paired differences (B, L) and the null value
    of every layer. ``rng`` is needed beyond 20 blocks only: below, all flips are enumerated.

    Example:
        >>> max_t([[1, 1], [2, -1], [3, 2]]).p_L.tolist()
        [0.5, 1.0]
    """
    values_BL = finite(values_BL)
    if values_BL.ndim != 2:
        raise ValueError(f"values must have shape (blocks, layers), got {values_BL.shape}")
    n = len(values_BL)
    shifted_BL = _shifted(values_BL, mu0, alternative)
    # Flips leave the sum of squares alone, and t grows with this ratio: the order is that of t.
    norms_L = np.sqrt(np.square(shifted_BL).sum(axis=0))
    unit_BL = np.divide(shifted_BL, norms_L, out=np.zeros_like(shifted_BL), where=norms_L > 0)
    two_sided = alternative == "two-sided"
    exact = n <= MAX_ENUMERATED
    drawn = _random_signs(rng, n, num_flips, MAX_ENUMERATED)
    signs = _all_signs(n, n - two_sided) if exact else drawn
    maxima = [_extent(signs_CB @ unit_BL, two_sided).max(axis=1) for signs_CB in signs]
    maxima_F = np.sort(np.concatenate(maxima))
    observed_L = _extent(unit_BL.sum(axis=0), two_sided) - ROUNDING * n
    reached_L = len(maxima_F) - np.searchsorted(maxima_F, observed_L)
    # The pattern seen is one of the enumerated; among drawn ones it must be counted in.
    p_L = reached_L / len(maxima_F) if exact else (1 + reached_L) / (1 + len(maxima_F))
    floor = least_p(n, alternative) if exact else 1 / (1 + len(maxima_F))
    return MaxT(values_BL.mean(axis=0), p_L, max(floor, least_p(n, alternative)), n, exact)


def _extent(sums: Array, two_sided: bool) -> Array:
    return np.abs(sums) if two_sided else sums


def _all_signs(num_blocks: int, num_free: int) -> Iterator[Array]:
    """All patterns; of a pattern and its opposite only one, if one block is not free."""
    for start in range(0, 2**num_free, CHUNK):
        codes_C = np.arange(start, min(start + CHUNK, 2**num_free))
        yield np.where(codes_C[:, None] >> np.arange(num_blocks) & 1, 1.0, -1.0)


def _random_signs(
    rng: np.random.Generator | None, num_blocks: int, num_flips: int, num_counted: int
) -> Iterator[Array]:
    if rng is None:
        raise ValueError(f"rng must be given beyond {num_counted} blocks, got {num_blocks} blocks")
    for start in range(0, num_flips, CHUNK):
        yield rng.choice([-1.0, 1.0], (min(CHUNK, num_flips - start), num_blocks))
