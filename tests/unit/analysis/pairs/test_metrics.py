"""Every metric against a formula that shares no code with it; then what leaves it alone."""

from itertools import pairwise

import numpy as np
import pytest

from loradrift.analysis.pairs.metrics import best_cut, measure


def draw(seed: int, size: int = 40, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size).astype(float)
    labels[:2] = 0, 1  # both classes
    scores = np.clip(0.3 * labels + rng.normal(0.4, 0.3, size), -1, 1)
    return (scores.round(1) if ties else scores), labels


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Of ties the mean rank: how many are smaller, and half of the equal ones."""
    smaller = (values[:, None] > values[None, :]).sum(1)
    equal = (values[:, None] == values[None, :]).sum(1)
    return smaller + (equal + 1) / 2


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def count_auc(scores, labels) -> float:
    ones, zeros = scores[labels == 1], scores[labels == 0]
    wins = [(one > zero) + (one == zero) / 2 for one in ones for zero in zeros]
    return sum(wins) / len(wins)


def try_cuts(scores, labels) -> tuple[float, float]:
    values = sorted(set(scores.tolist()))
    middle = [(a + b) / 2 for a, b in pairwise(values)]
    cuts = [values[0], *middle, np.nextafter(values[-1], np.inf)]
    accuracies = [sum((scores >= cut) == (labels == 1)) / len(scores) for cut in cuts]
    best = max(accuracies)
    return min(c for c, a in zip(cuts, accuracies, strict=True) if a == best), best


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_metrics_equal_their_definitions(seed, ties):
    scores, labels = draw(seed, ties=ties)
    grades = np.random.default_rng(seed + 99).uniform(0, 5, len(scores)).round(1)
    found, graded = measure(scores, labels), measure(scores, grades)
    for metrics, y in ((found, labels), (graded, grades)):
        assert metrics.spearman == pytest.approx(correlation(mean_ranks(scores), mean_ranks(y)))
        assert metrics.pearson == pytest.approx(correlation(scores, y))
    assert found.roc_auc == pytest.approx(count_auc(scores, labels))
    threshold, accuracy = try_cuts(scores, labels)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.threshold == pytest.approx(threshold)
    called = scores >= found.threshold
    assert found.true_positives == (called & (labels == 1)).sum()
    assert found.false_positives == (called & (labels == 0)).sum()
    assert found.false_negatives == (~called & (labels == 1)).sum()
    assert found.true_negatives == (~called & (labels == 0)).sum()
    assert not found.notes
    # numbers that are no classes have correlations alone
    others = [graded.roc_auc, graded.accuracy, graded.threshold, graded.true_positives]
    assert np.isnan(others).all()
    [note] = graded.notes
    assert note == "labels are not only 0 and 1: no ROC-AUC, accuracy and confusion matrix"


def test_what_leaves_the_metrics_alone():
    scores, labels = draw(3)
    found, bent = measure(scores, labels), measure(np.exp(3 * scores), labels)
    for name in ("spearman", "roc_auc", "accuracy", "true_positives", "true_negatives"):
        assert getattr(bent, name) == pytest.approx(getattr(found, name)), name
    assert abs(bent.pearson - found.pearson) > 1e-3  # only a straight line leaves it alone
    assert measure(3 * scores - 7, labels).pearson == pytest.approx(found.pearson)
    order = np.random.default_rng(0).permutation(len(scores))
    assert measure(scores[order], labels[order]).figures == pytest.approx(found.figures)
    turned = measure(-scores, labels)
    assert turned.roc_auc == pytest.approx(1 - found.roc_auc)
    assert turned.spearman == pytest.approx(-found.spearman)


def test_a_threshold_is_the_smallest_of_equal_ones_and_may_lie_outside_or_between_neighbours():
    scores, labels = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0])
    cut = best_cut(scores, labels)  # 0.15 and 0.35 both have three right
    assert (cut.threshold, cut.accuracy) == (pytest.approx(0.15), 0.75)
    scores = np.array([0.9, 0.5, 0.7])
    none, every = best_cut(scores, np.zeros(3)), best_cut(scores, np.ones(3))
    assert none.accuracy == every.accuracy == 1
    assert (scores < none.threshold).all() and (scores >= every.threshold).all()
    for first in (0.7, np.nextafter(0.7, 1)):
        second = np.nextafter(first, 1)
        cut = best_cut(np.array([first, second]), np.array([0.0, 1.0]))
        assert cut.accuracy == 1 and first < cut.threshold <= second


@pytest.mark.parametrize(
    ("scores", "labels", "note"),
    [
        ([0.5, 0.5, 0.5], [0, 1, 1], "scores are constant"),
        ([0.5, 0.5 + 1e-16, 0.5], [0, 1, 1], "scores are constant"),
        ([0.1, 0.5, 0.7], [1, 1, 1], "labels are constant"),
        ([0.0, 0.0], [3, 3], "labels are constant"),
        ([0.5], [1], "scores are constant"),
    ],
)
def test_constants_give_nan_and_a_note(scores, labels, note):
    found = measure(np.array(scores), np.array(labels, dtype=float))
    assert np.isnan([found.spearman, found.pearson]).all()
    assert any(note in each for each in found.notes)


def test_one_class_has_no_auc_and_constant_scores_have_one_half():
    assert np.isnan(measure(np.array([0.1, 0.5]), np.ones(2)).roc_auc)
    found = measure(np.full(4, 0.5), np.array([0.0, 1.0, 1.0, 1.0]))
    assert (found.roc_auc, found.accuracy) == (0.5, 0.75)
    assert measure(np.array([0.1, 0.9]), np.array([0.0, 1.0])).roc_auc == 1


def test_same_means_every_digit_and_nan_equals_nan():
    scores, labels = draw(0, ties=False)
    found = measure(scores, labels)
    assert found.same(measure(scores.copy(), labels))
    assert not found.same(found._replace(pearson=float(np.nextafter(found.pearson, 2))))
    assert measure(scores, np.full(40, 3.0)).same(measure(scores, np.full(40, 3.0)))
