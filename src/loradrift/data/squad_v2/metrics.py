"""The official SQuAD v2 evaluation (Rajpurkar et al. 2018, arXiv:1806.03822), as functions.

Every figure equals that of ``evaluate-v2.0.py`` to the last digit: sums are Python's own, over
the same numbers in the same order. The average precisions that the script adds when it is asked
for plots (``pr_exact_ap``, ``pr_f1_ap``, ``pr_oracle_ap``) are not computed.

Without a prediction for each question, the script names the questions, leaves them out of the
scores, and then ends in a ``KeyError``. Here the figures are those that it gives on a dataset
without these questions.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loradrift.config import UserError
from loradrift.data.squad_v2.format import Question

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
"""ASCII's alone: curly quotes and dashes stay, as published."""


class Scores(NamedTuple):
    """The scores of each question that has a prediction, by id, in the dataset's order."""

    exact: dict[str, float]
    f1: dict[str, float]


class Evaluation(NamedTuple):
    """What predictions are worth, and which ids do not count."""

    figures: dict[str, float]
    """Official names in the official order; percentages, counts and thresholds."""

    missing: list[str]
    """Questions without a prediction: in no figure."""

    unknown: list[str]
    """Predictions for questions that the dataset does not have: in no figure."""


def evaluate(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    na_probs: Mapping[str, float] | None = None,
    threshold: float = 1.0,
) -> Evaluation:
    """The official figures.

    Args:
        questions: The dataset, in its own order; no id twice.
        predictions: Question id -> answer, "" for none.
        na_probs: Question id -> probability that there is no answer; adds the ``best_…`` figures.
            Equal ones count in the mapping's order, as published.
        threshold: A prediction counts as "" where its probability is larger.

    Returns:
        ``exact``, ``f1`` and ``total``; the same with ``HasAns_`` and with ``NoAns_`` where there
        are such questions; and with ``na_probs``, ``best_exact``, ``best_exact_thresh``,
        ``best_f1`` and ``best_f1_thresh``, which are tuned on the very questions they are of.

    Raises:
        UserError: If no prediction is for one of the questions, or one has no ``na_probs``.
    """
    ids = {question.id for question in questions}
    missing = [question.id for question in questions if question.id not in predictions]
    unknown = [id for id in predictions if id not in ids]
    scored = [question for question in questions if question.id in predictions]
    if not scored:
        raise UserError(
            f"predictions: none of its {len(predictions)} ids is one of the {len(questions)} "
            "questions of the dataset: are both of the same split?"
        )
    if na_probs is not None and (bare := [q.id for q in scored if q.id not in na_probs]):
        raise UserError(f"na_probs lacks {some(bare)}, for which there are predictions")

    scores = score(scored, predictions)
    has_answer = {question.id: bool(question.answers) for question in scored}
    # Without na_probs, the script takes each question for answerable.
    probabilities = na_probs or dict.fromkeys(has_answer, 0.0)
    abstained = {
        id: float(not has) for id, has in has_answer.items() if probabilities[id] > threshold
    }
    final = Scores(*(each | abstained for each in scores))
    figures = _averages(final, list(has_answer), "")
    for prefix, answerable in (("HasAns_", True), ("NoAns_", False)):
        own = [id for id, has in has_answer.items() if has is answerable]
        figures |= _averages(final, own, prefix) if own else {}
    if na_probs is not None:
        for name, values in scores._asdict().items():
            best, at = best_threshold(values, predictions, na_probs, has_answer)
            figures |= {f"best_{name}": best, f"best_{name}_thresh": at}
    return Evaluation(figures, missing, unknown)


def score(questions: Sequence[Question], predictions: Mapping[str, str]) -> Scores:
    """Exact match and F1 of each question's prediction against its nearest gold answer.

    Gold answers that normalise to nothing do not count. Where none is left, "" is the gold answer.
    """
    scores = Scores({}, {})
    for question in questions:
        preds = normalize_answer(predictions[question.id])
        gold = [normalize_answer(answer.text) for answer in question.answers]
        targets = [text for text in gold if text] or [""]
        scores.exact[question.id] = int(preds in targets)
        scores.f1[question.id] = max(_f1(preds.split(), target.split()) for target in targets)
    return scores


def normalize_answer(text: str) -> str:
    """Lower case without ASCII punctuation and articles; one space between words."""
    # Punctuation goes first and leaves no space: "a.m." is one word and no article.
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def best_threshold(
    scores: Mapping[str, float],
    predictions: Mapping[str, str],
    na_probs: Mapping[str, float],
    has_answer: Mapping[str, bool],
) -> tuple[float, float]:
    """The best average score of any threshold, in percent, and the threshold.

    From "no question is answered" on, questions are answered one by one, the surest first. As
    published, a step may fall between equal probabilities, which no threshold separates, and the
    first of equally good ones counts. Ids without a score are passed over.
    """
    current: float = sum(not has for has in has_answer.values())
    best, threshold = current, 0.0
    for id in sorted(na_probs, key=lambda id: na_probs[id]):
        if id not in scores:
            continue
        if has_answer[id]:
            current += scores[id]
        elif predictions[id]:  # before normalisation: a lone "." is an answer here
            current -= 1
        if current > best:
            best, threshold = current, na_probs[id]
    return 100.0 * best / len(scores), threshold


def some(ids: Sequence[str], shown: int = 3) -> str:
    """How many, and the first of them."""
    more = f" and {len(ids) - shown} more" if len(ids) > shown else ""
    return f"{len(ids)} ({', '.join(map(repr, ids[:shown]))}{more})"


def _f1(preds: list[str], target: list[str]) -> float:
    if not preds or not target:
        return int(preds == target)
    common = (Counter(preds) & Counter(target)).total()
    if not common:
        return 0
    precision, recall = common / len(preds), common / len(target)
    return (2 * precision * recall) / (precision + recall)


def _averages(scores: Scores, ids: Sequence[str], prefix: str) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, values in scores._asdict().items():
        figures[f"{prefix}{name}"] = 100.0 * sum(values[id] for id in ids) / len(ids)
    return figures | {f"{prefix}total": len(ids)}
