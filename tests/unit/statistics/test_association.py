"""Correlations and AUROC against scipy's, and how clusters are drawn."""

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics.association import auroc, pearson, resample_clusters, spearman


@pytest.mark.parametrize("seed", range(4))
def test_they_are_scipys(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 8, 30).astype(float)  # with ties
    y = x + rng.normal(size=30)
    labels = (y > 4).astype(float)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    wins = stats.mannwhitneyu(x[labels == 1], x[labels == 0]).statistic
    assert auroc(x, labels) == pytest.approx(wins / (labels.sum() * (1 - labels).sum()))


def test_what_is_undefined_is_nan():
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))
    assert np.isnan(spearman([1, 2], [0.3, 0.1 + 0.2]))
    assert np.isnan(auroc([1, 2], [1, 1]))
    with pytest.raises(ValueError, match="one value per point, got 2 and 3"):
        pearson([1, 2], [1, 2, 3])


def test_clusters_stay_together_and_equal_generators_draw_alike():
    clusters = [np.full((size, 2), float(size)) for size in (1, 2, 3)]

    def measure(points):
        sizes, counts = np.unique(points[:, 0], return_counts=True)
        assert (counts % sizes == 0).all()
        return [len(points)]

    drawn = resample_clusters(clusters, measure, np.random.default_rng(0), 300)
    again = resample_clusters(clusters, measure, np.random.default_rng(0), 300)
    np.testing.assert_array_equal(drawn, again)
    assert drawn.mean() == pytest.approx(6, abs=0.3)
    assert (drawn.min(), drawn.max()) == (3, 9)
