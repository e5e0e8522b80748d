"""Paired tests and intervals against R's numbers and formulas written out."""

import math

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics import Variance, adjust, equivalence, p_beyond, paired_t, task_differences
from loradrift.statistics.intervals import t_interval, variance_of_mean
from loradrift.statistics.values import stack

GROUP1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
GROUP2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
LORA, FULL = [0.83, 0.82, 0.81, 0.84, 0.82], [0.84, 0.83, 0.82, 0.83, 0.84]


def t_by_hand(contrast):
    contrast = np.asarray(contrast)
    return contrast.mean() / (contrast.std(ddof=1) / math.sqrt(len(contrast)))


def test_r_on_students_sleep():
    # t.test(paired = TRUE): t = -4.0621, df = 9, p-value = 0.002833
    result = paired_t(GROUP1, GROUP2)
    assert result.t == pytest.approx(-4.0621, abs=5e-5)
    assert result.p == pytest.approx(0.002833, abs=5e-7)
    assert result.p == pytest.approx(stats.ttest_rel(GROUP1, GROUP2).pvalue)
    assert (result.df, result.estimate) == (9, pytest.approx(-1.58))
    interval = result.interval
    assert (interval.low, interval.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
    assert (interval.df, interval.note) == (9, "")
    turned = t_interval(2 - 3 * (np.array(GROUP1) - GROUP2)[::-1])
    ends = (2 - 3 * interval.high, 2 - 3 * interval.low)
    assert (turned.low, turned.high) == pytest.approx(ends)


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_decides_as_the_test(seed):
    rng = np.random.default_rng(seed)
    full = rng.normal(0.8, 0.01, 4)
    lora = full - rng.normal(0.015, 0.01, 4)
    both = equivalence(lora, full, -0.03, 0.03)
    inside = both.interval.low > -0.03 and both.interval.high < 0.03
    assert (both.p < 0.05) == inside
    usual = paired_t(lora, full)
    assert (usual.p < 0.05) == (not usual.interval.low < 0 < usual.interval.high)


def test_equivalence_is_two_one_sided_tests():
    differences = np.array(LORA) - np.array(FULL)
    result = equivalence(LORA, FULL, -0.02, 0.03)
    above = stats.t.sf(t_by_hand(differences + 0.02), 4)
    below = stats.t.cdf(t_by_hand(differences - 0.03), 4)
    assert result.p_above_low == pytest.approx(above)
    assert result.p_below_high == pytest.approx(below)
    assert result.p == pytest.approx(max(above, below))
    assert result.df == 4
    assert equivalence(FULL, LORA, -0.03, 0.02).p == pytest.approx(result.p)


def test_order_and_scale_do_not_matter():
    p = paired_t(LORA, FULL).p
    assert paired_t(LORA[::-1], FULL[::-1]).p == pytest.approx(p)
    assert paired_t(100 * np.array(LORA), 100 * np.array(FULL)).p == pytest.approx(p)
    assert paired_t(FULL, LORA).p == pytest.approx(paired_t(LORA, FULL).p)


@pytest.mark.parametrize(
    ("lora", "full", "note"),
    [
        ([0.8], [0.9], "one value"),
        ([0.9] * 3, [0.9] * 3, "all values are equal"),
        ([0.3, 0.6, 0.9], [0.1 + 0.2, 0.6, 0.9], "all values are equal"),
        ([1.1, 2.1, 3.1], [1.0, 2.0, 3.0], "all values are equal"),
    ],
)
def test_pairs_without_spread_have_no_p_value(lora, full, note):
    for result in (paired_t(lora, full), equivalence(lora, full, -1, 1)):
        assert math.isnan(result.p)
        assert result.note.startswith(note)


@pytest.mark.parametrize(
    ("test", "args", "message"),
    [
        (paired_t, ([1, 2, 3], [1, 2]), "a value for the same seeds, got 3 and 2"),
        (paired_t, ([1, 2], [1, math.inf]), "control must be finite numbers"),
        (equivalence, (LORA, FULL, 0.1, -0.1), "low must be below high, got 0.1 and -0.1"),
        (adjust, ({"a": 0.5, "b": 1.5},), r"the p-value of b must be in \[0, 1\], got 1.5"),
        (stack, ({},), "by_task must have at least one task, got none"),
        (stack, ({"a": [1, 2], "rte": [1]},), r"for each seed, got shapes .*'rte': \(1,\)"),
        (t_interval, ([[1], [2]],), r"values must have one value per seed, got shape \(2, 1\)"),
        (t_interval, ([1, 2], None, 95), r"confidence must be in \(0, 1\), got 95"),
    ],
)
def test_errors(test, args, message):
    with pytest.raises(ValueError, match=message):
        test(*args)


def test_r_on_p_adjust():
    # p.adjust(c(0.04, 0.01, 0.03, 0.005, 0.5), m) for m of bonferroni, holm, BH
    p = dict(zip("abcde", [0.04, 0.01, 0.03, 0.005, 0.5], strict=True))
    result = adjust(p)
    _, bonferroni, holm, fdr = zip(*result.values(), strict=True)
    assert bonferroni == pytest.approx([0.2, 0.05, 0.15, 0.025, 1])
    assert holm == pytest.approx([0.09, 0.04, 0.09, 0.025, 0.5])
    assert fdr == pytest.approx([0.05, 0.025, 0.05, 0.025, 0.5])
    assert adjust({}) == {}
    # a planned test without result counts as 1
    result = adjust({"a": 0.01, "b": math.nan, "c": 0.02})
    assert list(result) == ["a", "b", "c"]
    assert (result["a"].holm, result["c"].holm, result["b"].p) == pytest.approx((0.03, 0.04, 1))
    assert result["b"].bonferroni == 1


def test_the_rows_variance_is_added_with_its_own_quantile():
    seeds, (of_seeds, of_rows) = [1.0, 2.0, 4.0], stats.t.ppf(0.975, [2, 255])
    half = math.sqrt(of_seeds**2 * np.var(seeds, ddof=1) / 3 + of_rows**2 * 0.04)
    interval = t_interval(seeds, Variance(0.04, 255))
    assert interval.high - interval.estimate == pytest.approx(half, rel=1e-12)
    assert interval.estimate - interval.low == pytest.approx(half, rel=1e-12)
    assert half > t_interval(seeds).high - interval.estimate


def test_one_seed_has_no_interval_and_equal_seeds_have_one_without_width():
    interval = t_interval([0.4], Variance(0.1, 99))
    assert interval.estimate == 0.4
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert interval.note.startswith("one value")
    interval = t_interval([0.1 + 0.2, 0.3, 0.3])
    assert interval.low == interval.high == interval.estimate
    assert interval.note.startswith("all values are equal")
    # the rows still vary
    wide = t_interval([0.3] * 3, Variance(0.01, 400))
    assert wide.high - 0.3 == pytest.approx(stats.t.ppf(0.975, 400) * 0.1)


@pytest.mark.parametrize(("rows", "least"), [(None, 0), (Variance(0.04, 255), 0), (None, 0.5)])
def test_p_and_interval_are_of_one_test(rows, least):
    values = [0.2, 0.5, 0.4, 0.9]
    for bound in (-0.3, 0.1, 0.6):
        p = p_beyond(values, bound, "greater", rows, least)
        assert p_beyond(values, bound, "less", rows, least) == pytest.approx(1 - p)
        mirrored = p_beyond(np.negative(values), -bound, "less", rows, least)
        assert mirrored == pytest.approx(p)
        interval = t_interval(values, rows, abs(1 - 2 * p), least)
        ends = (interval.low, interval.high)
        assert min(abs(end - bound) for end in ends) == pytest.approx(0, abs=1e-9)
    if rows is None and not least:
        expected = stats.ttest_1samp(values, 0.1, alternative="greater").pvalue
        assert p_beyond(values, 0.1, "greater") == pytest.approx(expected)


def test_p_where_nothing_is_known_or_all_is():
    assert math.isnan(p_beyond([0.4], 0, "greater"))
    assert math.isnan(p_beyond([0.4] * 3, 0, "greater"))
    assert p_beyond([0.1 + 0.2, 0.3, 0.5], 1.1 / 3, "greater") == pytest.approx(0.5)
    assert p_beyond([1.0, 1.0, 1.0 + 1e-9], 0, "greater") < 1e-15


def test_what_rounding_makes_bounds_the_spread_of_seeds_from_below():
    close = [0.50, 0.51, 0.49]
    half = stats.t.ppf(0.975, 2) * math.sqrt(0.09 / 3)
    assert t_interval(close, least=0.09).high - 0.5 == pytest.approx(half)
    assert t_interval([0.5] * 3, least=0.09).note == ""
    far = [0.1, 0.9, 0.5]
    assert t_interval(far, least=0.09) == t_interval(far)


def test_tasks_that_differ_by_more_than_seeds_do():
    values = np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 4.0], [3.0, 4.0, 6.0]])
    found = task_differences(values)
    seeds, tasks = values.mean(1, keepdims=True), values.mean(0)
    rest = ((values - seeds - tasks + values.mean()) ** 2).sum() / 4
    f = 3 * ((tasks - values.mean()) ** 2).sum() / 2 / rest
    assert (found.f, found.df) == (pytest.approx(f), (2, 4))
    assert found.p == pytest.approx(stats.f.sf(f, 2, 4))
    # what a seed does to all tasks alike changes nothing
    assert task_differences(values + np.array([[5.0], [0.0], [-3.0]])).p == pytest.approx(found.p)
    assert task_differences(-values[:, ::-1]).p == pytest.approx(found.p)
    assert task_differences(values, [Variance(9.0, 99)] * 3).p > 0.3
    assert task_differences([[1, 2], [2, 3]]).p == 0 and task_differences([[1, 1], [2, 2]]).p == 1
    assert math.isnan(task_differences([[1, 2]]).p) and math.isnan(task_differences([[1], [2]]).p)


def test_values_by_task():
    parts = [Variance(0.09, 255), Variance(0.36, 99), Variance(0.0, 400)]
    assert variance_of_mean(parts) == Variance(pytest.approx(0.05), 99)
    assert stack({"sst2": [1, 2, 3], "rte": [4, 5, 6]}).tolist() == [[1, 4], [2, 5], [3, 6]]
