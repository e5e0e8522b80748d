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
    """The best value, with four digits."""

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
        value, found = best.params[key], ends(space)
        if found is None or isinstance(value, bool) or found[0] == found[1]:
            continue
        low, high = found
        share = _share(value, space, low, high)
        # what is counted or measured stays positive: 0 and one step are ends themselves
        has_lower = low < 0 or low > isinstance(low, int)
        if has_lower and share <= SHARE:
            edges.append(Edge(key, f"{value:.4g}", "lower", typed(space)))
        if 1 - share <= SHARE:
            edges.append(Edge(key, f"{value:.4g}", "upper", typed(space)))
    return edges


def ends(space: BaseDistribution) -> tuple[Number, Number] | None:
    """The lowest and the highest value; None of choices that have no order."""
    if isinstance(space, CategoricalDistribution):
        numbers = [each for each in space.choices if isinstance(each, int | float)]
        return (min(numbers), max(numbers)) if len(numbers) == len(space.choices) else None
    assert isinstance(space, FloatDistribution | IntDistribution)
    return space.low, space.high


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


def _share(value: Number, space: BaseDistribution, low: Number, high: Number) -> float:
    """Where a value lies, from 0 at the lower end to 1 at the upper one."""
    if isinstance(space, CategoricalDistribution):
        return {low: 0.0, high: 1.0}.get(value, 0.5)
    assert isinstance(space, FloatDistribution | IntDistribution)
    scale = math.log if space.log else float
    return (scale(value) - scale(low)) / (scale(high) - scale(low))
