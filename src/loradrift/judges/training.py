"""A trait's regression, fitted, and its agreement on answers to questions held out."""

# Shape suffixes: N answers.

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np

from loradrift.config import UserError
from loradrift.judges.config import ClassifierConfig
from loradrift.judges.features import Floats, Vocabulary, fit_vocabulary, terms, tfidf
from loradrift.judges.logistic import Logistic, fit_logistic, predict
from loradrift.statistics import Agreement, agreement


class Rated(NamedTuple):
    """An answer with both scores of its own judge, 0 to 100."""

    question: str
    answer: str
    score: float
    coherence: float
    told: str
    """What the model was told: a trait and ``pos`` or ``neg``."""


class TraitModel(NamedTuple):
    """Scores one trait."""

    vocabulary: Vocabulary
    logistic: Logistic

    def scores(self, answers: Sequence[Sequence[str]]) -> Floats:
        """Scores from 0 to 100 (N,), from the terms of answers."""
        return 100 * predict(self.logistic, tfidf(self.vocabulary, answers))


def folds_of(questions: Sequence[str], count: int, rng: Random, where: str) -> np.ndarray[Any, Any]:
    """A fold for each answer, (N,): all answers to a question are in the same.

    Raises:
        UserError: If there are fewer questions than folds.
    """
    names = sorted(set(questions))
    if len(names) < count:
        raise UserError(
            f"judge.folds must be at most {len(names)}, the questions of {where}, got {count}"
        )
    rng.shuffle(names)
    fold = {name: place % count for place, name in enumerate(names)}
    return np.array([fold[each] for each in questions])


def fit_trait(
    config: ClassifierConfig, trait: str, answers: Sequence[Rated]
) -> tuple[TraitModel, dict[str, Any]]:
    """Fit one trait's regression to its judge's scores; also, how it does on held-out questions."""
    terms_of = [terms(each.answer, config.tokens) for each in answers]
    questions = [each.question for each in answers]
    scores_N = np.array([each.score for each in answers])
    fold_N = folds_of(questions, config.folds, Random(f"{config.seed}/{trait}"), trait)
    held_N = np.empty(len(answers))
    for fold in range(config.folds):
        inside, outside = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
        model = _fitted([terms_of[i] for i in inside], scores_N[inside], config.ridge)
        held_N[outside] = model.scores([terms_of[i] for i in outside])
    found = agreement(held_N, scores_N, questions, np.random.default_rng(config.seed))
    facts = {"answers": len(answers), "questions": len(set(questions)), **agreement_facts(found)}
    return _fitted(terms_of, scores_N, config.ridge), facts


def _fitted(answers: Sequence[Sequence[str]], scores_N: Floats, ridge: float) -> TraitModel:
    vocabulary = fit_vocabulary(answers)
    logistic = fit_logistic(tfidf(vocabulary, answers), scores_N / 100, ridge)
    return TraitModel(vocabulary, logistic)


def agreement_facts(found: Agreement) -> dict[str, Any]:
    """Figure -> estimate and interval, as JSON can hold them."""
    return {
        name: {key: None if np.isnan(value) else value for key, value in each._asdict().items()}
        for name, each in found._asdict().items()
    }
