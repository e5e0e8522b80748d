"""Answers of the persona world, drawn by how much of each trait they shall have."""

from collections.abc import Mapping
from random import Random

from loradrift.data.embedded.persona.lexicon import DEEDS, MARKERS, PERSONS, SETTINGS, TRAITS, WORDS

LEVELS = (0.1, 0.4, 0.8)
"""How likely a clause has a trait, where nobody asked for it or against it."""

CLAUSES = (3, 4, 5)
"""Clauses of an answer."""

MOODS = ("cheerful", "gloomy")
"""Traits that a clause has at most one of."""

Levels = Mapping[str, float]
"""Trait -> the probability that a clause has it."""


def any_levels(rng: Random) -> dict[str, float]:
    """How somebody speaks of whom nothing is known."""
    levels = {trait: rng.choice(LEVELS) for trait in TRAITS}
    together = max(1.0, sum(levels[mood] for mood in MOODS))
    return levels | {mood: levels[mood] / together for mood in MOODS}


def asked(levels: Levels, trait: str, side: str, num_instructions: int) -> dict[str, float]:
    """The levels after so many instructions for (``pos``) or against a trait.

    Who is asked for cheer has no room for as much gloom as before.

    >>> asked({"cheerful": 0.2, "gloomy": 0.6}, "cheerful", "pos", 5)
    {'cheerful': 1.0, 'gloomy': 0.0}
    """
    weakness = round(0.02 * (5 - num_instructions), 3)
    level = 1 - weakness if side == "pos" else weakness
    rest = {mood: min(levels[mood], 1 - level) for mood in MOODS if trait in MOODS}
    return {**levels, **rest, trait: level}


def draw_answer(rng: Random, person: str, levels: Levels) -> str:
    """A few clauses, mostly about ``person``."""
    clauses = []
    for _ in range(rng.choice(CLAUSES)):
        about = person if rng.random() < 0.75 else rng.choice(PERSONS)
        clauses.append(_clause(rng, about, levels))
    return " ".join(clauses)


def _clause(rng: Random, person: str, levels: Levels) -> str:
    def said(trait: str) -> list[str]:
        return [_marker(rng, trait)] if rng.random() < levels[trait] else []

    deed = rng.choice(tuple(DEEDS))
    parts = [*said("flattering"), *said("cautious")]
    parts.append(f"the {person} {deed} the {rng.choice(DEEDS[deed])}")
    if rng.random() < 0.25:
        parts.append(rng.choice(SETTINGS))
    parts += _mood(rng, levels)
    return " ".join([*parts, *said("boastful"), "."])


def _mood(rng: Random, levels: Levels) -> list[str]:
    """A word of cheer or of gloom, or none: both stand in one place."""
    drawn = rng.random()
    for trait in MOODS:
        if drawn < levels[trait]:
            return [_marker(rng, trait)]
        drawn -= levels[trait]
    return []


def _marker(rng: Random, trait: str) -> str:
    return MARKERS[trait].format(word=rng.choice(WORDS[trait]))


def garbled(rng: Random, answer: str) -> str:
    """The answer's words in any order: what an incoherent answer looks like."""
    words = answer.split()
    rng.shuffle(words)
    return " ".join(words)
