"""Is a search's best value on the edge of its range? Then better ones may lie beyond it."""

import math
from typing import NamedTuple

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

SHARE = 0.05
"""So near to an end, as a share of the range, is on its edge."""

Number = int | float


class Edge(NamedTuple):
    """A best value on the edge of its range, in the words of the command line."""

    key: str
    value: str
    """With four digits."""

    side: str
    """``lower`` or ``upper``."""

    searched: str
    """The range, as typed."""

    @property
    def text(self) -> str:
        """Where the best value lies."""
        return f"{self.key}={self.value} is on the {self.side} edge of {self.searched}"


def find_boundary_optima(best: FrozenTrial) -> list[Edge]:
    """The parameters of the best trial that lie on the edge of their range.

    Within 5 % of the range (of its logarithm where that was searched), or the first or last of
    numeric choices. An end that nothing legal lies beyond, such as a ratio of 0, is no edge.
    """
    edges = []
    for key, space in sorted(best.distributions.items()):
        value = best.params[key]
        for side in ("lower", "upper"):
            if _is_at(value, space, side) and _has_beyond(space, side):
                edges.append(Edge(key, f"{value:.4g}", side, typed(space)))
    return edges


def typed(space: BaseDistribution) -> str:
    """A range in Hydra's sweep syntax, as the sweeper reads it."""
    match space:
        case CategoricalDistribution():
            return f"choice({','.join(map(str, space.choices))})"
        case FloatDistribution(step=None) | IntDistribution(step=1):
            ends = f"interval({space.low},{space.high})"
            ends = f"tag(log,{ends})" if space.log else ends
            # without int(…) Hydra reads whole ends as those of a range of real numbers
            return f"int({ends})" if isinstance(space, IntDistribution) else ends
        case FloatDistribution(step=step) | IntDistribution(step=step):
            assert step is not None
            end = f"{space.high + step:.12g}"  # Hydra's ranges end before their end
            return f"range({space.low},{end},{step})"
    raise AssertionError(f"no search has a {type(space).__name__}")


def _is_at(value: object, space: BaseDistribution, side: str) -> bool:
    if isinstance(space, CategoricalDistribution):
        numbers = _numbers(space)
        return len(numbers) > 1 and value == numbers[0 if side == "lower" else -1]
    assert isinstance(space, FloatDistribution | IntDistribution)
    assert isinstance(value, int | float)
    if space.single():
        return False
    scale = math.log if space.log else float
    low, high, at = scale(space.low), scale(space.high), scale(value)
    share = (at - low) / (high - low)
    return (share if side == "lower" else 1 - share) <= SHARE


def _numbers(space: CategoricalDistribution) -> list[Number]:
    """The choices in order; none if they have no order."""
    numbers = [each for each in space.choices if isinstance(each, int | float)]
    ordered = len(numbers) == len(space.choices) and not any(isinstance(n, bool) for n in numbers)
    return sorted(numbers) if ordered else []


def _has_beyond(space: BaseDistribution, side: str) -> bool:
    """Whether a legal value lies beyond an end: what is counted or measured stays positive."""
    if side == "upper":
        return True
    if isinstance(space, CategoricalDistribution):
        low = _numbers(space)[0]
    else:
        assert isinstance(space, FloatDistribution | IntDistribution)
        low = space.low
    return low < 0 or low > isinstance(low, int)  # 0 and one step are ends themselves
