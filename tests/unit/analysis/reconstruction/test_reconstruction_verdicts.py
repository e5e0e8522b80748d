"""Classes of gains: given only where the interval decides, and mirrored where arms are swapped."""

import math

import numpy as np
import pytest

from loradrift.analysis.reconstruction.verdicts import direction, judge, mirrored, side_text
from loradrift.statistics import Interval
from loradrift.statistics.values import ONE_SEED


def between(low, high, note=""):
    return Interval((low + high) / 2, low, high, 2, 0.95, note)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (10, 30, "strong"),
        (9.99, 30, "at least significant"),
        (5, 9.99, "significant"),
        (5, 10, "at least significant"),
        (4.99, 9, "at least marginal"),
        (2, 4.99, "marginal"),
        (2, 5, "at least marginal"),
        (1.99, 30, "undecided: the interval holds 2 points"),
        (-40, 2, "undecided: the interval holds 2 points"),
        (-1, 1.99, "none"),
        (-40, -20, "none"),
    ],
)
def test_a_class_is_given_where_the_interval_decides(low, high, said):
    assert judge(between(low, high)).text == said


def test_without_an_interval_nothing_is_decided():
    assert judge(None).text == "undecided: no seed has both arms"
    one = judge(between(12, 14, ONE_SEED))
    assert one.text == "undecided: one seed tells nothing of others (over its rows: strong)"
    assert judge(between(math.nan, math.nan)).verdict == "undecided"


@pytest.mark.parametrize("seed", range(40))
def test_swapped_arms_swap_gain_and_loss(seed):
    rng = np.random.default_rng(seed)
    low = rng.normal(0, 8)
    interval = between(low, low + abs(rng.normal(0, 4)))
    gain, loss = judge(interval), judge(mirrored(interval))
    back = mirrored(interval)
    assert (judge(back), judge(mirrored(back))) == (loss, gain)
    assert not (gain.gains and loss.gains)
    if loss.gains:
        assert gain.verdict == "none" and f"(a loss: {loss.text})" in side_text(interval)


def test_a_loss_of_nats_is_lower_or_higher_where_the_interval_leaves_0_out():
    assert direction(between(-0.4, -0.1)) == "lower"
    assert direction(between(0.1, 0.4)) == "higher"
    assert direction(between(-0.1, 0.4)) == direction(None) == "undecided"
    assert direction(between(-0.4, -0.1, ONE_SEED)) == "undecided"
