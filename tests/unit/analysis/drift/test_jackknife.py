"""The jackknife against sums done by hand, and CKA's closed form against recomputation."""

import numpy as np
import pytest
import torch

from loradrift.analysis.drift.jackknife import cka_distance_replicates, jackknife_variance
from loradrift.similarity.functional.cka import cka, cka_distance
from loradrift.similarity.functional.gram import linear_gram


def replicates(x, y):
    return cka_distance_replicates(*(linear_gram(torch.tensor(side.copy())) for side in (x, y)))


def without_each(x, y):
    def distance(i):
        keep = np.arange(len(x)) != i
        return cka_distance(torch.from_numpy(x[keep]), torch.from_numpy(y[keep]))

    return np.array([distance(i) for i in range(len(x))])


@pytest.mark.parametrize(
    ("n", "d", "noise", "dtype", "rel"),
    [
        (5, 3, 1.0, np.float64, 1e-9),
        (40, 8, 0.5, np.float64, 1e-9),
        (40, 90, 3.0, np.float64, 1e-9),
        (40, 8, 1e-5, np.float64, 1e-6),  # a drift of 1e-10
        (60, 200, 0.3, np.float32, 1e-5),
        (60, 200, 1e-3, np.float32, 1e-3),
    ],
)
def test_cka_without_each_row(n, d, noise, dtype, rel):
    rng = np.random.default_rng(n + d)
    x = (rng.normal(size=(n, d)) + 30).astype(dtype)
    y = (x + noise * rng.normal(size=(n, d))).astype(dtype)
    np.testing.assert_allclose(replicates(x, y), without_each(x, y), rtol=rel, atol=1e-14)


def test_cka_of_unrelated_equal_or_constant_sides_without_each_row():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 7)), rng.normal(size=(30, 50)) ** 3
    found = replicates(x, y)
    for same in (without_each(x, y), replicates(y, x), replicates(x[::-1], 7 * y[::-1] + 1)[::-1]):
        np.testing.assert_allclose(found, same, rtol=1e-9)
    x = np.random.default_rng(1).normal(size=(20, 6))
    np.testing.assert_array_equal(replicates(x, x), np.zeros(20))
    assert np.isnan(replicates(np.ones((20, 4)), x)).all()


def test_errors():
    x = np.random.default_rng(3).normal(size=(8, 3))
    with pytest.raises(ValueError, match="same rows and at least 5, got 8 and 7"):
        replicates(x, x[1:])
    with pytest.raises(ValueError, match="same rows and at least 5, got 4 and 4"):
        replicates(x[:4], x[:4])
    with pytest.raises(ValueError, match="replicates must be finite numbers"):
        jackknife_variance([0.1, np.nan])


def test_of_a_mean_it_is_the_textbook_variance_and_else_the_sum_written_out():
    x = np.random.default_rng(4).normal(size=50)
    variance = jackknife_variance([np.delete(x, i).mean() for i in range(50)])
    assert variance.value == pytest.approx(x.var(ddof=1) / 50, rel=1e-10)
    assert variance.df == 49
    x = np.random.default_rng(5).exponential(size=60)
    left_out = np.array([np.median(np.delete(x, i)) for i in range(60)])
    expected = 59 / 60 * np.square(left_out - left_out.mean()).sum()
    assert jackknife_variance(left_out).value == pytest.approx(expected, rel=1e-10)


def test_it_finds_the_spread_of_cka_over_draws_of_rows():
    rng = np.random.default_rng(7)
    draws = []
    for _ in range(300):
        x = rng.normal(size=(120, 10))
        draws.append((x, x + 1.5 * rng.normal(size=(120, 10))))
    values = [1 - cka_distance(*map(torch.from_numpy, pair)) for pair in draws]
    estimated = [jackknife_variance(replicates(*pair)).value for pair in draws[:60]]
    assert np.mean(estimated) == pytest.approx(np.var(values), rel=0.25)


def test_rows_drawn_with_repetition_inflate_cka():
    rng = np.random.default_rng(8)
    x, y = (torch.from_numpy(rng.normal(size=(100, 400))) for _ in range(2))
    rows = torch.from_numpy(rng.integers(0, 100, 100))
    assert abs(cka(x, y)) < 0.1
    assert cka(x[rows], y[rows]) > 0.5
