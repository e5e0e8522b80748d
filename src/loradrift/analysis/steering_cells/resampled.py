"""Means over questions with their resamples: the same draws of a trait's questions everywhere."""

# Shape suffixes: V values, N questions, R resamples.

import zlib
from collections.abc import Sequence

import numpy as np

from loradrift.analysis.steering_cells.judged import Judged
from loradrift.statistics.bootstrap import draw_shares
from loradrift.statistics.bounded import Bounded
from loradrift.statistics.values import Array

NUM_RESAMPLES = 4000


def draws(trait: str, seed: int, num_questions: int, num_resamples: int = NUM_RESAMPLES) -> Array:
    """Resamples of a trait's questions as shares (R, N), which pair all that is compared.

    Example:
        >>> draws("evil", 0, 3, num_resamples=2).sum(axis=1).round(6).tolist()
        [1.0, 1.0]
    """
    rng = np.random.default_rng([seed, zlib.crc32(trait.encode())])
    return draw_shares(rng, num_resamples, num_questions)


def mean_over(scores_VN: Array, weights_RN: Array) -> Bounded:
    """The mean over questions."""
    return Bounded(scores_VN.mean(axis=1), scores_VN @ weights_RN.T)


def scores_over(cells: Sequence[Judged], judged: str, weights_RN: Array) -> Bounded | None:
    """Mean score for a trait over questions and cells; None where it was not judged."""
    if any(judged not in each.scores for each in cells):
        return None
    parts = [each.scores[judged].trait_VN for each in cells]
    return mean_over(np.mean(parts, axis=0), weights_RN)
