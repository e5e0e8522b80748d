"""Effect sizes: known factors, an unbiased mean, and intervals that solve their own equation."""

import math

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics import hedges_factor, paired_d, pooled_d

LORA, FULL = [0.83, 0.82, 0.81, 0.84, 0.82], [0.84, 0.83, 0.82, 0.83, 0.87]


def test_the_factor():
    assert hedges_factor(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert hedges_factor(4) == pytest.approx(math.sqrt(2 / math.pi))
    assert hedges_factor(10) == pytest.approx(math.gamma(5) / math.sqrt(5) / math.gamma(4.5))
    assert hedges_factor(200) == pytest.approx(1 - 3 / (4 * 200 - 1), abs=1e-5)
    assert math.isnan(hedges_factor(1))
    two = paired_d([1.0, 2.0], [0.5, 1.0])  # no correction
    assert math.isnan(two.g) and math.isfinite(two.d)


def test_each_has_its_own_degrees_of_freedom():
    z, pooled = paired_d(LORA, FULL), pooled_d(LORA, FULL)
    differences = np.array(LORA) - np.array(FULL)
    assert z.d == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert (z.df, pooled.df) == (4, 8)
    assert z.g == pytest.approx(hedges_factor(4) * z.d)
    spread = math.sqrt((np.var(LORA, ddof=1) + np.var(FULL, ddof=1)) / 2)
    assert pooled.d == pytest.approx(differences.mean() / spread)
    assert pooled.g == pytest.approx(hedges_factor(8) * pooled.d)


def test_intervals_put_the_value_at_their_tails():
    for effect, scale in ((paired_d(LORA, FULL), 5**0.5), (pooled_d(LORA, FULL, 0.9), 2.5**0.5)):
        tail = (1 - effect.confidence) / 2
        t = effect.d * scale
        assert stats.nct.cdf(t, effect.df, effect.low * scale) == pytest.approx(1 - tail, abs=1e-6)
        assert stats.nct.cdf(t, effect.df, effect.high * scale) == pytest.approx(tail, abs=1e-6)


@pytest.mark.parametrize("num_seeds", [3, 5])
def test_unbiased_and_covering(num_seeds):
    rng = np.random.default_rng(num_seeds)
    lora = rng.normal(1.0, 1.0, (2000, num_seeds))
    zeros, full = np.zeros_like(lora), rng.normal(0.0, 1.0, lora.shape)
    for effect, other in ((paired_d, zeros), (pooled_d, full)):
        results = [effect(x, y) for x, y in zip(lora, other, strict=True)]
        covered = np.mean([r.low <= 1 <= r.high for r in results])
        assert covered == pytest.approx(0.95, abs=3.5 * math.sqrt(0.05 * 0.95 / 2000))
        assert len(results) == 2000 and results[0].note == ""
        if results[0].df > 2:  # with 2 the mean exists, its Monte Carlo error does not
            g = np.array([r.g for r in results])
            assert g.mean() == pytest.approx(1, abs=4 * g.std() / math.sqrt(2000))


@pytest.mark.parametrize("values", [([0.4], [0.5]), ([0.4] * 3, [0.5] * 3), ([0.3], [0.1 + 0.2])])
def test_nothing_to_divide_by(values):
    for effect in (paired_d(*values), pooled_d(*values)):
        assert all(map(math.isnan, (effect.d, effect.g, effect.low, effect.high)))
        assert effect.note
    assert math.isnan(paired_d([1.1, 2.1, 3.1], [1.0, 2.0, 3.0]).d)


@pytest.mark.parametrize("effect", [paired_d, pooled_d])
def test_order_sign_scale_and_errors(effect):
    a, b = effect(LORA, FULL), effect(100 * np.array(FULL[::-1]), 100 * np.array(LORA[::-1]))
    assert (b.d, b.low, b.high) == pytest.approx((-a.d, -a.high, -a.low), rel=1e-6)
    with pytest.raises(ValueError, match="a value for the same seeds, got 2 and 1"):
        effect([1, 2], [1])
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 1"):
        effect([1, 2], [2, 4], confidence=1)
