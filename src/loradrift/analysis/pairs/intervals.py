"""Bootstrap intervals of the metrics and, above all, of the difference of two models.

Pairs are drawn with repetition, the same for both models, so that what makes a pair easy or hard
for both cancels in the difference; an interval holds the middle 95 % of what the samples give
(percentile bootstrap, Efron 1979, doi:10.1214/aos/1176344552).

It takes the pairs as independent draws from all such pairs: where one text stands in several, it
is too narrow. Accuracies are those at the two thresholds tuned on these very pairs, which stay as
they are: an interval says how far such an accuracy is known, not that tuning flattered it. It is
about the pairs alone, not about other seeds of the training.
"""

# Shape suffixes: C samples at a time, R samples, N pairs.

from typing import NamedTuple

import numpy as np

from loradrift.analysis.pairs.metrics import CONSTANT, Floats, Metrics

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95
INTERVALS = ("spearman", "pearson", "roc_auc", "accuracy")
"""The metrics that have one."""

UNDEFINED = 0.05  # share of samples in which a metric with an interval may be undefined
CELLS = 2_000_000  # samples times pairs at a time


class Bounds(NamedTuple):
    """The ends of an interval; NaN where there is none."""

    low: float
    high: float


class Intervals(NamedTuple):
    """The interval of each of :data:`INTERVALS`, by name; the difference is adapter less base."""

    baseline: dict[str, Bounds]
    adapter: dict[str, Bounds]
    difference: dict[str, Bounds]


def bootstrap(
    before: tuple[Floats, Metrics],
    after: tuple[Floats, Metrics],
    labels_N: Floats,
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
) -> Intervals:
    """Compute the intervals of both models and of their difference.

    ``before`` and ``after`` are each model's scores (N,) and their metrics.
    """
    if num_resamples <= 0:
        raise ValueError(f"num_resamples must be positive, got {num_resamples}")
    from scipy.stats import rankdata

    count = len(labels_N)
    found: list[list[Floats]] = [[], []]
    at_once = max(1, CELLS // count)
    for start in range(0, num_resamples, at_once):
        chosen_CN = rng.integers(count, size=(min(at_once, num_resamples - start), count))
        labels_CN = labels_N[chosen_CN]
        label_ranks_CN = rankdata(labels_CN, axis=1)
        for rows, (scores_N, metrics) in zip(found, (before, after), strict=True):
            sample = scores_N[chosen_CN], labels_CN, label_ranks_CN
            rows.append(sample_metrics(*sample, metrics.threshold))
    base_R4, adapter_R4 = (np.concatenate(rows) for rows in found)
    return Intervals(*map(_bounds, (base_R4, adapter_R4, adapter_R4 - base_R4)))


def sample_metrics(
    scores_CN: Floats, labels_CN: Floats, label_ranks_CN: Floats, threshold: float
) -> Floats:
    """Compute :data:`INTERVALS` of each sample, (C, 4); NaN where one is not defined.

    Scores from ``threshold`` on are called 1; it is NaN where labels are no classes.
    """
    from scipy.stats import rankdata

    ranks_CN = rankdata(scores_CN, axis=1)  # equal values share their mean rank
    auc_C = accuracy_C = np.full(len(scores_CN), np.nan)
    if not np.isnan(threshold):
        ones_C, zeros_C = labels_CN.sum(1), (1 - labels_CN).sum(1)
        # Mann-Whitney U by the rank sum of the ones
        wins_C = (labels_CN * ranks_CN).sum(1) - ones_C * (ones_C + 1) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            auc_C = wins_C / (ones_C * zeros_C)
        accuracy_C = ((scores_CN >= threshold) == (labels_CN == 1)).mean(1)
    spearman_C = _correlation(ranks_CN, label_ranks_CN)
    pearson_C = _correlation(scores_CN, labels_CN)
    return np.stack([spearman_C, pearson_C, auc_C, accuracy_C], axis=1)


def _correlation(x_CN: Floats, y_CN: Floats) -> Floats:
    """Pearson correlation of each sample; NaN where a side has one value, up to rounding."""
    centred = [z_CN - z_CN.mean(1, keepdims=True) for z_CN in (x_CN, y_CN)]
    sizes = [np.linalg.norm(z_CN, axis=1) for z_CN in centred]
    for size_C, z_CN in zip(sizes, (x_CN, y_CN), strict=True):
        size_C[size_C <= CONSTANT * np.abs(z_CN).max() * np.sqrt(z_CN.shape[1])] = np.nan
    return np.asarray((centred[0] * centred[1]).sum(1) / (sizes[0] * sizes[1]))


def _bounds(samples_R4: Floats) -> dict[str, Bounds]:
    found = dict.fromkeys(INTERVALS, Bounds(np.nan, np.nan))
    outside = (1 - CONFIDENCE) / 2
    for name, samples_R in zip(INTERVALS, samples_R4.T, strict=True):
        defined = samples_R[~np.isnan(samples_R)]
        if len(defined) >= (1 - UNDEFINED) * len(samples_R):
            found[name] = Bounds(*map(float, np.quantile(defined, (outside, 1 - outside))))
    return found
