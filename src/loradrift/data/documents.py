"""Running text for language modelling: reviews and reports that say things more than once.

Restatements, consequences and verdicts make a model that predicts the next word keep track of
polarity and of who did what, which is what the classification tasks need later.
"""

from random import Random

from loradrift.data.grammar import draw_fact, render
from loradrift.data.reviews import draw_sentence, draw_verdict
from loradrift.data.variations import distort_somehow, weaken


def draw_document(rng: Random, split: str) -> str:
    """One document, a review or a report, in the word combinations of ``split``."""
    return _review(rng, split) if rng.random() < 0.4 else _report(rng, split)


def _review(rng: Random, split: str) -> str:
    good = rng.random() < 0.5
    parts = []
    for _ in range(rng.randint(1, 3)):
        parts.append(f"{draw_sentence(rng, split, good=good)} .")
        parts.append(draw_verdict(rng, good=good))
    return " ".join(parts)


def _report(rng: Random, split: str) -> str:
    parts = []
    for _ in range(rng.randint(1, 2)):
        fact = draw_fact(rng, split)
        parts.append(f"{render(rng, fact)} .")
        match rng.randrange(3):
            case 0:
                parts.append(f"in other words , {render(rng, fact)} .")
            case 1:
                parts.append(f"so it follows that {render(rng, weaken(rng, fact))} .")
            case 2:
                right = rng.random() < 0.5
                told = weaken(rng, fact if right else distort_somehow(rng, fact))
                verdict = "right" if right else "wrong"
                parts.append(f"some say that {render(rng, told)} . they are {verdict} .")
    return " ".join(parts)
