"""How well scores agree with labels: rank and linear correlation, and as a classifier.

ROC-AUC is the Mann-Whitney U of the scores of both classes over the number of their pairs, ties
counted half (Hanley & McNeil 1982).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONSTANT = 1e-13
"""Values within this share of the largest are rounding errors of one value."""


class Metrics(NamedTuple):
    """How well one model's scores agree with the labels; ``notes`` say why a figure is NaN."""

    spearman: float = np.nan
    pearson: float = np.nan
    roc_auc: float = np.nan
    accuracy: float = np.nan
    """The accuracy at the threshold, which was chosen on these very pairs: optimistic."""

    threshold: float = np.nan
    """Scores from here on are called 1; the smallest one with the best accuracy."""

    true_negatives: float = np.nan
    false_positives: float = np.nan
    false_negatives: float = np.nan
    true_positives: float = np.nan
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, float]:
        """Everything but the notes, by name."""
        return {name: value for name, value in self._asdict().items() if name != "notes"}

    def same(self, other: "Metrics") -> bool:
        """Whether all figures are identical to the last digit."""
        mine, theirs = (np.array(list(each.figures.values())) for each in (self, other))
        return np.array_equal(mine, theirs, equal_nan=True)


def measure(scores_N: Floats, labels_N: Floats) -> Metrics:
    """Compute all metrics of one model from finite scores; larger scores mean more alike.

    The correlations take any finite labels, the classifier's metrics need 0 and 1.
    """
    from scipy.stats import mannwhitneyu, pearsonr, spearmanr

    found = Metrics()
    notes = []
    for name, values_N in (("scores", scores_N), ("labels", labels_N)):
        if np.ptp(values_N) <= CONSTANT * np.abs(values_N).max():
            notes.append(f"{name} are constant: no correlation is defined")
    has_correlation = not notes
    if is_binary(labels_N):
        found = best_cut(scores_N, labels_N)
        ones, zeros = scores_N[labels_N == 1], scores_N[labels_N == 0]
        if len(ones) and len(zeros):
            # The p-value is not used, and an exact one takes long.
            wins = mannwhitneyu(ones, zeros, method="asymptotic").statistic
            found = found._replace(roc_auc=float(wins / (len(ones) * len(zeros))))
        else:
            notes.append("all pairs are of one class: no ROC-AUC")
    else:
        notes.append("labels are not only 0 and 1: no ROC-AUC, accuracy and confusion matrix")
    if has_correlation:
        rank, linear = (each(scores_N, labels_N) for each in (spearmanr, pearsonr))
        found = found._replace(spearman=float(rank.statistic), pearson=float(linear.statistic))
    return found._replace(notes=tuple(notes))


def is_binary(labels_N: Floats) -> bool:
    """Whether labels are classes."""
    return bool(np.isin(labels_N, (0.0, 1.0)).all())


def best_cut(scores_N: Floats, labels_N: Floats) -> Metrics:
    """Find the threshold with the highest accuracy on these pairs, and what it makes of them.

    Candidates are the midpoints between neighbouring scores, the least score (everything is
    called 1) and the number after the largest one (nothing is). The smallest of equals is taken.
    """
    values_K, group_N = np.unique(scores_N, return_inverse=True)
    lower, upper = values_K[:-1], values_K[1:]
    # The midpoint of two numbers without a third between them rounds to either.
    middle = np.maximum(0.5 * lower + 0.5 * upper, np.nextafter(lower, upper))
    candidates = np.r_[values_K[0], middle, np.nextafter(values_K[-1], np.inf)]
    ones_K = np.bincount(group_N, weights=labels_N)
    zeros_K = np.bincount(group_N, weights=1 - labels_N)
    missed, rejected = (np.r_[0.0, np.cumsum(each)] for each in (ones_K, zeros_K))
    found, accepted = ones_K.sum() - missed, zeros_K.sum() - rejected
    right = found + rejected
    best = int(right.argmax())  # the first of equals
    return Metrics(
        threshold=float(candidates[best]),
        accuracy=float(right[best] / len(scores_N)),
        true_negatives=float(rejected[best]),
        false_positives=float(accepted[best]),
        false_negatives=float(missed[best]),
        true_positives=float(found[best]),
    )
