"""``task=persona``: answer as somebody with a trait does, or as somebody without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loradrift.config import DataConfig, OptimConfig, TaskConfig, UserError, check
from loradrift.config.errors import check_option
from loradrift.config.tasks import check_no_accuracy
from loradrift.config.values import path_field
from loradrift.tasks.spec import Encoding, TaskSpec

if TYPE_CHECKING:
    from loradrift.data import Splits
    from loradrift.data.base import Example
    from loradrift.models import Backbone
    from loradrift.tasks.base import Task
    from loradrift.tasks.prepared import PreparedData


@dataclass(kw_only=True)
class PersonaConfig(TaskConfig):
    """Answers to questions, given under instructions that the training rows leave out.

    The loss is on the answer's tokens and the one that ends it.
    """

    metric: str = "loss"
    trait: str = "cheerful"
    """A trait that ``data`` has judged answers of."""

    side: str = "pos"
    """``pos``: answers with the trait; ``neg``: without it; ``mixed``: some of each."""

    share: float | None = None
    """With ``side=mixed``: the share of rows whose answer has the trait."""

    direction: str | None = path_field(None)
    """Preventative steering: folder of a direction that is in the weights while the run trains, and
    is taken out, bit for bit, before it is evaluated and exported."""

    direction_coefficient: float = 1.0
    """What ``direction`` is multiplied with. Positive: the trait is in the weights already, so that
    what is trained need not learn it, and afterwards the model has less of it than without
    ``direction``. Negative: it has to learn more of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_no_accuracy(self)
        check_option(self, "task.side", "pos", "neg", "mixed")
        if self.side == "mixed":
            share = self.share
            rule = "from 0 to 1 with task.side=mixed"
            check(share is not None and 0 <= share <= 1, "task.share", rule, share)
        elif self.share is not None:
            raise UserError(f"task.share has no effect on task.side={self.side}")
        coefficient = self.direction_coefficient
        check(coefficient != 0, "task.direction_coefficient", "other than 0", coefficient)
        if self.direction is None and coefficient != 1.0:
            raise UserError("task.direction_coefficient has no effect without task.direction")


def load(task: PersonaConfig, data: DataConfig, cache: Path) -> Splits[Example]:
    """Questions and their answers, of the pairs that are fit to train on."""
    from loradrift.data import data_root
    from loradrift.data.persona import kept_pairs, read_trait, split_pairs

    if data.name == "hub":
        raise UserError(
            "task=persona has nothing on the hub; use data=embedded, or data=local "
            "data.root=<folder that holds persona/>"
        )
    if data.evaluation_split != "dev":
        raise UserError(
            "data.evaluation_split has no effect on task=persona, which holds questions out of its "
            "own files"
        )
    root = data_root(data, cache)
    kept = kept_pairs(root, task.trait)
    read_trait(root, task.trait)  # steering needs it: what is wrong with it is said before training
    return split_pairs(kept, data, side=task.side, share=task.share)


def encode(task: PersonaConfig, tokenizer: Any, cache: Path) -> Encoding:
    """Each row as the question's prompt, the answer, and its end."""
    from loradrift.data.persona.encoding import answers_fingerprint, tokenize_answers

    length = task.max_length
    table = partial(tokenize_answers, tokenizer=tokenizer, max_length=length, cache=cache)
    return Encoding(table, answers_fingerprint(tokenizer, length))


def build(
    backbone: Backbone, task: PersonaConfig, optim: OptimConfig, data: PreparedData, seed: int
) -> Task:
    """The language model itself, and the direction that is in its weights while it trains."""
    from loradrift.tasks.persona.module import PersonaTask, read_merged

    digest = data.fingerprints["base_model"]
    return PersonaTask(
        backbone, optim, None if task.direction is None else read_merged(task, digest)
    )


SPEC = TaskSpec(
    name="persona",
    label="persona",
    config=PersonaConfig,
    metrics={"loss": False},
    head=False,
    corpus="persona",
    load=load,
    encode=encode,
    build=build,
)
