"""Answers to SQuAD v2 without training: never, the most frequent one, or any words."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loradrift.config import Config
from loradrift.data import Question, evaluate_squad
from loradrift.tasks import shares
from loradrift.training.predictions import write_answers
from loradrift.training.prepared_data import PreparedData

LONGEST = 5
"""Words in a random answer."""


class Guess(NamedTuple):
    """An answer, "" for none, and the probability that there is none."""

    answer: str
    unanswerable: float


def predict_answers(config: Config, folder: Path, data: PreparedData) -> dict[str, float]:
    """Evaluate ``abstain``, ``majority`` or ``random``; writes the evaluation split's predictions.

    Returns:
        Official figures, as shares, of the validation and the reported questions.
    """
    metrics: dict[str, float] = {}
    for split in ("validation", "evaluation"):
        questions: list[Question] = getattr(data.splits, split)
        guesses = guess(config, data.splits.train, questions)
        answers = {name: each.answer for name, each in guesses.items()}
        figures = evaluate_squad(questions, answers, None).figures
        metrics |= {f"{split}/{name}": value for name, value in shares(figures).items()}
    unanswerable = {name: each.unanswerable for name, each in guesses.items()}
    write_answers(folder, questions, answers=answers, spans=answers, unanswerable=unanswerable)
    return metrics


def guess(
    config: Config, train: Sequence[Question], questions: Sequence[Question]
) -> dict[str, Guess]:
    """A guess for each question, by its id.

    ``majority`` gives the training split's most frequent answer, of which none is one. ``random``
    abstains as often as the training split, and else takes any words that follow each other.
    """
    share = sum(not question.answers for question in train) / len(train)
    match config.method.name:
        case "abstain":
            return {question.id: Guess("", 1.0) for question in questions}
        case "majority":
            counts = Counter(q.answers[0].text if q.answers else "" for q in train)
            answer = counts.most_common(1)[0][0]
            return {question.id: Guess(answer, float(not answer)) for question in questions}
        case "random":
            draw = random.Random(f"{config.seed} {len(questions)}")
            return {question.id: _any_words(draw, question, share) for question in questions}
        case name:
            raise AssertionError(f"no baseline is called {name}")


def _any_words(draw: random.Random, question: Question, share: float) -> Guess:
    chance = draw.random()
    words = question.context.split()
    start = draw.randrange(len(words))
    answer = " ".join(words[start : start + draw.randint(1, LONGEST)])
    return Guess("" if chance < share else answer, 1 - chance)
