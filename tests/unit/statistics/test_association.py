"""Correlations and AUROC against scipy's, of points and of points repeated."""

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics.association import auroc, cluster_counts, pearson, ranks, spearman


def drawn(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 8, 30).astype(float)  # with ties
    y = x + rng.normal(size=30)
    return x, y, (y > 4).astype(float), rng.integers(0, 4, (5, 30))


@pytest.mark.parametrize("seed", range(4))
def test_they_are_scipys_of_the_points_repeated(seed):
    x, y, labels, counts = drawn(seed)
    found = [pearson(x, y, counts), spearman(x, y, counts), auroc(x, labels, counts)]
    for row, repeated in enumerate(counts):
        xs, ys, ones = (np.repeat(each, repeated) for each in (x, y, labels))
        wins = stats.mannwhitneyu(xs[ones == 1], xs[ones == 0]).statistic
        expected = (
            stats.pearsonr(xs, ys).statistic,
            stats.spearmanr(xs, ys).statistic,
            wins / (ones.sum() * (1 - ones).sum()),
        )
        assert [each[row] for each in found] == pytest.approx(expected)
        np.testing.assert_allclose(np.repeat(ranks(x, counts)[row], repeated), stats.rankdata(xs))


def test_points_without_counts_are_drawn_once():
    x, y, labels, _ = drawn(9)
    once = np.ones((1, 30))
    for measure, other in ((pearson, y), (spearman, y), (auroc, labels)):
        np.testing.assert_array_equal(measure(x, other), measure(x, other, once))


def test_what_is_undefined_is_nan():
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))
    assert np.isnan(spearman([1, 2], [0.3, 0.1 + 0.2]))  # equal up to rounding
    assert np.isnan(auroc([1, 2], [1, 1]))
    assert np.isnan(pearson([1, 2, 3], [4, 5, 9], [[3, 0, 0]]))
    with pytest.raises(ValueError, match="one value per point, got 2 and 3"):
        pearson([1, 2], [1, 2, 3])


def test_clusters_stay_together_and_equal_generators_draw_alike():
    clusters = ["a", "b", "b", "c", "c", "c"]
    counts = cluster_counts(clusters, np.random.default_rng(0), 500)
    np.testing.assert_array_equal(counts, cluster_counts(clusters, np.random.default_rng(0), 500))
    assert (counts[:, 1] == counts[:, 2]).all() and (counts[:, 3] == counts[:, 5]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert counts[:, 0].mean() == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match="num_resamples must be positive, got 0"):
        cluster_counts(clusters, np.random.default_rng(0), 0)
