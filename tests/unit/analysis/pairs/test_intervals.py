"""A sample's metrics against those of its pairs written out; scipy's bootstrap; coverage."""

import numpy as np
import pytest
from scipy import stats

from loradrift.analysis.pairs.intervals import INTERVALS, bootstrap, sample_metrics
from loradrift.analysis.pairs.metrics import measure


def two_models(seed: int, size: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of two models that share what is hard about a pair; the second is better."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 2 / 3).astype(float)
    labels[:2] = 0, 1
    hard = rng.normal(size=size)
    first, second = (gain * labels + hard + 0.6 * rng.normal(size=size) for gain in (0.8, 1.1))
    return first, second, labels


def intervals(first, second, labels, seed: int = 0, num_resamples: int = 400):
    sides = [(scores, measure(scores, labels)) for scores in (first, second)]
    return bootstrap(*sides, labels, np.random.default_rng(seed), num_resamples)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("classes", [True, False])
def test_a_sample_has_the_metrics_of_its_pairs_written_out(ties, classes):
    scores, _, labels = two_models(1, 30)
    scores = scores.round(1) if ties else scores
    if not classes:
        labels = np.random.default_rng(2).integers(0, 6, 30).astype(float)
    chosen = np.random.default_rng(3).integers(30, size=(20, 30))
    chosen[0] = range(30)  # the whole: each pair once
    threshold = measure(scores, labels).threshold
    samples = scores[chosen], labels[chosen]
    found = sample_metrics(*samples, stats.rankdata(samples[1], axis=1), threshold)
    for row, x, y in zip(found, *samples, strict=True):
        expected = measure(x, y)
        assert row[:2].tolist() == pytest.approx([expected.spearman, expected.pearson])
        if classes:
            right = ((x >= threshold) == (y == 1)).mean()
            assert row[2:].tolist() == pytest.approx([expected.roc_auc, right])
        else:
            assert np.isnan(row[2:]).all()


def test_the_difference_is_scipys_paired_bootstrap():
    first, second, labels = two_models(5, 80)

    def gain(x, y, z):
        return np.corrcoef(y, z)[0, 1] - np.corrcoef(x, z)[0, 1]

    theirs = stats.bootstrap(
        (first, second, labels), gain, paired=True, vectorized=False, n_resamples=2000,
        method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    found = intervals(first, second, labels, num_resamples=4000)
    ours = found.difference["pearson"]
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.015)
    widths = [each["pearson"].high - each["pearson"].low for each in found]
    assert widths[2] < 0.8 * np.hypot(widths[0], widths[1])  # what is hard for both cancels


def test_equal_seeds_give_equal_intervals_in_chunks_of_any_size(monkeypatch):
    models = two_models(6)
    first = intervals(*models)
    assert first == intervals(*models) and first != intervals(*models, seed=1)
    monkeypatch.setattr("loradrift.analysis.pairs.intervals.CELLS", 700)
    again = intervals(*models)
    for name in INTERVALS:
        assert again.difference[name] == pytest.approx(first.difference[name])


def test_a_model_against_itself_differs_by_nothing_and_no_resample_is_refused():
    scores, _, labels = two_models(7)
    found = intervals(scores, scores.copy(), labels)
    assert set(found.difference.values()) == {(0.0, 0.0)}
    assert found.baseline == found.adapter
    with pytest.raises(ValueError, match="num_resamples must be positive, got 0"):
        intervals(scores, scores, labels, num_resamples=0)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    first, second, labels = two_models(0, 400_000)
    truth = {
        name: measure(second, labels).figures[name] - measure(first, labels).figures[name]
        for name in INTERVALS
    }
    hits = dict.fromkeys(INTERVALS, 0)
    for seed in range(1, 101):
        found = intervals(*two_models(seed, 80), seed=seed, num_resamples=300).difference
        for name, (low, high) in found.items():
            hits[name] += low <= truth[name] <= high
    assert all(0.88 <= count / 100 <= 1 for count in hits.values()), hits


@pytest.mark.parametrize(
    ("scores", "labels", "undefined"),
    [
        (np.arange(20), [1] * 20, {"spearman", "pearson", "roc_auc"}),
        ([0.5] * 19 + [0.5 + 1e-16], [0, 1] * 10, {"spearman", "pearson"}),
        (np.arange(20), np.arange(20) % 6, {"roc_auc", "accuracy"}),
        ([0.5], [1], {"spearman", "pearson", "roc_auc"}),
        # a third of the samples has no 0
        (np.arange(20), [0] + [1] * 19, {"spearman", "pearson", "roc_auc"}),
    ],
)
def test_what_is_not_defined_has_no_interval(scores, labels, undefined):
    scores, labels = np.array(scores, dtype=float), np.array(labels, dtype=float)
    found = intervals(scores, scores.copy(), labels)
    assert {name for name, each in found.baseline.items() if np.isnan(each).any()} == undefined
    assert {name for name, each in found.difference.items() if np.isnan(each).all()} == undefined
