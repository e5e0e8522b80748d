"""Intervals of estimates with unknown scores: coverage, and that what is unknown widens them."""

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics.bootstrap import draw_shares
from loradrift.statistics.bounded import Bounded, expanded_tail, mean_of


def mean_of_rows(values_VN, seed=0, resamples=2000):
    shares_RN = draw_shares(np.random.default_rng(seed), resamples, values_VN.shape[1])
    return Bounded(values_VN.mean(axis=1), values_VN @ shares_RN.T)


def test_the_tail_gives_the_t_interval_its_width():
    """Normal percentiles at the tail, of a spread without the factor n / (n - 1)."""
    for n in (3, 10, 40):
        half = -stats.norm.ppf(expanded_tail(n, 0.9)) * np.sqrt((n - 1) / n)
        assert half == pytest.approx(stats.t.ppf(0.95, n - 1))


def test_intervals_of_a_mean_cover_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(400):
        values = np.tile(rng.normal(size=12), (3, 1))
        interval = mean_of_rows(values, seed=trial, resamples=800).interval(12)
        hits += interval.low <= 0 <= interval.high
    assert 0.925 <= hits / 400 <= 0.98


def test_unknown_scores_widen_the_interval_to_what_they_could_be():
    known = np.linspace(30, 50, 10)
    low, high = known.copy(), known.copy()
    low[3], high[3] = 0, 100
    rows = np.stack([low, known, high])
    interval = mean_of_rows(rows).interval(10)
    lowest, highest = (mean_of_rows(np.tile(side, (3, 1))).interval(10) for side in (low, high))
    assert (interval.low, interval.high) == (lowest.low, highest.high)
    assert interval.estimate == known.mean()


def test_a_difference_turns_round_with_its_sides():
    rng = np.random.default_rng(2)
    first, second = (mean_of_rows(np.sort(rng.uniform(0, 100, (3, 8)), axis=0)) for _ in range(2))
    there, back = first.minus(second).interval(8), second.minus(first).interval(8)
    assert (there.estimate, there.low, there.high) == pytest.approx(
        (-back.estimate, -back.high, -back.low)
    )


def test_what_is_unknown_on_both_sides_does_not_cancel():
    rows = np.stack([np.zeros(8), np.full(8, 50.0), np.full(8, 100.0)])
    gap = mean_of_rows(rows).minus(mean_of_rows(rows))
    assert gap.value == 0 and gap.interval(8)[1:3] == (-100, 100)


def test_no_end_lies_beyond_what_resamples_reach():
    """Where the coherence just reaches the line, resamples fall and never rise."""
    resamples = np.array([0.0] * 90 + [-40.0] * 10)
    interval = Bounded.certain(0.0, resamples).interval(20)
    assert (interval.low, interval.high) == (-40, 0)


def test_few_units_and_undefined_resamples_have_no_interval():
    rows = np.ones((3, 4))
    assert np.isnan(mean_of_rows(rows).interval(1).low)
    resamples = np.ones((3, 100))
    resamples[:, :6] = np.nan
    assert "not defined" in Bounded(np.ones(3), resamples).interval(9).note
    resamples[:, 2:] = 1.0
    assert Bounded(np.ones(3), resamples).interval(9)[1:3] == (1, 1)


def test_the_mean_of_estimates_is_that_of_every_resample():
    first, second = mean_of_rows(np.zeros((3, 4))), mean_of_rows(np.full((3, 4), 6.0))
    both = mean_of([first, second])
    assert both.value == 3
    assert (both.resamples_VR == 3).all()


def test_what_differs_by_rounding_alone_differs_by_nothing():
    values = np.array([0.1 + 0.2] * 3)
    rows = np.array([[0.1 + 0.2, 50.0]] * 3)
    gained = Bounded(values, rows).minus(Bounded(np.array([0.3] * 3), np.array([[0.3, 40.0]] * 3)))
    assert gained.values_V.tolist() == [0.0] * 3
    assert gained.resamples_VR.tolist() == [[0.0, 10.0]] * 3
