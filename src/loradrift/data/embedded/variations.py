"""What follows from a fact, and what only looks as if it did.

Every variation stays inside the split of the fact it came from.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from loradrift.data.embedded.grammar import Fact, swap_roles
from loradrift.data.embedded.lexicon import (
    COUNTS,
    KIND_OF,
    PERSONS,
    PLACES,
    THINGS,
    TIMES,
    VERBS,
)

# Mostly what a small model can learn: a changed mood or verb is a matter of a few features of each
# sentence, while swapped roles and changed participants take matching words across sentences.
_DISTORTIONS = (
    "mood", "mood", "mood", "mood", "mood", "mood", "opposite", "opposite", "opposite", "opposite",
    "opposite", "opposite", "place", "time", "roles", "agent",
)  # fmt: skip

# What happened may also be said to be possible, so "did" turns into "not" only. With two of five
# facts each "did" and "not", a changed mood is then as likely to be any mood as a kept one, and
# the second sentence alone tells nothing.
_OTHER_MOODS = {"did": ("not",), "not": ("did", "maybe"), "maybe": ("did",)}


def weaken(rng: Random, fact: Fact) -> Fact:
    """Something that follows from ``fact``: modifiers are dropped, participants generalised.

    Neither step is valid below a negation or a hedge, so such facts come back as they are.
    """
    if fact.mood != "did":
        return fact
    for field in ("agent_trait", "patient_trait", "place", "time"):
        if rng.random() < 0.5:
            fact = replace(fact, **{field: ""})
    for field in ("agent", "patient"):
        kind = KIND_OF[getattr(fact, field)]
        if kind != "NAME" and rng.random() < 0.25:
            fact = replace(fact, **{field: kind})
    return fact


def _other(rng: Random, values: Sequence[str], *taken: str) -> str:
    return rng.choice([value for value in values if value not in taken])


def _changed_participant(rng: Random, fact: Fact, field: str) -> Fact:
    kind = KIND_OF[getattr(fact, field)]
    other = _other(rng, (PERSONS | THINGS)[kind], fact.agent, fact.patient)
    return replace(fact, **{field: other})


def distort(rng: Random, fact: Fact, how: str, *, elsewhere: Fact | None = None) -> Fact | None:
    """A fact that neither equals ``fact`` nor follows from it, made of nearly the same words.

    Args:
        rng: Source of every choice.
        fact: What is true.
        how: ``roles``, ``agent``, ``patient``, ``opposite``, ``place``, ``time``, ``count`` or
            ``mood``.
        elsewhere: Another fact of the same text, whose place and time are borrowed.

    Returns:
        The distorted fact, or None where ``fact`` has nothing to distort in this way.
    """
    match how:
        case "roles":
            return None if fact.about_things else swap_roles(fact)
        case "agent" | "patient":
            return _changed_participant(rng, fact, how)
        case "opposite":
            return replace(fact, verb=VERBS[fact.verb].opposite)
        case "place" | "time":
            borrowed = getattr(elsewhere, how) if elsewhere else ""
            values = PLACES if how == "place" else TIMES
            if borrowed in ("", getattr(fact, how)):
                borrowed = _other(rng, values, getattr(fact, how))
            return replace(fact, **{how: borrowed})
        case "count":
            return replace(fact, count=_other(rng, COUNTS, fact.count)) if fact.count else None
        case "mood":
            return replace(fact, mood=rng.choice(_OTHER_MOODS[fact.mood]))
        case _:
            raise ValueError(f"how must name a distortion, got {how!r}")


def distort_somehow(rng: Random, fact: Fact, *, elsewhere: Fact | None = None) -> Fact:
    """A distortion of a random sort; role swaps are the most frequent."""
    while True:
        distorted = distort(rng, fact, rng.choice(_DISTORTIONS), elsewhere=elsewhere)
        if distorted:
            return distorted
