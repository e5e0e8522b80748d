"""Bootstrap intervals of the metrics and, above all, of the difference of two models.

Pairs are drawn with repetition, the same for both models, so that what makes a pair easy or hard
for both cancels in the difference; an interval holds the middle 95 % of what the samples give
(percentile bootstrap, Efron 1979, doi:10.1214/aos/1176344552).

It takes the pairs as independent draws from all such pairs: where one text stands in several, it
is too narrow. Accuracies are those at the two thresholds tuned on these very pairs, which stay as
they are: an interval says how far such an accuracy is known, not that tuning flattered it. It is
about the pairs alone, not about other seeds of the training.
"""

# Shape suffixes: C samples at a time, R samples, N pairs, K different values.

from typing import NamedTuple

import numpy as np

from loradrift.analysis.pairs.metrics import CONSTANT, Floats, Metrics, is_binary

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95
INTERVALS = ("spearman", "pearson", "roc_auc", "accuracy")
"""The metrics that have one."""

UNDEFINED = 0.05
"""Largest share of samples without a metric (all of one class, say) for it to have an interval."""

CELLS = 2_000_000
"""Samples times pairs at a time."""


class Bounds(NamedTuple):
    """The ends of an interval; NaN where there is none."""

    low: float
    high: float


class Intervals(NamedTuple):
    """The interval of each of :data:`INTERVALS`, by name; the difference is adapter less base."""

    baseline: dict[str, Bounds]
    adapter: dict[str, Bounds]
    difference: dict[str, Bounds]


class Sorted:
    """A value per pair, sorted once: the ranks in any sample follow from its counts."""

    def __init__(self, values_N: Floats) -> None:
        self.values_N = values_N
        self._order_N = np.argsort(values_N, kind="stable")
        _, self._group_N, sizes_K = np.unique(values_N, return_inverse=True, return_counts=True)
        self._ends_K = np.cumsum(sizes_K) - 1  # the last of each group of equal values

    def ranks(self, weights_CN: Floats) -> Floats:
        """Rank each pair in each sample; equal values share their mean rank."""
        ends_CK = np.cumsum(weights_CN[:, self._order_N], axis=1)[:, self._ends_K]
        starts_CK = np.concatenate([np.zeros((len(ends_CK), 1)), ends_CK[:, :-1]], axis=1)
        ranks_CK = (starts_CK + ends_CK + 1) / 2
        return ranks_CK[:, self._group_N]


def bootstrap(
    before: tuple[Floats, Metrics],
    after: tuple[Floats, Metrics],
    labels_N: Floats,
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
) -> Intervals:
    """Compute the intervals of both models and of their difference.

    ``before`` and ``after`` are each model's scores (N,) and their metrics.

    Raises:
        ValueError: If ``num_resamples`` is not positive.
    """
    if num_resamples <= 0:
        raise ValueError(f"num_resamples must be positive, got {num_resamples}")
    count = len(labels_N)
    labels, sides = Sorted(labels_N), [(Sorted(scores_N), m) for scores_N, m in (before, after)]
    found: list[list[Floats]] = [[], []]
    at_once = max(1, CELLS // count)
    for start in range(0, num_resamples, at_once):
        weights_CN = draw(count, min(at_once, num_resamples - start), rng)
        for rows, (scores, metrics) in zip(found, sides, strict=True):
            rows.append(sample_metrics(scores, labels, metrics.threshold, weights_CN))
    base_R4, adapter_R4 = (np.concatenate(rows) for rows in found)
    return Intervals(*map(_bounds, (base_R4, adapter_R4, adapter_R4 - base_R4)))


def draw(count: int, size: int, rng: np.random.Generator) -> Floats:
    """How often each pair is in each sample (C, N)."""
    chosen_CN = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
    counts = np.bincount(chosen_CN.ravel(), minlength=size * count)
    return counts.reshape(size, count).astype(np.float64)


def sample_metrics(scores: Sorted, labels: Sorted, threshold: float, weights_CN: Floats) -> Floats:
    """Compute :data:`INTERVALS` of each sample, (C, 4); NaN where one is not defined.

    Scores from ``threshold`` on are called 1; ``weights_CN`` counts each pair in each sample.
    """
    ranks_CN = scores.ranks(weights_CN)
    auc_C = accuracy_C = np.full(len(weights_CN), np.nan)
    ones_N = labels.values_N
    if is_binary(ones_N):
        ones_C = weights_CN @ ones_N
        zeros_C = weights_CN.sum(1) - ones_C
        # Mann-Whitney U by the rank sum of the ones
        wins_C = (weights_CN * ranks_CN) @ ones_N - ones_C * (ones_C + 1) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            auc_C = wins_C / (ones_C * zeros_C)
        right_N = (scores.values_N >= threshold) == (ones_N == 1)
        accuracy_C = weights_CN @ right_N / weights_CN.sum(1)
    spearman_C = _correlation(ranks_CN, labels.ranks(weights_CN), weights_CN)
    pearson_C = _correlation(scores.values_N, ones_N, weights_CN)
    return np.stack([spearman_C, pearson_C, auc_C, accuracy_C], axis=1)


def _correlation(x_CN: Floats, y_CN: Floats, weights_CN: Floats) -> Floats:
    """Weighted Pearson correlation of each sample; values may be the same for all, (N,)."""
    total_C1 = weights_CN.sum(1, keepdims=True)
    centred = [z - (weights_CN * z).sum(1, keepdims=True) / total_C1 for z in (x_CN, y_CN)]
    squares = [(weights_CN * z**2).sum(1) for z in centred]
    # as of the whole: one value, up to rounding, has no correlation
    least = [total_C1[:, 0] * (CONSTANT * np.abs(z).max(initial=0)) ** 2 for z in (x_CN, y_CN)]
    product_C = (weights_CN * centred[0] * centred[1]).sum(1)
    defined_C = (squares[0] > least[0]) & (squares[1] > least[1])
    return np.asarray(product_C / np.sqrt(np.where(defined_C, squares[0] * squares[1], np.nan)))


def _bounds(samples_R4: Floats) -> dict[str, Bounds]:
    found = dict.fromkeys(INTERVALS, Bounds(np.nan, np.nan))
    outside = (1 - CONFIDENCE) / 2
    for name, samples_R in zip(INTERVALS, samples_R4.T, strict=True):
        defined = samples_R[~np.isnan(samples_R)]
        if len(defined) >= (1 - UNDEFINED) * len(samples_R):
            found[name] = Bounds(*map(float, np.quantile(defined, (outside, 1 - outside))))
    return found
