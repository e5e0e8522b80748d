"""What a score costs: two methods compared at the scores that both of them reach.

A method is a set of settings (learning rates, say), each with a score and a cost. Its *lower
envelope* are the settings that no other one beats in both. What the score y of one of these costs
is

    cost(y) = the least cost of a setting whose score is at least y,

which is that setting's own. By choice cost is straight between two neighbours on the envelope,
where it would else be a step: a rate between theirs is taken to lie between them. Two methods are
compared by the mean of
``cost_treatment(y) - cost_control(y)`` over the scores that both reach,

    [max of both envelopes' least scores, min of both envelopes' largest scores].

With logarithms of costs that is the logarithm of a ratio. Scores are noisy, so an envelope is
optimistic; both are alike. Swapping the methods changes the sign and nothing else, and adding c to
all costs of the treatment adds c: of methods with the same law of scores and costs, or with costs
that are shifted, the estimate is unbiased whatever the noise, and the sign-flip test over seeds is
exact for the first.
"""

# Shape suffixes: K settings, E settings on the envelope, Y scores.

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loradrift.statistics.values import Array, vector


class Curve(NamedTuple):
    """Scores (K,) and costs (K,) of a method's settings, with one seed."""

    scores: Array
    costs: Array


class Matched(NamedTuple):
    """The mean difference of costs, treatment minus control, over scores from low to high."""

    difference: float
    low: float
    high: float


def envelope(scores: ArrayLike, costs: ArrayLike) -> Curve:
    """The settings that no other one beats in both, scores and costs (E,) increasing.

    Args:
        scores: One per setting (K,); higher is better.
        costs: One per setting (K,); lower is better.

    Raises:
        ValueError: If a value is not finite, or the lengths differ.

    Example:
        >>> envelope([0.9, 0.6, 0.5, 0.8], [3, 1, 2, 2])
        Curve(scores=array([0.6, 0.8, 0.9]), costs=array([1., 2., 3.]))
    """
    scores_K, costs_K = vector(scores, "scores"), vector(costs, "costs")
    if len(scores_K) != len(costs_K):
        raise ValueError(
            "scores and costs must have a value for the same settings, got "
            f"{len(scores_K)} and {len(costs_K)}"
        )
    order_K = np.lexsort((-scores_K, costs_K))
    scores_K, costs_K = scores_K[order_K], costs_K[order_K]
    best_K = np.maximum.accumulate(scores_K)
    is_new_K = np.concatenate([[True], best_K[1:] > best_K[:-1]])
    return Curve(scores_K[is_new_K], costs_K[is_new_K])


def cost_of(curve: Curve, scores: ArrayLike) -> Array:
    """What scores (Y,) cost by an :func:`envelope`; NaN where it does not reach or begins higher.

    Example:
        >>> cost_of(envelope([0.6, 0.8], [1, 2]), [0.5, 0.7, 0.9])
        array([nan, 1.5, nan])
    """
    return np.interp(np.asarray(scores, np.float64), *curve, left=np.nan, right=np.nan)


def matched(
    treatment: Curve, control: Curve, low: float = -np.inf, high: float = np.inf
) -> Matched | None:
    """Compare two methods at the scores that both reach; None if there is no such score.

    Args:
        treatment: Settings of one method, or its envelope.
        control: Settings of the other one.
        low: Scores below are left out, such as those of a constant answer.
        high: Scores above are left out.

    Raises:
        ValueError: As :func:`envelope`.

    Example:
        >>> matched(Curve([1, 3], [1, 2]), Curve([0, 2], [0, 4]))
        Matched(difference=-1.75, low=1.0, high=2.0)
    """
    both = envelope(*treatment), envelope(*control)
    low = max(low, *(each.scores[0] for each in both))
    high = min(high, *(each.scores[-1] for each in both))
    if low > high:
        return None
    # both are straight between these, so that the trapezoids are the integral
    knots_Y = np.unique(
        np.clip(np.concatenate([*(c.scores for c in both), [low, high]]), low, high)
    )
    costs_Y, other_Y = (cost_of(each, knots_Y) for each in both)
    apart_Y = costs_Y - other_Y
    mean = apart_Y[0] if low == high else np.trapezoid(apart_Y, knots_Y) / (high - low)
    return Matched(float(mean), float(low), float(high))
