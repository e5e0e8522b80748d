"""Which answers can be told from other models': how much it says that none is wrong."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loradrift.files import read_object, write_json
from loradrift.serving.answers import Gaps, References
from loradrift.serving.samples import UNCHECKED, Sample
from loradrift.serving.tolerance import Tolerance

LOOK = 32
"""Tokens that are looked at, from the first on in which two answers differ."""

MOST_PAIRED = 8
"""With more adapters, each is held against the base and its two neighbours alone."""

Model = str | None


class Apart(NamedTuple):
    """Whether an answer of one model would be taken for another's."""

    shares: Sequence[tuple[str, str, float]]
    """Asked, another, and the share of prompts on which the other's answer would be called right;
    only pairs with a share above 0."""

    least: Mapping[str, Sequence[int | None]]
    """Model -> of each prompt, the tokens of an answer from which on that of any other model would
    be called wrong; None where some other's never would."""

    @property
    def alike(self) -> list[tuple[str, str, float]]:
        """The pairs of which one's answers are right as the other's, on every prompt."""
        found: dict[frozenset[str], tuple[str, str, float]] = {}
        for each in self.shares:
            if each[2] == 1:
                found.setdefault(frozenset(each[:2]), each)
        return list(found.values())

    @property
    def pairs(self) -> frozenset[tuple[Model, Model]]:
        """Those pairs, either of them asked, as :class:`References` takes them."""
        named = [tuple(None if m == "base" else m for m in each[:2]) for each in self.alike]
        return frozenset(pair for a, b in named for pair in ((a, b), (b, a)))

    def count(self, samples: Iterable[Sample]) -> int:
        """How many checked answers are no other model's that is served."""
        places = [
            (self.least[each.asked or "base"][each.prompt], each.tokens)
            for each in samples
            if each.answer != UNCHECKED
        ]
        return sum(least is not None and tokens >= least for least, tokens in places)


def tell_apart(references: References, gaps: Gaps, tolerance: Tolerance) -> Apart:
    """Hold every model's right answers against every other model, as if it had been asked.

    Pairs that :data:`MOST_PAIRED` leaves out count as told apart where their tokens differ.
    """
    models, shares = list(references.answers), []
    least: dict[str, list[int | None]] = {}
    for asked in models:
        own = references.answers[asked]
        found = {other: _seen(asked, other, references) for other in models if other != asked}
        near = _near(models, asked)
        looked = [(other, i) for other in near for i, n in found[other].items() if n is not None]
        cut = [
            (i, references.answers[other][i][: (found[other][i] or 0) - 1 + LOOK])
            for other, i in looked
        ]
        for (other, i), each in zip(looked, gaps(asked, cut) if cut else [], strict=True):
            found[other][i] = _refused_from(each, len(own[i]), tolerance)
        for other, seen in found.items():
            if share := sum(n is None for n in seen.values()) / len(seen):
                shares.append((asked or "base", other or "base", share))
        least[asked or "base"] = [_largest(seen[i] for seen in found.values()) for i in sorted(own)]
    return Apart(shares, least)


def _near(models: Sequence[Model], asked: Model) -> list[Model]:
    """The models that one is held against."""
    others = [model for model in models if model != asked]
    if len(models) - 1 <= MOST_PAIRED:
        return others
    place = models.index(asked)
    return [m for m in others if m is None or abs(models.index(m) - place) == 1]


def _seen(asked: Model, other: Model, references: References) -> dict[int, int | None]:
    """Of each prompt, the tokens up to the first one that differs; None where none does."""
    found: dict[int, int | None] = {}
    for i, wanted in references.answers[asked].items():
        pairs = enumerate(zip(wanted, references.answers[other][i], strict=False), start=1)
        found[i] = next((n for n, (a, b) in pairs if a != b), None)
    return found


def _refused_from(gaps: Sequence[float], size: int, tolerance: Tolerance) -> int | None:
    """The tokens from which on an answer is wrong, whatever follows up to ``size`` of them."""
    for n in range(1, len(gaps) + 1):
        if not tolerance.allows([*gaps[:n], *[0.0] * (size - n)]):
            return n
    return None


def _largest(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else max((n for n in known if n is not None), default=0)


def write_apart(path: Path, apart: Apart) -> None:
    """Write ``apart.json``."""
    write_json(path, apart._asdict())


def read_apart(path: Path) -> Apart:
    """Read ``apart.json``; a ValueError or LookupError says that it is damaged."""
    saved = read_object(path)
    return Apart([(a, b, share) for a, b, share in saved["shares"]], saved["least"])
