"""Running text for language modelling: reviews and reports that say things more than once.

Restatements, consequences and verdicts make a model that predicts the next word keep track of
polarity and of who did what, which is what the classification tasks need later.
"""

from random import Random

from loradrift.data.grammar import draw_fact, render
from loradrift.data.reviews import draw_clause, draw_sentence, draw_verdict
from loradrift.data.variations import weaken


def draw_document(rng: Random, split: str) -> str:
    """One document, a review or a report, in the word combinations of ``split``."""
    return _review(rng, split) if rng.random() < 0.45 else _report(rng, split)


def _review(rng: Random, split: str) -> str:
    good = rng.random() < 0.5
    parts = []
    for _ in range(rng.randint(1, 3)):
        parts.append(f"{draw_sentence(rng, split, good=good, distracted=0.4)} .")
        if rng.random() < 0.5:
            parts.append(draw_verdict(rng, good=good))
        else:
            parts.append(f"in other words , {draw_clause(rng, split, good=good).text} .")
    parts.append(draw_verdict(rng, good=good))
    return " ".join(parts)


def _report(rng: Random, split: str) -> str:
    parts = []
    for _ in range(rng.randint(1, 2)):
        fact = draw_fact(rng, split)
        parts.append(f"{render(rng, fact)} .")
        parts.append(f"in other words , {render(rng, fact)} .")
        if rng.random() < 0.5:
            parts.append(f"so it follows that {render(rng, weaken(rng, fact))} .")
    return " ".join(parts)
