"""Running text for language modelling: reviews and reports that say things more than once.

Restatements, consequences and verdicts make a model that predicts the next word keep track of
polarity and of who did what, which is what the classification tasks need later.
"""

from random import Random

from loradrift.data.embedded.grammar import Fact, draw_fact, render
from loradrift.data.embedded.lexicon import VERBS
from loradrift.data.embedded.reviews import draw_sentence, draw_verdict
from loradrift.data.embedded.variations import distort_somehow, weaken

# Mostly what happened: what a verb alone says about the news is learned first, then what a negation
# turns it into. Were both equally frequent, neither could be seen without the other.
_MOODS = ("did", "did", "did", "not", "maybe")


def draw_document(rng: Random, split: str) -> str:
    """One document, a review or a report, in the word combinations of ``split``."""
    return _review(rng, split) if rng.random() < 0.5 else _report(rng, split)


def _review(rng: Random, split: str) -> str:
    good = rng.random() < 0.5
    parts = []
    for _ in range(rng.randint(2, 4)):
        parts += [f"{draw_sentence(rng, split, good=good)} .", draw_verdict(rng, good=good)]
    return " ".join(parts)


def _report(rng: Random, split: str) -> str:
    parts = []
    for _ in range(rng.randint(1, 2)):
        fact = draw_fact(rng, split, moods=_MOODS)
        parts.append(_statement(rng, fact))
        if rng.random() < 0.7:
            parts.append(rng.choice((_restatement, _consequence, _rumor))(rng, fact))
    return " ".join(parts)


def _statement(rng: Random, fact: Fact) -> str:
    """The fact, and what it comes down to."""
    kind = VERBS[fact.verb].kind
    news = "perhaps" if fact.mood == "maybe" else "good" if kind == (fact.mood == "did") else "bad"
    return f"{render(rng, fact)} . {news} news ."


def _restatement(rng: Random, fact: Fact) -> str:
    return f"in other words , {_statement(rng, fact)}"


def _consequence(rng: Random, fact: Fact) -> str:
    return f"so it follows that {_statement(rng, weaken(rng, fact))}"


def _rumor(rng: Random, fact: Fact) -> str:
    right = rng.random() < 0.5
    told = weaken(rng, fact if right else distort_somehow(rng, fact))
    return f"some say that {render(rng, told)} . {'rightly' if right else 'wrongly'} so ."
