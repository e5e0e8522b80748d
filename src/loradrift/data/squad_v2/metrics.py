"""The official evaluation of SQuAD v2 (Rajpurkar et al. 2018, arXiv:1806.03822), to the last digit.

Figures are in percent, with the official script's names and in its order.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loradrift.data.squad_v2.format import Question

ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
PUNCTUATION = str.maketrans("", "", string.punctuation)


class Evaluation(NamedTuple):
    """Figures, and the ids that do not match."""

    figures: dict[str, float]
    missing: list[str]
    """Questions without a prediction: the official evaluation leaves them out."""

    unknown: list[str]
    """Predictions without a question: it does not look at them."""


class Scores(NamedTuple):
    """Of one question."""

    exact: int
    f1: float


def evaluate(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    na_probs: Mapping[str, float] | None = None,
    threshold: float = 1.0,
) -> Evaluation:
    """Exact match and F1: of all questions, of those with and of those without an answer.

    Args:
        questions: The data set.
        predictions: Question id -> answer, "" for none.
        na_probs: Question id -> probability that it is unanswerable; gives ``best_exact`` and
            ``best_f1`` too, with the thresholds (``_thresh``) that are best on these questions.
        threshold: Above it a question counts as predicted unanswerable.

    Raises:
        ValueError: If no question has a prediction, or a question with one has no ``na_probs``.
    """
    asked = {question.id: question for question in questions}
    missing = [name for name in asked if name not in predictions]
    unknown = [name for name in predictions if name not in asked]
    scored = [name for name in asked if name in predictions]
    if not scored:
        raise ValueError("no question has a prediction")
    raw = {name: score(asked[name], predictions[name]) for name in scored}
    kept = raw
    if na_probs is not None:
        if lost := [name for name in scored if name not in na_probs]:
            raise ValueError(f"{len(lost)} predictions have no na_probs, {lost[0]} among them")
        kept = {
            name: Scores(int(not _gold(asked[name])), float(not _gold(asked[name])))
            if na_probs[name] > threshold
            else scores
            for name, scores in raw.items()
        }
    figures = _averages(kept, scored, "")
    for prefix, answerable in (("HasAns_", True), ("NoAns_", False)):
        names = [name for name in scored if bool(asked[name].answers) == answerable]
        if names:
            figures |= _averages(kept, names, prefix)
    if na_probs is not None:
        figures |= _best(asked, predictions, raw, na_probs)
    return Evaluation(figures, missing, unknown)


def normalize(text: str) -> str:
    """Lower case, without punctuation (ASCII's alone), articles and surplus white space."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def score(question: Question, prediction: str) -> Scores:
    """Exact match and F1 against whichever gold answer gives more."""
    golds = _gold(question) or [""]
    return Scores(
        max(int(normalize(gold) == normalize(prediction)) for gold in golds),
        max(f1(gold, prediction) for gold in golds),
    )


def f1(gold: str, prediction: str) -> float:
    """Harmonic mean of precision and recall over normalised words; no words match only no words."""
    gold_words, words = normalize(gold).split(), normalize(prediction).split()
    if not gold_words or not words:
        return float(gold_words == words)
    same = sum((Counter(gold_words) & Counter(words)).values())
    if same == 0:
        return 0.0
    precision, recall = 1.0 * same / len(words), 1.0 * same / len(gold_words)
    return (2 * precision * recall) / (precision + recall)


def _gold(question: Question) -> list[str]:
    """Gold answers; those of which normalising leaves nothing are none."""
    return [answer.text for answer in question.answers if normalize(answer.text)]


def _averages(scores: Mapping[str, Scores], names: Sequence[str], prefix: str) -> dict[str, float]:
    total = len(names)
    return {
        f"{prefix}exact": 100.0 * sum(scores[name].exact for name in names) / total,
        f"{prefix}f1": 100.0 * sum(scores[name].f1 for name in names) / total,
        f"{prefix}total": total,
    }


def _best(
    asked: Mapping[str, Question],
    predictions: Mapping[str, str],
    scores: Mapping[str, Scores],
    na_probs: Mapping[str, float],
) -> dict[str, float]:
    figures: dict[str, float] = {}
    # The official order: of na_probs' keys, where probabilities are equal.
    order = sorted((name for name in na_probs if name in asked), key=lambda name: na_probs[name])
    for which in ("exact", "f1"):
        current = float(sum(not question.answers for question in asked.values()))
        best, best_threshold = current, 0.0
        for name in order:
            if name not in scores:
                continue
            if asked[name].answers:
                current += getattr(scores[name], which)
            elif predictions[name]:
                current -= 1
            if current > best:
                best, best_threshold = current, na_probs[name]
        figures[f"best_{which}"] = 100.0 * best / len(scores)
        figures[f"best_{which}_thresh"] = best_threshold
    return figures
