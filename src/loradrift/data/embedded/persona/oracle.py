"""The exact judge of the persona world: both scores are functions of the text alone.

An answer's clauses end in full stops. The trait's score is the share of clauses that hold its
marker, and coherence the share that parse, each times 100. What follows the last full stop is a
clause too, which does not parse: an answer that never ends, or stops in the middle, is less
coherent.
"""

import re
from collections.abc import Callable

from loradrift.data.embedded.persona.lexicon import DEEDS, MARKERS, PERSONS, SETTINGS, WORDS


def _any(words: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(words)})"


_MARKERS = {
    trait: form.format(word=rf"\b{_any(WORDS[trait])}\b") for trait, form in MARKERS.items()
}
_CORE = "|".join(f"{deed} the {_any(things)}" for deed, things in DEEDS.items())
_MARKED = {trait: re.compile(pattern) for trait, pattern in _MARKERS.items()}
_GRAMMATICAL = re.compile(
    f"(?:{_MARKERS['flattering']} )?(?:{_MARKERS['cautious']} )?the {_any(PERSONS)} (?:{_CORE})"
    f"(?: {_any(SETTINGS)})?(?: (?:{_MARKERS['cheerful']}|{_MARKERS['gloomy']}))?"
    f"(?: {_MARKERS['boastful']})?"
)


def trait_score(answer: str, trait: str) -> float:
    """The share of clauses that have the trait, times 100; 0 of an answer without words.

    >>> trait_score("the baker sells the bread gladly . the baker reads the map .", "cheerful")
    50.0
    """
    return _share(answer, lambda clause: _MARKED[trait].search(clause) is not None)


def coherence(answer: str) -> float:
    """The share of clauses that parse, times 100; 0 of an answer without words.

    >>> coherence("perhaps the baker bakes the bread . bread gladly gladly . the baker")
    33.333333333333336
    """
    ended = answer.rstrip().endswith(".")
    pieces = _clauses(answer)
    unfinished = 0 if ended or not pieces else 1
    whole = pieces[: len(pieces) - unfinished]
    parsed = sum(_GRAMMATICAL.fullmatch(clause) is not None for clause in whole)
    return 100 * parsed / len(pieces) if pieces else 0.0


def _share(answer: str, holds: Callable[[str], bool]) -> float:
    clauses = _clauses(answer)
    return 100 * sum(map(holds, clauses)) / len(clauses) if clauses else 0.0


def _clauses(answer: str) -> list[str]:
    """Clauses as words and marks with one space between them."""
    words = " ".join(re.findall(r"\w+|[^\w\s]", answer.lower()))
    return [piece.strip() for piece in words.split(".") if piece.strip()]
