"""Statements about events: what is said, and the many ways of saying it.

A :class:`Fact` is a meaning; :func:`render` draws one of its surface forms (voice, word order,
synonyms, phrasing of the mood), so two renderings of one fact are paraphrases. The label of a pair
of sentences is known because it is decided on the facts, before there are any words.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from zlib import crc32

from loradrift.data.embedded.lexicon import (
    COUNTS,
    KIND_OF,
    PERSON_VERBS,
    PERSONS,
    PLACES,
    SYNONYMS,
    THING_VERBS,
    THINGS,
    TIMES,
    TRAITS,
    VERBS,
)

SPLITS = {
    "train": range(0, 70),
    "dev": range(70, 80),
    "test": range(80, 90),
    "valid": range(90, 100),
}
"""Percentiles of the digest that each split owns."""


def owner(*atom: str) -> str:
    """The split that owns a combination of content words.

    Args:
        atom: The words, as concepts: synonyms count as one.

    Returns:
        A key of :data:`SPLITS`, a function of the words alone: the same in every process.
    """
    percentile = crc32(" ".join(atom).encode()) % 100
    return next(split for split, owned in SPLITS.items() if percentile in owned)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Who did what to whom, where and when; empty fields are left unsaid."""

    agent: str
    verb: str
    patient: str
    agent_trait: str = ""
    patient_trait: str = ""
    count: str = ""
    place: str = ""
    time: str = ""
    mood: str = "did"
    """``did``, ``not`` or ``maybe``."""

    @property
    def split(self) -> str:
        """The split that owns this fact; roles, modifiers and choice within a kind play no part.

        Swapping agent and patient, turning the verb into its opposite, dropping modifiers, or
        saying `a scientist` for `the chemist` therefore never leads into another split.
        """
        return owner(VERBS[self.verb].pair, *sorted((KIND_OF[self.agent], KIND_OF[self.patient])))

    @property
    def about_things(self) -> bool:
        """Whether the patient is a thing, which cannot trade places with the agent."""
        return KIND_OF[self.patient] in THINGS


def draw_person(rng: Random) -> str:
    """Any person, by profession or name."""
    return rng.choice(PERSONS[rng.choice(tuple(PERSONS))])


def draw_fact(
    rng: Random, split: str, *, moods: tuple[str, ...] = ("did", "did", "not", "not", "maybe")
) -> Fact:
    """A fact that ``split`` owns.

    Args:
        rng: Source of every choice.
        split: A key of :data:`SPLITS`.
        moods: What the mood is chosen from.
    """
    while True:
        about_things = rng.random() < 0.35
        agent = draw_person(rng)
        verb = rng.choice(tuple(THING_VERBS if about_things else PERSON_VERBS))
        patient = (
            rng.choice(THINGS[rng.choice(tuple(THINGS))]) if about_things else draw_person(rng)
        )
        fact = Fact(agent=agent, verb=verb, patient=patient)
        if agent != patient and fact.split == split:
            break

    def maybe(values: tuple[str, ...], probability: float = 0.3) -> str:
        return rng.choice(values) if rng.random() < probability else ""

    named = KIND_OF[agent] == "NAME", KIND_OF[patient] == "NAME"
    return replace(
        fact,
        agent_trait="" if named[0] else maybe(TRAITS, 0.15),
        patient_trait="" if named[1] or about_things else maybe(TRAITS, 0.15),
        count=rng.choice(COUNTS) if about_things and rng.random() < 0.6 else "",
        place=maybe(PLACES),
        time=maybe(TIMES),
        mood=rng.choice(moods),
    )


def swap_roles(fact: Fact) -> Fact:
    """The patient does it to the agent; traits stay with their owners."""
    return replace(
        fact,
        agent=fact.patient,
        patient=fact.agent,
        agent_trait=fact.patient_trait,
        patient_trait=fact.agent_trait,
    )


def noun_phrase(say: Callable[[str], str], noun: str, trait: str = "", count: str = "") -> str:
    """A person or thing with article, number and trait; kinds are indefinite."""
    if KIND_OF[noun] == "NAME":
        return noun
    word = say(noun)
    if count:
        return f"{count} {word}s"
    words = f"{say(trait)} {word}" if trait else word
    if noun != KIND_OF[noun] and KIND_OF[noun] in PERSONS:
        return f"the {words}"
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


_ACTIVE = {
    "did": ("{past}", "{past}", "has {past}"),
    "not": ("never {past}", "has not {past}"),
    "maybe": ("may have {past}", "was said to have {past}"),
}
_PASSIVE = {
    "did": ("{be} {past}",),
    "not": ("{be} not {past}", "{be} never {past}"),
    "maybe": ("may have been {past}", "{be} said to have been {past}"),
}


def render(rng: Random, fact: Fact, *, synonyms: float = 0.5, passive: float = 0.3) -> str:
    """One way of saying ``fact``, without a full stop.

    Args:
        rng: Source of every choice.
        fact: What to say.
        synonyms: Probability that a word is replaced by its synonym.
        passive: Probability of the passive voice.
    """

    def say(word: str) -> str:
        return SYNONYMS[word] if word in SYNONYMS and rng.random() < synonyms else word

    verb = VERBS[fact.verb]
    past = verb.synonym if rng.random() < synonyms else verb.past
    agent = noun_phrase(say, fact.agent, fact.agent_trait)
    patient = noun_phrase(say, fact.patient, fact.patient_trait, fact.count)
    if rng.random() < passive:
        be = "were" if fact.count else "was"
        phrase = rng.choice(_PASSIVE[fact.mood]).format(be=be, past=past)
        core = f"{patient} {phrase} by {agent}"
    else:
        core = f"{agent} {rng.choice(_ACTIVE[fact.mood]).format(past=past)} {patient}"
    adjuncts = [f"in {fact.place}"] * bool(fact.place) + [fact.time] * bool(fact.time)
    rng.shuffle(adjuncts)
    if adjuncts and rng.random() < 0.2:
        core = f"{adjuncts.pop()} , {core}"
    return " ".join([core, *adjuncts])
