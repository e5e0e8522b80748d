"""``judge=oracle``: what a generated answer's words say exactly."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loradrift.config import DataConfig, UserError
from loradrift.data import data_root
from loradrift.data.embedded import persona
from loradrift.data.persona import traits_of
from loradrift.judges.base import Item, Score, Status, check_trait, unscored
from loradrift.judges.config import JudgeConfig


class OracleJudge:
    """The generated world's own measures, which are functions of the text.

    Args:
        data: The generated data, whose traits it knows.
        cache: Folder in which they are.
    """

    def __init__(self, data: DataConfig, cache: Path) -> None:
        self.name = "oracle"
        self.traits = tuple(traits_of(data_root(data, cache)))
        self.facts: Mapping[str, Any] = {
            "settings": {},
            "agreement": None,
            "limits": [
                "It scores answers in the generated world's grammar alone: a clause that the "
                "grammar does not hold is incoherent, whatever it says."
            ],
        }
        self.costs: Mapping[str, float] = {}
        sources = sorted(Path(str(persona.__file__)).parent.glob("*.py"))
        code = b"".join(source.read_bytes() for source in sources)
        self.fingerprint = hashlib.sha256(code).hexdigest()

    def score(self, trait: str, items: Sequence[Item]) -> Iterator[Score]:
        """Score answers in their order."""
        check_trait(self, trait)
        for item in items:
            if not item.answer.strip():
                yield unscored(item, Status.EMPTY)
                continue
            score, coherence = (
                persona.trait_score(item.answer, trait),
                persona.coherence(item.answer),
            )
            yield Score(item.id, score, coherence, Status.SCORED)


@contextmanager
def opened_oracle(_judge: JudgeConfig, data: DataConfig, cache: Path) -> Iterator[OracleJudge]:
    """The judge of generated answers.

    Raises:
        UserError: If the answers are to other questions.
    """
    if data.name != "embedded":
        raise UserError(
            f"judge=oracle scores generated answers alone (data=embedded), got data={data.name}"
        )
    yield OracleJudge(data, cache)
