"""Hierarchical bootstrap: a description of the spread, not a test.

Seeds are drawn with repetition, then examples; tasks stay. Three seeds drawn with repetition spread
by sqrt(2/3) of what three seeds do, and give the same seed thrice in 1 of 9 cases: the interval is
too narrow however many examples there are. How often it errs is measured in ``docs/method.md``.

All seeds of a task were evaluated on the same examples (a crossed design), so a resample draws
one set of examples for all of them (Owen 2007, doi:10.1214/07-AOAS122): drawing anew for each seed
would average away what examples share.
"""

# Shape suffixes: R resamples, C resamples at a time, S seeds, N examples.

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loradrift.statistics.intervals import check_confidence
from loradrift.statistics.values import Array, finite

CELLS = 65_536
"""Weights at a time: they stay in the cache, which makes counting them ten times faster."""


class Bootstrap(NamedTuple):
    """Percentiles of resampled means."""

    estimate: float
    low: float
    high: float
    resamples_R: Array
    confidence: float


def hierarchical_bootstrap(
    by_task: Mapping[str, ArrayLike],
    rng: np.random.Generator,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Bootstrap:
    """Spread of the mean over tasks, seeds and examples.

    Args:
        by_task: A value per seed and example (S, N), such as the difference of two methods'
            scores; tasks may differ in S and N.
        rng: Draws the resamples.
        num_resamples: R, positive.
        confidence: Share of resamples between ``low`` and ``high``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hierarchical_bootstrap({"sst2": [[1, 2], [3, 4]]}, rng, num_resamples=99).estimate
        2.5
    """
    check_confidence(confidence)
    if num_resamples <= 0:
        raise ValueError(f"num_resamples must be positive, got {num_resamples}")
    if not by_task:
        raise ValueError("by_task must have at least one task, got none")
    tables = {task: finite(values, task) for task, values in by_task.items()}
    for task, values_SN in tables.items():
        if values_SN.ndim != 2:
            raise ValueError(f"{task} must have shape (seeds, examples), got {values_SN.shape}")
    means_R = np.mean([_means(v_SN, rng, num_resamples) for v_SN in tables.values()], axis=0)
    estimate = float(np.mean([values_SN.mean() for values_SN in tables.values()]))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means_R, [tail, 1 - tail])
    return Bootstrap(estimate, float(low), float(high), means_R, confidence)


def _means(values_SN: Array, rng: np.random.Generator, num_resamples: int) -> Array:
    """Resampled means of one task: seed weights against example weights."""
    num_seeds, num_examples = values_SN.shape
    seeds_RS = draw_shares(rng, num_resamples, num_seeds)
    means_R = np.empty(num_resamples)
    rows = max(1, CELLS // num_examples)
    for start in range(0, num_resamples, rows):
        part = slice(start, start + rows)
        examples_CN = draw_shares(rng, len(means_R[part]), num_examples)
        means_R[part] = np.vecdot(examples_CN @ values_SN.T, seeds_RS[part])
    return means_R


def draw_shares(rng: np.random.Generator, num_resamples: int, size: int) -> Array:
    """How often each of ``size`` units is drawn with repetition, as shares that sum to 1.

    Example:
        >>> draw_shares(np.random.default_rng(0), 2, 1).tolist()
        [[1.0], [1.0]]
    """
    drawn_CN = rng.integers(0, size, (num_resamples, size))
    drawn_CN += np.arange(num_resamples)[:, None] * size
    counts = np.bincount(drawn_CN.ravel(), minlength=num_resamples * size)
    return counts.reshape(num_resamples, size) / size
