"""An optimum on the edge of its range is flagged, with the range as Hydra reads it."""

import math

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from loradrift.sweeping.range_boundary import find_boundary_optima, typed

LOG = FloatDistribution(5e-5, 5e-3, log=True)
INSIDE_LOG = 5e-5 * math.exp(0.06 * math.log(100))
"""At 6 % of the range, in its logarithm; in a linear range it is at the edge."""


def trial(space, value):
    return create_trial(value=0.5, params={"method.x": value}, distributions={"method.x": space})


def as_read(override):
    parsed = OverridesParser.create().parse_override(override)
    return create_optuna_distribution_from_override(parsed)


@pytest.mark.parametrize(
    ("space", "value", "side", "searched"),
    [
        (LOG, 4.9e-3, "upper", "tag(log,interval(5e-05,0.005))"),
        (LOG, 5.1e-5, "lower", "tag(log,interval(5e-05,0.005))"),
        (FloatDistribution(0.0, 0.2), 0.195, "upper", "interval(0.0,0.2)"),
        (FloatDistribution(0.1, 0.3), 0.1, "lower", "interval(0.1,0.3)"),
        (FloatDistribution(-1.0, 1.0), -1.0, "lower", "interval(-1.0,1.0)"),
        (IntDistribution(8, 64), 62, "upper", "int(interval(8,64))"),
        (IntDistribution(8, 64), 8, "lower", "int(interval(8,64))"),
        (IntDistribution(1, 100, log=True), 95, "upper", "int(tag(log,interval(1,100)))"),
        (IntDistribution(2, 8, step=2), 8, "upper", "range(2,10,2)"),
        (CategoricalDistribution([4, 8, 16, 32]), 32, "upper", "choice(4,8,16,32)"),
        (CategoricalDistribution([4, 8, 16, 32]), 4, "lower", "choice(4,8,16,32)"),
        (CategoricalDistribution([16, 4, 8]), 16, "upper", "choice(16,4,8)"),
        (CategoricalDistribution([0, 0.1]), 0.1, "upper", "choice(0,0.1)"),
        (FloatDistribution(5e-5, 5e-3), INSIDE_LOG, "lower", "interval(5e-05,0.005)"),
    ],
)
def test_an_edge_comes_with_its_range_as_typed(space, value, side, searched):
    [edge] = find_boundary_optima(trial(space, value))
    assert edge == ("method.x", f"{value:.4g}", side, searched)
    assert as_read(f"method.x={searched}") == space


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (LOG, 5e-4),
        (LOG, INSIDE_LOG),
        (FloatDistribution(0.0, 0.2), 0.0),  # nothing lies below no dropout
        (IntDistribution(8, 64), 12),
        (IntDistribution(1, 4), 1),
        (CategoricalDistribution([1, 2]), 1),
        (CategoricalDistribution([4, 8, 16]), 8),
        (CategoricalDistribution(["a", "b"]), "a"),
        (CategoricalDistribution([True, False]), True),
        (FloatDistribution(1.0, 1.0), 1.0),
        (CategoricalDistribution([4]), 4),
    ],
)
def test_what_lies_inside_or_has_no_beyond_is_no_edge(space, value):
    assert find_boundary_optima(trial(space, value)) == []


@pytest.mark.parametrize(
    "space",
    [LOG, IntDistribution(1, 9, step=2), FloatDistribution(0, 1, step=0.25), IntDistribution(3, 5)],
)
def test_a_range_is_read_back_as_it_was(space):
    assert as_read(f"method.x={typed(space)}") == space
