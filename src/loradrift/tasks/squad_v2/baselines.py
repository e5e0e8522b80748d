"""Answers to SQuAD v2 without training: never, the most frequent one, or any words."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from loradrift.data import Question, evaluate_squad
from loradrift.tasks.spec import Outcome
from loradrift.tasks.squad_v2.module import answer_line, official_files, shares

LONGEST = 5
"""Words in a random answer."""


class Guess(NamedTuple):
    """An answer, "" for none, and the probability that there is none."""

    answer: str
    unanswerable: float


def predict_answers(
    kind: str, seed: int, train: Sequence[Question], questions: Sequence[Question]
) -> Outcome:
    """Official figures, as shares, of ``abstain``, ``majority`` or ``random``."""
    guesses = guess(kind, seed, train, questions)
    answers = {name: each.answer for name, each in guesses.items()}
    unanswerable = {name: each.unanswerable for name, each in guesses.items()}
    return Outcome(
        shares(evaluate_squad(questions, answers, None).figures),
        [answer_line(each, *guesses[each.id]) for each in questions],
        official_files(answers=answers, spans=answers, unanswerable=unanswerable),
    )


def guess(
    kind: str, seed: int, train: Sequence[Question], questions: Sequence[Question]
) -> dict[str, Guess]:
    """A guess for each question, by its id.

    ``majority`` gives the training split's most frequent answer, of which none is one. ``random``
    abstains as often as the training split, and else takes any words that follow each other.
    """
    match kind:
        case "abstain":
            return {question.id: Guess("", 1.0) for question in questions}
        case "majority":
            counts = Counter(q.answers[0].text if q.answers else "" for q in train)
            answer = counts.most_common(1)[0][0]
            return {question.id: Guess(answer, float(not answer)) for question in questions}
        case "random":
            share = sum(not question.answers for question in train) / len(train)
            draw = random.Random(f"{seed} {len(questions)}")
            return {question.id: _any_words(draw, question, share) for question in questions}
        case _:
            raise AssertionError(f"no baseline is called {kind}")


def _any_words(draw: random.Random, question: Question, share: float) -> Guess:
    chance = draw.random()
    words = question.context.split()
    start = draw.randrange(len(words))
    answer = " ".join(words[start : start + draw.randint(1, LONGEST)])
    return Guess("" if chance < share else answer, 1 - chance)
