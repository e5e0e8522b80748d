"""Training on answers with a trait, if asked for with a direction merged into the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch.distributed.tensor import DTensor

from loradrift.adapters.directions import (
    FACTS,
    check_base,
    read_direction_changes,
    read_direction_facts,
)
from loradrift.config import OptimConfig, UserError
from loradrift.files import sha256_of
from loradrift.models import Backbone
from loradrift.models.merging import merged
from loradrift.tasks.language_modeling import LanguageModelingTask
from loradrift.weights import LowRank

if TYPE_CHECKING:
    from loradrift.tasks.persona import PersonaConfig


@dataclass(frozen=True)
class Merged:
    """What is added to the weights while training (``task.direction``)."""

    changes: Mapping[str, LowRank]
    coefficient: float
    digest: str
    """Of the file that names all others of the direction by theirs."""


def read_merged(task: PersonaConfig, base: str) -> Merged:
    """The direction that ``task.direction`` names.

    Args:
        task: Its settings.
        base: The fingerprint of the model that is trained.

    Raises:
        UserError: If it is damaged, or of another base model.
    """
    assert task.direction is not None
    folder = Path(task.direction)
    check_base(read_direction_facts(folder), folder, base)
    changes, digest = read_direction_changes(folder), sha256_of(folder / FACTS)
    return Merged(changes, task.direction_coefficient, digest)


class PersonaTask(LanguageModelingTask):
    """Next-token prediction of answers; a direction, if any, is there only while it trains.

    Preventative steering (Chen et al. 2025, arXiv:2507.21509, section 5) in weight space: with
    ``W + c dW`` and ``c > 0`` the data's trait is in the model already, so that the gradient does
    not put it into what is trained, and without ``c dW`` the result has less of it.
    """

    def __init__(
        self,
        model: Backbone,
        optim: OptimConfig,
        direction: Merged | None = None,
        total_steps: int = 1,
    ) -> None:
        super().__init__(model, optim, total_steps)
        self.direction = direction
        if direction is not None:
            self.fingerprints = {"direction": direction.digest}

    @contextmanager
    def training_weights(self) -> Iterator[None]:
        """With the direction in the weights that do not train; afterwards they are as before.

        Raises:
            UserError: If the method trains the weights themselves, or they are sharded.
        """
        if self.direction is None:
            yield
            return
        if any(isinstance(each, DTensor) for each in self.backbone.parameters()):
            raise UserError("task.direction cannot be merged into sharded weights (trainer=fsdp)")
        with merged(self.backbone, self.direction.changes, self.direction.coefficient):
            yield
