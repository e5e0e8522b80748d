"""Answers to SQuAD v2 without training: never, the most frequent one, or any words."""

import random
from collections import Counter
from collections.abc import Sequence

from loradrift.data import Question, evaluate_squad
from loradrift.tasks.spec import Outcome
from loradrift.tasks.squad_v2.module import answer_line, official_files, shares

LONGEST = 5
"""Words in a random answer."""


def predict_answers(
    kind: str, seed: int, train: Sequence[Question], questions: Sequence[Question]
) -> Outcome:
    """Official figures, as shares, of ``abstain``, ``majority`` or ``random``.

    ``majority`` gives the training split's most frequent answer, of which none is one. ``random``
    abstains as often as the training split, and else takes any words that follow each other.
    """
    match kind:
        case "abstain":
            guesses = [("", 1.0)] * len(questions)
        case "majority":
            counts = Counter(q.answers[0].text if q.answers else "" for q in train)
            answer = counts.most_common(1)[0][0]
            guesses = [(answer, float(not answer))] * len(questions)
        case "random":
            share = sum(not question.answers for question in train) / len(train)
            draw = random.Random(f"{seed} {len(questions)}")
            guesses = [_any_words(draw, question, share) for question in questions]
        case _:
            raise AssertionError(f"no baseline is called {kind}")
    guessed = list(zip(questions, guesses, strict=True))
    answers = {question.id: answer for question, (answer, _) in guessed}
    unanswerable = {question.id: probability for question, (_, probability) in guessed}
    return Outcome(
        shares(evaluate_squad(questions, answers, None).figures),
        [answer_line(question, *guess) for question, guess in guessed],
        official_files(answers=answers, spans=answers, unanswerable=unanswerable),
    )


def _any_words(draw: random.Random, question: Question, share: float) -> tuple[str, float]:
    """An answer, "" for none, and the probability that there is none."""
    chance = draw.random()
    words = question.context.split()
    start = draw.randrange(len(words))
    answer = " ".join(words[start : start + draw.randint(1, LONGEST)])
    return "" if chance < share else answer, 1 - chance
