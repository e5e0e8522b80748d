"""Running text for language modelling: reviews and reports that say things more than once.

Restatements, consequences and verdicts make a model that predicts the next word keep track of
polarity and of who did what, which is what the classification tasks need later.
"""

from random import Random

from loradrift.data.grammar import Fact, draw_fact, render
from loradrift.data.reviews import draw_sentence, draw_verdict
from loradrift.data.variations import distort_somehow, weaken


def draw_document(rng: Random, split: str) -> str:
    """One document, a review or a report, in the word combinations of ``split``."""
    return _review(rng, split) if rng.random() < 0.45 else _report(rng, split)


def _review(rng: Random, split: str) -> str:
    good = rng.random() < 0.5
    parts = []
    for _ in range(rng.randint(2, 4)):
        parts += [f"{draw_sentence(rng, split, good=good)} .", draw_verdict(rng, good=good)]
    return " ".join(parts)


def _report(rng: Random, split: str) -> str:
    fact = draw_fact(rng, split)
    parts = [f"{render(rng, fact)} ."]
    for _ in range(rng.randint(2, 4)):
        draw = rng.choice((_restatement, _consequence, _rumor, _rumor, _rumor))
        parts.append(draw(rng, fact))
    return " ".join(parts)


def _restatement(rng: Random, fact: Fact) -> str:
    return f"in other words , {render(rng, fact)} ."


def _consequence(rng: Random, fact: Fact) -> str:
    return f"so it follows that {render(rng, weaken(rng, fact))} ."


def _rumor(rng: Random, fact: Fact) -> str:
    right = rng.random() < 0.5
    told = weaken(rng, fact if right else distort_somehow(rng, fact))
    return f"some say that {render(rng, told)} . they are {'right' if right else 'wrong'} ."
