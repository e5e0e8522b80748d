"""Paired tests against R's numbers and formulas written out."""

import math

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics import adjust, equivalence, noninferiority, paired_t, pooled_d

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
    assert (result.df, result.estimate) == (9, pytest.approx(-1.58))
    assert result.interval.low == pytest.approx(-2.4598858, abs=5e-8)


def test_noninferiority_is_a_t_test_of_the_contrast():
    contrast = np.array(LORA) - 0.97 * np.array(FULL)
    result = noninferiority(LORA, FULL)
    assert result.t == pytest.approx(t_by_hand(contrast))
    assert result.p == pytest.approx(stats.t.sf(t_by_hand(contrast), 4))
    wider = noninferiority(LORA, FULL, margin=0.05)
    assert wider.p < result.p


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_decides_as_the_test(seed):
    rng = np.random.default_rng(seed)
    full = rng.normal(0.8, 0.01, 4)
    lora = full - rng.normal(0.015, 0.01, 4)
    one_sided = noninferiority(lora, full)
    assert (one_sided.p < 0.05) == (one_sided.interval.low > 0)
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
    turned = equivalence(FULL, LORA, -0.03, 0.02)
    assert turned.p == pytest.approx(result.p)


def test_order_and_scale_do_not_matter():
    for test in (paired_t, noninferiority):
        p = test(LORA, FULL).p
        assert test(LORA[::-1], FULL[::-1]).p == pytest.approx(p)
        assert test(100 * np.array(LORA), 100 * np.array(FULL)).p == pytest.approx(p)
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


def test_the_contrast_varies_where_the_difference_does_not():
    result = noninferiority([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert result.t == pytest.approx(t_by_hand([0.03, 0.06, 0.09]))
    assert math.isnan(noninferiority([0.9] * 3, [0.9] * 3).p)


def test_as_the_notebooks_had_it():
    lora = {"sst2": LORA, "rte": GROUP1[:5], "mrpc": [1.0, 2.0, 3.0]}
    full = {"sst2": FULL, "rte": GROUP2[:5], "mrpc": [1.0, 2.0, 3.0]}
    result = adjust({task: paired_t(lora[task], full[task]).p for task in lora})
    assert list(result) == ["sst2", "rte", "mrpc"]
    p = stats.ttest_rel(lora["rte"], full["rte"]).pvalue
    assert result["rte"].bonferroni == pytest.approx(min(1, 3 * p))
    spread = math.sqrt((np.var(lora["rte"], ddof=1) + np.var(full["rte"], ddof=1)) / 2)
    expected = (np.mean(lora["rte"]) - np.mean(full["rte"])) / spread
    assert pooled_d(lora["rte"], full["rte"]).d == pytest.approx(expected)
    assert result["mrpc"].bonferroni == 1  # no spread, no test


@pytest.mark.parametrize(
    ("test", "args", "message"),
    [
        (paired_t, ([1, 2, 3], [1, 2]), "a value for the same seeds, got 3 and 2"),
        (paired_t, ([1, 2], [1, math.inf]), "control must be finite numbers"),
        (noninferiority, (LORA, FULL, 3), r"margin must be in \(0, 1\), got 3"),
        (noninferiority, ([0.1, 0.2], [-0.4, -0.6]), "control must be positive .* got -0.5"),
        (equivalence, (LORA, FULL, 0.1, -0.1), "low must be below high, got 0.1 and -0.1"),
        (adjust, ({"a": 0.5, "b": 1.5},), r"the p-value of b must be in \[0, 1\], got 1.5"),
    ],
)
def test_errors_of_paired_tests(test, args, message):
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


def test_a_planned_test_without_result_counts_as_1():
    result = adjust({"a": 0.01, "b": math.nan, "c": 0.02})
    assert (result["a"].holm, result["c"].holm, result["b"].p) == pytest.approx((0.03, 0.04, 1))
