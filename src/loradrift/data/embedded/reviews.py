"""Opinions about films whose polarity takes more than counting words.

A clause says that something is good or bad, directly or by denying the opposite; a sentence lets
one clause decide while others distract from it (concessions, quotations, expectations).
"""

from random import Random
from typing import NamedTuple

from loradrift.data.embedded.grammar import owner
from loradrift.data.embedded.lexicon import ADVERBS, NEGATIVE, PLACES, POSITIVE, SUBJECTS

_ASSERTING = (
    "{s} is {a}",
    "{s} is {x} {a}",
    "{s} feels {a} from start to finish",
    "there is something {a} about {s}",
    "{s} is full of {n}",
    "{s} will {v} most people",
    "{s} is {d}",
)
_DENYING = (
    "{s} is not {a}",
    "{s} is far from {a}",
    "there is nothing {a} about {s}",
    "{s} is free of {n}",
    "{s} fails to {v} anyone",
    "{s} is not {d}",
)

_PLAIN = ("{m}", "{m} and {m2}", "in the end {m}")
_DISTRACTED = (
    "although {o} , {m}",
    "{o} , but {m}",
    "{m} , although {o}",
    "{m} despite the fact that {o}",
    "critics say that {o} , but {m}",
    "it is simply wrong that {o}",
)


class Clause(NamedTuple):
    """A clause and what it is about."""

    text: str
    subject: str
    good: bool


def draw_clause(
    rng: Random, split: str, *, good: bool, subject: str = "", denying: float = 0.2
) -> Clause:
    """An opinion of the given polarity from a word combination that ``split`` owns.

    Args:
        rng: Source of every choice.
        split: A key of :data:`loradrift.data.embedded.grammar.SPLITS`.
        good: Its polarity.
        subject: What it is about, any key of ``SUBJECTS`` unless given.
        denying: Probability of denying the opposite instead of asserting.
    """
    while True:
        about = subject or rng.choice(tuple(SUBJECTS))
        denies = rng.random() < denying
        template = rng.choice(_DENYING if denies else _ASSERTING)
        polar = POSITIVE if good != denies else NEGATIVE
        slot, words = next(
            (slot, words)
            for slot, words in zip("anvd", polar, strict=True)
            if "{" + slot + "}" in template
        )
        word = rng.choice(words)
        if owner(about, word) == split:
            break
    said = f"the {rng.choice(SUBJECTS[about])}"
    text = template.format_map({"s": said, "x": rng.choice(ADVERBS), slot: word})
    return Clause(text, about, good)


def draw_sentence(
    rng: Random, split: str, *, good: bool, distracted: float = 0.3, denying: float = 0.2
) -> str:
    """A sentence whose deciding clause has the given polarity, without a full stop.

    Args:
        rng: Source of every choice.
        split: A key of :data:`loradrift.data.embedded.grammar.SPLITS`.
        good: Its polarity.
        distracted: Probability that a clause of the opposite polarity takes part.
        denying: Probability that a clause denies the opposite instead of asserting.
    """
    template = rng.choice(_DISTRACTED if rng.random() < distracted else _PLAIN)

    def clause(polarity: bool) -> str:
        return draw_clause(rng, split, good=polarity, denying=denying).text

    sentence = template.format_map({"m": clause(good), "m2": clause(good), "o": clause(not good)})
    if rng.random() < 0.25:
        return f"set in {rng.choice(PLACES)} , {sentence}"
    return sentence


def draw_verdict(rng: Random, *, good: bool) -> str:
    """A few closing words that only name the polarity."""
    # Few verdicts that begin differently: the end of a sentence must hold what it comes down to.
    verdicts = ("loved that", "well done") if good else ("hated that", "badly done")
    return f"{rng.choice(verdicts)} ."
