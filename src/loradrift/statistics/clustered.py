"""Means over seeds and over rows that come in clusters; resamples are shared, so that two pair up.

Questions on one paragraph are no independent draws: a cluster of rows leaves or comes as a whole
(Cameron, Gelbach & Miller 2008, doi:10.1162/rest.90.3.414). Seeds are drawn with repetition too,
apart from the clusters, as all of them answer the same rows (``bootstrap``).

An interval ends at the outer one of two ends. The first is the bootstrap's percentile, its tail
widened for few clusters (``bounded``). The second is that of the t interval of the seeds' values
and of the jackknife over clusters (``intervals``): a few seeds, drawn with repetition, spread too
little, however many rows there are.
"""

# Shape suffixes: R resamples, S seeds, N rows, C clusters.

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loradrift.statistics.bootstrap import draw_shares
from loradrift.statistics.bounded import ONE_UNIT, expanded_tail
from loradrift.statistics.intervals import Interval, Variance, t_interval
from loradrift.statistics.values import ONE_SEED, Array, finite

NUM_RESAMPLES = 4000

UNDEFINED = "not defined in some of the resamples"


class Resampled(NamedTuple):
    """An estimate with its resamples, of the same draws as all others of one resampling."""

    value: float
    resamples_R: Array
    seeds_S: Array
    """The value of each seed; empty where there are no seeds."""

    left_out_C: Array
    """The value without each cluster in turn."""

    def minus(self, other: "Resampled") -> "Resampled":
        """The difference, paired by row, and by seed where both have seeds.

        Raises:
            ValueError: If both have seeds, and not as many.
        """
        seeds_S = _by_seed(self, other)
        return Resampled(
            self.value - other.value,
            self.resamples_R - other.resamples_R,
            seeds_S[0] - seeds_S[1],
            self.left_out_C - other.left_out_C,
        )

    def over(self, other: "Resampled") -> "Resampled":
        """The ratio, paired alike; not finite where the other is 0."""
        mine_S, theirs_S = _by_seed(self, other)
        with np.errstate(divide="ignore", invalid="ignore"):
            return Resampled(
                float(np.divide(self.value, other.value)),
                self.resamples_R / other.resamples_R,
                mine_S / theirs_S,
                self.left_out_C / other.left_out_C,
            )

    @property
    def variance(self) -> Variance:
        """The jackknife variance over clusters."""
        count, apart_C = len(self.left_out_C), self.left_out_C - self.left_out_C.mean()
        return Variance(float((count - 1) / count * (apart_C**2).sum()), count - 1)

    def interval(self, confidence: float = 0.95) -> Interval:
        """The outer ends of bootstrap and t interval; NaN where there is none.

        The note says where one seed tells nothing of other seeds.
        """
        count, num_seeds = len(self.left_out_C), len(self.seeds_S)
        nothing = Interval(self.value, np.nan, np.nan, count - 1, confidence)
        if count < 2:
            return nothing._replace(note=ONE_UNIT)
        if not all(np.isfinite(each).all() for each in self):
            return nothing._replace(note=UNDEFINED)
        tail = expanded_tail(count, confidence)
        low, high = map(float, np.quantile(self.resamples_R, [tail, 1 - tail]))
        if num_seeds > 1:
            about_seeds = t_interval(self.seeds_S, self.variance, confidence)
            low, high = min(low, about_seeds.low), max(high, about_seeds.high)
        note = ONE_SEED if num_seeds == 1 else ""
        return nothing._replace(low=low, high=high, note=note)


def _by_seed(one: Resampled, other: Resampled) -> tuple[Array, Array]:
    """Both sides' values by seed; a side without seeds is the same for all of the other's."""
    sides = [one.seeds_S, other.seeds_S]
    sizes = [len(side) for side in sides]
    if all(sizes) and sizes[0] != sizes[1]:
        raise ValueError(f"both sides must have the same seeds, got {sizes[0]} and {sizes[1]}")
    if any(sizes):
        sides = [
            side if len(side) else np.full(max(sizes), each.value)
            for side, each in zip(sides, (one, other), strict=True)
        ]
    return sides[0], sides[1]


class Resampling:
    """Draws of clusters and seeds, the same for all means of the same rows.

    Args:
        clusters: The cluster of each row (N).
        seed: Of the draws.
        num_resamples: R.

    Example:
        >>> drawn = Resampling(["a", "a", "b"], seed=0, num_resamples=200)
        >>> one, other = drawn.mean([[1, 2, 3], [3, 4, 5]]), drawn.mean([[0, 1, 2], [2, 3, 4]])
        >>> one.value, one.minus(other).interval()[:3]
        (3.0, (1.0, 1.0, 1.0))
    """

    def __init__(
        self, clusters: Sequence[Hashable], seed: int, num_resamples: int = NUM_RESAMPLES
    ) -> None:
        if not len(clusters):
            raise ValueError("clusters must have at least one row, got none")
        places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        self.cluster_N = np.array([places[name] for name in clusters])
        self.sizes_C = np.bincount(self.cluster_N).astype(float)
        self.seed, self.num_resamples = seed, num_resamples
        rng = np.random.default_rng(seed)
        self._shares_RC = draw_shares(rng, num_resamples, len(self.sizes_C))
        self._counts_R = self._shares_RC @ self.sizes_C

    def mean(self, values: ArrayLike) -> Resampled:
        """The mean of a value for each seed and row (S, N), or for each row (N,) without seeds."""
        values_SN = finite(values)
        has_seeds = values_SN.ndim == 2
        values_SN = np.atleast_2d(values_SN)
        if values_SN.shape[1] != len(self.cluster_N):
            size = len(self.cluster_N)
            raise ValueError(f"values must be of {size} rows, got shape {values_SN.shape}")
        sums_SC = np.stack([self._sums(values_N) for values_N in values_SN])
        means_RS = self._shares_RC @ sums_SC.T / self._counts_R[:, None]
        seeds_RS = draw_shares(self._seed_draws(), self.num_resamples, len(values_SN))
        total_C = sums_SC.mean(0)
        with np.errstate(invalid="ignore"):
            left_out_C = (total_C.sum() - total_C) / (self.sizes_C.sum() - self.sizes_C)
        seeds_S = values_SN.mean(1)
        return Resampled(
            value=float(seeds_S.mean()),
            resamples_R=np.vecdot(means_RS, seeds_RS),
            seeds_S=seeds_S if has_seeds else np.empty(0),
            left_out_C=left_out_C,
        )

    def _sums(self, values_N: Array) -> Array:
        sums_C = np.bincount(self.cluster_N, weights=values_N, minlength=len(self.sizes_C))
        return sums_C.astype(np.float64)

    def _seed_draws(self) -> np.random.Generator:
        """Begins anew for each mean, so that two with as many seeds draw the same ones."""
        return np.random.default_rng([self.seed, 1])
