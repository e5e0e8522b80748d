"""How well the scores of two judges agree, with intervals over the questions they were asked.

Answers to one question resemble each other, so a resample draws whole questions (a cluster
bootstrap: Davison & Hinkley 1997, section 3.8), and an interval holds the middle 95 % of what the
resamples give. Every figure is a function of sums over questions, so no answer is looked at again:
kappa is Cohen's (1960, doi:10.1177/001316446002000104) of "at least the threshold"; AUROC is
Mann-Whitney's U over the number of pairs, ties counted half, from the wins between any two
questions.
"""

# Shape suffixes: N answers, Q questions, R resamples, K sums.

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loradrift.statistics.intervals import check_confidence
from loradrift.statistics.values import ROUNDING, Array, snap, vector

Whole = NDArray[np.intp]
Bools = NDArray[np.bool_]

UNDEFINED = 0.05
"""Share of resamples in which a figure with an interval may be undefined."""


class Estimate(NamedTuple):
    """A figure and its interval; NaN where there is none."""

    estimate: float
    low: float
    high: float


class Agreement(NamedTuple):
    """How well scores agree with a reference's; each figure has an interval over questions."""

    accuracy: Estimate
    """Share of answers that both call the same: at least the threshold, or below it."""

    kappa: Estimate
    """The same, with what chance gives taken out; NaN where both call all answers alike."""

    auroc: Estimate
    """Of the scores, for the reference's "at least the threshold"."""

    pearson: Estimate
    difference: Estimate
    """Mean of the scores less mean of the reference's."""


def agreement(
    scores_N: ArrayLike,
    reference_N: ArrayLike,
    questions: Sequence[str],
    rng: np.random.Generator,
    *,
    threshold: float = 50.0,
    num_resamples: int = 2000,
    confidence: float = 0.95,
) -> Agreement:
    """Agreement of scores with a reference's, answer by answer.

    Args:
        scores_N: One score per answer.
        reference_N: What the other judge gave the same answers.
        questions: The question of each answer.
        rng: Draws the questions of the resamples.
        threshold: From here on an answer is said to have the trait.
        num_resamples: R, positive.
        confidence: Share of resamples between the ends of an interval.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> agreement([90, 10, 80, 60], [80, 0, 70, 40], ["a", "a", "b", "b"], rng).kappa.estimate
        0.5
    """
    check_confidence(confidence)
    if num_resamples <= 0:
        raise ValueError(f"num_resamples must be positive, got {num_resamples}")
    scores_N, reference_N = vector(scores_N, "scores"), vector(reference_N, "reference")
    if not len(scores_N) == len(reference_N) == len(questions):
        counts = f"{len(scores_N)}, {len(reference_N)} and {len(questions)}"
        raise ValueError(
            f"scores, reference and questions must have one value per answer, got {counts}"
        )
    names, group_N = np.unique(np.asarray(questions), return_inverse=True)
    sums_QK = _sums(scores_N, reference_N, group_N, len(names), threshold)
    wins_QQ = _wins(scores_N, reference_N >= threshold, group_N, len(names))
    drawn_RQ = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), num_resamples)
    weights_RQ = np.vstack([np.ones(len(names)), drawn_RQ])
    figures = _figures(weights_RQ @ sums_QK, np.vecdot(weights_RQ @ wins_QQ, weights_RQ))
    tail = (1 - confidence) / 2
    return Agreement(*(_estimate(each_R, tail, len(names)) for each_R in figures))


def _sums(scores_N: Array, reference_N: Array, group_N: Whole, count: int, cut: float) -> Array:
    """Sums over each question's answers, (Q, K)."""
    # moments about the means of all answers, so that no digits cancel
    x_N, y_N = (snap(each_N - each_N.mean(), each_N) for each_N in (scores_N, reference_N))
    has, should = scores_N >= cut, reference_N >= cut
    columns = (
        np.ones(len(x_N)), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N, has == should, has, should,
        scores_N - reference_N,
    )  # fmt: skip
    return np.stack([np.bincount(group_N, each, count) for each in columns], axis=1)


def _wins(scores_N: Array, should_N: Bools, group_N: Whole, count: int) -> Array:
    """How often an answer of one question that has the trait beats one of another without, (Q, Q).

    Ties count half.
    """
    ones = [scores_N[(group_N == q) & should_N] for q in range(count)]
    zeros = [np.sort(scores_N[(group_N == q) & ~should_N]) for q in range(count)]
    wins_QQ = np.zeros((count, count))
    for q, ones_M in enumerate(ones):
        for p, zeros_M in enumerate(zeros):
            below = np.searchsorted(zeros_M, ones_M, "left")
            upto = np.searchsorted(zeros_M, ones_M, "right")
            wins_QQ[q, p] = (below + upto).sum() / 2
    return wins_QQ


def _figures(sums_RK: Array, wins_R: Array) -> tuple[Array, Array, Array, Array, Array]:
    """The five figures of each resample, NaN where one is not defined."""
    n, x, y, xx, yy, xy, same, has, should, differences = sums_RK.T
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy_R = same / n
        chance_R = (has * should + (n - has) * (n - should)) / n**2
        kappa_R = np.where(chance_R < 1, (accuracy_R - chance_R) / (1 - chance_R), np.nan)
        auroc_R = wins_R / (should * (n - should))
        spreads = [part - each**2 / n for part, each in ((xx, x), (yy, y))]
        spreads = [
            np.where(spread > ROUNDING * part, spread, np.nan)
            for spread, part in zip(spreads, (xx, yy), strict=True)
        ]
        pearson_R = (xy - x * y / n) / np.sqrt(spreads[0] * spreads[1])
    return accuracy_R, kappa_R, auroc_R, np.clip(pearson_R, -1, 1), differences / n


def _estimate(values_R: Array, tail: float, num_questions: int) -> Estimate:
    """The figure of all answers, and the quantiles of the resamples."""
    estimate, resampled = float(values_R[0]), values_R[1:]
    defined = resampled[~np.isnan(resampled)]
    if num_questions < 2 or len(defined) < (1 - UNDEFINED) * len(resampled):
        return Estimate(estimate, np.nan, np.nan)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(estimate, float(low), float(high))
