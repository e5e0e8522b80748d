"""How often the intervals of an overhead hold the truth, and how often H3's verdict is wrong.

The table of ``docs/method.md``: ``python -m pytest -m slow -s tests/slow/test_overhead_rates.py``.
"""

import math

import numpy as np
import pytest

from loradrift.analysis.serving.overheads import overhead
from loradrift.analysis.serving.verdict import MARGIN, judge

SIMULATIONS = 4000
ALPHA = 0.05
MERGED = 4
SHARED, OWN = 0.10, 0.03
"""Standard deviations on the log scale: of what slows a whole round, and of one call."""


def normal(rng, shape):
    """normal on the log scale"""
    return rng.normal(size=shape)


def skewed(rng, shape):
    """a long right tail (exponential on the log scale)"""
    return rng.exponential(size=shape) - 1


def hiccups(rng, shape):
    """one call in twenty takes 20 % longer"""
    return 0.3 * rng.normal(size=shape) + (rng.random(shape) < 0.05) * math.log(1.2) / OWN


def drifting(rng, shape):
    """normal, and rounds that get 2 % slower each, all arms alike"""
    return rng.normal(size=shape) + 0.02 / OWN * np.arange(shape[0])[:, None]


NOISES = (normal, skewed, hiccups, drifting)


def rates(noise, rounds, truth):
    """Shares of simulations in which the intervals hold the truth, and of each verdict."""
    rng = np.random.default_rng([*noise.__name__.encode(), rounds, round(1000 * truth)])
    held, boot, said = [], [], []
    for _ in range(SIMULATIONS):
        shared_R1 = rng.normal(0, SHARED, (rounds, 1))
        times_RA = np.exp(shared_R1 + OWN * noise(rng, (rounds, 1 + MERGED)))
        found = overhead(truth * times_RA[:, :1], times_RA[:, 1:], rng, num_resamples=400)
        held.append(found.low <= truth <= found.high)
        boot.append(found.bootstrap_low <= truth <= found.bootstrap_high)
        said.append(str(judge(found.low, found.high, found.rounds)))
    share = {name: said.count(name) / SIMULATIONS for name in ("supported", "refuted")}
    return {"t": np.mean(held), "bootstrap": np.mean(boot), **share}


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_intervals_hold_the_truth_and_a_verdict_at_the_margin_is_rarely_wrong(noise):
    slack = 3 * math.sqrt(ALPHA * (1 - ALPHA) / SIMULATIONS)
    for rounds in (5, 10):
        at = rates(noise, rounds, MARGIN)
        below, above = rates(noise, rounds, 1.20), rates(noise, rounds, 1.40)
        print(
            f"| {noise.__doc__} | {rounds} | {100 * at['t']:.1f} | {100 * at['bootstrap']:.1f} | "
            f"{100 * at['supported']:.1f} | {100 * at['refuted']:.1f} | "
            f"{100 * below['supported']:.1f} | {100 * above['refuted']:.1f} |"
        )
        assert at["bootstrap"] < at["t"]
        assert below["refuted"] < 0.005 and above["supported"] < 0.005
        if noise in (normal, drifting):
            assert at["t"] == pytest.approx(0.95, abs=slack)
            assert max(at["supported"], at["refuted"]) <= ALPHA / 2 + slack
        else:
            assert at["supported"] + at["refuted"] <= 0.10
