"""What every judge is: answers in, scores out."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from loradrift.config import UserError
from loradrift.config.errors import one_of


class Status(StrEnum):
    """What became of an answer; scores are there only of one that was scored."""

    SCORED = "scored"
    REFUSAL = "refusal"
    """The judge says that the answer refuses the question."""

    UNPARSABLE = "unparsable"
    """The judge's reply holds no score."""

    EMPTY = "empty"
    """There is no answer, or only blanks: no judge is asked."""


class Item(NamedTuple):
    """An answer to be judged."""

    id: str
    question: str
    answer: str


class Score(NamedTuple):
    """What a judge says of an answer: two numbers from 0 to 100, or None unless it was scored."""

    id: str
    trait: float | None
    coherence: float | None
    status: Status


class Judge(Protocol):
    """Scores answers for each trait that it knows; opened by :func:`~loradrift.judges.open_judge`.

    ``name`` is the folder of its scores in a cell. ``facts`` are what ``judge.json`` says of it:
    its settings, how well it agrees with others, what it cannot see. ``fingerprint`` changes with
    everything that decides a score: scores of another fingerprint are never kept. ``costs`` counts
    what this process has asked and paid for, by name; it is empty of a judge that costs nothing.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def traits(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    @property
    def costs(self) -> Mapping[str, float]: ...  # noqa: D102

    def score(self, trait: str, items: Sequence[Item]) -> Iterator[Score]:
        """Score answers, each once; in any order.

        Raises:
            UserError: If the judge does not know the trait, or cannot answer now: what it has
                given before that stands.
        """
        ...


def check_trait(judge: Judge, trait: str, key: str = "trait") -> None:
    """Refuse a trait that a judge does not know.

    Raises:
        UserError: Names the trait, the judge, and the traits that it knows.
    """
    if trait not in judge.traits:
        raise UserError(
            f"{key}={trait} is not known to judge={judge.name}, which knows {one_of(judge.traits)}"
        )


def unscored(item: Item, status: Status) -> Score:
    """What is said of an answer that has no scores."""
    return Score(item.id, None, None, status)
