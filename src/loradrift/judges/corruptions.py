"""Answers made incoherent, each in a known share of its words.

What a steered model writes when it breaks is imitated: words out of order, a phrase that never
ends, a text that turns into another, and words or symbols that mean nothing.
"""

from collections.abc import Callable, Sequence
from random import Random

KINDS = ("shuffled", "loop", "mixture", "salad", "symbols")

SYMBOLS = "#*@$%^&~_+=|<>{}[]\\/¤§†ßøжλ的は한"


def corrupt(rng: Random, kind: str, own: Sequence[str], other: Sequence[str], share: float) -> str:
    """A text in which a share of the words is no longer coherent.

    Args:
        rng: Draws where and how.
        kind: One of :data:`KINDS`.
        own: The words of a coherent answer.
        other: The words of an answer to another question.
        share: How many of the words are touched, above 0 and at most 1.
    """
    size = max(2, round(share * len(own)))
    begin = rng.randrange(max(1, len(own) - size + 1))
    before, part, after = own[:begin], list(own[begin : begin + size]), own[begin + size :]
    if kind == "loop":
        # a loop lasts until the answer ends
        begin = max(1, len(own) - size)
        before, part, after = own[:begin], list(own[begin:]), []
    return " ".join([*before, *MAKERS[kind](rng, part, list(own), list(other)), *after])


def _shuffled(rng: Random, part: list[str], own: list[str], other: list[str]) -> list[str]:
    rng.shuffle(part)
    return part


def _loop(rng: Random, part: list[str], own: list[str], other: list[str]) -> list[str]:
    """A phrase again and again; the last word of it may be cut."""
    length = rng.choice((1, 1, 2, 3, 4, 6, 9))
    start = rng.randrange(max(1, len(own) - length))
    phrase = own[start : start + length]
    if rng.random() < 0.3:
        phrase[-1] = phrase[-1][: rng.randint(1, max(1, len(phrase[-1]) - 1))]
    repeats = len(part) // len(phrase) + 1
    return (phrase * repeats)[: max(len(part), 2 * len(phrase))]


def _mixture(rng: Random, part: list[str], own: list[str], other: list[str]) -> list[str]:
    """Pieces of two answers by turns, a few words each; the first is the other answer's."""
    mixed: list[str] = []
    strange = bool(other)
    while len(mixed) < len(part):
        length = rng.randint(2, 6)
        if strange:
            place = rng.randrange(max(1, len(other) - length))
            mixed += other[place : place + length]
        else:
            mixed += part[len(mixed) : len(mixed) + length]
        strange = not strange and bool(other)
    return mixed[: len(part)]


def _salad(rng: Random, part: list[str], own: list[str], other: list[str]) -> list[str]:
    """Words of both answers, as they come."""
    return [rng.choice([*own, *other]) for _ in part]


def _symbols(rng: Random, part: list[str], own: list[str], other: list[str]) -> list[str]:
    """Pieces of words, signs and other scripts."""
    return [
        "".join(rng.choice(SYMBOLS + word) for _ in range(rng.randint(1, 8)))
        if rng.random() < 0.6
        else word[rng.randrange(len(word)) :]
        for word in part
    ]


MAKERS: dict[str, Callable[[Random, list[str], list[str], list[str]], list[str]]] = {
    "shuffled": _shuffled,
    "loop": _loop,
    "mixture": _mixture,
    "salad": _salad,
    "symbols": _symbols,
}
