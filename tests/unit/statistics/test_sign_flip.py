"""Sign-flip tests against brute force, scipy and Fisher's own example."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loradrift.statistics import least_p, max_t, sign_flip

DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Cross- minus self-fertilised plants, Fisher 1935, section 17."""

SIDES = ("two-sided", "greater", "less")


def brute_force(values, mu0, alternative):
    shifted = np.asarray(values, float) - mu0
    sums = [np.dot(s, shifted) for s in itertools.product([-1, 1], repeat=len(shifted))]
    observed, sums = shifted.sum(), np.array(sums)
    if alternative == "two-sided":
        observed, sums = abs(observed), np.abs(sums)
    sign = -1 if alternative == "less" else 1
    return (sign * sums >= sign * observed - 1e-9).mean()


def test_fisher_counted_1726_of_32768():
    result = sign_flip(DARWIN)
    assert result.p == 1726 / 2**15
    assert result.estimate == pytest.approx(20.93, abs=0.005)
    assert sign_flip(DARWIN, alternative="greater").p == 863 / 2**15


@settings(max_examples=60, deadline=None)
@given(
    # quarters add up without rounding, and meet in many ties
    values=st.lists(st.integers(-12, 12).map(lambda i: i / 4), min_size=1, max_size=9),
    mu0=st.sampled_from([0.0, 0.5, -1.0]),
)
@pytest.mark.parametrize("alternative", SIDES)
def test_all_patterns_counted_one_by_one(alternative, values, mu0):
    expected = brute_force(values, mu0, alternative)
    assert sign_flip(values, mu0, alternative).p == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("alternative", SIDES)
def test_scipy_gives_the_same(alternative):
    values = np.random.default_rng(1).normal(0.4, 1, 11)
    result = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", alternative=alternative, n_resamples=np.inf
    )
    assert sign_flip(values, 0, alternative).p == pytest.approx(result.pvalue, abs=1e-12)
    # Forty blocks are exact. Sums of equal blocks are binomial.
    values = np.repeat([1.0, -1.0], [28, 12])
    expected = stats.binomtest(28, 40, 0.5, alternative).pvalue
    assert sign_flip(values, 0, alternative).p == pytest.approx(expected, rel=1e-9)


def test_order_sign_and_scale_do_not_matter():
    values = np.random.default_rng(2).normal(0.5, 1, (5, 3))
    p = sign_flip(values).p
    assert [sign_flip(other).p for other in (values[::-1].T, -values, 1e-7 * values)] == [p] * 3
    assert sign_flip(values, alternative="greater").p == sign_flip(-values, alternative="less").p
    assert sign_flip(values + 3, mu0=3).p == pytest.approx(p, abs=1e-12)


def test_equal_differences_reach_the_least_p_and_no_difference_is_no_evidence():
    for n in (1, 3, 9):
        equal = np.full(n, 0.02)
        result = sign_flip(equal)
        assert result.p == result.least_p == least_p(n) == 2.0 ** (1 - n)
        assert sign_flip(equal, alternative="greater").p == least_p(n, "greater") == 2.0**-n
    # 0.1 + 0.2 - 0.3 is not zero in float64
    for side in SIDES:
        result = sign_flip([0.1 + 0.2] * 9, mu0=0.3, alternative=side)
        assert (result.p, result.least_p, result.num_blocks) == (1, 1, 0)
    assert sign_flip([0.0, 0.0, 1.0]).least_p == 1


@pytest.mark.parametrize("side", SIDES)
def test_flips_are_drawn_where_there_are_too_many_to_count(side):
    values = np.random.default_rng(9).normal(0.2, 1, 40)
    counted = sign_flip(values, alternative=side)
    more = np.append(values, [1e-9, -1e-9])  # two blocks that decide nothing
    drawn = sign_flip(more, alternative=side, rng=np.random.default_rng(0))
    assert drawn == sign_flip(more, alternative=side, rng=np.random.default_rng(0))
    assert counted.exact and not drawn.exact
    assert drawn.p == pytest.approx(counted.p, abs=0.006)
    hopeless = sign_flip(np.full(50, 3.0), alternative="greater", rng=np.random.default_rng(0))
    assert hopeless.p == hopeless.least_p == 1 / 100_001


def max_t_brute_force(values):
    def t(x):
        return np.abs(x.mean(0) / (x.std(0, ddof=1) / np.sqrt(len(x))))

    signs = itertools.product([-1, 1], repeat=len(values))
    maxima = np.array([t(np.array(s)[:, None] * values).max() for s in signs])
    return (maxima[:, None] >= t(values) - 1e-9).mean(0)


def test_max_t_counted_one_by_one():
    values = np.random.default_rng(3).normal([0, 0.5, 1, 2, 0], [1, 1, 5, 1, 0.01], (8, 5))
    result = max_t(values)
    np.testing.assert_allclose(result.p_L, max_t_brute_force(values), atol=1e-12)
    np.testing.assert_allclose(result.estimates_L, values.mean(0))
    assert result.exact and result.least_p == 2.0**-7


def test_max_t_pays_for_layers_that_differ_only_and_not_for_their_scale():
    x = np.random.default_rng(5).normal(0.8, 1, (9, 1))
    for side in SIDES:
        assert max_t(x, 0.2, side).p_L[0] == sign_flip(x, 0.2, side).p
    same = np.repeat(x, 22, axis=1)
    np.testing.assert_allclose(max_t(same).p_L, sign_flip(x).p)
    others = np.hstack([x, np.random.default_rng(6).normal(0, 1, (9, 21))])
    assert max_t(others).p_L[0] > sign_flip(x).p
    values = np.random.default_rng(7).normal(0.5, 1, (8, 4))
    for other in (values * [1, 1e6, 1e-6, 3], -values[::-1]):
        np.testing.assert_array_equal(max_t(values).p_L, max_t(other).p_L)
    nothing = np.column_stack([np.ones(6), np.zeros(6)])
    np.testing.assert_array_equal(max_t(nothing).p_L, [2 / 2**6, 1])


def test_max_t_draws_flips_beyond_enumeration():
    values = np.random.default_rng(8).normal(0.25, 1, (24, 6))

    def draw(values, num_flips=20_000):
        return max_t(values, rng=np.random.default_rng(0), num_flips=num_flips)

    drawn, one, hopeless = draw(values), draw(values[:, :1]), draw(values + 100, 99)
    np.testing.assert_array_equal(drawn.p_L, draw(values).p_L)
    assert not drawn.exact and drawn.least_p == 1 / 20_001
    assert one.p_L[0] == pytest.approx(sign_flip(values[:, 0]).p, abs=0.01)
    np.testing.assert_allclose(hopeless.p_L, 1 / 100)


@pytest.mark.parametrize(
    ("test", "values", "message"),
    [
        (sign_flip, [1, np.nan], "values must be finite numbers and at least one, got"),
        (sign_flip, np.arange(1, 42), "rng must be given beyond 40 blocks, got 41 blocks"),
        (max_t, [1, 2, 3], r"values must have shape \(blocks, layers\), got \(3,\)"),
        (max_t, np.ones((21, 2)), "rng must be given beyond 20 blocks, got 21 blocks"),
    ],
)
def test_errors_of_sign_flips(test, values, message):
    with pytest.raises(ValueError, match=message):
        test(values)
