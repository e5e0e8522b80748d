"""Intervals against R's textbook example and their own formula."""

import math

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics import Variance, ratio_interval, stack, t_interval, variance_of_mean

SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Student's data, group 2 minus group 1 of R's ``sleep``."""


def test_r_on_students_sleep():
    # t.test(extra ~ group, data = sleep, paired = TRUE): 0.7001142 2.4598858
    interval = t_interval(SLEEP)
    assert (interval.low, interval.high) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)
    assert (interval.df, interval.note) == (9, "")
    turned = t_interval(-3 * SLEEP[::-1] + 2)
    assert (turned.low, turned.high) == pytest.approx(
        (-3 * interval.high + 2, -3 * interval.low + 2)
    )


def test_the_rows_variance_is_added_with_its_own_quantile():
    rows = Variance(0.04, 255)
    seeds = [1.0, 2.0, 4.0]
    half = math.sqrt(
        stats.t.ppf(0.975, 2) ** 2 * np.var(seeds, ddof=1) / 3 + stats.t.ppf(0.975, 255) ** 2 * 0.04
    )
    interval = t_interval(seeds, rows)
    assert interval.high - interval.estimate == pytest.approx(half, rel=1e-12)
    assert interval.estimate - interval.low == pytest.approx(half, rel=1e-12)
    assert half > t_interval(seeds).high - interval.estimate


def test_one_seed_has_no_interval():
    interval = t_interval([0.4], Variance(0.1, 99))
    assert interval.estimate == 0.4
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert interval.note.startswith("one value")


def test_equal_seeds_have_no_width_and_say_so():
    interval = t_interval([0.1 + 0.2, 0.3, 0.3])
    assert interval.low == interval.high == interval.estimate
    assert interval.note.startswith("all values are equal")
    # the rows still vary
    wide = t_interval([0.3] * 3, Variance(0.01, 400))
    assert wide.high - 0.3 == pytest.approx(stats.t.ppf(0.975, 400) * 0.1)


def test_fiellers_interval_solves_its_own_equation():
    lora, full = np.array([1.1, 2.3, 2.9, 4.4]), np.array([2.0, 2.6, 3.3, 4.1])
    interval = ratio_interval(lora, full, confidence=0.9)
    assert interval.estimate == pytest.approx(lora.mean() / full.mean())
    for end in (interval.low, interval.high):
        assert stats.ttest_1samp(lora - end * full, 0).pvalue == pytest.approx(0.1)
    swapped = ratio_interval(full, lora, confidence=0.9)
    assert (swapped.low, swapped.high) == pytest.approx((1 / interval.high, 1 / interval.low))
    wide = ratio_interval(lora, full, Variance(0.01, 99), confidence=0.9)
    assert wide.low < interval.low and wide.high > interval.high


def test_fiellers_interval_where_there_is_none():
    same = ratio_interval([0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    assert same.low == same.high == same.estimate == 1 and same.note.startswith("the ratio is the")
    rows = ratio_interval([0.9, 0.8, 0.7], [0.9, 0.8, 0.7], Variance(0.0001, 400))
    assert rows.high - 1 == pytest.approx(stats.t.ppf(0.975, 400) * 0.01, rel=0.1)
    one = ratio_interval([0.9], [0.8])
    assert math.isnan(one.low) and one.note.startswith("one value")
    wild = ratio_interval([1.0, 2.0, 3.0], [-5.0, 0.1, 6.0])
    assert math.isnan(wild.high) and "varies too much over seeds" in wild.note


def test_values_by_task():
    parts = [Variance(0.09, 255), Variance(0.36, 99), Variance(0.0, 400)]
    assert variance_of_mean(parts) == Variance(pytest.approx(0.05), 99)
    table = stack({"sst2": [1, 2, 3], "rte": [4, 5, 6]})
    np.testing.assert_array_equal(table, [[1, 4], [2, 5], [3, 6]])


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (stack, ({},), "by_task must have at least one task, got none"),
        (stack, ({"a": [1, 2], "rte": [1]},), r"for each seed, got shapes .*'rte': \(1,\)"),
        (t_interval, ([[1], [2]],), r"values must have one value per seed, got shape \(2, 1\)"),
        (t_interval, ([1, 2], None, 95), r"confidence must be in \(0, 1\), got 95"),
        (ratio_interval, ([1, 2], [-1, -1]), "control must be positive for a ratio, got -1"),
    ],
)
def test_errors_of_intervals(function, args, message):
    with pytest.raises(ValueError, match=message):
        function(*args)
